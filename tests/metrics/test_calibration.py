"""Calibration against scikit-learn, against the truth where it is known, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from voxangle.errors import TrialError
from voxangle.metrics import SortedScores, fit_calibration, fit_linear


def gaussians(
    targets: int, nontargets: int, *, gap: float = 2.0, scale: float = 1.0, shift: float = 0.0, seed: int = 0
) -> SortedScores:
    generator = np.random.default_rng(seed)
    return SortedScores.of(
        scale * generator.normal(gap, 1.0, targets) + shift,
        scale * generator.normal(0.0, 1.0, nontargets) + shift,
    )


def trials(
    targets: int, nontargets: int, columns: int, *, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Columns on scales and around centres of their own, correlated, in an order that tells nothing."""
    generator = np.random.default_rng(seed)
    target = generator.permutation(targets + nontargets) < targets
    plain = generator.normal(0.0, 1.0, (columns, target.size))
    plain[0] += 1.5 * target
    mixed = (np.eye(columns) + 0.3) @ plain
    return 10.0 ** np.arange(-1, columns - 1)[:, None] * (mixed + np.arange(columns)[:, None]), target


def by_scikit_learn(
    columns: NDArray[np.float64], target: NDArray[np.bool_], prior: float
) -> tuple[NDArray[np.float64], float]:
    """Weights and offset, the trials written out twice: as what they are, and as what they are not."""
    targets, nontargets = int(target.sum()), int((~target).sum())
    sure = np.where(target, (targets + 1) / (targets + 2), (nontargets + 1) / (nontargets + 2))
    share = np.where(target, prior / targets, (1 - prior) / nontargets)
    centre, spread = columns.mean(axis=1), columns.std(axis=1)
    oracle = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    oracle.fit(
        np.tile((columns.T - centre) / spread, (2, 1)),
        np.concatenate([target, ~target]),
        sample_weight=np.concatenate([share * sure, share * (1 - sure)]) * 1e6,
    )
    weights = oracle.coef_[0] / spread
    return weights, float(oracle.intercept_[0] - weights @ centre - np.log(prior / (1 - prior)))


@pytest.mark.parametrize("prior", [0.5, 0.01, 0.9])
@pytest.mark.parametrize(("targets", "nontargets"), [(50, 50), (30, 3000), (400, 20)])
def test_of_scores_it_is_the_logistic_regression_of_scikit_learn(
    targets: int, nontargets: int, prior: float
) -> None:
    scores = gaussians(targets, nontargets, scale=0.1, shift=0.3)
    every = np.concatenate([scores.target, scores.nontarget])[None]
    (scale,), offset = by_scikit_learn(every, np.arange(targets + nontargets) < targets, prior)
    assert fit_calibration(scores, prior=prior) == pytest.approx((scale, offset), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("prior", [0.5, 0.01])
@pytest.mark.parametrize(("targets", "nontargets", "columns"), [(60, 90, 2), (300, 2000, 4)])
def test_of_columns_it_is_the_logistic_regression_of_scikit_learn(
    targets: int, nontargets: int, columns: int, prior: float
) -> None:
    values, target = trials(targets, nontargets, columns)
    weights, offset = by_scikit_learn(values, target, prior)
    fit = fit_linear(values, target, prior=prior)
    np.testing.assert_allclose(fit.weights * values.std(axis=1), weights * values.std(axis=1), atol=2e-5)
    assert fit.offset == pytest.approx(offset, abs=1e-4)
    np.testing.assert_allclose(fit.llrs(values), weights @ values + offset, atol=1e-4)


def test_it_finds_the_true_log_likelihood_ratio() -> None:
    # of normal(2, 1) against normal(0, 1), ln p / q = 2 s - 2
    fit = fit_calibration(gaussians(200_000, 200_000))
    assert fit == pytest.approx((2.0, -2.0), abs=0.03)


def test_it_finds_the_true_ratio_of_two_columns() -> None:
    # normal((1, 2), C) against normal(0, C): weights C^-1 (1, 2), offset -(1, 2) C^-1 (1, 2) / 2
    generator = np.random.default_rng(0)
    covariance, gap = np.array([[1.0, 0.5], [0.5, 2.0]]), np.array([1.0, 2.0])
    target = np.arange(400_000) % 2 == 0
    values = generator.multivariate_normal(np.zeros(2), covariance, target.size).T + gap[:, None] * target
    fit = fit_linear(values, target)
    truth = np.linalg.solve(covariance, gap)
    np.testing.assert_allclose(fit.weights, truth, atol=0.03)
    assert fit.offset == pytest.approx(-gap @ truth / 2, abs=0.03)


@pytest.mark.parametrize("prior", [0.5, 0.05])
def test_one_column_is_the_calibration_of_scores_whatever_the_order(prior: float) -> None:
    scores = gaussians(40, 70)
    every = np.concatenate([scores.target, scores.nontarget])
    order = np.random.default_rng(1).permutation(every.size)
    fit = fit_linear(every[order][None], order < scores.target.size, prior=prior)
    assert (fit.weights[0], fit.offset) == pytest.approx(fit_calibration(scores, prior=prior), rel=1e-9)


@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 5.0), (100.0, -40.0)])
def test_scores_on_another_scale_have_the_same_ratios(scale: float, shift: float) -> None:
    plain, moved = gaussians(300, 300), gaussians(300, 300, scale=scale, shift=shift)
    one, other = fit_calibration(plain), fit_calibration(moved)
    np.testing.assert_allclose(
        one.scale * plain.target + one.offset, other.scale * moved.target + other.offset, atol=1e-6
    )


