from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxangle.data import Trials, trial_files
from voxangle.data.trial_files import read_models
from voxangle.errors import TrialError

keys = st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n"), min_size=1, max_size=8).filter(
    lambda key: key == key.strip()
)
pairs = st.lists(
    st.tuples(st.booleans(), keys, keys), min_size=1, max_size=20, unique_by=lambda pair: pair[1:]
)


def read_text(folder, text: str) -> Trials:
    path = folder / "short.txt"
    path.write_text(text, encoding="utf-8")
    return Trials.read(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def test_a_trial_stands_twice_only_where_that_is_allowed_and_a_key_may_meet_itself(tmp_path):
    text = "1 a a\n0 a b\n0 b a\n\n0 a b\n0 a b\n"
    with pytest.raises(
        TrialError,
        match=r"short\.txt, lines 2 and 5: the trial of 'a' and 'b' stands there twice \(2 lines repeat",
    ):
        read_text(tmp_path, text)
    trials = Trials.read(tmp_path / "short.txt", repeated=True)
    assert len(trials) == 5
    assert trials.utterances == ("a", "b")


@pytest.mark.parametrize("repeated", [False, True])
def test_a_trial_of_both_classes_is_never_allowed(repeated, tmp_path):
    (tmp_path / "list.txt").write_text("0 c d\n0 c d\n1 a b\n0 a c\n0 a b\n")
    with pytest.raises(
        TrialError, match=r"lines 3 and 5: 'a' and 'b' are a target and also a non-target trial"
    ):
        Trials.read(tmp_path / "list.txt", repeated=repeated)


def test_blank_lines_tabs_and_windows_line_ends_are_read(tmp_path):
    trials = read_text(tmp_path, "\n1\ta\tb\r\n\r\n  0 b   c  \n")
    assert trials.utterances == ("a", "b", "c")
    assert trials.target.tolist() == [True, False]


@pytest.mark.parametrize(
    "line", ["2 a b", "1 a", "a b 1", "1 a b c", "target a b", "1,a,b", "01 a b", "a b target"]
)
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


def triples(trials: Trials) -> list[tuple[bool, str, str]]:
    keys = trials.keys
    return [
        (bool(t), keys[a], keys[b]) for t, a, b in zip(trials.target, trials.enrol, trials.test, strict=True)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "1 a b\n0 a c\n",
        "a b 1\na c 0\n",
        "a b target\na c nontarget\n",
        "a\tb\ttarget\r\n\r\na  c\tnontarget",
    ],
)
def test_the_three_forms_that_people_have_say_the_same(text, tmp_path):
    assert triples(read_text(tmp_path, text)) == [(True, "a", "b"), (False, "a", "c")]


def test_the_whole_file_tells_its_form_though_a_key_looks_like_a_label(tmp_path):
    assert triples(read_text(tmp_path, "1 b 1\n0 c 0\nm c 1\n")) == [
        (True, "1", "b"),
        (False, "0", "c"),
        (True, "m", "c"),
    ]
    assert triples(read_text(tmp_path, "1 b target\n")) == [(True, "b", "target")]
    assert triples(read_text(tmp_path, "1 b target\n2 b nontarget\n")) == [
        (True, "1", "b"),
        (False, "2", "b"),
    ]
    # Where a whole file fits two forms it is what `write` writes.
    assert triples(read_text(tmp_path, "1 0 0\n")) == [(True, "0", "0")]


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("a b 1\na c target\n", 2, "'KEY KEY 1'"),
        ("a b target\n\na c 1\n", 3, "'KEY KEY target'"),
        ("a b 0\n1 a b\n", 2, "'KEY KEY 1'"),
        ("a b target\na b\n1 a b\n", 2, "'KEY KEY target'"),
        ("a b c\n", 1, "'1 KEY KEY'.*'KEY KEY 1'.*'KEY KEY target'"),
        ("a b\n", 1, "'1 KEY KEY'.*'KEY KEY 1'.*'KEY KEY target'"),
    ],
)
def test_a_file_of_mixed_forms_is_refused_at_the_line_that_leaves_the_form(text, line, expected, tmp_path):
    with pytest.raises(TrialError, match=rf"short\.txt, line {line}: expected {expected}"):
        read_text(tmp_path, text)


words = st.text(st.sampled_from("ab01é\u2003\x0c"), max_size=3)
gaps = st.sampled_from([" ", "  ", "\t", " \t"])
ends = st.sampled_from(["\n", "\r\n", "\r", "\n\n", " \n"])
lines = st.builds(
    lambda first, gap, second, other, third, end: first + gap + second + other + third + end,
    st.sampled_from(["0", "1", "1", "0 ", " 1", "a", "\t0"]),
    gaps,
    words,
    gaps,
    words,
    ends,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(lines, max_size=5).map("".join), block=st.sampled_from([1, 7, 1 << 20]))
def test_the_fast_way_reads_what_the_plain_way_reads(text, block, tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())

    def read() -> object:
        try:
            return triples(Trials.read(path, repeated=True))
        except TrialError as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_files, "_BYTES_A_BLOCK", block)
        fast = read()
        patch.setattr(trial_files, "_BYTES_A_BLOCK", 1 << 20)
        patch.setattr(trial_files, "_regular", lambda *_: None)
        assert fast == read()


def test_lines_are_counted_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(trial_files, "_BYTES_A_BLOCK", 40)
    with pytest.raises(TrialError, match=r"short\.txt, line 103: expected '1 KEY KEY'"):
        read_text(tmp_path, "1 a b\n" * 50 + "\n\n" + "0 a c\n" * 50 + "0 a\n")


