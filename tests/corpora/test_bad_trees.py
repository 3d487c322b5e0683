"""Every layout broken in every way that people meet: what it is, how many and which is said, and all else is kept."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from tests.corpora import miniature
from tests.corpora.trees import TREES, Tree
from voxangle.cli import app
from voxangle.corpora import CORPORA, Corpus
from voxangle.corpora.completeness import Completeness, Tally, inspect
from voxangle.corpora.prepared import prepare_split
from voxangle.data import prepare as preparing
from voxangle.data import shard_writer
from voxangle.errors import CorpusError, MissingExtraError, TrialError, VoxangleError

WITH_FILES = [name for name in TREES if name != "audio-folder, parquet"]
# A table or list says what should be there; these know nothing but what is.
LISTED = ["table", "kaldi", "lhotse", "audio-folder, metadata", "common-voice"]
SPEAKERS_IN_FOLDERS = [name for name in WITH_FILES if name not in LISTED]
CELEBRITIES = ["voxceleb1", "voxceleb2, wav", "voxceleb2, m4a", "cnceleb1", "cnceleb2"]
TEXTS = {
    "table": ("utterances.csv", "trials/pairs.txt"),
    "kaldi": ("wav.scp", "utt2spk", "trials"),
    "lhotse": ("recordings.jsonl", "supervisions.jsonl"),
    "audio-folder, metadata": ("metadata.csv",),
    "audio-folder, parquet": ("train-00000-of-00001.parquet",),
    "common-voice": ("validated.tsv", "clip_durations.tsv"),
    "voxceleb1": ("vox1_meta.csv", "veri_test2.txt"),
    "voxceleb2, wav": ("vox2_meta.csv",),
    "cnceleb1": (
        "dev/dev.lst",
        *(f"eval/lists/{name}" for name in ("enroll.lst", "enroll.map", "trials.lst")),
    ),
    "cnceleb2": ("spk.lst",),
}
EVERY_TEXT = [(layout, text) for layout, texts in TEXTS.items() for text in texts]


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for the disk, which is most of the time here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def layout() -> str:
    """Given by the test's parameters."""
    raise NotImplementedError


@pytest.fixture
def tree(layout: str, tmp_path: Path) -> Tree:
    """The tree of the layout that the test is given."""
    return TREES[layout](tmp_path / "place")


def read(tree: Tree, root: Path | None = None) -> Corpus:
    return CORPORA[tree.corpus].read(root or tree.root)


def keys(corpus: Corpus) -> set[str]:
    return {key for manifest in corpus.splits.values() for key in manifest.column("utterance")}


def check(tree: Tree, *, headers: bool = False) -> Completeness:
    """What ``voxangle corpora check`` prints."""
    reader = CORPORA[tree.corpus]
    if reader.check:
        return reader.check(tree.root, headers=headers)
    corpus = read(tree)
    return inspect(corpus.name, tree.root, corpus.splits, {}, Tally(), headers=headers)


def prepared(corpus: Corpus) -> tuple[int, dict[str, str]]:
    """How many recordings training can read, having read each, and the causes of the others by file."""
    kept, left_out = 0, {}
    for split in corpus.splits:
        try:
            ready = prepare_split(corpus, split)
        except CorpusError:  # nothing of a split is left
            continue
        for row in range(len(ready.samples)):
            waveform = ready.read(row)
            assert np.isfinite(waveform).all()
            assert waveform.size
        kept += len(ready.samples)
        left_out |= {item.path: item.cause for item in ready.left_out}
    return kept, left_out


def said(tree: Tree, root: Path | None = None) -> str:
    """What a person is told, be it an error's message or the notes and the faults found."""
    try:
        corpus = read(tree, root)
        return "\n".join([*corpus.remarks, *map(str, check(tree).faults)])
    except VoxangleError as error:
        return str(error)


