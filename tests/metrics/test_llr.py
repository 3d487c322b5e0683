from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from voxangle.errors import TrialError
from voxangle.metrics import SortedScores, act_dcf, cllr, min_cllr, min_dcf

Scores = NDArray[np.float64]

tied_llrs = st.lists(st.integers(-8, 8), min_size=1, max_size=40).map(lambda x: np.array(x, dtype=float))
free_llrs = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40).map(np.array)
any_llrs = tied_llrs | free_llrs
priors = st.floats(0.001, 0.999)
costs = st.floats(0.1, 10)


def naive_cllr(target: Scores, nontarget: Scores) -> float:
    missed = [math.log2(1 + math.exp(-llr)) for llr in target]
    alarms = [math.log2(1 + math.exp(llr)) for llr in nontarget]
    return (sum(missed) / len(missed) + sum(alarms) / len(alarms)) / 2


def isotonic_llrs(target: Scores, nontarget: Scores) -> tuple[Scores, Scores]:
    """The map that never decreases with the least cost, by isotonic regression of classes that weigh the same."""
    # Ranks, for it takes scores that are nearly equal for ties.
    _, scores = np.unique(np.concatenate([target, nontarget]), return_inverse=True)
    weights = np.repeat([1 / target.size, 1 / nontarget.size], [target.size, nontarget.size])
    regression = IsotonicRegression(y_min=0, y_max=1)
    posterior = regression.fit_transform(scores, np.arange(scores.size) < target.size, sample_weight=weights)
    with np.errstate(divide="ignore"):
        llrs = np.log(posterior) - np.log1p(-posterior)
    return llrs[: target.size], llrs[target.size :]


def test_llrs_that_say_nothing_cost_one_bit() -> None:
    assert cllr(np.zeros(3), np.zeros(500)) == pytest.approx(1, abs=1e-15)


def test_a_hand_computed_cost() -> None:
    # ln 3 either way: a target believed 3 to 1 costs log2(4/3), a non-target likewise.
    assert cllr([math.log(3)], [-math.log(3)]) == pytest.approx(math.log2(4 / 3), rel=1e-15)


@given(any_llrs, any_llrs)
def test_cllr_is_the_mean_cost_of_each_class(target: Scores, nontarget: Scores) -> None:
    assert cllr(target, nontarget) == pytest.approx(naive_cllr(target, nontarget), rel=1e-12)


@pytest.mark.parametrize("trials", [65_535, 65_536, 65_537])
def test_every_trial_of_a_long_list_counts_once(trials: int) -> None:
    llrs = np.zeros(trials)
    llrs[[0, -1]] = 1000.0
    expected = (1 + ((trials - 2) + 2000 / math.log(2)) / trials) / 2
    assert cllr([0.0], llrs) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_llrs_are_summed_in_double_precision(dtype: type) -> None:
    target, nontarget = np.full(70_000, 0.5, dtype), np.full(70_000, -0.5, dtype)
    assert cllr(target, nontarget) == pytest.approx(math.log2(1 + math.exp(-0.5)), rel=1e-14)


def test_small_and_great_costs_are_not_lost() -> None:
    assert cllr([50.0], [-50.0]) == pytest.approx(math.exp(-50) / math.log(2), rel=1e-12)
    assert cllr([-1e30], [0.0]) == pytest.approx(1e30 / (2 * math.log(2)), rel=1e-12)


def test_certainty_is_free_where_right_and_beyond_price_where_wrong() -> None:
    assert cllr([np.inf, np.inf], [-np.inf]) == 0
    assert cllr([np.inf, -np.inf], [-np.inf]) == np.inf
    assert cllr([np.inf], [0.0, np.inf]) == np.inf
    assert act_dcf([np.inf], [-np.inf]) == 0
    assert act_dcf([-np.inf, np.inf], [-np.inf]) == pytest.approx(0.5)
    assert act_dcf([np.inf], [np.inf, -np.inf], p_target=0.5) == pytest.approx(0.5)


@given(any_llrs, any_llrs, st.randoms())
def test_the_order_of_the_trials_is_immaterial(target: Scores, nontarget: Scores, random: object) -> None:
    shuffled = target.tolist(), nontarget.tolist()
    for llrs in shuffled:
        random.shuffle(llrs)  # type: ignore[attr-defined]
    assert cllr(*shuffled) == pytest.approx(cllr(target, nontarget), rel=1e-13)
    assert min_cllr(*shuffled) == min_cllr(target, nontarget)
    assert act_dcf(*shuffled) == act_dcf(target, nontarget)


@pytest.mark.parametrize(("targets", "nontargets"), [(1, 1), (3, 500), (500, 3)])
def test_scores_that_are_all_equal_can_tell_nothing(targets: int, nontargets: int) -> None:
    assert min_cllr(np.full(targets, 0.25), np.full(nontargets, 0.25)) == pytest.approx(1, abs=1e-15)


def test_separated_classes_can_be_told_for_certain_and_reversed_ones_not_at_all() -> None:
    assert min_cllr([0.7, 0.9], [0.1, 0.3]) == 0
    assert min_cllr([0.1, 0.3], [0.7, 0.9]) == pytest.approx(1, abs=1e-15)


def test_a_hand_computed_least_cost() -> None:
    # Pools: {0}: no target; {1, 2}: half the targets, half the non-targets; {3}: no non-target.
    assert min_cllr([1.0, 3.0], [0.0, 2.0]) == pytest.approx(0.5, abs=1e-15)


