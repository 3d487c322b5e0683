"""VoxCeleb1 and VoxCeleb2 in miniature, in the ways people have them on disk."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.corpora import miniature
from tests.corpora.miniature import SEGMENTS, VIDEOS, VOXCELEB1, VOXCELEB2
from voxangle import audio
from voxangle.corpora import voxceleb1, voxceleb2
from voxangle.corpora.completeness import Completeness, Published
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.prepared import prepare_split
from voxangle.errors import CorpusError


def keys(corpus: Corpus) -> dict[str, list[str]]:
    return {split: list(manifest.column("utterance")) for split, manifest in corpus.splits.items()}


def expected(parts: dict[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {
        split: [f"{s}/{v}/{g}.wav" for s in parts[part] for v in sorted(VIDEOS) for g in SEGMENTS]
        for split, part in (("train", "dev"), ("eval", "test"))
    }


@pytest.fixture
def vox1(tmp_path: Path) -> Path:
    """Both archives unpacked where they were fetched, the table and two trial lists beside ``wav``."""
    root = tmp_path / "voxceleb1"
    for part in VOXCELEB1.values():
        miniature.voxceleb(root / "wav", part)
    miniature.vox1_meta(root / "vox1_meta.csv")
    parts = expected(VOXCELEB1)
    miniature.write_lines(root / "veri_test2.txt", miniature.pairs(parts["eval"]))
    miniature.write_lines(
        root / "list_test_hard2.txt", miniature.pairs([*parts["eval"][:2], *parts["train"][:2]])
    )
    return root


@pytest.mark.parametrize(
    ("dev", "test", "named"),
    [
        ("wav", "wav", "."),
        ("wav", "wav", "wav"),
        ("wav", "wav", ".."),
        ("dev/wav", "test/wav", "."),
        ("vox1_dev_wav/wav", "vox1_test_wav/wav", "."),
        ("dev/vox1_dev_wav/wav", "test/vox1_test_wav/wav", "."),
        ("vox1_dev_wav", "vox1_test_wav", "."),
    ],
)
def test_voxceleb1_is_read_at_every_depth_people_have_it(
    tmp_path: Path, dev: str, test: str, named: str
) -> None:
    root = tmp_path / "corpora" / "voxceleb1"
    miniature.voxceleb(root / dev, VOXCELEB1["dev"])
    miniature.voxceleb(root / test, VOXCELEB1["test"])
    corpus = voxceleb1.read(root / named)
    assert keys(corpus) == expected(VOXCELEB1)
    for manifest in corpus.splits.values():
        assert all(path.is_file() for path in manifest.files())


def test_speakers_videos_and_genders_of_voxceleb1(vox1: Path) -> None:
    corpus = voxceleb1.read(vox1)
    rows = list(corpus.splits["eval"])
    assert {row.speaker for row in rows} == {"voxceleb1-id10270", "voxceleb1-id10309"}
    assert {row.session for row in rows} == set(VIDEOS)
    assert {row.speaker: row.gender for row in rows} == {"voxceleb1-id10270": "f", "voxceleb1-id10309": "m"}
    assert {row.language for row in rows} == {""}


def test_official_lists_are_read_under_their_stable_names(vox1: Path) -> None:
    corpus = voxceleb1.read(vox1)
    assert set(corpus.trials) == {"vox1-O-cleaned", "vox1-H-cleaned"}
    assert corpus.trials["vox1-O-cleaned"].name == "vox1-O-cleaned"
    across = corpus.trials["vox1-H-cleaned"].utterances
    assert {key[:7] for key in across} == {"id10001", "id10270"}


def test_a_list_of_another_length_than_published_is_told(vox1: Path) -> None:
    corpus = voxceleb1.read(vox1)
    trials = corpus.trials["vox1-O-cleaned"]
    note = corpus.list_notes["vox1-O-cleaned"]
    assert f"vox1-O-cleaned (veri_test2.txt) is cut off, or filtered: it has {len(trials)} trials" in note
    assert "37,611" in note
    assert "vox1-H-cleaned" not in note


def test_a_list_of_the_published_length_is_not_remarked(vox1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = voxceleb1.read(vox1).trials["vox1-O-cleaned"]
    targets = int(trials.target.sum())
    official = replace(voxceleb1.TRIAL_LISTS[1], targets=targets, nontargets=len(trials) - targets)
    monkeypatch.setattr(voxceleb1, "TRIAL_LISTS", (official,))
    assert "veri_test2" not in "\n".join(voxceleb1.read(vox1).remarks)


def test_the_published_lengths_are_those_of_the_papers() -> None:
    lengths = {one.name: one.targets + one.nontargets for one in voxceleb1.TRIAL_LISTS}
    assert lengths == {
        "vox1-O": 37_720,
        "vox1-O-cleaned": 37_611,
        "vox1-E": 581_480,
        "vox1-E-cleaned": 579_818,
        "vox1-H": 552_536,
        "vox1-H-cleaned": 550_894,
    }


def test_the_test_part_alone_is_enough_to_be_evaluated_on(tmp_path: Path) -> None:
    root = tmp_path / "vox1_test_wav"
    test = miniature.voxceleb(root / "wav", VOXCELEB1["test"])
    miniature.write_lines(root / "veri_test2.txt", miniature.pairs(test))
    miniature.write_lines(root / "list_test_all2.txt", [(0, test[0], "id10001/1zcIwhmdeo4/00001.wav")])
    corpus = voxceleb1.read(root)
    assert set(corpus.splits) == {"eval"}
    assert set(corpus.trials) == {"vox1-O-cleaned"}
    assert list(corpus.left_out) == ["vox1-E-cleaned"]
    assert "list_test_all2.txt: 1 of its 2 utterances are not on disk" in corpus.left_out["vox1-E-cleaned"]
    assert any("the list vox1-E-cleaned was left out: list_test" in line for line in corpus.remarks)


def test_lists_lie_beside_the_wav_folder_that_was_named(vox1: Path) -> None:
    assert "vox1-O-cleaned" in voxceleb1.read(vox1 / "wav").trials


def test_a_list_of_release_1_0_is_left_out_and_told(vox1: Path) -> None:
    miniature.write_lines(
        vox1 / "veri_test2.txt", [(1, "Eartha_Kitt/x6uYqmx31kE/1.wav", "Eartha_Kitt/8jEAjG6SegY/8.wav")]
    )
    corpus = voxceleb1.read(vox1)
    assert "vox1-O-cleaned" not in corpus.trials
    assert "list of another release" in "\n".join(corpus.remarks)


@pytest.mark.parametrize(
    ("text", "where"),
    [("<html>\nNot found\n", "line 1"), ("", "is empty"), ("1 a/b/c.wav a/b/d.wav\n0 a/b", "line 2")],
)
def test_a_list_that_is_none_is_left_out_with_its_line_and_the_rest_is_read(
    vox1: Path, text: str, where: str
) -> None:
    (vox1 / "veri_test2.txt").write_text(text)
    corpus = voxceleb1.read(vox1)
    assert keys(corpus) == expected(VOXCELEB1)
    assert list(corpus.trials) == ["vox1-H-cleaned"]
    assert where in corpus.left_out["vox1-O-cleaned"]
    assert "meta/veri_test2.txt" in corpus.left_out["vox1-O-cleaned"]
    state = {one.name: one for one in voxceleb1.check(vox1).lists}["vox1-O-cleaned (veri_test2.txt)"]
    assert not state.sound
    assert where in state.state


def test_one_root_holds_both_corpora_apart(tmp_path: Path) -> None:
    for part, speakers in VOXCELEB1.items():
        miniature.voxceleb(tmp_path / "voxceleb1" / part / "wav", speakers)
    for part, speakers in VOXCELEB2.items():
        miniature.voxceleb(tmp_path / "voxceleb2" / part / "wav", speakers)
    assert keys(voxceleb1.read(tmp_path)) == expected(VOXCELEB1)
    assert keys(voxceleb2.read(tmp_path)) == expected(VOXCELEB2)
    with pytest.raises(CorpusError, match=r"found 3 speakers of another corpus \(id00012 \.\.\. id09272\)"):
        voxceleb1.read(tmp_path / "voxceleb2")
    with pytest.raises(CorpusError, match="speakers of another corpus"):
        voxceleb2.read(tmp_path / "voxceleb1")


@pytest.mark.parametrize("form", ["dev/aac", "aac", "vox2_aac/dev/aac"])
def test_voxceleb2_is_read_as_m4a(tmp_path: Path, form: str) -> None:
    dev = miniature.voxceleb(tmp_path / form, VOXCELEB2["dev"][:1], suffix=".m4a")
    corpus = voxceleb2.read(tmp_path)
    assert keys(corpus) == {"train": sorted(dev)}
    prepared = prepare_split(corpus, "train")
    assert not prepared.left_out
    assert all(0.95 < row.seconds < 1.2 for row in prepared.manifest)


def test_wav_is_read_where_m4a_lies_beside(tmp_path: Path) -> None:
    miniature.voxceleb(tmp_path / "dev" / "aac", VOXCELEB2["dev"][:1], suffix=".m4a")
    dev = miniature.voxceleb(tmp_path / "dev" / "wav", VOXCELEB2["dev"][:1])
    (tmp_path / "dev" / "wav" / dev[0]).write_bytes(b"")
    (tmp_path / "dev" / "wav" / dev[1]).unlink()
    corpus = voxceleb2.read(tmp_path)
    suffixes = {row.utterance: Path(row.path).suffix for row in corpus.splits["train"]}
    assert suffixes == {dev[0]: ".m4a", dev[1]: ".m4a", dev[2]: ".wav", dev[3]: ".wav"}
    assert "3 utterance(s) in two formats" in "\n".join(corpus.remarks)


def test_wav_written_into_the_folders_of_m4a(tmp_path: Path) -> None:
    miniature.voxceleb(tmp_path, VOXCELEB2["dev"][:1], suffix=".m4a")
    miniature.voxceleb(tmp_path, VOXCELEB2["dev"][:1])
    assert {Path(row.path).suffix for row in voxceleb2.read(tmp_path).splits["train"]} == {".wav"}


def test_the_table_says_who_is_the_test_part_of_voxceleb2(tmp_path: Path) -> None:
    for speakers in VOXCELEB2.values():
        miniature.voxceleb(tmp_path / "wav", speakers)
    assert set(voxceleb2.read(tmp_path).splits) == {"train"}
    miniature.vox2_meta(tmp_path / "vox2_meta.csv")
    corpus = voxceleb2.read(tmp_path)
    assert keys(corpus) == expected(VOXCELEB2)
    assert {row.speaker: row.gender for row in corpus.splits["train"]} == {
        "voxceleb2-id00012": "m",
        "voxceleb2-id09272": "f",
    }


def test_more_speakers_than_the_dev_part_has_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for speakers in VOXCELEB2.values():
        miniature.voxceleb(tmp_path / "wav", speakers)
    monkeypatch.setitem(voxceleb2.PUBLISHED, "train", Published(2, 8, None, "here"))
    assert "those of the test part are among them" in "\n".join(voxceleb2.read(tmp_path).remarks)


def test_a_table_of_another_kind_names_what_it_lacks(vox1: Path) -> None:
    (vox1 / "vox1_meta.csv").write_text("<!DOCTYPE html>\n")
    with pytest.raises(CorpusError, match=r"vox1_meta\.csv, line 1: .*'Gender' and 'Set'"):
        voxceleb1.read(vox1)


def test_what_is_not_there_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        voxceleb1.read(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"(?s)found nothing.*mm\.kaist\.ac\.kr"):
        voxceleb1.read(tmp_path)
    (tmp_path / "vox1_dev_wav_partaa").write_bytes(b"PK")
    (tmp_path / "vox1_test_wav.zip").write_bytes(b"PK")
    with pytest.raises(CorpusError, match=r"archives that are not unpacked \(vox1_dev_wav_partaa, vox1_test"):
        voxceleb1.read(tmp_path)
    (tmp_path / "A.J._Buckley" / "1zcIwhmdeo4").mkdir(parents=True)
    with pytest.raises(CorpusError, match=r"Release 1\.0"):
        voxceleb1.read(tmp_path)


def test_the_folder_of_one_speaker_is_not_a_corpus(vox1: Path) -> None:
    with pytest.raises(CorpusError, match="folder of one speaker; name the folder above"):
        voxceleb1.read(vox1 / "wav" / "id10270")


def test_recordings_at_the_wrong_depth_are_counted_and_left_out(vox1: Path) -> None:
    miniature.write(vox1 / "wav" / "id10001" / "00009.wav", miniature.voice(1, 1))
    miniature.write(vox1 / "wav" / "id10001" / VIDEOS[0] / "more" / "00009.wav", miniature.voice(1, 1))
    (vox1 / "wav" / "id10005").mkdir()
    corpus = voxceleb1.read(vox1)
    assert keys(corpus) == expected(VOXCELEB1)
    assert "2 recording(s) or folder(s) at the wrong depth" in "\n".join(corpus.remarks)
    assert "1 speaker(s) without a recording" in "\n".join(corpus.remarks)


def test_names_that_are_not_utf8_are_counted_and_left_out(vox1: Path) -> None:
    folder = os.fsencode(vox1 / "wav" / "id10001" / VIDEOS[0])
    try:
        os.rename(folder + b"/00001.wav", folder + b"/caf\xe9.wav")  # noqa: PTH104 - bytes
    except OSError:
        pytest.skip("the file system holds UTF-8 names only")
    corpus = voxceleb1.read(vox1)
    assert len(corpus.splits["train"]) == len(expected(VOXCELEB1)["train"]) - 1
    assert r"1 file(s) whose name is not UTF-8" in "\n".join(corpus.remarks)
    assert r"caf\xe9.wav" in "\n".join(corpus.remarks)


def test_links_are_followed_once(vox1: Path) -> None:
    (vox1 / "loop").symlink_to(vox1)
    (vox1 / "wav" / "again").symlink_to(vox1 / "wav")
    linked = vox1.parent / "linked"
    linked.mkdir()
    (linked / "dev").symlink_to(vox1 / "wav")
    (vox1 / "wav" / "id10001" / "loop").symlink_to(vox1 / "wav" / "id10001")
    assert keys(voxceleb1.read(vox1)) == expected(VOXCELEB1)
    assert keys(voxceleb1.read(linked)) == expected(VOXCELEB1)


def test_a_second_copy_is_told(vox1: Path) -> None:
    miniature.voxceleb(vox1 / "copy", VOXCELEB1["test"][:1])
    corpus = voxceleb1.read(vox1)
    assert keys(corpus) == expected(VOXCELEB1)
    assert "4 utterance(s) found in two places" in "\n".join(corpus.remarks)


def test_broken_files_do_not_stop_preparing(vox1: Path) -> None:
    first, second, *rest = expected(VOXCELEB1)["eval"]
    (vox1 / "wav" / first).write_bytes(b"")
    (vox1 / "wav" / second).write_bytes(b"<html>404 Not Found</html>" * 100)
    prepared = prepare_split(voxceleb1.read(vox1), "eval")
    assert list(prepared.manifest.column("utterance")) == rest
    assert {left.utterance for left in prepared.left_out} == {first, second}


def test_check_counts_what_is_there_and_names_what_is_not(vox1: Path) -> None:
    train, test = expected(VOXCELEB1)["train"], expected(VOXCELEB1)["eval"]
    miniature.write_lines(vox1 / "iden_split.txt", ((1, key) for key in [*train, *test]))
    (vox1 / "wav" / test[0]).write_bytes(b"")
    (vox1 / "wav" / test[1]).write_bytes(b"<html>404 Not Found</html>" * 100)
    (vox1 / "wav" / test[2]).write_bytes(b"RIFF")
    (vox1 / "wav" / train[-1]).unlink()
    (vox1 / "vox1_dev_wav_partaa").write_bytes(b"PK")
    report = voxceleb1.check(vox1, headers=True)
    assert not report.whole
    by_name = {part.name: part for part in report.parts}
    assert (by_name["train"].speakers, by_name["train"].utterances) == (3, 11)
    assert by_name["train"].hours == pytest.approx(11 / 3600)
    assert by_name["eval"].hours == pytest.approx(5 / 3600)
    found = {fault.kind.what: fault for fault in report.faults}
    assert {what: fault.count for what, fault in found.items()} == {
        "archive(s) or piece(s) of one beside the audio": 1,
        "utterance(s) of the corpus's own lists not on disk": 1,
        "empty file(s) (0 bytes)": 1,
        "file(s) under 1024 bytes, too small for speech": 1,
        "file(s) that cannot be read as audio": 1,
    }
    assert found["utterance(s) of the corpus's own lists not on disk"].examples == (train[-1],)
    assert "148,642" in str(report)
    assert "NOT whole" in str(report)


def test_a_whole_corpus_checks_as_whole(published: Path) -> None:
    (published / "vox1_test_wav.zip").write_bytes(b"PK")
    report = voxceleb1.check(published)
    assert report.whole
    assert report.parts[0].hours is None
    assert not voxceleb1.read(published).remarks


@pytest.fixture
def published(vox1: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with ``iden_split.txt``, taken for all that was published."""
    trials = voxceleb1.read(vox1).trials
    lists = [
        replace(one, targets=int(found.target.sum()), nontargets=int((~found.target).sum()))
        if (found := trials.get(one.name))
        else one
        for one in voxceleb1.TRIAL_LISTS
    ]
    monkeypatch.setattr(voxceleb1, "TRIAL_LISTS", tuple(lists))
    monkeypatch.setitem(voxceleb1.PUBLISHED, "train", Published(3, 12, None, "here"))
    monkeypatch.setitem(voxceleb1.PUBLISHED, "eval", Published(2, 8, None, "here"))
    every = [key for part in expected(VOXCELEB1).values() for key in part]
    miniature.write_lines(vox1 / "iden_split.txt", ((1, key) for key in every))
    return vox1


