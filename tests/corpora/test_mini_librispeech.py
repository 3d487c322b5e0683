"""Mini LibriSpeech: a miniature of it, tarred and served by a local server, fetched and read."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.corpora.site import serving
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.mini_librispeech import RELEASE, get, read
from voxangle.errors import CorpusError

# speaker: (sex, chapters), three utterances a chapter; 251 has one chapter, and one utterance in it.
SPEAKERS = {
    "train-clean-5": {"1088": ("F", ["129236", "134315"]), "1737": ("M", ["142396"])},
    "dev-clean-2": {
        "84": ("F", ["121123", "121550"]),
        "174": ("M", ["50561", "84280", "168635"]),
        "422": ("M", ["122949"]),
        "1272": ("M", ["128104", "135031"]),
        "1462": ("F", ["170138"]),
    },
}
HEADER = """; pipe-separated list of the speakers in this release
;ID  |SEX| SUBSET           |MINUTES| NAME
"""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``resources`` folder of a mirror."""
    folder = tmp_path_factory.mktemp("openslr")
    generator = np.random.default_rng(0)
    for subset, speakers in SPEAKERS.items():
        top = folder / "build" / subset / "LibriSpeech"
        for speaker, (_, chapters) in speakers.items():
            for chapter in chapters:
                for number in range(3):
                    path = top / subset / speaker / chapter / f"{speaker}-{chapter}-{number:04}.flac"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    seconds = 0.2 + number / 10
                    soundfile.write(path, generator.normal(0, 0.1, round(16_000 * seconds)), 16_000)
                (path.parent / f"{speaker}-{chapter}.trans.txt").write_text(f"{path.stem} WORDS\n")
        lines = [
            f"{speaker:5}| {sex} | {subset.rpartition('-')[0]:17}| 25.03 | A | Reader\n"
            for both in SPEAKERS.values()
            for speaker, (sex, _) in both.items()
        ]
        (top / "SPEAKERS.TXT").write_text(HEADER + "".join(lines))
        (folder / "31").mkdir(exist_ok=True)
        with tarfile.open(folder / "31" / f"{subset}.tar.gz", "w:gz") as tar:
            tar.add(top, arcname="LibriSpeech")
    return folder