@given(any_llrs, any_llrs)
def test_min_cllr_is_the_cost_after_isotonic_regression(target: Scores, nontarget: Scores) -> None:
    best = cllr(*isotonic_llrs(target, nontarget))
    assert min_cllr(target, nontarget) == pytest.approx(best, abs=1e-12)


def test_many_overlapping_scores_agree_with_isotonic_regression() -> None:
    generator = np.random.default_rng(0)
    for spread in (0.1, 1.0, 3.0):
        target = generator.normal(spread, 1, 3_000).astype(np.float32).round(2)
        nontarget = generator.normal(0, 1, 40_000).astype(np.float32)
        best = cllr(*isotonic_llrs(target, nontarget))
        assert min_cllr(target, nontarget) == pytest.approx(best, abs=1e-12)


@given(any_llrs, any_llrs)
def test_no_calibration_beats_the_best(target: Scores, nontarget: Scores) -> None:
    least = min_cllr(target, nontarget)
    assert 0 <= least <= 1 + 1e-15
    assert cllr(target, nontarget) >= least - 1e-12
    assert cllr(2 * target - 1, 2 * nontarget - 1) >= least - 1e-12


@given(tied_llrs, tied_llrs)
def test_only_the_order_of_the_scores_matters(target: Scores, nontarget: Scores) -> None:
    least = min_cllr(target, nontarget)
    assert min_cllr(np.exp(target) - 3, np.exp(nontarget) - 3) == least
    assert min_cllr(-nontarget, -target) == pytest.approx(least, abs=1e-14)


def test_a_list_twice_over_costs_the_same() -> None:
    generator = np.random.default_rng(1)
    target, nontarget = generator.normal(1, 1, 50), generator.normal(0, 1, 80)
    assert min_cllr(np.tile(target, 2), nontarget) == pytest.approx(min_cllr(target, nontarget), abs=1e-14)
    assert cllr(np.tile(target, 2), nontarget) == pytest.approx(cllr(target, nontarget), abs=1e-14)


def test_one_sort_serves_it_too() -> None:
    scores = SortedScores.of([1.0, 3.0], [0.0, 2.0])
    assert scores.eer().rate == 0.5
    assert scores.min_cllr() == min_cllr([1.0, 3.0], [0.0, 2.0])


@given(any_llrs, any_llrs, priors, costs, costs)
def test_act_dcf_is_the_cost_at_the_bayes_threshold(
    target: Scores, nontarget: Scores, p: float, c_miss: float, c_fa: float
) -> None:
    threshold = math.log(c_fa * (1 - p) / (c_miss * p))
    missed = sum(llr < threshold for llr in target) / target.size
    alarms = sum(llr >= threshold for llr in nontarget) / nontarget.size
    cost = (c_miss * p * missed + c_fa * (1 - p) * alarms) / min(c_miss * p, c_fa * (1 - p))
    assert act_dcf(target, nontarget, p_target=p, c_miss=c_miss, c_fa=c_fa) == pytest.approx(cost, rel=1e-12)


@given(any_llrs, any_llrs, priors, costs, costs)
def test_no_decision_costs_less_than_the_best(
    target: Scores, nontarget: Scores, p: float, c_miss: float, c_fa: float
) -> None:
    best = min_dcf(target, nontarget, p_target=p, c_miss=c_miss, c_fa=c_fa)
    assert act_dcf(target, nontarget, p_target=p, c_miss=c_miss, c_fa=c_fa) >= best.rate


def test_an_llr_at_the_threshold_is_accepted() -> None:
    assert act_dcf([0.0], [-1.0], p_target=0.5) == 0
    assert act_dcf([1.0], [0.0], p_target=0.5) == 1


@pytest.mark.parametrize("p", [0.01, 0.02, 0.05, 0.1])  # thresholds that single precision rounds up, and down
def test_an_llr_of_single_precision_is_not_compared_with_a_rounded_threshold(p: float) -> None:
    threshold = math.log((1 - p) / p)
    nearest = np.float32(threshold)
    below = nearest if float(nearest) < threshold else np.nextafter(nearest, np.float32(0))
    above = np.nextafter(below, np.float32(100))
    assert float(below) < threshold < float(above)
    assert act_dcf(np.array([below]), np.array([-9], np.float32), p_target=p) == 1
    assert act_dcf(np.array([above]), np.array([-9], np.float32), p_target=p) == 0


@pytest.mark.parametrize("measure", [cllr, act_dcf, min_cllr])
@pytest.mark.parametrize(
    ("target", "nontarget", "missing"), [([], [1.0], "target"), ([1.0], [], "non-target")]
)
def test_a_missing_class_is_named(
    measure: object, target: list[float], nontarget: list[float], missing: str
) -> None:
    with pytest.raises(TrialError, match=rf"no .*\b{missing}\b"):
        measure(target, nontarget)  # type: ignore[operator]


@pytest.mark.parametrize("measure", [cllr, act_dcf])
def test_llrs_that_are_no_numbers_are_counted_and_refused(measure: object) -> None:
    with pytest.raises(TrialError, match="2 of 3 log-likelihood ratios of non-target trials are NaN"):
        measure([1.0], [0.0, np.nan, np.nan])  # type: ignore[operator]


def test_a_prior_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="p_target"):
        act_dcf([1.0], [0.0], p_target=1.0)
