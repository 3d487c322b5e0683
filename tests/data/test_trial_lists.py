"""Generated lists keep their rules, whatever the order of the manifest."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from voxangle.data import Manifest, Trials, Utterance, pair_sets, trial_lists
from voxangle.data.trial_lists import TrialRules, generate_trials
from voxangle.errors import TrialError


def rows(count: int = 60, seed: int = 0) -> list[Utterance]:
    random = np.random.default_rng(seed)
    return [
        Utterance(
            f"u{i:03d}",
            f"s{i % 7}",
            f"u{i}.wav",
            session=f"s{i % 7}-{random.integers(3)}",
            gender="f" if i % 7 < 4 else "m",
            language=str(random.choice(["en", "zh", ""])),
            channel=str(random.choice(["near", "far"])),
        )
        for i in range(count)
    ]


def manifest(utterances: list[Utterance] | None = None) -> Manifest:
    return Manifest.of(rows() if utterances is None else utterances, ".")


def pairs_of(trials: Trials) -> set[tuple[bool, str, str]]:
    keys = trials.keys
    found = {
        (bool(t), keys[a], keys[b]) for t, a, b in zip(trials.target, trials.enrol, trials.test, strict=True)
    }
    assert len(found) == len(trials)
    return found


def admitted(same: tuple[str, ...], different: tuple[str, ...]) -> set[tuple[bool, str, str]]:
    """Every pair that the rules admit, found by looking at each."""
    return {
        (a.speaker == b.speaker, a.utterance, b.utterance)
        for a, b in combinations(rows(), 2)
        if all(getattr(a, name) == getattr(b, name) != "" for name in same)
        and all("" != getattr(a, name) != getattr(b, name) != "" for name in different)
    }


RULES = [
    ((), ()),
    (("gender",), ()),
    (("gender", "language"), ("session",)),
    ((), ("session", "channel")),
    (("channel",), ("language",)),
]


@pytest.mark.parametrize(("same", "different"), RULES)
def test_all_pairs_are_those_of_a_loop_over_the_manifest(same, different):
    made = generate_trials(manifest(), "all", TrialRules(same=same, different=different))
    expected = admitted(same, different)
    assert pairs_of(made.trials) == expected
    targets = sum(target for target, _, _ in expected)
    assert (made.record.admitted_targets, made.record.targets) == (targets, targets)
    assert made.record.admitted_nontargets == made.record.nontargets == len(expected) - targets
    unknown = sum(row.language == "" for row in rows()) if "language" in same + different else 0
    assert made.record.left_out == unknown


@settings(max_examples=30)
@given(
    rules=st.sampled_from(RULES),
    targets=st.integers(1, 12),
    nontargets=st.integers(1, 12),
    seed=st.integers(0, 3),
    order=st.permutations(range(60)),
    few=st.booleans(),
)
def test_numbers_are_kept_and_rows_may_come_in_any_order(rules, targets, nontargets, seed, order, few):
    same, different = rules
    asked = TrialRules(same=same, different=different, targets=targets, nontargets=nontargets, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        if not few:
            patch.setattr(pair_sets, "_FEW", 0)
        made = generate_trials(manifest(), "some", asked)
        utterances = rows()
        again = generate_trials(manifest([utterances[i] for i in order]), "some", asked)
    found = pairs_of(made.trials)
    assert found <= admitted(same, different)
    assert Counter(target for target, _, _ in found) == {True: targets, False: nontargets}
    assert again.trials.sha256() == made.trials.sha256() == made.record.trials_sha256
    assert again.record == made.record


def test_the_seed_tells_the_draw():
    first, second = (
        generate_trials(manifest(), "x", TrialRules(targets=20, nontargets=20, seed=seed)) for seed in (0, 1)
    )
    assert first.record.trials_sha256 != second.record.trials_sha256


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("cap", [1, 3, 10])
def test_a_speaker_has_no_more_trials_than_her_cap(cap, few, monkeypatch):
    if not few:
        monkeypatch.setattr(pair_sets, "_FEW", 0)
    made = generate_trials(manifest(), "capped", TrialRules(per_speaker=cap, same=("gender",)))
    speaker = {row.utterance: row.speaker for row in rows()}
    for kind in (True, False):
        counts = Counter(
            s for target, a, b in pairs_of(made.trials) if target == kind for s in {speaker[a], speaker[b]}
        )
        assert max(counts.values()) == cap
    assert made.record.targets == 7 * cap
    # Three men, four women: where the cap is odd, one man has no partner for his last trial.
    assert made.record.nontargets >= (7 * cap - 3) // 2 - cap
    assert made.record.nontargets <= 7 * cap // 2


def test_too_much_is_refused_with_what_there_is():
    with pytest.raises(
        TrialError, match=r"x: 5,000 target trials are asked for, but the 60 utterances have 228 such"
    ):
        generate_trials(manifest(), "x", TrialRules(targets=5000))
    with pytest.raises(TrialError, match=r"have 0 such pairs \(different gender\)"):
        generate_trials(manifest(), "x", TrialRules(different=("gender",)))
    with pytest.raises(
        TrialError, match=r"non-target trials are asked for, but the 60 utterances have 0 such"
    ):
        generate_trials(manifest([Utterance(f"{i}", "s", "x") for i in range(60)]), "x")
    with pytest.raises(
        TrialError, match=r"at most 2 a speaker there was room for 14 of the 228 such pairs; raise"
    ):
        generate_trials(manifest(), "x", TrialRules(targets=15, per_speaker=2))


def test_what_the_manifest_does_not_say_is_named_with_the_cure():
    untold = [Utterance(f"{i}", f"s{i % 3}", "x") for i in range(48)]
    with pytest.raises(
        TrialError,
        match=r"x: target trials are asked for, but the session is unknown for 48 of 48 utterances; write .* "
        r"with 'session' among its columns .*, or leave out --different session$",
    ):
        generate_trials(manifest(untold), "x", TrialRules(different=("session",)))
    with pytest.raises(
        TrialError, match=r"unknown for 48 of 48 and the gender is unknown for 48 of 48 utter"
    ):
        generate_trials(manifest(untold), "x", TrialRules(same=("session",), different=("gender",)))
    told = [*untold, Utterance("a", "s0", "x", session="m"), Utterance("b", "s0", "x", session="m")]
    with pytest.raises(
        TrialError,
        match=r"the 2 utterances \(the session is unknown for 48 of 50\) have 0 such pairs \(different session\)",
    ):
        generate_trials(manifest(told), "x", TrialRules(different=("session",)))


def test_more_than_a_list_can_hold_is_refused(monkeypatch):
    monkeypatch.setattr(trial_lists, "_MOST", 1000)
    with pytest.raises(TrialError, match=r"there are 1,542 non-target pairs, too many to list them all"):
        generate_trials(manifest(), "x")
    assert generate_trials(manifest(), "x", TrialRules(nontargets=1000)).record.nontargets == 1000


def test_a_rule_that_contradicts_itself_is_refused():
    for wrong in [{"same": ("gender",), "different": ("gender",)}, {"targets": 0}, {"same": ("age",)}]:
        with pytest.raises(ValidationError):
            TrialRules(**wrong)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"same": ["gende"]}, r"--same gende: the manifest says no such thing; did you mean 'gender'"),
        ({"different": ["gender"], "same": ["gender"]}, r"same and different: 'gender' is named twice"),
        ({"per_speaker": 0}, r"per-speaker: Input should be greater"),
    ],
)
def test_what_a_person_mistypes_is_told(typed, message):
    with pytest.raises(TrialError, match=message):
        TrialRules.check(**typed)
    assert TrialRules.check(same=["gender"], targets=3) == TrialRules(same=("gender",), targets=3)


def test_list_and_record_are_written_side_by_side(tmp_path):
    made = generate_trials(manifest(), "hard", TrialRules(same=("gender",), nontargets=30))
    made.write(tmp_path / "hard.txt")
    read = Trials.read(tmp_path / "hard.txt")
    assert pairs_of(read) == pairs_of(made.trials)
    record = json.loads((tmp_path / "hard.json").read_text())
    assert record["rules"]["same"] == ["gender"]
    assert record["nontargets"] == 30
    assert record["trials_sha256"] == read.sha256()
    assert read.utterances == made.trials.utterances