def test_what_is_not_utf_8_is_named_with_its_line(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"1 a b\n0 a \xe9\n")
    with pytest.raises(TrialError, match=r"list\.txt, line 2: cannot be read, it is not UTF-8"):
        Trials.read(tmp_path / "list.txt")


MODELS = {"ann": ["a1", "a2"], "bob": ["b1"], "unused": ["z"]}
MODEL_PAIRS = [(True, "ann", "a3"), (False, "bob", "a3"), (False, "b2", "a1"), (True, "bob", "b2")]


def test_an_enrolment_may_be_a_model_of_several_utterances():
    trials = Trials.of("list", MODEL_PAIRS, models=MODELS)
    assert trials.utterances == ("a3", "b2", "a1", "a2", "b1")
    assert trials.keys == (*trials.utterances, "ann", "bob")
    assert triples(trials) == MODEL_PAIRS
    assert {name: [trials.utterances[i] for i in members] for name, members in trials.models.items()} == {
        "ann": ["a1", "a2"],
        "bob": ["b1"],
    }


def test_models_are_read_as_they_were_written(tmp_path):
    trials = Trials.of("list", MODEL_PAIRS, models=MODELS)
    trials.write(tmp_path / "list.txt", models=tmp_path / "enroll.map")
    assert (tmp_path / "enroll.map").read_text() == "ann a1 a2\nbob b1\n"
    for models in (tmp_path / "enroll.map", MODELS):
        read = Trials.read(tmp_path / "list.txt", known={"a1", "a2", "a3", "b1", "b2"}, models=models)
        assert triples(read) == MODEL_PAIRS
        assert read.sha256() == trials.sha256()


def test_the_checksum_is_that_of_both_files(tmp_path):
    trials = Trials.of("list", MODEL_PAIRS, models=MODELS)
    trials.write(tmp_path / "list.txt", models=tmp_path / "enroll.map")
    both = (tmp_path / "list.txt").read_bytes() + b"\n" + (tmp_path / "enroll.map").read_bytes()
    assert trials.sha256() == hashlib.sha256(both).hexdigest()
    for models in (None, MODELS | {"ann": ["a1", "a4"]}):
        assert Trials.of("list", MODEL_PAIRS, models=models).sha256() != trials.sha256()


@pytest.mark.parametrize(
    ("models", "wrong"),
    [
        ({"ann": []}, "list: the model 'ann' has no utterance"),
        ({"ann": ["a1", "a1"]}, "list: the model 'ann' names an utterance twice"),
        ({"ann": ["ann"]}, "list: 'ann' is a model and also an utterance of the list"),
        ({"ann": ["a1"], "a3": ["a2"]}, None),
        ({"ann": ["a1"], "b2": ["a3"]}, "list: 'b2' is a model and also an utterance"),
    ],
)
def test_a_model_that_means_nothing_or_two_things_is_refused(models, wrong):
    if wrong is None:
        assert list(Trials.of("list", MODEL_PAIRS, models=models).models) == ["ann"]
        return
    with pytest.raises(TrialError, match=wrong):
        Trials.of("list", MODEL_PAIRS, models=models)


def test_a_list_with_models_is_not_written_without_them(tmp_path):
    with pytest.raises(TrialError, match="no file is given for them"):
        Trials.of("list", MODEL_PAIRS, models=MODELS).write(tmp_path / "list.txt")
    spaced = Trials.of("list", [(True, "ann", "a 3")], models=MODELS)
    with pytest.raises(TrialError, match="the key 'a 3' has white space"):
        spaced.write(tmp_path / "list.txt", models=tmp_path / "models")
    assert not list(tmp_path.iterdir())


def test_an_unknown_utterance_of_a_model_is_named(tmp_path):
    (tmp_path / "list.txt").write_text("ann a3 1\nbob a3 0\n")
    (tmp_path / "models").write_text("ann a1 a2\n\nbob b1\nunused z\n")
    Trials.read(tmp_path / "list.txt", known={"a1", "a2", "a3", "b1"}, models=tmp_path / "models")
    with pytest.raises(TrialError, match=r"models: there is no utterance 'a2' of the model 'ann'"):
        Trials.read(tmp_path / "list.txt", known={"a1", "a3", "b1"}, models=tmp_path / "models")
    with pytest.raises(TrialError, match=r"list\.txt, line 2: there is no utterance 'bob'"):
        Trials.read(tmp_path / "list.txt", known={"a1", "a2", "a3"}, models={"ann": ["a1", "a2"]})


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "models: the list of models is empty"),
        ("a b\n\nc\n", "models, line 3: the model 'c' has no utterance"),
        ("a b\na c\n", "models, line 2: the model 'a' is there already"),
    ],
)
def test_a_bad_file_of_models_is_named(text, wrong, tmp_path):
    (tmp_path / "models").write_text(text)
    with pytest.raises(TrialError, match=wrong):
        read_models(tmp_path / "models")


def test_a_missing_file_of_models_is_called_so(tmp_path):
    (tmp_path / "list.txt").write_text("1 a b\n")
    with pytest.raises(TrialError, match=r"none\.map: no such list of models"):
        Trials.read(tmp_path / "list.txt", models=tmp_path / "none.map")


def test_utterances_may_be_renamed_but_not_into_one():
    trials = Trials.of("list", MODEL_PAIRS, models=MODELS).renamed("eval/{}".format)
    assert triples(trials)[0] == (True, "ann", "eval/a3")
    with pytest.raises(TrialError, match="two utterances would be called 'a'"):
        trials.renamed(lambda key: key[5])
