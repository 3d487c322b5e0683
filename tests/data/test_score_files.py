from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxangle.data import Trials
from voxangle.data.score_files import read_scores
from voxangle.errors import TrialError

PAIRS = [(True, "a", "b"), (False, "a", "c"), (False, "b", "c"), (True, "c", "d")]
TRIALS = Trials.of("few", PAIRS)
SCORES = [0.5, -1.25, 1e-5, 3.0]


def written(path: Path, lines: list[str], ending: str = "\n") -> Path:
    path.write_bytes(ending.join([*lines, ""]).encode())
    return path


FORMS = {
    "kaldi": "{a} {b} {score}",
    "wespeaker": "{a} {b} {score} {label}",
    "numbers": "{a}\t{b}\t{score}\t{target:d}",
    "voxsrc": "{score} {a} {b}",
    "aligned": "  {a:<12} {b:<9}  {score:>14}  ",
}


def lines_of(form: str) -> list[str]:
    return [
        FORMS[form].format(a=a, b=b, score=score, label="target" if target else "nontarget", target=target)
        for (target, a, b), score in zip(PAIRS, SCORES, strict=True)
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_each_form_is_read_in_any_order(tmp_path: Path, form: str, ending: str) -> None:
    lines = lines_of(form)
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        path = written(tmp_path / "scores", [lines[i] for i in order], ending)
        scores = read_scores(path, TRIALS)
        assert scores.dtype == np.float64
        np.testing.assert_array_equal(scores, SCORES)


def test_keys_with_white_space_and_the_mark_of_windows_editors(tmp_path: Path) -> None:
    trials = Trials.of("spaced", [(True, "my voice 1", "my voice 2"), (False, "my voice 1", "other")])
    lines = ["my voice 1\tother\t-1", "my voice 1\tmy voice 2\t+.5"]
    path = tmp_path / "scores"
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(lines).encode())
    np.testing.assert_array_equal(read_scores(path, trials), [0.5, -1])


def test_keys_that_are_numbers(tmp_path: Path) -> None:
    trials = Trials.of("numbers", [(True, "1", "2"), (False, "1", "3")])
    path = written(tmp_path / "scores", ["1 3 -7.5", "1 2 4"])
    np.testing.assert_array_equal(read_scores(path, trials), [4, -7.5])


def test_models_are_enrolments(tmp_path: Path) -> None:
    trials = Trials.of("models", [(True, "m", "b"), (False, "m", "c")], models={"m": ["a", "d"]})
    path = written(tmp_path / "scores", ["m c 1", "m b 2"])
    np.testing.assert_array_equal(read_scores(path, trials), [2, 1])


@given(
    st.permutations(range(4)),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4),
)
def test_every_number_comes_back(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], scores: list[float]
) -> None:
    path = tmp_path_factory.mktemp("scores") / "scores"
    lines = [f"{PAIRS[i][1]} {PAIRS[i][2]} {scores[i]!r}" for i in order]
    np.testing.assert_array_equal(read_scores(written(path, lines), TRIALS), scores)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: [], "the file of scores is empty"),
        (lambda lines: [*lines[:2], "b c", lines[3]], r"line 3: expected 'KEY KEY SCORE', .* found 'b c'"),
        (lambda lines: [*lines[:2], "b c 1 target x", lines[3]], "line 3: expected .* found 'b c 1 target x'"),
        (lambda lines: [*lines[:2], "b c high", lines[3]], "score 3: 'high' is no number"),
        (lambda lines: [*lines[:2], "b c nan", lines[3]], r"score 3: 'nan' is no finite number \(1 of 4"),
        (lambda lines: ["a b inf", "a c -Inf", *lines[2:]], r"score 1: 'inf' is no finite number \(2 of 4"),
        (lambda lines: [*lines, lines[1]], r"scores 2 and 5: 'a' and 'c' stand twice \(1 such"),
        (lambda lines: [*lines, "a c 7"], "scores 2 and 5: 'a' and 'c' stand twice"),
        (lambda lines: lines[1:], "no score of 1 of the 4 trials of 'few', such as 'a' and 'b'; score the whole list"),
        (lambda lines: [*lines, "a d 1"], r"score 5: 'a' and 'd' are no trial of 'few' \(1 of 5 scores"),
        (lambda lines: [*lines, "x a 1"], "score 5: 'x' and 'a' are no trial of 'few'"),
        (lambda lines: [f"{b} {a} {c}" for a, b, c in map(str.split, lines)], "the other way round"),
        (lambda lines: [f"w/{a} w/{b} {c}" for a, b, c in map(str.split, lines)], "none of its keys, .*'w/a'"),
        (lambda lines: [f"{line} maybe" for line in lines], "'maybe' is no label; expected one of 1, 0, target"),
        (lambda lines: [f"{line} target" for line in lines], "score 2: 'a' and 'c' are a target trial here"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, change: object, said: str) -> None:
    path = written(tmp_path / "scores", change(lines_of("kaldi")))  # type: ignore[operator]
    with pytest.raises(TrialError, match=said) as raised:
        read_scores(path, TRIALS)
    assert str(path) in str(raised.value)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="no such file of scores"):
        read_scores(tmp_path / "none", TRIALS)
    with pytest.raises(TrialError, match="cannot be read as a file of scores"):
        read_scores(tmp_path, TRIALS)
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(TrialError, match="binary"):
        read_scores(tmp_path / "binary", TRIALS)
    (tmp_path / "latin").write_bytes("ä b 1\né c 2\n".encode("latin1"))
    with pytest.raises(TrialError, match="latin"):
        read_scores(tmp_path / "latin", TRIALS)
