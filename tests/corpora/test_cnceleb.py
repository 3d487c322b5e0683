"""CN-Celeb1 and CN-Celeb2 in miniature: the release, a converted copy, and both rules of enrolment."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.corpora import miniature
from tests.corpora.miniature import CNCELEB2, DEV, ENROLLED, FILES, ONLY_TESTED
from voxangle import audio
from voxangle.corpora import cnceleb1, cnceleb2
from voxangle.corpora.cnceleb1 import AVERAGE, CONCATENATED
from voxangle.corpora.completeness import Published
from voxangle.corpora.prepared import prepare_split
from voxangle.data import Trials
from voxangle.errors import CorpusError

TESTS = [f"test/{speaker}-{FILES[2]}.wav" for speaker in (*ENROLLED, ONLY_TESTED)]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return miniature.cnceleb1(tmp_path / "cnceleb" / "CN-Celeb_flac")


def named(trials: Trials) -> list[tuple[str, str, bool]]:
    """Each trial in words."""
    return [
        (trials.keys[enrol], trials.keys[test], bool(target))
        for enrol, test, target in zip(trials.enrol, trials.test, trials.target, strict=True)
    ]


@pytest.mark.parametrize("place", [".", "..", "data", "eval"])
def test_the_release_is_read_wherever_one_points(release: Path, place: str) -> None:
    corpus = cnceleb1.read(release / place)
    train = [row.utterance for row in corpus.splits["train"]]
    assert train == sorted(f"{speaker}/{name}.wav" for speaker in DEV for name in FILES)
    evaluation = {row.utterance for row in corpus.splits["eval"]}
    assert evaluation == {
        *TESTS,
        *(f"enroll/{speaker}-enroll.wav" for speaker in ENROLLED),
        *(f"{speaker}/{name}.wav" for speaker in ENROLLED for name in FILES[:2]),
    }
    for manifest in corpus.splits.values():
        assert all(path.suffix == ".flac" and path.is_file() for path in manifest.files())


def test_the_genre_is_the_channel_and_its_number_the_session(release: Path) -> None:
    corpus = cnceleb1.read(release)
    rows = {row.utterance: row for row in (*corpus.splits["train"], *corpus.splits["eval"])}
    trained = rows[f"{DEV[0]}/{FILES[2]}.wav"]
    assert (trained.channel, trained.session) == ("live_broadcast", "live_broadcast-02")
    tested = rows[TESTS[0]]
    assert (tested.channel, tested.session) == ("live_broadcast", "live_broadcast-02")
    assert tested.speaker == "cnceleb1-id00800"
    enrolled = rows["enroll/id00800-enroll.wav"]
    assert (enrolled.channel, enrolled.session) == ("", "")
    assert {row.language for row in rows.values()} == {"zh"}


def test_two_rules_of_enrolment_are_two_trial_lists(release: Path) -> None:
    trials = cnceleb1.read(release).trials
    assert set(trials) == {AVERAGE, CONCATENATED}
    truth = [(s, test, s in test) for s in ENROLLED for test in TESTS]
    assert named(trials[CONCATENATED]) == [(f"enroll/{s}-enroll.wav", test, same) for s, test, same in truth]
    assert not trials[CONCATENATED].models
    assert named(trials[AVERAGE]) == [(f"{s}-enroll", test, same) for s, test, same in truth]


def test_a_model_under_average_is_what_enroll_map_lists(release: Path) -> None:
    average = cnceleb1.read(release).trials[AVERAGE]
    members = {model: [average.utterances[i] for i in places] for model, places in average.models.items()}
    assert members == {f"{s}-enroll": [f"{s}/{name}.wav" for name in FILES[:2]] for s in ENROLLED}


def test_average_is_what_the_general_reader_makes_of_the_same_files(release: Path) -> None:
    average = cnceleb1.read(release).trials[AVERAGE]
    lists = release / "eval" / "lists"
    read = Trials.read(lists / "trials.lst", models=lists / "enroll.map")
    assert average.sha256() == read.sha256()


def test_lists_that_name_flac_are_the_same_lists(release: Path) -> None:
    before = cnceleb1.read(release).trials
    for path in (release / "eval" / "lists").iterdir():
        path.write_text(path.read_text().replace(".wav", ".flac"))
    after = cnceleb1.read(release).trials
    assert {name: trials.sha256() for name, trials in before.items()} == {
        name: trials.sha256() for name, trials in after.items()
    }


def test_a_converted_copy_beside_the_release_is_preferred(release: Path) -> None:
    converted = release.parent / "CN-Celeb_wav"
    miniature.cnceleb1(converted, suffix=".wav")
    for folder in ("dev", "eval/lists"):
        shutil.rmtree(converted / folder)
    corpus = cnceleb1.read(release.parent)
    assert {Path(row.path).parts[0] for row in corpus.splits["eval"]} == {"CN-Celeb_wav"}
    assert set(corpus.trials) == {AVERAGE, CONCATENATED}
    assert "utterance(s) in two formats" in "\n".join(corpus.remarks)


def test_cnceleb1_and_2_in_one_folder_are_read_apart(release: Path) -> None:
    miniature.cnceleb2(release.parent / "CN-Celeb2_flac")
    second = cnceleb2.read(release.parent)
    assert [row.utterance for row in second.splits["train"]] == sorted(
        f"{speaker}/{name}.wav" for speaker in CNCELEB2 for name in FILES
    )
    first = cnceleb1.read(release.parent)
    assert not set(first.splits["train"].speakers()) & set(second.splits["train"].speakers())
    with pytest.raises(CorpusError, match="speakers of another corpus"):
        cnceleb1.read(release.parent / "CN-Celeb2_flac")
    with pytest.raises(CorpusError, match="speakers of another corpus"):
        cnceleb2.read(release)


def test_the_evaluation_alone_is_enough(release: Path) -> None:
    shutil.rmtree(release / "data")
    corpus = cnceleb1.read(release)
    assert set(corpus.splits) == {"eval"}
    assert set(corpus.trials) == {CONCATENATED}
    assert "4 of its 7 utterances are not on disk" in corpus.left_out[AVERAGE]


def test_the_training_part_alone_is_enough(release: Path) -> None:
    shutil.rmtree(release / "eval")
    corpus = cnceleb1.read(release)
    assert set(corpus.splits) == {"train"}
    assert set(corpus.splits["train"].speakers()) == {f"cnceleb1-{speaker}" for speaker in DEV}


def test_without_dev_lst_nobody_is_trained_on(release: Path) -> None:
    shutil.rmtree(release / "dev")
    with pytest.raises(CorpusError, match=r"dev/dev\.lst is missing"):
        cnceleb1.read(release)


def test_a_dev_lst_with_speakers_of_the_evaluation_is_refused(release: Path) -> None:
    miniature.write_lines(release / "dev" / "dev.lst", [[*DEV[:1]], [ENROLLED[0]]])
    with pytest.raises(CorpusError, match=r"dev\.lst lists id00800, who is in eval too"):
        cnceleb1.read(release)


def test_recordings_of_nobody_in_the_evaluation_are_counted_and_left_out(release: Path) -> None:
    miniature.write(release / "eval" / "test" / "sample.wav", miniature.voice(1, 1))
    corpus = cnceleb1.read(release)
    assert set(corpus.trials) == {AVERAGE, CONCATENATED}
    assert "1 recording(s) or folder(s) at the wrong depth" in "\n".join(corpus.remarks)


def test_a_missing_enrolment_list_leaves_out_its_rule_only(release: Path) -> None:
    (release / "eval" / "lists" / "enroll.lst").unlink()
    corpus = cnceleb1.read(release)
    assert set(corpus.trials) == {AVERAGE}
    assert corpus.left_out == {CONCATENATED: "eval/lists/enroll.lst is missing"}


def test_a_missing_test_utterance_leaves_out_the_lists_and_is_named(release: Path) -> None:
    (release / "eval" / "test" / f"{ONLY_TESTED}-{FILES[2]}.flac").unlink()
    corpus = cnceleb1.read(release)
    assert not corpus.trials
    assert set(corpus.left_out) == {AVERAGE, CONCATENATED}
    assert all(f"such as {TESTS[2]}" in reason for reason in corpus.left_out.values())


def test_a_list_of_another_length_than_published_is_told(release: Path) -> None:
    corpus = cnceleb1.read(release)
    assert set(corpus.list_notes) == {AVERAGE, CONCATENATED}
    assert (
        "trials.lst is cut off, or filtered: it has 6 trials, 2 of them targets; published are 3,484,292"
        in (corpus.list_notes[AVERAGE])
    )
    assert sum("trials.lst" in line for line in corpus.remarks) == 1


@pytest.mark.parametrize(
    ("file", "text", "told", "left"),
    [
        ("trials.lst", "id00801-enroll test/id0", "line 7", [AVERAGE, CONCATENATED]),
        ("trials.lst", "a garbled line of the list", "line 7", [AVERAGE, CONCATENATED]),
        ("trials.lst", "id00801-enroll . 0", "1 of its 8 utterances", [AVERAGE, CONCATENATED]),
        ("enroll.map", "id00802-enroll", "line 3", [AVERAGE]),
        ("enroll.lst", "id00802-enroll", "line 3", [CONCATENATED]),
    ],
)
def test_a_broken_line_leaves_out_what_needs_the_list_and_the_rest_is_read(
    release: Path, file: str, text: str, told: str, left: list[str]
) -> None:
    whole = cnceleb1.read(release)
    with (release / "eval" / "lists" / file).open("a") as opened:
        opened.write(text)
    corpus = cnceleb1.read(release)
    assert sorted(corpus.left_out) == left
    assert told in corpus.left_out[left[0]]
    assert set(corpus.trials) == {AVERAGE, CONCATENATED} - set(left)
    assert list(corpus.splits["train"]) == list(whole.splits["train"])
    assert set(TESTS) < set(corpus.splits["eval"].column("utterance"))
    (state,) = [one for one in cnceleb1.check(release).lists if one.name == file]
    assert not state.sound


def test_check_counts_what_is_there_and_names_what_is_not(release: Path) -> None:
    miniature.write_lines(release / "dev" / "dev.lst", [["id00000"], ["id00001"], ["id00002"]])
    (release / "eval" / "test" / f"{ONLY_TESTED}-{FILES[2]}.flac").unlink()
    (release / "data" / DEV[0] / f"{FILES[0]}.flac").write_bytes(b"")
    (release.parent / "cn-celeb_v2.tar.gz").write_bytes(b"")
    report = cnceleb1.check(release.parent, headers=True)
    assert not report.whole
    assert [(part.name, part.speakers, part.utterances) for part in report.parts] == [
        ("train", 2, 6),
        ("eval", 2, 4),
    ]
    assert report.parts[1].hours == pytest.approx((2 * 2 + 2 * 1) / 3600)
    faults = {fault.kind.what: fault.examples for fault in report.faults}
    assert faults["speaker(s) of the corpus's own list not on disk"] == ("id00002",)
    assert faults["utterance(s) of the corpus's own lists not on disk"] == (TESTS[2],)
    states = {one.name: one.state for one in report.lists}
    assert f"1 of its 3 utterances are not on disk, such as {TESTS[2]}" in states["trials.lst"]
    assert len(faults["empty file(s) (0 bytes)"]) == 1
    assert len(faults["archive(s) or piece(s) of one beside the audio"]) == 1


@pytest.fixture
def published(release: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, taken for all that was published."""
    monkeypatch.setitem(cnceleb1.PUBLISHED, "train", Published(2, 6, None, "here"))
    monkeypatch.setitem(cnceleb1.PUBLISHED, "eval", Published(3, 5, None, "here"))
    for name, count in (("TRIALS", 6), ("TARGETS", 2), ("MODELS", 2)):
        monkeypatch.setattr(cnceleb1, name, count)
    return release


