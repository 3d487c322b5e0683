"""LibriSpeech: a miniature of the tree, in each way in which people have it."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from tests.corpora.site import serving
from voxangle.corpora import librispeech
from voxangle.corpora.librispeech import PUBLISHED, RELEASE, SUBSETS, check, get, read
from voxangle.corpora.prepared import prepare_split
from voxangle.errors import CorpusError

# By subset the readers, and of each the sex and the chapters.
READERS = {
    "train-clean-100": {"103": ("F", ["1240", "1241"]), "1034": ("M", ["121119"])},
    "train-other-500": {"20": ("F", ["205"])},
    "dev-other": {"116": ("M", ["288045"])},
    "test-clean": {"61": ("M", ["70968", "70970"]), "121": ("F", ["121726", "123852"])},
    "test-other": {"367": ("F", ["130732", "293981"])},
}


def speak(voices: Path, path: Path, speaker: int, utterance: int) -> None:
    samples, rate = soundfile.read(voices / f"s{speaker % 6}" / f"u{utterance % 4}.wav")
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples[: rate // 2], rate)


@pytest.fixture(scope="module")
def root(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``LibriSpeech`` as unpacked, with two utterances a chapter."""
    top = tmp_path_factory.mktemp("own") / "LibriSpeech"
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME\n"]
    number = 0
    for subset, readers in READERS.items():
        for speaker, (sex, chapters) in readers.items():
            number += 1
            lines.append(f"{speaker:5}| {sex} | {subset:17}| 25.03 | Karel Čapek\n")
            for chapter in chapters:
                folder = top / subset / speaker / chapter
                for i in range(2):
                    speak(voices, folder / f"{speaker}-{chapter}-{i:04}.flac", number, i)
                (folder / f"{speaker}-{chapter}.trans.txt").write_text("WORDS\n")
                (folder / f"._{speaker}-{chapter}-0000.flac").write_bytes(b"Mac OS")
    (top / "SPEAKERS.TXT").write_text("".join(lines), encoding="utf-8")
    return top


def counts(corpus) -> dict[str, int]:
    return {split: len(manifest) for split, manifest in corpus.splits.items()}


def test_subsets_make_three_splits_whose_speakers_are_disjoint(root: Path) -> None:
    corpus = read(root)
    assert counts(corpus) == {"train": 8, "dev": 2, "eval": 12}
    speakers = [set(manifest.speakers()) for manifest in corpus.splits.values()]
    assert sum(map(len, speakers)) == len(set().union(*speakers)) == 7


def test_the_layout_says_who_speaks_when(root: Path) -> None:
    (row,) = [row for row in read(root).splits["eval"] if row.utterance == "121-123852-0001"]
    assert (row.speaker, row.session, row.gender, row.language) == ("librispeech-121", "123852", "f", "en")
    assert row.path == "test-clean/121/123852/121-123852-0001.flac"
    assert row.seconds == 0, "a third of a million headers are not read for it"


def test_targets_cross_chapters_and_same_gender_means_it(root: Path) -> None:
    corpus = read(root)
    who = {row.utterance: row for row in corpus.splits["eval"]}
    assert set(corpus.trials) == {"all-pairs", "same-gender"}
    for name, trials in corpus.trials.items():
        for enrol, test, target in zip(trials.enrol, trials.test, trials.target, strict=True):
            a, b = who[trials.utterances[enrol]], who[trials.utterances[test]]
            assert (a.speaker == b.speaker) == target
            assert not target or a.session != b.session
            assert name == "all-pairs" or a.gender == b.gender


def test_the_folder_above_and_one_subset_s_folder_are_roots_too(root: Path) -> None:
    assert counts(read(root.parent)) == counts(read(root))
    corpus = read(root / "test-other")
    assert counts(corpus) == {"eval": 4}
    assert {row.gender for row in corpus.splits["eval"]} == {"f"}
    assert corpus.trials == {}, "one speaker makes no non-targets"


def test_archives_unpacked_each_into_its_folder_are_found(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "dev-other", tmp_path / "dev-other" / "LibriSpeech" / "dev-other")
    assert counts(read(tmp_path)) == {"dev": 2}


def test_what_is_missing_is_counted_in_the_notes(root: Path) -> None:
    notes = "\n".join(read(root).remarks)
    assert "train-clean-100: 2 speakers, 6 utterances; published: 251 / 28,539" in notes
    assert "train-clean-360" not in notes, "to have no part of a subset is no fault"