def lists_in(report: Completeness) -> dict[str, tuple[bool, str]]:
    return {one.name.partition(" ")[0]: (one.sound, one.state) for one in report.lists}


def test_check_says_of_each_list_whether_it_is_there_and_whole(published: Path) -> None:
    found = lists_in(voxceleb1.check(published))
    assert found["vox1-O-cleaned"] == (True, "whole, 28 trials")
    assert found["vox1_meta.csv"] == (True, "whole, 5 speakers")
    assert found["iden_split.txt"] == (True, "whole, 20 utterances")
    address = "https://mm.kaist.ac.kr/datasets/voxceleb/meta/"
    assert found["vox1-E"] == (True, f"absent: get it from {address}list_test_all.txt")
    assert "list vox1-O (veri_test.txt): absent: get it from" in str(voxceleb1.check(published))
    (published / "vox1_meta.csv").unlink()
    sound, state = lists_in(voxceleb1.check(published))["vox1_meta.csv"]
    assert (sound, state) == (True, f"absent, so genders are unknown: get it from {address}vox1_meta.csv")
    assert voxceleb1.check(published).whole


@pytest.mark.parametrize("name", ["veri_test2.txt", "vox1_meta.csv", "iden_split.txt"])
def test_a_list_that_was_cut_off_makes_a_corpus_not_whole(published: Path, name: str) -> None:
    assert voxceleb1.check(published).whole
    lines = (published / name).read_text().splitlines(keepends=True)
    (published / name).write_text("".join(lines[:-1]))
    report = voxceleb1.check(published)
    assert not report.whole
    (state,) = [one.state for one in report.lists if name in one.name]
    assert f"published are {len(lines) - (name == 'vox1_meta.csv')}" in state


