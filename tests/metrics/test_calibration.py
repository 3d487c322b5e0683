"""Calibration against scikit-learn, against the truth where it is known, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from voxangle.errors import TrialError
from voxangle.metrics import SortedScores, fit_calibration


def gaussians(
    targets: int, nontargets: int, *, gap: float = 2.0, scale: float = 1.0, shift: float = 0.0, seed: int = 0
) -> SortedScores:
    generator = np.random.default_rng(seed)
    return SortedScores.of(
        scale * generator.normal(gap, 1.0, targets) + shift,
        scale * generator.normal(0.0, 1.0, nontargets) + shift,
    )


@pytest.mark.parametrize("prior", [0.5, 0.01, 0.9])
@pytest.mark.parametrize(("targets", "nontargets"), [(50, 50), (30, 3000), (400, 20)])
def test_it_is_the_logistic_regression_of_scikit_learn(targets: int, nontargets: int, prior: float) -> None:
    scores = gaussians(targets, nontargets, scale=0.1, shift=0.3)
    sure, unsure = (targets + 1) / (targets + 2), (nontargets + 1) / (nontargets + 2)
    values = np.concatenate([scores.target, scores.nontarget] * 2)[:, None]
    says = np.repeat([1, 0], targets + nontargets)
    weights = np.concatenate(
        [
            np.full(targets, prior / targets * sure),
            np.full(nontargets, (1 - prior) / nontargets * (1 - unsure)),
            np.full(targets, prior / targets * (1 - sure)),
            np.full(nontargets, (1 - prior) / nontargets * unsure),
        ]
    )
    oracle = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    oracle.fit(values, says, sample_weight=weights * 1e6)
    fit = fit_calibration(scores, prior=prior)
    assert fit.scale == pytest.approx(oracle.coef_[0, 0], rel=1e-5)
    assert fit.offset + np.log(prior / (1 - prior)) == pytest.approx(oracle.intercept_[0], rel=1e-5, abs=1e-5)


def test_it_finds_the_true_log_likelihood_ratio() -> None:
    # of normal(2, 1) against normal(0, 1), ln p / q = 2 s - 2
    fit = fit_calibration(gaussians(200_000, 200_000))
    assert fit == pytest.approx((2.0, -2.0), abs=0.03)


@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 5.0), (100.0, -40.0)])
def test_scores_on_another_scale_have_the_same_ratios(scale: float, shift: float) -> None:
    plain, moved = gaussians(300, 300), gaussians(300, 300, scale=scale, shift=shift)
    one, other = fit_calibration(plain), fit_calibration(moved)
    np.testing.assert_allclose(
        one.scale * plain.target + one.offset, other.scale * moved.target + other.offset, atol=1e-6
    )


def test_classes_that_no_score_confuses_have_a_finite_map() -> None:
    fit = fit_calibration(SortedScores.of([0.8, 0.9], [0.1, 0.2, 0.3]))
    ratios = fit.scale * np.array([0.1, 0.9]) + fit.offset
    assert ratios[0] < 0 < ratios[1]
    assert np.abs(ratios).max() < 20


def test_more_trials_make_it_surer() -> None:
    few, many = (fit_calibration(SortedScores.of([0.9] * n + [0.8], [0.1] * n + [0.2])) for n in (5, 500))
    assert many.scale > few.scale > 0


def test_scores_that_say_the_opposite_have_a_negative_scale() -> None:
    assert fit_calibration(gaussians(100, 100, gap=-2.0)).scale < 0


def test_a_system_that_knows_nothing_says_nothing() -> None:
    fit = fit_calibration(gaussians(20_000, 20_000, gap=0.0))
    assert abs(fit.scale) < 0.05
    assert abs(fit.offset) < 0.05


def test_one_trial_of_each_class() -> None:
    fit = fit_calibration(SortedScores.of([1.0], [0.0]))
    # told as 2/3 certain, which two scores can have exactly: ln 2 and -ln 2
    assert fit == pytest.approx((2 * np.log(2), -np.log(2)), abs=1e-6)


def test_equal_scores_cannot_be_calibrated() -> None:
    with pytest.raises(TrialError, match="all scores are equal"):
        fit_calibration(SortedScores.of([0.5, 0.5], [0.5]))


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1])
def test_a_prior_that_is_none(prior: float) -> None:
    with pytest.raises(ValueError, match="a prior lies in"):
        fit_calibration(gaussians(3, 3), prior=prior)