def test_check_counts_what_is_there_against_what_was_published(root: Path) -> None:
    found = check(root, headers=True)
    assert not found.whole
    assert [part.name for part in found.parts] == list(dict.fromkeys(s for s in PUBLISHED if s in READERS))
    (part,) = [part for part in found.parts if part.name == "test-clean"]
    assert (part.speakers, part.utterances) == (2, 8)
    assert part.hours == pytest.approx(8 * 0.5 / 3600)


def test_the_published_counts_are_the_corpus_s() -> None:
    assert sum(subset.speakers for subset in PUBLISHED.values()) == 2484
    assert sum(subset.utterances for subset in PUBLISHED.values()) == 292_367
    assert sum(subset.hours for subset in PUBLISHED.values()) == pytest.approx(982.1)
    assert {subset for subsets in SUBSETS.values() for subset in subsets} == set(PUBLISHED)


def test_linked_readers_count_and_broken_files_are_left_out_by_name(
    root: Path, voices: Path, tmp_path: Path
) -> None:
    subset = tmp_path / "test-clean"
    subset.mkdir()
    (subset / "61").symlink_to(root / "test-clean" / "61")
    speak(voices, subset / "9" / "1" / "9-1-0000.flac", 5, 0)
    (subset / "9" / "1" / "9-1-0001.flac").touch()
    (subset / "9" / "1" / "9-1-0002.flac").symlink_to(tmp_path / "nowhere.flac")
    corpus = read(tmp_path)
    prepared = prepare_split(corpus, "eval")
    assert len(prepared.manifest) == 5
    assert {(left.utterance, left.cause) for left in prepared.left_out} == {
        ("9-1-0001", "the file is empty (0 bytes)"),
        ("9-1-0002", "no such file"),
    }


def test_wav_at_another_rate_is_prepared_like_flac(voices: Path, tmp_path: Path) -> None:
    samples, _ = soundfile.read(voices / "s0" / "u0.wav")
    path = tmp_path / "dev-clean" / "84" / "1" / "84-1-0000.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, samples, 8_000)
    assert prepare_split(read(tmp_path), "dev").samples.tolist() == [64_000]


def test_a_wrong_place_is_answered_with_what_to_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no such folder.*voxangle corpora get librispeech"):
        read(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"holds no subset of LibriSpeech .*corpora get librispeech"):
        read(root / "test-clean" / "61")
    (tmp_path / "test-clean").mkdir()
    with pytest.raises(CorpusError, match=r"test-clean: no SPEAKER/CHAPTER/UTTERANCE\.flac.*unpack it again"):
        read(tmp_path)


def test_subsets_are_fetched_once(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "made.tar.gz", "w:gz") as tar:
        tar.add(root / "dev-other", arcname="LibriSpeech/dev-other")
    content = (tmp_path / "made.tar.gz").read_bytes()
    published = replace(RELEASE.archives["dev-other"], md5=hashlib.md5(content).hexdigest())
    monkeypatch.setitem(RELEASE.archives, "dev-other", published)
    with serving({"/resources/12/dev-other.tar.gz": content}) as site:
        for _ in range(2):
            get(tmp_path / "got", subsets=["dev-other"], mirrors=[f"{site.address}/resources/"])
        assert [path for path, _ in site.asked] == ["/resources/12/dev-other.tar.gz"]
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["dev-other"]
    assert counts(read(tmp_path / "got")) == {"dev": 2}


def test_all_that_is_read_can_be_fetched() -> None:
    assert set(RELEASE.archives) == set(PUBLISHED)


@pytest.mark.corpus
def test_real_speech_in_the_layout_is_prepared(shared_corpora: Path, tmp_path: Path) -> None:
    files = sorted((shared_corpora / "librispeech" / "eval").rglob("*.opus"))[:30]
    for number, file in enumerate(files):
        speaker = file.parent.name.rpartition("-")[2]
        place = (
            tmp_path / "test-clean" / speaker / str(number % 2) / f"{speaker}-{number % 2}-{number:04}.opus"
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file)
    corpus = read(tmp_path)
    prepared = prepare_split(corpus, "eval")
    assert len(prepared.manifest) == 30
    assert not prepared.left_out
    assert set(corpus.trials["all-pairs"].utterances) <= set(prepared.manifest.column("utterance"))
    assert corpus.name == librispeech.NAME