def test_lists_of_another_release_are_told_apart_from_recordings_that_are_missing(vox1: Path) -> None:
    old = [(1, "Eartha_Kitt/x6uYqmx31kE/1.wav", "Eartha_Kitt/8jEAjG6SegY/8.wav")]
    miniature.write_lines(vox1 / "veri_test.txt", old)
    miniature.write_lines(vox1 / "iden_split.txt", [(1, key) for _, _, key in old])
    miniature.vox1_meta(vox1 / "vox1_meta.csv", {"dev": ["id10400"]})
    report = voxceleb1.check(vox1)
    found = lists_in(report)
    for name, count in (("vox1-O", 2), ("iden_split.txt", 1)):
        sound, state = found[name]
        assert not sound
        assert f"{count} of its {count} utterances are not on disk, such as Eartha_Kitt/" in state
        assert "another release" in state
    assert found["vox1_meta.csv"] == (
        False,
        "of another release: none of its 1 speakers is on disk, such as id10400",
    )
    assert not any("utterance(s) of the corpus's own lists" in fault.kind.what for fault in report.faults)


def test_a_part_that_is_missing_counts_nothing(tmp_path: Path) -> None:
    miniature.voxceleb(tmp_path / "dev" / "aac", VOXCELEB2["dev"], suffix=".wav")
    miniature.vox2_meta(
        tmp_path / "vox2_meta.csv", {"dev": [*VOXCELEB2["dev"], "id00020"], "test": ["id00017"]}
    )
    report = voxceleb2.check(tmp_path)
    assert [(part.name, part.utterances, part.whole) for part in report.parts] == [
        ("train", 8, False),
        ("eval", 0, False),
    ]
    assert [fault.examples for fault in report.faults] == [("id00020",)]
    assert lists_in(report) == {"vox2_meta.csv": (False, "cut off: it has 4 speakers; published are 6,112")}
    (tmp_path / "vox2_meta.csv").unlink()
    sound, state = lists_in(voxceleb2.check(tmp_path))["vox2_meta.csv"]
    assert sound
    assert state.startswith("absent")


