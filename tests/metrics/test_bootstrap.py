from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from voxangle.errors import TrialError
from voxangle.metrics import bootstrap, eer, min_dcf, paired_difference
from voxangle.metrics.bootstrap import _intervals, _Speakers, _WeightedTrials


def all_pairs(speakers: int, recordings: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The speakers of both sides of every pair of utterances."""
    speaker = np.repeat(np.arange(speakers), recordings)
    first, second = np.triu_indices(speaker.size, k=1)
    return speaker[first], speaker[second]


def population(
    generator: np.random.Generator, speakers: int, recordings: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Scores in which voices differ: some are hard to recognise, some are easily taken for others."""
    enrol, test = all_pairs(speakers, recordings)
    target = enrol == test
    hardness, lambness = generator.normal(0, 0.4, (2, speakers))
    scores = generator.normal(0, 0.6, target.size)
    scores += np.where(target, 2.5 - hardness[enrol], lambness[enrol] + lambness[test])
    return scores, target, enrol, test


def test_weights_count_a_speaker_drawn_twice_as_two_people() -> None:
    # Copying the trials out by hand, and asking for the error rates of the longer list, is the definition.
    generator = np.random.default_rng(3)
    scores, target, enrol, test = population(generator, speakers=6, recordings=3)
    scores = np.round(scores, 1)  # ties
    speakers = _Speakers.of(target, enrol, test)
    system = _WeightedTrials(scores, speakers)
    for weights in speakers.draws(30, seed=4):
        copies = np.where(target, weights[enrol], weights[enrol] * weights[test])
        copied, is_target = np.repeat(scores, copies), np.repeat(target, copies)
        expected = [
            eer(copied[is_target], copied[~is_target]).rate,
            min_dcf(copied[is_target], copied[~is_target], p_target=0.01).rate,
            min_dcf(copied[is_target], copied[~is_target], p_target=0.3).rate,
        ]
        np.testing.assert_allclose(system.rates(weights, (0.01, 0.3)), expected, atol=1e-12)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40))
def test_weights_of_one_give_the_plain_error_rates(trials: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in trials], dtype=float)
    target = np.array([is_target for _, is_target in trials])
    if target.all() or not target.any():
        return
    speakers = _Speakers.of(target, np.zeros(target.size), np.where(target, 0, 1))
    rates = _WeightedTrials(scores, speakers).rates(np.ones(2, dtype=np.int64), (0.05,))
    assert rates[0] == pytest.approx(eer(scores[target], scores[~target]).rate, abs=1e-12)
    assert rates[1] == pytest.approx(min_dcf(scores[target], scores[~target], p_target=0.05).rate, abs=1e-12)


def test_speakers_are_drawn_with_replacement_and_as_many_as_there_are() -> None:
    enrol, test = all_pairs(5, 2)
    draws = list(_Speakers.of(enrol == test, enrol, test).draws(2000, seed=0))
    assert all(weights.sum() == 5 for weights in draws)
    left_out = np.mean([weights == 0 for weights in draws], axis=0)
    np.testing.assert_allclose(left_out, (1 - 1 / 5) ** 5, atol=0.04)


def test_one_seed_gives_one_interval_and_another_seed_another() -> None:
    data = population(np.random.default_rng(0), 10, 3)
    assert bootstrap(*data, replicates=50, seed=7) == bootstrap(*data, replicates=50, seed=7)
    assert bootstrap(*data, replicates=50, seed=7) != bootstrap(*data, replicates=50, seed=8)


def test_the_order_and_the_names_of_trials_and_speakers_are_immaterial() -> None:
    scores, target, enrol, test = population(np.random.default_rng(0), 10, 3)
    order = np.random.default_rng(1).permutation(scores.size)
    names = np.array([f"speaker-{i}" for i in range(10)])
    plain = bootstrap(scores, target, enrol, test, replicates=50)
    assert bootstrap(scores[order], target[order], enrol[order], test[order], replicates=50) == plain
    assert bootstrap(scores, target, names[enrol], names[test], replicates=50) == plain


