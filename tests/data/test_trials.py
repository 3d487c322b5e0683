from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxangle.data import Trials
from voxangle.errors import TrialError

keys = st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n"), min_size=1, max_size=8).filter(
    lambda key: key == key.strip()
)
pairs = st.lists(st.tuples(st.booleans(), keys, keys), min_size=1, max_size=20)


def read_text(folder, text: str) -> Trials:
    path = folder / "short.txt"
    path.write_text(text, encoding="utf-8")
    return Trials.read(path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=pairs)
def test_trials_are_read_as_they_were_written(pairs, tmp_path):
    Trials.of("any", pairs).write(tmp_path / "list.txt")
    read = Trials.read(tmp_path / "list.txt")
    assert read.name == "list"
    enrol, test = (np.array(read.utterances, dtype=object)[side].tolist() for side in (read.enrol, read.test))
    assert list(zip(read.target.tolist(), enrol, test, strict=True)) == pairs


@given(pairs=pairs)
def test_each_key_stands_once_in_order_of_appearance(pairs):
    trials = Trials.of("any", pairs)
    assert trials.utterances == tuple(dict.fromkeys(key for _, a, b in pairs for key in (a, b)))
    assert trials.enrol.dtype == trials.test.dtype == np.int64
    assert trials.target.dtype == bool


def test_a_trial_may_stand_twice_and_a_key_meet_itself(tmp_path):
    trials = read_text(tmp_path, "1 a a\n0 a b\n0 a b\n")
    assert len(trials) == 3
    assert trials.utterances == ("a", "b")


def test_blank_lines_tabs_and_windows_line_ends_are_read(tmp_path):
    trials = read_text(tmp_path, "\n1\ta\tb\r\n\r\n  0 b   c  \n")
    assert trials.utterances == ("a", "b", "c")
    assert trials.target.tolist() == [True, False]


@pytest.mark.parametrize("line", ["2 a b", "1 a", "a b 1", "1 a b c", "target a b", "1,a,b", "01 a b"])
def test_a_bad_line_is_named(line, tmp_path):
    with pytest.raises(TrialError, match=r"short\.txt, line 4: expected '1 KEY KEY'") as caught:
        read_text(tmp_path, f"1 a b\n\n0 a c\n{line}\n0 b c\n")
    assert line in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_list_is_refused(text, tmp_path):
    with pytest.raises(TrialError, match=r"short\.txt: the trial list is empty"):
        read_text(tmp_path, text)


def test_what_is_no_list_is_refused(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    for name, cause in [
        ("no.txt", "no such trial list"),
        (".", "cannot be read"),
        ("binary", "cannot be read"),
    ]:
        with pytest.raises(TrialError, match=cause):
            Trials.read(tmp_path / name)


@pytest.mark.parametrize("key", ["", "a\nb", "a\tb", "a\rb", " a", "a\u2028"])
def test_a_key_that_the_form_cannot_hold_is_not_written(key, tmp_path):
    with pytest.raises(TrialError, match=r"list\.txt: the key .* cannot stand in a trial list"):
        Trials.of("any", [(True, "a", key)]).write(tmp_path / "list.txt")
    assert not (tmp_path / "list.txt").exists()


def test_a_line_is_what_an_editor_calls_a_line(tmp_path):
    with pytest.raises(TrialError, match=r"short\.txt, line 2: .* found 'bad'"):
        read_text(tmp_path, "1\ta\x0cb\tc\nbad\n")


def test_an_unknown_utterance_is_named_with_its_line(tmp_path):
    (tmp_path / "list.txt").write_text("1 a b\n\n0 a c\n0 b x\n0 y a\n")
    assert len(Trials.read(tmp_path / "list.txt", known={"a", "b", "c", "x", "y"})) == 4
    with pytest.raises(TrialError, match=r"list\.txt, line 4: there is no utterance 'x'"):
        Trials.read(tmp_path / "list.txt", known={"a", "b", "c"})


def test_the_mark_that_windows_editors_put_first_is_passed_over(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf1 a b\n")
    assert Trials.read(tmp_path / "list.txt").utterances == ("a", "b")