def bad_name(path: Path) -> Path:
    """The file or folder under a name that is not UTF-8."""
    renamed = path.with_name(os.fsdecode(b"\xe9mile") + path.suffix)
    path.rename(renamed)
    return renamed


# --- broken recordings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", TREES)
def test_a_whole_tree_is_read_and_prepared_without_a_word(tree: Tree) -> None:
    corpus = read(tree)
    assert prepared(corpus) == (len(keys(corpus)), {})
    assert not check(tree, headers=True).faults


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        (lambda _: b"", r"the file is empty \(0 bytes\)"),
        (lambda content: content[: len(content) // 2], "truncated|not audio"),
        (lambda _: b"<html>404</html>" * 200, "not audio"),
    ],
    ids=["empty", "truncated", "no audio"],
)
@pytest.mark.parametrize("layout", WITH_FILES)
def test_a_broken_recording_is_named_and_no_other_is_lost(
    tree: Tree, broken: Callable[[bytes], bytes], cause: str
) -> None:
    whole = keys(read(tree))
    victim = tree.audio[-1]
    victim.write_bytes(broken(victim.read_bytes()))
    corpus = read(tree)
    assert keys(corpus) == whole
    kept, left_out = prepared(corpus)
    assert kept == len(whole) - 1
    ((path, why),) = left_out.items()
    assert victim.as_posix().endswith(path.removeprefix("./"))
    assert re.search(cause, why)
    found = check(tree, headers=True)
    if "truncated" in why and victim.suffix == ".flac":  # a FLAC's header does not say how many bytes follow
        return
    assert not found.whole
    (fault,) = (fault for fault in found.faults if not fault.kind.harmless)
    assert (fault.count, len(fault.examples)) == (1, 1)
    assert str(victim) in fault.examples[0]