def test_the_interval_says_how_many_speakers_it_rests_on_and_what_was_left_out() -> None:
    # With two speakers, half of the draws hold one of them twice and no non-target trial.
    scores, target, enrol, test = population(np.random.default_rng(0), 2, 4)
    result = bootstrap(scores, target, enrol, test, replicates=400)
    assert result.speakers == 2
    assert result.replicates + result.discarded == 400
    assert 140 < result.discarded < 260


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(11)
    scores, target, _, _ = population(generator, 700, 2)
    truth = eer(scores[target], scores[~target]).rate
    true_cost = min_dcf(scores[target], scores[~target], p_target=0.05).rate
    covered: Counter[str] = Counter()
    lists = 100
    for seed in range(lists):
        scores, target, enrol, test = population(generator, 30, 8)
        result = bootstrap(scores, target, enrol, test, priors=(0.05,), replicates=150, seed=seed)
        covered["eer"] += result.eer.low <= truth <= result.eer.high
        covered["cost"] += result.min_dcf[0].low <= true_cost <= result.min_dcf[0].high
        # Trials drawn one by one, as if they were independent: the interval is far too narrow.
        error, trials = eer(scores[target], scores[~target]).rate, int(target.sum())
        covered["trials"] += abs(error - truth) <= 1.96 * np.sqrt(error * (1 - error) / trials)
    # minDCF of a small list is itself optimistic, which no resampling sees in full: hence its looser bound.
    assert covered["eer"] / lists > 0.87
    assert covered["cost"] / lists > 0.75
    assert covered["trials"] < covered["eer"] - 0.1 * lists


@pytest.mark.parametrize(("share", "low", "high"), [(0.5, 0.025, 0.975), (0.3, 0.00134, 0.81885)])
def test_the_ends_are_percentiles_shifted_by_twice_the_bias(share: float, low: float, high: float) -> None:
    # Efron: Phi(2 z0 -+ 1.95996), with z0 = Phi^-1(share of the replicates below the estimate).
    draws = np.linspace(0, 1, 100_001)[:, None]
    (interval,) = _intervals(np.array([share]), draws, 0.95)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=2e-4)


def test_the_interval_widens_with_the_level_and_narrows_with_the_speakers() -> None:
    def width(speakers: int, level: float) -> float:
        data = population(np.random.default_rng(5), speakers, 4)
        interval = bootstrap(*data, replicates=200, level=level).eer
        return interval.high - interval.low

    assert width(20, 0.99) > width(20, 0.8)
    assert width(80, 0.95) < width(10, 0.95)


def test_a_system_does_not_differ_from_itself() -> None:
    scores, target, enrol, test = population(np.random.default_rng(0), 10, 3)
    result = paired_difference(scores, 2 * scores + 1, target, enrol, test, replicates=50)
    assert result.eer == 0
    assert (result.eer_interval.low, result.eer_interval.high) == (0, 0)
    assert result.first_better == 0.5


def test_pairing_shows_a_small_difference_that_two_separate_intervals_hide() -> None:
    generator = np.random.default_rng(0)
    scores, target, enrol, test = population(generator, 40, 4)
    noisier = scores + generator.normal(0, 0.35, scores.size)
    better, worse = (bootstrap(s, target, enrol, test, replicates=300).eer for s in (scores, noisier))
    assert better.high > worse.low
    result = paired_difference(scores, noisier, target, enrol, test, replicates=300)
    expected = eer(scores[target], scores[~target]).rate - eer(noisier[target], noisier[~target]).rate
    assert result.eer == pytest.approx(expected, abs=1e-12)
    assert result.eer_interval.high < 0
    assert result.first_better > 0.97
    swapped = paired_difference(noisier, scores, target, enrol, test, replicates=300)
    assert swapped.eer == -result.eer
    assert swapped.eer_interval.low == pytest.approx(-result.eer_interval.high)


def test_a_label_that_contradicts_the_speakers_is_named() -> None:
    with pytest.raises(TrialError, match=r"trial 2: it is target, but of two speakers \('ann', 'bob'\)"):
        bootstrap([1.0, 2.0], [False, True], ["ann", "ann"], ["bob", "bob"])


def test_a_non_target_trial_within_a_speaker_comes_with_that_speaker() -> None:
    target = [True, True, False, False]
    speakers = _Speakers.of(target, ["ann", "bob", "ann", "ann"], ["ann", "bob", "ann", "bob"])
    trials = _WeightedTrials([0.5, 0.9, 0.7, 0.1], speakers)
    # With ann drawn twice her wrong label stands twice, not four times: accepting all but 0.1 has FPR 2 / 4.
    assert trials.rates(np.array([2, 1]), [0.5])[1] == pytest.approx(0.5)


def test_a_list_of_one_class_has_no_interval() -> None:
    with pytest.raises(TrialError, match="both target and non-target"):
        bootstrap([1.0, 2.0], [True, True], ["a", "b"], ["a", "b"])


def test_scores_and_trials_must_agree() -> None:
    with pytest.raises(ValueError, match="2 trials, but scores of shape"):
        bootstrap([1.0], [True, False], ["a", "a"], ["a", "b"])
    with pytest.raises(ValueError, match="2 trials, but speakers of shape"):
        bootstrap([1.0, 2.0], [True, False], ["a"], ["a"])
    with pytest.raises(TrialError, match="NaN"):
        bootstrap([1.0, np.nan], [True, False], ["a", "a"], ["a", "b"])
