"""What recordings an enrolment should have: pieces with the speech they are said to have, of sides that do not mix."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import enrolment
from benchmarks.enrolment import Drawn, Embedded, Plan, Speaker, Spoken, cut, draw, main, trials
from tests.conftest import voice
from tests.service.toys import SpectrumEmbedder
from voxangle.audio import SAMPLE_RATE
from voxangle.audio.measures import FRAME

PLAN = Plan(recordings=(1, 2), each=0.5, seconds=(0.5, 1.0), tested=(0.25, 0.5), tests=2, draws=1)


def recording(number: int, seconds: float, pause: float = 0.0) -> Spoken:
    """Sounds at a level of its own, then is silent."""
    sound = np.full(round(seconds * SAMPLE_RATE), 0.1 + number / 100, np.float32)
    sound[::2] *= -1
    return Spoken.of(np.concatenate([sound, np.zeros(round(pause * SAMPLE_RATE), np.float32)]))


def numbers(waveform: np.ndarray) -> set[int]:
    """Of which recordings samples are."""
    return set(np.rint(100 * (np.abs(waveform[waveform != 0]) - 0.1)).astype(int).tolist())


def seconds_of_speech(waveform: np.ndarray) -> float:
    return float(np.count_nonzero(waveform)) / SAMPLE_RATE


def test_pauses_are_kept_and_do_not_count() -> None:
    recordings = [recording(0, 0.4, pause=0.2), recording(1, 0.4, pause=0.2), recording(2, 0.4)]
    found = cut(recordings, 0.6)
    assert found is not None
    waveform, used = found
    assert used == 2
    assert seconds_of_speech(waveform) == pytest.approx(0.6)
    assert len(waveform) == round(0.8 * SAMPLE_RATE)  # and ends with the speech
    assert cut(recordings, 1.2) is not None
    assert cut(recordings, 1.3) is None
    assert cut([], 0.1) is None


def test_a_fraction_of_a_frame_is_left_out() -> None:
    assert len(Spoken.of(np.ones(3 * FRAME + 7, np.float32)).waveform) == 3 * FRAME


def sides(drawn: Drawn | None) -> tuple[set[int], set[int]]:
    assert drawn is not None
    tested = [one for pieces in drawn.tested.values() for one in pieces]
    return set.union(*map(numbers, drawn.enrolled.values())), set.union(*map(numbers, tested))


@pytest.mark.parametrize("seed", range(5))
def test_no_recording_is_enrolled_and_tested(seed: int) -> None:
    speaker = Speaker("a", "c", ("",) * 12, tuple(recording(i, 0.3) for i in range(12)))
    drawn = draw(speaker, PLAN, np.random.default_rng(seed))
    enrolled, tested = sides(drawn)
    assert not enrolled & tested
    assert drawn is not None
    for (_, seconds), waveform in drawn.enrolled.items():
        assert seconds_of_speech(waveform) == pytest.approx(seconds)
    assert not numbers(drawn.enrolled[0, 0.5]) & numbers(drawn.enrolled[1, 0.5])
    short, long = drawn.tested[0.25], drawn.tested[0.5]
    assert len(short) == len(long) == 2
    assert not numbers(long[0]) & numbers(long[1])
    for one, other in zip(short, long, strict=True):
        assert np.array_equal(one, other[: len(one)])


@pytest.mark.parametrize("seed", range(5))
def test_one_session_is_enrolled_and_others_are_tested(seed: int) -> None:
    session = ["few", *(5 * ["one"]), *(5 * ["other"])]  # "few" cannot be enrolled
    speaker = Speaker("a", "c", tuple(session), tuple(recording(i, 0.3) for i in range(11)))
    enrolled, tested = (
        {session[i] for i in side} for side in sides(draw(speaker, PLAN, np.random.default_rng(seed)))
    )
    assert len(enrolled) == 1
    assert "few" not in enrolled
    assert not enrolled & tested


def test_who_says_too_little_is_left_out() -> None:
    for count in (3, 4):  # too few to enrol, and nothing left to test
        speaker = Speaker("a", "c", ("",) * count, tuple(recording(i, 0.3) for i in range(count)))
        assert draw(speaker, PLAN, np.random.default_rng(0)) is None


def test_trials_are_of_one_corpus_and_draw_against_the_mean_of_what_was_enrolled() -> None:
    x, y = np.eye(2, dtype=np.float32)

    def drawn(name: str, corpus: str, number: int, *enrolled: np.ndarray) -> Embedded:
        prints = {(place, 2.0): vector for place, vector in enumerate(enrolled)}
        return Embedded(name, corpus, number, Drawn(prints, {1.0: [x, y]}))

    embedded = [
        *(drawn("a", "c", 0, x, 3 * y), drawn("b", "c", 0, x, x)),
        *(drawn("a", "c", 1, x, x), drawn("d", "e", 0, y, y)),
    ]
    found = trials(embedded, (2, 2.0), 1.0)
    pairs = list(zip(found.enrol_speaker.tolist(), found.test_speaker.tolist(), strict=True))
    assert pairs == [
        *(("a", "a"), ("a", "a"), ("a", "b"), ("a", "b"), ("b", "a"), ("b", "a"), ("b", "b"), ("b", "b")),
        *(("a", "a"), ("a", "a"), ("d", "d"), ("d", "d")),
    ]
    assert found.target.tolist() == [one == other for one, other in pairs]
    assert found.scores[:2] == pytest.approx(
        np.array([1, 3]) / np.sqrt(10)
    )  # the longer vector counts for more
    assert found.scores[-2:] == pytest.approx([0, 1])


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """Three made-up speakers of one corpus; a fourth hardly speaks."""
    with (tmp_path / "utterances.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "corpus", "split", "speaker", "session"])
        for speaker, count in enumerate((7, 7, 7, 2)):
            for i in range(count):
                path = f"{speaker}-{i}.wav"
                soundfile.write(tmp_path / path, voice(speaker, i, 3.0), SAMPLE_RATE)
                table.writerow([path, "made-up", "eval", f"s{speaker}", ""])
    return tmp_path


@pytest.fixture
def lines(corpora: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setattr(enrolment, "load_model", lambda model: (SpectrumEmbedder(), model))
    main(["--corpora", str(corpora), "--draws", "1"])
    return capsys.readouterr().out.splitlines()


def test_the_tables_have_a_row_for_each_enrolment(lines: list[str]) -> None:
    assert lines[1] == "speakers: made-up 3; 1 have too little speech"
    rows = [line.split(" | ")[0] for line in lines if line.startswith("| ")]
    assert rows == [
        "| enrolled",
        "| 1 x 2 s",
        "| 2 x 2 s",
        "| 3 x 2 s",
        "| 5 x 2 s",
        "| 1 x 5 s",
        "| 1 x 10 s",
    ]
    changes = [line.split(":")[0] for line in lines if line.startswith("- ")]
    assert changes[0] == "- 2 x 2 s and 5 s, not 1 x 2 s and 5 s"
    assert "- 5 x 2 s and 5 s, not 1 x 10 s and 5 s" in changes
    assert changes[-1] == "- 5 x 2 s and 5 s, not 5 x 2 s and 3 s"