@pytest.mark.parametrize("layout", WITH_FILES)
def test_rates_and_channels_may_differ_from_file_to_file(tree: Tree) -> None:
    written = [path for path in tree.audio if path.suffix in {".wav", ".flac"}][-3:]
    for path, rate, channels in zip(written, (8_000, 44_100, 48_000), (1, 2, 1), strict=False):
        wave = 0.3 * np.sin(2 * np.pi * 220 * np.arange(rate // 4) / rate)
        soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
    corpus = read(tree)
    kept, left_out = prepared(corpus)
    assert (kept, left_out) == (len(keys(corpus)), {})
    for split in corpus.splits:
        lengths = prepare_split(corpus, split).samples
        assert written == [] or set(lengths) <= {4_000, 8_000}  # CN-Celeb enrols with two together


# --- half-unpacked archives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", TREES)
def test_leftover_archives_harm_nothing(tree: Tree) -> None:
    whole = keys(read(tree))
    for name in ("left.tar", "left.tar.gz", "left.zip", "left.tar.part", "vox1_dev_wav_partaa"):
        (tree.root / name).write_bytes(b"x" * 2000)
    if tree.audio:
        tree.audio[-1].with_name("more.wav.part").write_bytes(b"x" * 2000)
    corpus = read(tree)
    assert keys(corpus) == whole
    assert prepared(corpus) == (len(whole), {})


@pytest.mark.parametrize("layout", CELEBRITIES)
def test_leftover_archives_are_counted_by_the_check(tree: Tree) -> None:
    (tree.root / "vox1_dev_wav_partaa").touch()
    (tree.root / "left.tar").touch()
    assert "2 archive(s) or piece(s) of one beside the audio" in said(tree)


@pytest.mark.parametrize("layout", LISTED)
def test_what_a_list_names_and_the_disk_lacks_is_counted(tree: Tree) -> None:
    whole = keys(read(tree))
    for path in tree.audio[-2:]:
        path.unlink()
    kept, left_out = prepared(read(tree))
    assert kept == len(whole) - 2
    assert set(left_out.values()) == {"no such file"}
    assert len(left_out) == 2
    assert "2 file(s) that cannot be read as audio" in said(tree)
    assert str(tree.audio[-1]) in said(tree)


@pytest.mark.parametrize("layout", SPEAKERS_IN_FOLDERS)
def test_without_some_speakers_the_others_are_read(tree: Tree) -> None:
    whole = keys(read(tree))
    gone = tree.audio[0].parent
    lost = [path for path in tree.audio if path.parent == gone]
    shutil.rmtree(gone)
    left = keys(read(tree))
    assert left < whole
    assert len(left) == len(whole) - len(lost)
    assert CORPORA[tree.corpus].check is None or not check(tree).whole


@pytest.mark.parametrize(
    ("layout", "speaker"),
    [
        ("voxceleb1", "id10310"),
        ("voxceleb2, wav", "id09272"),
        ("cnceleb1", "id00001"),
        ("cnceleb2", "id11999"),
    ],
)
def test_a_speaker_of_the_own_list_who_is_not_there_is_named(tree: Tree, speaker: str) -> None:
    for folder in {path for path in tree.root.rglob(speaker) if path.is_dir()}:
        shutil.rmtree(folder)
    assert f"1 speaker(s) of the corpus's own list not on disk: {speaker}; unpack the corpus again" in said(
        tree
    )


@pytest.mark.parametrize(
    ("layout", "text", "speaker"),
    [
        ("voxceleb1", "vox1_meta.csv", "id10309"),
        ("voxceleb2, wav", "vox2_meta.csv", "id00017"),
        ("cnceleb1", "dev/dev.lst", "id00001"),
        ("librispeech", "SPEAKERS.TXT", "121"),
    ],
)
def test_a_speaker_whom_a_cut_off_list_lacks_is_named(tree: Tree, text: str, speaker: str) -> None:
    path = tree.root / text
    kept = [line for line in path.read_text().splitlines() if speaker not in line]
    path.write_text("\n".join(kept) + "\n")
    assert f"1 speaker(s) on disk whom the corpus's own list has not, first {speaker}" in "\n".join(
        read(tree).remarks
    )
    assert "fetch it again" in said(tree)


# --- wrong nesting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", TREES)
def test_named_one_above_the_corpus_is_found_or_told_where_it_is(tree: Tree) -> None:
    whole = read(tree)
    if tree.corpus in {"table", "lhotse", "folder"}:
        assert str(tree.root) in said(tree, tree.root.parent)
    else:
        assert len(keys(read(tree, tree.root.parent))) == len(keys(whole))


@pytest.mark.parametrize("layout", TREES)
def test_with_a_folder_too_many_the_corpus_is_found_or_told_where_it_is(tree: Tree) -> None:
    whole = keys(read(tree))
    there = tree.root.rename(tree.root.with_name("moved"))
    tree.root.mkdir()
    there.rename(tree.root / "inner")
    if tree.corpus in {"table", "lhotse", "folder", "librispeech"}:
        assert str(tree.root / "inner") in said(tree)
    elif tree.corpus in {"mini-librispeech", "musan", "rirs-noises"}:
        assert re.search("name the folder (that holds|musan|RIRS_NOISES)", said(tree))
    else:
        assert len(keys(read(tree))) == len(whole)


@pytest.mark.parametrize(
    ("layout", "inside", "answer"),
    [
        ("folder", "anna", "lies in no speaker's folder.* name the folder above"),
        ("table", "wav", r"name the table itself, such as .*utterances\.csv"),
        ("kaldi", "../wav/anna", "name a Kaldi data folder"),
        ("lhotse", "../wav", r"holds no recordings\.jsonl\.gz with supervisions\.jsonl\.gz"),
        (
            "audio-folder, metadata",
            "data",
            r"metadata\.csv is not read, and may say more: name the folder it is in",
        ),
        ("audio-folder, labels", "train/anna", "lies in no speaker's folder"),
        ("common-voice", "clips", r"name a language's folder.*: name .*/en$"),
        ("voxceleb1", "wav/id10001", "is the folder of one speaker; name the folder above as the corpus"),
        ("voxceleb1", "wav/id10001/1zcIwhmdeo4", "within a speaker's folder: name the one above it, .*/wav"),
        ("voxceleb2, wav", "dev/aac/id00012/1zcIwhmdeo4", "within a speaker's folder: name the one above it"),
        ("cnceleb1", "data/id00000", "is the folder of one speaker; name the folder above as the corpus"),
        ("cnceleb2", "data/id10000", "is the folder of one speaker; name the folder above as the corpus"),
        ("librispeech", "train-clean-100/103", "name the folder LibriSpeech"),
        ("mini-librispeech", "train-clean-5", "name the folder that holds train-clean-5 and dev-clean-2"),
        ("musan", "noise", "is one kind of MUSAN only; name the folder above it"),
        ("rirs-noises", "pointsource_noises", "is one part of RIRS_NOISES only; name the folder above it"),
    ],
)
def test_named_too_deep_the_right_folder_is_told(tree: Tree, inside: str, answer: str) -> None:
    assert re.search(answer, said(tree, (tree.root / inside).resolve()), re.DOTALL)


@pytest.mark.parametrize("layout", [*CELEBRITIES, "librispeech", "mini-librispeech"])
@pytest.mark.parametrize("depth", ["too deep", "too high"])
def test_a_recording_at_the_wrong_depth_is_named(tree: Tree, depth: str) -> None:
    whole = keys(read(tree))
    stray = next(path for path in tree.audio if "eval" not in path.parts)
    if depth == "too deep":
        (stray.parent / "deeper").mkdir()
        stray.rename(stray.parent / "deeper" / stray.name)
    else:
        stray.rename(stray.parent.parent / stray.name)
    assert len(keys(read(tree))) == len(whole) - 1
    told = said(tree) if tree.corpus != "mini-librispeech" else "\n".join(read(tree).remarks)
    assert "1 recording(s) or folder(s) at the wrong depth" in told


def test_a_folder_of_splits_is_not_taken_for_speakers(tmp_path: Path) -> None:
    for split in ("train", "test"):
        miniature.write(tmp_path / split / "anna" / "a.wav", miniature.voice(0, 0, 0.1))
    with pytest.raises(
        CorpusError, match=r"folders are called test, train, so they are no speakers.*'audio-folder'"
    ):
        CORPORA["folder"].read(tmp_path)


# --- what needs an extra -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["voxceleb2, m4a"])
def test_m4a_without_the_extra_is_said_before_anything_is_decoded(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in tree.audio[:-1]:
        path.unlink()
        miniature.write(path.with_suffix(".wav"), miniature.voice(0, 0, 0.25))
    monkeypatch.setitem(sys.modules, "av", None)
    for writer in (preparing, shard_writer):
        monkeypatch.setattr(writer, "load", lambda *_, **__: pytest.fail("decoded before it was said"))
    corpus = read(tree)
    said = r"\.m4a files \(1 of .*first: .*\.m4a\) needs the 'media' extra: pip install"
    with pytest.raises(MissingExtraError, match=said):
        prepare_split(corpus, "eval")
    with pytest.raises(MissingExtraError, match=said):
        shard_writer.write_shards(corpus.splits["eval"], tree.root.parent / "shards")


# --- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", WITH_FILES)
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_name_that_is_not_utf8_is_said_and_all_else_is_kept(tree: Tree, what: str) -> None:
    whole = keys(read(tree))
    victim = tree.audio[0 if tree.corpus == "cnceleb1" else -1]
    lost = [
        path for path in tree.audio if path == victim or (what == "folder" and path.parent == victim.parent)
    ]
    bad_name(victim if what == "file" else victim.parent)
    corpus = read(tree)
    kept, left_out = prepared(corpus)
    assert kept == len(whole) - len(lost)
    if tree.corpus in {"cnceleb1", "cnceleb2"} and what == "folder":
        assert "1 speaker(s) of the corpus's own list not on disk" in "\n".join(corpus.remarks)
    elif layout_has_no_list(tree):
        assert re.search(
            r"file\(s\) whose name is not UTF-8, first .*\\xe9mile.*: rename them", "\n".join(corpus.remarks)
        )
    elif kept:
        assert list(left_out.values()) == ["no such file"] * len(lost)


def layout_has_no_list(tree: Tree) -> bool:
    return tree.corpus not in {"table", "kaldi", "lhotse", "common-voice"}


@pytest.mark.parametrize("layout", TREES)
def test_a_corpus_whose_own_name_is_not_utf8_is_refused_at_once(tree: Tree) -> None:
    with pytest.raises(CorpusError, match=r"xe9mile'?: the name is not UTF-8; rename the folder"):
        read(tree, bad_name(tree.root))


# --- links ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", WITH_FILES)
def test_links_to_files_and_folders_are_followed(tree: Tree) -> None:
    whole = keys(read(tree))
    file, folder = tree.audio[-1], tree.audio[0].parent
    for path, aside in ((file, f"aside{file.suffix}"), (folder, "aside")):
        path.rename(tree.root.parent.parent / aside)
        path.symlink_to(tree.root.parent.parent / aside)
    corpus = read(tree)
    assert keys(corpus) == whole
    assert prepared(corpus) == (len(whole), {})


@pytest.mark.parametrize("layout", WITH_FILES)
def test_a_link_to_a_file_that_is_gone_is_named(tree: Tree) -> None:
    whole = keys(read(tree))
    tree.audio[-1].unlink()
    tree.audio[-1].symlink_to("/nowhere/gone.wav")
    kept, left_out = prepared(read(tree))
    assert (kept, list(left_out.values())) == (len(whole) - 1, ["no such file"])
    assert not check(tree).whole


@pytest.mark.parametrize("layout", SPEAKERS_IN_FOLDERS)
def test_a_link_to_a_folder_that_is_gone_is_named(tree: Tree) -> None:
    read(tree)
    gone = next(path.parent for path in tree.audio if "eval" not in path.parts)
    shutil.rmtree(gone)
    gone.symlink_to("/nowhere/gone")
    notes = "\n".join(read(tree).remarks)
    assert re.search(rf"1 link\(s\) that lead nowhere, first .*{gone.name}: mount or put back", notes)


@pytest.mark.parametrize("layout", TREES)
def test_links_in_a_circle_end_and_nothing_is_read_twice(tree: Tree) -> None:
    whole = keys(read(tree))
    (tree.root / "circle").symlink_to("circle")
    (tree.root / "back").symlink_to(".")
    if tree.audio:
        (tree.audio[0].parent / "self").symlink_to("self")
        (tree.audio[0].parent / "top").symlink_to(tree.root)
    corpus = read(tree)
    assert keys(corpus) == whole
    assert prepared(corpus) == (len(whole), {})


def test_a_second_way_to_a_speaker_makes_no_second_speaker(tmp_path: Path) -> None:
    tree = TREES["folder"](tmp_path)
    (tree.root / "aaa").symlink_to(tree.root / "anna")
    (tmp_path / "elsewhere").mkdir()
    miniature.write(tmp_path / "elsewhere" / "one.wav", miniature.voice(5, 0, 0.1))
    (tree.root / "dora").symlink_to(tmp_path / "elsewhere")
    (tree.root / "dorothea").symlink_to(tmp_path / "elsewhere")
    corpus = read(tree)
    assert corpus.splits["all"].speakers() == ["anna", "ben", "chi", "dora"]
    assert "2 link(s) to folders that are read where they lie" in "\n".join(corpus.remarks)


@pytest.mark.parametrize(
    "layout", ["folder", "audio-folder, labels", "musan", "voxceleb1", "cnceleb2", "librispeech"]
)
def test_a_folder_that_may_not_be_looked_into_is_named(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, locked = keys(read(tree)), tree.audio[0].parent
    lost = [path for path in tree.audio if path.parent == locked]
    scandir = os.scandir

    def refused(folder: str | Path) -> object:
        if str(folder) == str(locked):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)
    corpus = read(tree)
    assert len(keys(corpus)) == len(whole) - len(lost)
    assert f"1 folder(s) that may not be looked into, first {locked}: give yourself the right" in "\n".join(
        corpus.remarks
    )


# --- tables and lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layout", "text"), EVERY_TEXT)
def test_a_list_that_is_not_utf8_is_named_with_a_cure(tree: Tree, text: str) -> None:
    path = tree.root / text
    path.write_bytes(path.read_bytes() + b"\xe9 \xff \xe9\n")
    assert re.search(rf"{path}.*(utf-8|UTF-8|magic bytes).*(again|iconv)", said(tree))


@pytest.mark.parametrize(("layout", "text"), EVERY_TEXT)
def test_an_empty_list_is_named_with_a_cure(tree: Tree, text: str) -> None:
    (tree.root / text).write_bytes(b"")
    # Of two manifests one without lines is none that is broken.
    place = tree.root if tree.corpus == "lhotse" else tree.root / text
    assert re.search(rf"{place}.*(again|is empty|there are none|is not there)", said(tree))


@pytest.mark.parametrize(
    ("layout", "text", "told"),
    [
        (
            "table",
            "utterances.csv",
            r"utterances\.csv, line 4: has 1 values for 2 columns; was the file written to",
        ),
        ("audio-folder, metadata", "metadata.csv", r"metadata\.csv, line 4: has 1 values for 2 columns"),
        (
            "audio-folder, parquet",
            "train-00000-of-00001.parquet",
            r"parquet: cannot be read as a table .*fetch it",
        ),
        (
            "lhotse",
            "recordings.jsonl",
            r"recordings\.jsonl, line 3: not JSON .*was the file written to the end",
        ),
        ("lhotse", "supervisions.jsonl", r"supervisions\.jsonl, line 3: not JSON .*was the file written to"),
        ("kaldi", "wav.scp", r"3 utterance\(s\) in utt2spk have no recording .* left out"),
        ("kaldi", "utt2spk", r"3 utterance\(s\) have no speaker in utt2spk .* left out"),
        ("common-voice", "validated.tsv", r"1 broken line\(s\) of en/validated\.tsv"),
        ("voxceleb1", "vox1_meta.csv", r"\d speaker\(s\) on disk whom the corpus's own list has not"),
        ("voxceleb1", "veri_test2.txt", "cut off, .*published are 37,611 and 18,802"),
        ("cnceleb1", "dev/dev.lst", r"1 speaker\(s\) on disk whom the corpus's own list has not"),
        ("cnceleb1", "eval/lists/trials.lst", "cut off, .*published are 3,484,292 and 17,755"),
        ("cnceleb1", "eval/lists/enroll.map", r"enroll\.map has not the model id00801-enroll .* was cut off"),
    ],
)
def test_a_list_that_was_cut_off_is_told(tree: Tree, text: str, told: str) -> None:
    path = tree.root / text
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert re.search(told, said(tree))


@pytest.mark.parametrize(
    ("layout", "text", "told"),
    [
        ("table", "utterances.csv", r"csv, line 8: utterance 'wav/chi/two\.wav' is there already, on line 7"),
        ("kaldi", "wav.scp", r"wav\.scp, line 7: 'chi-two' is there already: .*wav\.scp, line 6"),
        ("kaldi", "utt2spk", r"utt2spk, line 7: 'chi-two' is there already: .*utt2spk, line 6"),
        ("lhotse", "supervisions.jsonl", r"supervisions\.jsonl, line 7: the id 'chi-two' is there already"),
        (
            "audio-folder, metadata",
            "metadata.csv",
            r"line 8: 'data/chi/two\.wav' is there already, on line 7",
        ),
        (
            "cnceleb1",
            "eval/lists/enroll.lst",
            r"enroll\.lst, line 3: the model 'id00801-enroll' is there already",
        ),
    ],
)
def test_an_id_that_is_there_twice_is_named(tree: Tree, text: str, told: str) -> None:
    path = tree.root / text
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    assert re.search(told, said(tree))


@pytest.mark.parametrize("layout", ["lhotse"])
def test_a_recording_s_id_that_another_has_too_is_named(tree: Tree) -> None:
    path = tree.root / "recordings.jsonl"
    last = path.read_text().splitlines()[-1]
    path.write_text(path.read_text() + last + "\n")
    assert len(keys(read(tree))) == 6
    path.write_text(path.read_text() + last.replace("chi/two.wav", "chi/one.wav") + "\n")
    with pytest.raises(
        CorpusError, match=r"recordings\.jsonl, line 8: the recording 'chi-two' is there already"
    ):
        read(tree)


@pytest.mark.parametrize(("layout", "text"), [("table", "trials/pairs.txt")])
def test_own_trials_of_another_release_are_refused(tree: Tree, text: str) -> None:
    miniature.write_lines(tree.root / text, [(1, "id1/a.wav", "id1/b.wav"), (0, "id1/a.wav", "id2/b.wav")])
    with pytest.raises(
        TrialError,
        match=r"line 1: there is no utterance 'id1/a\.wav' \(2 of 2 trials have such\); none is, so it is the list of "
        "another corpus",
    ):
        read(tree)


@pytest.mark.parametrize(
    ("layout", "text", "lists"),
    [("voxceleb1", "veri_test2.txt", 1), ("cnceleb1", "eval/lists/trials.lst", 2)],
)
def test_official_trials_of_another_release_are_left_out_with_a_word(
    tree: Tree, text: str, lists: int
) -> None:
    whole = keys(read(tree))
    path = tree.root / text
    if tree.corpus == "voxceleb1":
        told = r"vox1-O-cleaned was left out: veri_test2\.txt: 2 of its 2 .* so it is the list of another release"
        miniature.write_lines(path, [(1, "A.J._Buckley/1/0001.wav", "A.J._Buckley/1/0002.wav")])
    else:
        told = r"cnceleb-average was left out: 1 of its \d utterances are not on disk, such as test/x\.wav"
        path.write_text(path.read_text() + "id00800-enroll test/x.wav 1\n")
    corpus = read(tree)
    assert keys(corpus) == whole
    assert not corpus.trials
    assert re.search(told, "\n".join(corpus.remarks))
    assert len(corpus.left_out) == lists
    assert not all(one.sound for one in check(tree).lists)


# --- the command line ----------------------------------------------------------------------------------------


def test_the_command_line_names_all_of_it_and_prepares_the_rest(tmp_path: Path) -> None:
    tree = TREES["folder"](tmp_path)
    tree.audio[0].write_bytes(b"")
    bad_name(tree.audio[1])
    tree.audio[2].unlink()
    tree.audio[2].symlink_to("gone.wav")
    (tree.root / "zoe").symlink_to("/nowhere")
    (tree.root / "left.tar.gz").touch()
    result = CliRunner().invoke(app, ["corpora", "prepare", "folder", "--root", str(tree.root)])
    assert result.exit_code == 0, result.output
    for told in (
        "all: 3 utterances, 2 speakers",
        "left out: 2",
        "anna/one.wav: the file is empty (0 bytes)",
        "ben/one.wav: no such file",
        "1 file(s) whose name is not UTF-8",
        "1 link(s) that lead nowhere",
    ):
        assert told in result.output
    result = CliRunner().invoke(app, ["corpora", "check", "folder", "--root", str(tree.root)])
    assert result.exit_code == 1
    assert "NOT whole" in result.output
    assert "1 empty file(s) (0 bytes)" in result.output
