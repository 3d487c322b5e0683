from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as oracle

from voxangle.errors import TrialError
from voxangle.metrics import SortedScores, det_curve, eer, min_dcf

Scores = NDArray[np.float64]

# Few distinct values, so that ties within and across the classes are the rule.
tied_scores = st.lists(st.integers(-8, 8), min_size=1, max_size=40).map(lambda x: np.array(x, dtype=float))
free_scores = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40).map(np.array)
any_scores = tied_scores | free_scores


def vertices(target: Scores, nontarget: Scores) -> NDArray[np.float64]:
    """(FNR, FPR) at every threshold that matters, by the definition."""
    thresholds = [*sorted({*target.tolist(), *nontarget.tolist()}), np.inf]
    return np.array([[np.mean(target < t), np.mean(nontarget >= t)] for t in thresholds])


def naive_eer(target: Scores, nontarget: Scores) -> float:
    curve = vertices(target, nontarget)
    for (fnr0, fpr0), (fnr1, fpr1) in pairwise(curve):
        if fnr1 >= fpr1:
            share = (fpr0 - fnr0) / ((fpr0 - fnr0) + (fnr1 - fpr1))
            return float(fnr0 + share * (fnr1 - fnr0))
    raise AssertionError("the curve never crosses")


def naive_min_dcf(target: Scores, nontarget: Scores, p: float, c_miss: float, c_fa: float) -> float:
    fnr, fpr = vertices(target, nontarget).T
    cost = c_miss * p * fnr + c_fa * (1 - p) * fpr
    return float(cost.min() / min(c_miss * p, c_fa * (1 - p)))


def exact_vertices(target: Scores, nontarget: Scores) -> list[tuple[Fraction, Fraction]]:
    thresholds = [*sorted({*target.tolist(), *nontarget.tolist()}), np.inf]
    return [
        (
            Fraction(int(np.sum(target < t)), target.size),
            Fraction(int(np.sum(nontarget >= t)), nontarget.size),
        )
        for t in thresholds
    ]


def meeting(before: tuple[Fraction, Fraction], after: tuple[Fraction, Fraction]) -> Fraction | None:
    """Where the line between two points meets FNR = FPR, if between them."""
    (fnr0, fpr0), (fnr1, fpr1) = before, after
    if not fnr0 < fpr0 or not fnr1 >= fpr1:
        return None
    return fnr0 + (fpr0 - fnr0) / ((fpr0 - fnr0) + (fnr1 - fpr1)) * (fnr1 - fnr0)


def rates_at(threshold: float, target: Scores, nontarget: Scores) -> tuple[float, float]:
    return float(np.mean(target >= threshold)), float(np.mean(nontarget >= threshold))


def test_separated_classes_have_no_error_and_a_threshold_between_them() -> None:
    point = eer([0.7, 0.9], [0.1, 0.3])
    assert point.rate == 0
    assert point.threshold == pytest.approx(0.5)
    assert min_dcf([0.7, 0.9], [0.1, 0.3]).rate == 0


def test_reversed_classes_are_wrong_everywhere() -> None:
    assert eer([0.1, 0.3], [0.7, 0.9]).rate == 1
    assert min_dcf([0.1, 0.3], [0.7, 0.9]).rate == 1


@pytest.mark.parametrize("convex_hull", [False, True])
@pytest.mark.parametrize(("targets", "nontargets"), [(1, 1), (3, 500), (500, 3), (7, 7)])
def test_scores_that_are_all_equal_give_one_half(targets: int, nontargets: int, convex_hull: bool) -> None:
    equal = np.full(targets, 0.25), np.full(nontargets, 0.25)
    assert eer(*equal, convex_hull=convex_hull).rate == pytest.approx(0.5, abs=1e-15)


def test_a_hand_computed_example() -> None:
    # One of four targets lies below one of five non-targets: vertices (FNR, FPR) = (0, 1/5) and (1/4, 1/5).
    target, nontarget = [2.0, 4.0, 5.0, 6.0], [-1.0, 0.0, 1.0, 1.5, 3.0]
    assert eer(target, nontarget).rate == pytest.approx(1 / 5)
    assert eer(target, nontarget).threshold == 2.0
    # p 0.5: rejecting up to 1.5 costs (0 + 1/5) / 1, rejecting up to 3 costs (1/4 + 0) / 1.
    assert min_dcf(target, nontarget, p_target=0.5).rate == pytest.approx(1 / 5)
    # p 0.01: a false alarm costs 99 times as much, so 1/4 of the targets goes.
    assert min_dcf(target, nontarget, p_target=0.01).rate == pytest.approx(1 / 4)
    assert 3.0 < min_dcf(target, nontarget, p_target=0.01).threshold <= 4.0