def test_a_whole_corpus_checks_as_whole(published: Path) -> None:
    report = cnceleb1.check(published)
    assert report.whole
    assert {one.name: one.state for one in report.lists} == {
        "trials.lst": "whole, 6 trials",
        "enroll.map": "whole, 2 models",
        "enroll.lst": "whole, 2 models",
    }
    assert not cnceleb1.read(published).remarks


def test_what_enrols_from_data_hides_no_test_utterance_that_is_missing(published: Path) -> None:
    (published / "eval" / "test" / f"{ONLY_TESTED}-{FILES[2]}.flac").unlink()
    counted = "eval: 2 speakers, 4 utterances; published: 3 / 5"
    assert counted in str(cnceleb1.check(published))
    assert any(f"Not all there, {counted}" in line for line in cnceleb1.read(published).notes)


def test_one_utterance_too_many_hides_none_that_is_missing(published: Path) -> None:
    shutil.rmtree(published / "eval" / "lists")
    tests = published / "eval" / "test"
    shutil.copy(tests / f"{ONLY_TESTED}-{FILES[2]}.flac", tests / f"{ONLY_TESTED}-{FILES[1]}.flac")
    assert not cnceleb1.check(published).whole
    assert any(
        "More than was published, eval: 3 speakers, 6" in line for line in cnceleb1.read(published).notes
    )