@pytest.fixture
def address(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    files = {}
    for subset, archive in RELEASE.archives.items():
        content = (mirror / "31" / archive.file).read_bytes()
        files[f"/31/{archive.file}"] = content
        published = replace(archive, md5=hashlib.md5(content).hexdigest(), bytes=len(content))
        monkeypatch.setitem(RELEASE.archives, subset, published)
    with serving(files) as site:
        yield site.address


@pytest.fixture(scope="module")
def root(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both subsets in one ``LibriSpeech`` folder, as a user may have them."""
    folder = tmp_path_factory.mktemp("own")
    for archive in (mirror / "31").glob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def corpus(root: Path) -> Corpus:
    return read(root)


def test_both_archives_are_fetched_unpacked_and_readable(address: str, tmp_path: Path) -> None:
    told: set[str] = set()
    get(tmp_path / "got", lambda what, *_: told.add(what), mirrors=[address])
    assert {what for what in told if "files in" not in what} == {"train-clean-5.tar.gz", "dev-clean-2.tar.gz"}
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["dev-clean-2", "train-clean-5"]
    corpus = read(tmp_path / "got")
    assert all(file.is_file() for manifest in corpus.splits.values() for file in manifest.files())
    assert {utterance.gender for utterance in corpus.splits["eval"]} == {"f", "m"}


def test_what_is_there_is_not_fetched_again(address: str, tmp_path: Path) -> None:
    get(tmp_path / "got", mirrors=[address])
    get(tmp_path / "got", mirrors=["http://127.0.0.1:9"])


def test_a_mirror_may_come_from_the_environment(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXANGLE_OPENSLR", f"{address}/")
    get(tmp_path / "got")
    assert (tmp_path / "got/dev-clean-2/LibriSpeech/SPEAKERS.TXT").is_file()


def test_an_archive_of_other_content_is_refused(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(RELEASE.archives["dev-clean-2"], md5="0" * 32)
    monkeypatch.setitem(RELEASE.archives, "dev-clean-2", other)
    monkeypatch.setenv("VOXANGLE_OPENSLR", address)
    with pytest.raises(CorpusError, match=r"dev-clean-2\.tar\.gz.*wrong md5"):
        get(tmp_path / "got")
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["train-clean-5"]


def test_a_mirror_out_of_reach_names_the_alternatives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXANGLE_OPENSLR", "http://openslr.invalid/resources")
    with pytest.raises(CorpusError, match=r"cannot be resolved.*debian-voices.*corpora list"):
        get(tmp_path / "got")


def test_one_half_is_fetched_alone_and_the_other_missed_by_name(address: str, tmp_path: Path) -> None:
    get(tmp_path / "got", mirrors=[address], subsets=["dev-clean-2"])
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["dev-clean-2"]
    with pytest.raises(CorpusError, match="train-clean-5 is not there"):
        read(tmp_path / "got")


def test_the_layout_says_who_speaks_when(corpus: Corpus) -> None:
    (utterance,) = [u for u in corpus.splits["eval"] if u.utterance == "174-84280-0002"]
    assert utterance.speaker == "librispeech-174"
    assert utterance.session == "84280"
    assert (utterance.language, utterance.gender) == ("en", "m")
    assert utterance.seconds == pytest.approx(0.4)
    assert len(corpus.splits["train"]) == 9
    assert len(corpus.splits["eval"]) == 27


def test_speakers_are_disjoint(corpus: Corpus) -> None:
    train, evaluation = (set(corpus.splits[split].speakers()) for split in ("train", "eval"))
    assert not train & evaluation


def test_targets_cross_chapters_where_a_speaker_has_several(corpus: Corpus) -> None:
    who = {utterance.utterance: utterance for utterance in corpus.splits["eval"]}
    trials = corpus.trials["all-pairs"]
    seen = set()
    for enrol, test, target in zip(trials.enrol, trials.test, trials.target, strict=True):
        a, b = who[trials.utterances[enrol]], who[trials.utterances[test]]
        assert (a.speaker == b.speaker) == target
        if target:
            seen.add(a.speaker)
            one_chapter = a.speaker in {"librispeech-422", "librispeech-1462"}
            assert (a.session == b.session) == one_chapter
    assert seen == set(corpus.splits["eval"].speakers())


def test_same_gender_non_targets_are_of_one_gender(corpus: Corpus) -> None:
    who = {utterance.utterance: utterance for utterance in corpus.splits["eval"]}
    trials = corpus.trials["same-gender"]
    assert set(trials.target) == {True, False}
    for enrol, test in zip(trials.enrol, trials.test, strict=True):
        assert who[trials.utterances[enrol]].gender == who[trials.utterances[test]].gender
    crossing = corpus.trials["all-pairs"]
    assert any(
        who[crossing.utterances[enrol]].gender != who[crossing.utterances[test]].gender
        for enrol, test in zip(crossing.enrol, crossing.test, strict=True)
    )


def test_reading_twice_gives_the_same_trials(corpus: Corpus, root: Path) -> None:
    again = read(root)
    for name, trials in corpus.trials.items():
        assert again.trials[name].utterances == trials.utterances
        assert np.array_equal(again.trials[name].enrol, trials.enrol)
        assert np.array_equal(again.trials[name].test, trials.test)


def test_without_the_table_of_speakers_there_is_one_list(root: Path, tmp_path: Path) -> None:
    (tmp_path / "train-clean-5").symlink_to(root / "LibriSpeech/train-clean-5")
    (tmp_path / "dev-clean-2").symlink_to(root / "LibriSpeech/dev-clean-2")
    corpus = read(tmp_path)
    assert {utterance.gender for utterance in corpus.splits["eval"]} == {""}
    assert set(corpus.trials) == {"all-pairs"}


def test_a_missing_subset_is_named_with_the_command_that_fetches_it(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"train-clean-5 is not there.*voxangle corpora get mini-librispeech"
    ):
        read(tmp_path)


def test_an_empty_subset_is_named(tmp_path: Path) -> None:
    (tmp_path / "train-clean-5").mkdir()
    with pytest.raises(CorpusError, match=r"train-clean-5: no SPEAKER/CHAPTER/UTTERANCE\.flac"):
        read(tmp_path)