def test_the_prior_changes_the_cost_of_the_same_scores() -> None:
    generator = np.random.default_rng(1)
    target, nontarget = generator.normal(3, 1, 2000), generator.normal(0, 1, 20000)
    assert min_dcf(target, nontarget, p_target=0.05).rate < min_dcf(target, nontarget, p_target=0.01).rate


@given(any_scores, any_scores)
def test_eer_is_where_the_lines_between_all_vertices_cross(target: Scores, nontarget: Scores) -> None:
    assert eer(target, nontarget).rate == pytest.approx(naive_eer(target, nontarget), abs=1e-12)


@given(any_scores, any_scores)
def test_eer_is_exact_but_for_its_last_digit(target: Scores, nontarget: Scores) -> None:
    crossings = [meeting(*pair) for pair in pairwise(exact_vertices(target, nontarget))]
    (exact,) = [crossing for crossing in crossings if crossing is not None]
    assert eer(target, nontarget).rate == pytest.approx(float(exact), rel=1e-15, abs=0)


@given(any_scores, any_scores)
def test_the_eer_of_the_convex_hull_is_the_least_where_any_line_between_two_vertices_crosses(
    target: Scores, nontarget: Scores
) -> None:
    crossings = [meeting(*pair) for pair in combinations(exact_vertices(target, nontarget), 2)]
    exact = min(crossing for crossing in crossings if crossing is not None)
    point, curve = eer(target, nontarget, convex_hull=True), eer(target, nontarget)
    assert point.rate == pytest.approx(float(exact), rel=1e-15, abs=0)
    assert point.rate <= min(curve.rate * (1 + 1e-15), 0.5)
    assert point.threshold == curve.threshold


@given(any_scores, any_scores, st.floats(0.001, 0.999))
def test_the_eer_of_the_convex_hull_bounds_the_error_of_the_best_threshold_at_any_prior(
    target: Scores, nontarget: Scores, p: float
) -> None:
    bayes_error = min_dcf(target, nontarget, p_target=p).rate * min(p, 1 - p)
    assert bayes_error <= eer(target, nontarget, convex_hull=True).rate + 1e-12


def test_the_convex_hull_cuts_a_corner_of_the_curve() -> None:
    # Vertices (FNR, FPR) = (0, 1), (0, 1/2), (1/2, 1/2), (1/2, 0), (1, 0): the hull goes from (0, 1/2) to (1/2, 0).
    target, nontarget = [1.0, 3.0], [0.0, 2.0]
    assert eer(target, nontarget).rate == 0.5
    assert eer(target, nontarget, convex_hull=True).rate == 0.25
    assert eer([0.1, 0.3], [0.7, 0.9], convex_hull=True).rate == 0.5
    assert eer([0.7, 0.9], [0.1, 0.3], convex_hull=True).rate == 0


@given(any_scores, any_scores, st.floats(0.001, 0.999), st.floats(0.1, 10), st.floats(0.1, 10))
def test_min_dcf_is_the_least_cost_over_all_thresholds(
    target: Scores, nontarget: Scores, p: float, c_miss: float, c_fa: float
) -> None:
    point = min_dcf(target, nontarget, p_target=p, c_miss=c_miss, c_fa=c_fa)
    assert point.rate == pytest.approx(naive_min_dcf(target, nontarget, p, c_miss, c_fa), abs=1e-12)
    assert 0 <= point.rate <= 1 + 1e-12
    hit, alarm = rates_at(point.threshold, target, nontarget)
    cost = (c_miss * p * (1 - hit) + c_fa * (1 - p) * alarm) / min(c_miss * p, c_fa * (1 - p))
    assert cost == pytest.approx(point.rate, abs=1e-12)