@pytest.mark.parametrize("file", ["trials.lst", "enroll.map", "enroll.lst"])
def test_check_tells_a_list_that_is_absent_cut_off_or_of_another_release(published: Path, file: str) -> None:
    path = published / "eval" / "lists" / file
    text = path.read_text()
    path.unlink()
    report = cnceleb1.check(published)
    states = {one.name: one.state for one in report.lists}
    assert report.whole
    assert states[file].startswith("absent: it is in the archive")
    path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    report = cnceleb1.check(published)
    states = {one.name: one.state for one in report.lists}
    assert not report.whole
    assert states[file].startswith("cut off")
    assert "published are" in states[file]
    path.write_text(text.replace("/id00", "/id77").replace(" id00", " id77"))
    states = {one.name: one.state for one in cnceleb1.check(published).lists}
    assert "not on disk, such as " in states[file]
    assert "the list of another release" in states[file]


def test_check_of_cnceleb2_names_speakers_of_spk_lst(tmp_path: Path) -> None:
    root = miniature.cnceleb2(tmp_path / "CN-Celeb2_flac")
    miniature.write_lines(root / "spk.lst", [[*CNCELEB2[:1]], ["id10001"]])
    report = cnceleb2.check(root)
    assert [fault.examples for fault in report.faults] == [("id10001",)]
    assert "1,996" in str(report)


def test_what_is_not_there_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    for corpus in (cnceleb1, cnceleb2):
        with pytest.raises(CorpusError, match=r"(?s)found nothing.*openslr\.org/resources/82"):
            corpus.read(tmp_path)


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_the_miniature_is_prepared(tmp_path: Path, suffix: str) -> None:
    corpus = cnceleb1.read(miniature.cnceleb1(tmp_path / "CN-Celeb", suffix=suffix))
    for split in corpus.splits:
        assert not prepare_split(corpus, split).left_out


@pytest.mark.corpus
def test_real_speech_in_the_layout_of_cnceleb(tmp_path: Path, shared_corpora: Path) -> None:
    folders = sorted((shared_corpora / "dspspeech" / "eval").iterdir())

    def real(speaker: int, utterance: int) -> np.ndarray:
        return audio.load(sorted(folders[speaker % len(folders)].glob("*.opus"))[utterance])

    corpus = cnceleb1.read(miniature.cnceleb1(tmp_path / "CN-Celeb_flac", voice=real))
    prepared = prepare_split(corpus, "eval")
    assert not prepared.left_out
    utterances = set(prepared.manifest.column("utterance"))
    assert all(utterances >= set(trials.utterances) for trials in corpus.trials.values())