def test_reading_twice_gives_the_same_order(vox1: Path) -> None:
    assert keys(voxceleb1.read(vox1)) == keys(voxceleb1.read(vox1))
    assert keys(voxceleb1.read(vox1))["train"] == sorted(expected(VOXCELEB1)["train"])


@pytest.mark.corpus
def test_real_speech_in_the_layout_of_voxceleb(tmp_path: Path, shared_corpora: Path) -> None:
    folders = sorted((shared_corpora / "wuw" / "eval").iterdir())

    def real(speaker: int, utterance: int) -> np.ndarray:
        return audio.load(sorted(folders[speaker % 2].glob("*.opus"))[utterance])

    test = miniature.voxceleb(tmp_path / "vox1_test_wav" / "wav", VOXCELEB1["test"], voice=real)
    miniature.voxceleb(tmp_path / "aac", VOXCELEB2["dev"][:1], suffix=".m4a", voice=real)
    miniature.write_lines(tmp_path / "veri_test2.txt", miniature.pairs(test))
    corpus = voxceleb1.read(tmp_path)
    prepared = prepare_split(corpus, "eval")
    assert not prepared.left_out
    assert set(corpus.trials["vox1-O-cleaned"].utterances) <= set(prepared.manifest.column("utterance"))
    assert not prepare_split(voxceleb2.read(tmp_path), "train").left_out