@given(any_scores, any_scores)
def test_the_eer_threshold_lies_where_the_error_rates_cross(target: Scores, nontarget: Scores) -> None:
    threshold = eer(target, nontarget).threshold
    hit, alarm = rates_at(threshold, target, nontarget)
    hit_beyond, alarm_beyond = rates_at(np.nextafter(threshold, np.inf), target, nontarget)
    assert 1 - hit <= alarm + 1e-12
    assert 1 - hit_beyond >= alarm_beyond - 1e-12


@given(any_scores, any_scores, st.floats(0, 1))
@example(np.array([0.0]), np.array([0.0]), 1 - 2**-53)  # a rate just below that of every alarm
def test_at_a_rate_of_false_alarms_nothing_is_missed_that_need_not_be(
    target: Scores, nontarget: Scores, most: float
) -> None:
    point = SortedScores.of(target, nontarget).at_fpr(most)
    hit, alarm = rates_at(point.threshold, target, nontarget)
    assert 1 - hit == pytest.approx(point.rate, abs=1e-12)
    assert alarm <= most
    possible = [*target, *nontarget, np.inf]
    rates = [rates_at(threshold, target, nontarget) for threshold in possible]
    assert point.rate == pytest.approx(min(1 - hit for hit, alarm in rates if alarm <= most), abs=1e-12)


@pytest.mark.parametrize(("most", "missed"), [(0.4, 1.0), (0.5, 1.0), (1.0, 0.0)])
def test_scores_that_tie_are_rejected_together(most: float, missed: float) -> None:
    point = SortedScores.of([0.0, 0.0, 0.0], [0.0, 0.0]).at_fpr(most)
    assert point.rate == missed
    assert (point.threshold <= 0.0) == (missed == 0)


def test_a_share_of_false_alarms_that_is_a_whole_number_of_them() -> None:
    target, nontarget = np.arange(100) + 0.5, np.arange(100.0)
    for alarms in range(100):
        point = SortedScores.of(target, nontarget).at_fpr(alarms / 100)
        assert np.count_nonzero(nontarget >= point.threshold) == alarms


@given(any_scores, any_scores, st.randoms())
def test_the_order_of_the_trials_is_immaterial(target: Scores, nontarget: Scores, random: object) -> None:
    shuffled = target.tolist(), nontarget.tolist()
    for scores in shuffled:
        random.shuffle(scores)  # type: ignore[attr-defined]
    assert eer(*shuffled) == eer(target, nontarget)
    assert min_dcf(*shuffled) == min_dcf(target, nontarget)


@given(tied_scores, tied_scores)
def test_a_monotone_change_of_scale_changes_no_rate(target: Scores, nontarget: Scores) -> None:
    def stretched(scores: Scores) -> Scores:
        return np.exp(scores) - 3

    assert eer(stretched(target), stretched(nontarget)).rate == eer(target, nontarget).rate
    assert min_dcf(stretched(target), stretched(nontarget)).rate == min_dcf(target, nontarget).rate


@given(any_scores, any_scores)
def test_swapping_and_negating_the_classes_mirrors_the_operating_point(
    target: Scores, nontarget: Scores
) -> None:
    point, mirrored = eer(target, nontarget), eer(-nontarget, -target)
    assert mirrored.rate == pytest.approx(point.rate, abs=1e-12)
    assert mirrored.threshold == pytest.approx(-point.threshold, abs=1e-12)
    cost = min_dcf(target, nontarget, p_target=0.2).rate
    assert min_dcf(-nontarget, -target, p_target=0.8).rate == pytest.approx(cost, abs=1e-12)