def test_a_column_that_tells_nothing_has_next_to_no_weight() -> None:
    generator = np.random.default_rng(3)
    target = np.arange(40_000) % 2 == 0
    values = np.stack([generator.normal(2.0 * target, 1.0), generator.normal(size=target.size)])
    assert abs(fit_linear(values, target).weights[1]) < 0.05


def test_classes_that_no_score_confuses_have_a_finite_map() -> None:
    fit = fit_calibration(SortedScores.of(np.linspace(0.8, 0.9, 10), np.linspace(0.1, 0.3, 12)))
    ratios = fit.scale * np.array([0.1, 0.9]) + fit.offset
    assert ratios[0] < 0 < ratios[1]
    assert np.abs(ratios).max() < 20


def test_more_trials_make_it_surer() -> None:
    few, many = (fit_calibration(SortedScores.of([0.9] * n + [0.8], [0.1] * n + [0.2])) for n in (10, 1000))
    assert many.scale > few.scale > 0


def test_scores_that_say_the_opposite_have_a_negative_scale() -> None:
    assert fit_calibration(gaussians(100, 100, gap=-2.0)).scale < 0


def test_a_system_that_knows_nothing_says_nothing() -> None:
    fit = fit_calibration(gaussians(20_000, 20_000, gap=0.0))
    assert abs(fit.scale) < 0.05
    assert abs(fit.offset) < 0.05


def test_two_scores_have_what_they_are_told_as() -> None:
    # of ten trials told as 11/12 certain, which two scores can have exactly: ln 11 and -ln 11
    fit = fit_calibration(SortedScores.of([1.0] * 10, [0.0] * 10))
    assert fit == pytest.approx((2 * np.log(11), -np.log(11)), abs=1e-6)


@pytest.mark.parametrize(
    ("targets", "nontargets", "columns", "message"),
    [
        (1, 2, 1, r"^1 target and 2 non-target trials are too few .* 1 weight needs 10 of each; give more"),
        (0, 500, 1, "^0 target and 500 non-target trials are too few"),
        (500, 0, 1, "^500 target and 0 non-target trials are too few"),
        (500, 9, 1, "^500 target and 9 non-target"),
        (29, 500, 3, "3 weights needs 30 of each"),
    ],
)
def test_too_few_trials(targets: int, nontargets: int, columns: int, message: str) -> None:
    with pytest.raises(TrialError, match=message):
        fit_linear(*trials(targets, nontargets, columns))


def test_just_enough_trials() -> None:
    assert fit_linear(*trials(30, 30, 3)).weights.shape == (3,)


def test_equal_scores_cannot_be_calibrated() -> None:
    with pytest.raises(TrialError, match="all scores are equal"):
        fit_calibration(SortedScores.of([0.5] * 10, [0.5] * 10))


def test_a_column_without_spread_is_named() -> None:
    values, target = trials(100, 100, 3)
    values[1] = 0.1  # whose mean is not 0.1 to the last bit
    with pytest.raises(TrialError, match=r"^seconds is the same in all trials"):
        fit_linear(values, target, names=("score", "seconds", "magnitude"))


def test_columns_that_say_the_same_are_named() -> None:
    values, target = trials(100, 100, 4)
    values[3] = 2 * values[1] + 7
    with pytest.raises(TrialError, match=r"^column 2 and column 4 say the same"):
        fit_linear(values, target)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named(bad: float) -> None:
    values, target = trials(100, 100, 2)
    values[1, 7] = bad
    with pytest.raises(TrialError, match=f"^magnitude of trial 8 is {bad}"):
        fit_linear(values, target, names=("score", "magnitude"))


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1])
def test_a_prior_that_is_none(prior: float) -> None:
    with pytest.raises(ValueError, match="a prior lies in"):
        fit_calibration(gaussians(30, 30), prior=prior)


def test_labels_that_are_not_those_of_the_columns() -> None:
    values, target = trials(100, 100, 2)
    with pytest.raises(ValueError, match="columns of shape"):
        fit_linear(values, target[1:])
