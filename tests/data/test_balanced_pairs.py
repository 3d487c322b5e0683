"""Trials in which the channel says nothing of the voice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxangle.data import Manifest
from voxangle.data.balanced_pairs import balanced_trials
from voxangle.data.manifest import Utterance
from voxangle.data.trials import Trials
from voxangle.errors import CorpusError


def manifest(*speakers: tuple[str, str]) -> Manifest:
    """A speaker for each pair of (languages, channels), a letter an utterance."""
    return Manifest.of(
        [
            Utterance(
                f"s{number}/{row}", f"s{number}", f"{number}-{row}.wav", language=language, channel=channel
            )
            for number, (languages, channels) in enumerate(speakers)
            for row, (language, channel) in enumerate(zip(languages, channels, strict=True))
        ],
        Path("/"),
    )


def strata(trials: Trials, of: Manifest) -> tuple[Counter[object], Counter[object]]:
    """How many non-target and target trials there are by the languages and channels of both sides."""
    setting = {u.utterance: (u.language, u.channel) for u in of}
    sides = [
        tuple(sorted((setting[trials.keys[a]], setting[trials.keys[b]])))
        for a, b in zip(trials.enrol, trials.test, strict=True)
    ]
    return tuple(  # type: ignore[return-value]
        Counter(side for side, target in zip(sides, trials.target, strict=True) if target == wanted)
        for wanted in (False, True)
    )


many, few = [("eeee", "aaaa")] * 12, [("eeee", "bbbb")] * 3


def test_every_channel_has_as_many_nontargets_a_target() -> None:
    whole = manifest(*many, *few)
    trials = balanced_trials(whole, "list")
    nontargets, targets = strata(trials, whole)
    wide, narrow = ((("e", "a"),) * 2, (("e", "b"),) * 2)
    assert targets[wide] == 12 * 6  # all there are
    assert targets[narrow] == 3 * 4 * 4 // 3  # its 48 non-target pairs are enough for so many of 18
    assert nontargets == {side: 3 * count for side, count in targets.items()}
    speaker = whole.speaker_of()
    for enrol, test, target in zip(trials.enrol, trials.test, trials.target, strict=True):
        assert (speaker[trials.keys[enrol]] == speaker[trials.keys[test]]) is bool(target)
    assert len({(a, b) for a, b in zip(trials.enrol, trials.test, strict=True)}) == len(trials)


def test_pairs_across_channels_have_their_like() -> None:
    whole = manifest(*[("ee", "ab")] * 8)
    nontargets, targets = strata(balanced_trials(whole, "list", per_target=2), whole)
    across = (("e", "a"), ("e", "b"))
    assert targets == {across: 8}
    assert nontargets == {across: 16}


def test_who_is_alone_in_a_language_is_in_no_trial() -> None:
    whole = manifest(*many, ("zz", "aa"))
    assert not any(key.startswith("s12/") for key in balanced_trials(whole, "list").keys)


def test_what_is_not_known_is_one_language() -> None:
    whole = Manifest.of(
        [Utterance(f"s{n}/{u}", f"s{n}", f"{n}{u}.wav") for n in range(5) for u in range(3)], Path("/")
    )
    trials = balanced_trials(whole, "list")
    assert trials.target.sum() == 15
    assert len(trials) == 60


@given(
    st.lists(
        st.sampled_from([("ee", "aa"), ("eee", "aab"), ("ez", "ab"), ("zzzz", "bbbb")]),
        min_size=6,
        max_size=14,
    ),
    st.integers(1, 4),
    st.integers(0, 5),
)
def test_the_classes_have_one_mixture_of_strata(
    speakers: list[tuple[str, str]], per_target: int, seed: int
) -> None:
    whole = manifest(*speakers)
    try:
        trials = balanced_trials(whole, "list", per_target=per_target, seed=seed)
    except CorpusError:
        return
    nontargets, targets = strata(trials, whole)
    assert nontargets == {side: per_target * count for side, count in targets.items()}
    again = balanced_trials(whole, "list", per_target=per_target, seed=seed)
    assert np.array_equal(again.enrol, trials.enrol)


@pytest.mark.parametrize("speakers", [[("ee", "aa")], [("e", "a"), ("e", "a")], [("ee", "aa"), ("zz", "bb")]])
def test_nothing_to_pair(speakers: list[tuple[str, str]]) -> None:
    with pytest.raises(CorpusError, match="no language and channel has both"):
        balanced_trials(manifest(*speakers), "list")