@given(any_scores, any_scores)
def test_the_det_curve_is_scikit_learns(target: Scores, nontarget: Scores) -> None:
    thresholds, fnr, fpr = det_curve(target, nontarget)
    labels = np.repeat([1, 0], [target.size, nontarget.size])
    their_fpr, their_tpr, their_thresholds = oracle.roc_curve(
        labels, np.concatenate([target, nontarget]), drop_intermediate=False
    )
    np.testing.assert_allclose(fpr, their_fpr[::-1], atol=1e-12)
    np.testing.assert_allclose(1 - fnr, their_tpr[::-1], atol=1e-12)
    np.testing.assert_array_equal(thresholds[:-1], their_thresholds[::-1][:-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_overlapping_scores_agree_with_scikit_learn(dtype: type) -> None:
    generator = np.random.default_rng(0)
    target = generator.normal(1.5, 1, 3_000).astype(dtype)
    nontarget = generator.normal(0, 1, 40_000).astype(dtype)
    labels = np.repeat([1, 0], [target.size, nontarget.size])
    fpr, fnr, _ = oracle.det_curve(labels, np.concatenate([target, nontarget]))
    # Their curve has every vertex, so the crossing lies within one step of both classes.
    nearest = np.argmin(np.abs(fpr - fnr))
    assert eer(target, nontarget).rate == pytest.approx((fpr[nearest] + fnr[nearest]) / 2, abs=1 / 3_000)
    expected = np.min(0.01 * fnr + 0.99 * fpr) / 0.01
    assert min_dcf(target, nontarget).rate == pytest.approx(expected, abs=1e-12)


def test_float32_scores_one_step_apart_are_told_apart() -> None:
    low = np.float32(0.5)
    high = np.nextafter(low, np.float32(1))
    point = eer(np.array([high]), np.array([low]))
    assert point.rate == 0
    assert low < np.float32(point.threshold) <= high


def test_rejecting_everything_is_possible_and_has_a_threshold_above_the_greatest_score() -> None:
    nontarget = np.array([5.0, 6.0], dtype=np.float32)
    point = min_dcf(np.array([1.0, 2.0], dtype=np.float32), nontarget)
    assert point.rate == 1
    assert not np.any(nontarget >= np.float32(point.threshold))


def test_scores_as_great_as_numbers_get_have_thresholds_too() -> None:
    greatest = np.finfo(np.float64).max
    assert min_dcf([0.0], [greatest]).threshold == np.inf
    assert det_curve([0.0], [greatest])[0].tolist() == [0, greatest, np.inf]
    assert eer([greatest], [-greatest]).threshold == 0
    assert -greatest / 2 < eer([greatest], [0.0]).threshold < greatest


def test_neighbours_have_a_threshold_that_parts_them() -> None:
    least = np.nextafter(0.0, 1.0)
    assert eer([2 * least], [least]).threshold == 2 * least
    assert eer([least], [0.0]).threshold == least
    assert eer([0.0], [-least]).threshold == 0


def test_one_sort_serves_every_figure() -> None:
    generator = np.random.default_rng(2)
    target, nontarget = generator.normal(1, 1, 300), generator.normal(0, 1, 900)
    scores = SortedScores.of(target, nontarget)
    assert scores.eer() == eer(target, nontarget)
    assert scores.min_dcf(p_target=0.05) == min_dcf(target, nontarget, p_target=0.05)


def test_the_scores_given_are_left_as_they_are() -> None:
    target, nontarget = np.array([3.0, 1.0, 2.0]), np.array([0.5, -1.0])
    scores = SortedScores.of(target, nontarget)
    assert scores.target.tolist() == [1.0, 2.0, 3.0]
    assert target.tolist() == [3.0, 1.0, 2.0]
    assert nontarget.tolist() == [0.5, -1.0]


def test_scores_that_change_afterwards_change_no_figure() -> None:
    target, nontarget = np.array([3.0, 1.0, 2.0]), np.array([0.5, -1.0])
    scores = SortedScores.of(target, nontarget)
    target[:], nontarget[:] = 0, 0
    assert scores.eer().rate == 0


@pytest.mark.parametrize(
    ("target", "nontarget", "missing"), [([], [1.0], "target"), ([1.0], [], "non-target")]
)
def test_a_missing_class_is_named(target: list[float], nontarget: list[float], missing: str) -> None:
    with pytest.raises(TrialError, match=f"no {missing} scores"):
        eer(target, nontarget)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_counted_and_refused(bad: float) -> None:
    with pytest.raises(TrialError, match="2 of 3 non-target scores are NaN or infinite"):
        min_dcf([1.0], [0.0, bad, bad])


@pytest.mark.parametrize("p_target", [0.0, 1.0, -0.1, float("nan")])
def test_a_prior_outside_its_range_is_refused(p_target: float) -> None:
    with pytest.raises(ValueError, match="p_target"):
        min_dcf([1.0], [0.0], p_target=p_target)
