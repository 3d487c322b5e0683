from __future__ import annotations

import numpy as np

from tests.reporting.toys import Page, toy_result
from voxangle.reporting.hard_trials import contradictions, hardest, trial_players
from voxangle.scoring import Result, TrialScores


def scores_of(result: Result) -> TrialScores:
    assert result.scores is not None
    return result.scores


def pairs(trials: TrialScores, places: np.ndarray) -> list[frozenset[int]]:
    return [
        frozenset(two)
        for two in zip(
            trials.enrol_speaker[places].tolist(), trials.test_speaker[places].tolist(), strict=True
        )
    ]


def test_the_hardest_are_the_worst_of_each_pair_of_speakers() -> None:
    trials = scores_of(toy_result(noise=1.5))
    targets, nontargets = hardest(trials, 5)
    for places, is_target, sign in ((targets, True, 1), (nontargets, False, -1)):
        worst: dict[frozenset[int], tuple[float, int]] = {}
        for place in np.flatnonzero(trials.target == is_target):
            (pair,) = pairs(trials, np.array([place]))
            worst[pair] = min(worst.get(pair, (9.0, 0)), (sign * float(trials.scores[place]), int(place)))
        assert places.tolist() == [place for _, place in sorted(worst.values())][:5]
    assert len(hardest(trials, 99)[0]) == 8  # no more than there are speakers


def test_contradictions_are_right_by_one_and_wrong_by_the_other_the_surest_first() -> None:
    one, other = toy_result(noise=1.2), toy_result(noise=1.6, seed=5)
    alone, other_alone = contradictions(one, other, 4)
    assert len(alone)
    assert len(other_alone)
    trials = scores_of(one)

    def margins(result: Result, places: np.ndarray) -> np.ndarray:
        scores = scores_of(result).scores.astype(float)
        return np.asarray((scores[places] - result.eer.threshold) / scores.std())

    for right, wrong, places in ((one, other, alone), (other, one, other_alone)):
        np.testing.assert_array_equal(margins(right, places) >= 0, trials.target[places])
        np.testing.assert_array_equal(margins(wrong, places) >= 0, ~trials.target[places])
        surest = np.minimum(np.abs(margins(right, places)), np.abs(margins(wrong, places)))
        assert (np.diff(surest) <= 0).all()
        assert len(set(pairs(trials, places))) == len(places)


def test_a_system_does_not_contradict_itself() -> None:
    result = toy_result(noise=1.5)
    assert [len(places) for places in contradictions(result, result, 4)] == [0, 0]


def test_a_trial_tells_its_score_its_conditions_and_both_sides_and_plays_them() -> None:
    result = toy_result(noise=1.5)
    trials = scores_of(result)
    place = int(np.flatnonzero(trials.conditions["even"])[3])
    asked: list[str] = []

    def clip(key: str) -> bytes | None:
        asked.append(key)
        return b"sound" if len(asked) == 1 else None

    html = trial_players("Listen.", np.array([place]), {"toy": result}, clip).html()
    page = Page(html)
    enrol, test = trials.keys[trials.enrol[place]], trials.keys[trials.test[place]]
    assert asked == [enrol, test]
    assert f"1. score {trials.scores[place]:.3f}, threshold {result.eer.threshold:.3f} (even)" in page.text
    assert f"enrolment: {enrol}, speaker {enrol[:2]}" in page.text
    assert f"test: {test}, speaker {test[:2]}" in page.text
    assert page.tags.count("audio") == 1
    assert "audio" not in trial_players("Read.", np.array([place]), {"toy": result}, None).html()
