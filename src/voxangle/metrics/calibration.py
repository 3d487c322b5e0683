"""Logistic regression from scores to log-likelihood ratios."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import TrialError
from voxangle.metrics.operating_points import SortedScores

__all__ = ["AffineCalibration", "fit_calibration"]

_STEPS = 100  # a dozen do, from anywhere


class AffineCalibration(NamedTuple):
    """``scale * score + offset`` is the log-likelihood ratio of a score, in nats."""

    scale: float
    offset: float


def fit_calibration(scores: SortedScores, *, prior: float = 0.5) -> AffineCalibration:
    """The affine map with the least prior-weighted cross-entropy of target against non-target trials.

    The classes weigh ``prior`` and ``1 - prior``, however many trials each has (Bruemmer and du Preez, "Application-
    independent evaluation of speaker detection", 2006), and are told as not quite certain, (N + 1) / (N + 2) of N
    trials (Platt, "Probabilistic outputs for support vector machines", 1999), so that classes that no score confuses
    have a finite map.

    Args:
        scores: of trials that are not those the map will be judged on.
        prior: of a target trial, in (0, 1): where the map shall be best.

    Raises:
        TrialError: all scores are equal.
    """
    if not 0 < prior < 1:
        raise ValueError(f"a prior lies in (0, 1); got {prior}")
    classes = [scores.target.astype(np.float64), scores.nontarget.astype(np.float64)]
    every = np.concatenate(classes)
    centre, spread = every.mean(), every.std()
    if spread == 0:
        raise TrialError("all scores are equal: nothing can be calibrated by them")
    # Each trial counts twice: as what it is, nearly, and as what it is not, a little.
    sure = [(one.size + 1) / (one.size + 2) for one in classes]
    weights = [share / one.size for share, one in zip((prior, 1 - prior), classes, strict=True)]
    as_target = np.concatenate(
        [np.full(classes[0].size, weights[0] * sure[0]), np.full(classes[1].size, weights[1] * (1 - sure[1]))]
    )
    weight = np.concatenate([np.full(one.size, each) for one, each in zip(classes, weights, strict=True)])
    columns = np.stack([(every - centre) / spread, np.ones_like(every)])
    log_odds = math.log(prior / (1 - prior))
    fit = np.zeros(2)
    loss = _cross_entropy(fit @ columns + log_odds, weight, as_target)
    for _ in range(_STEPS):
        posterior = np.exp(-np.logaddexp(0.0, -(fit @ columns + log_odds)))
        gradient = columns @ (weight * posterior - as_target)
        curvature = (columns * (weight * posterior * (1 - posterior))) @ columns.T
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        length = 1.0
        while (
            shorter := _cross_entropy((fit - length * step) @ columns + log_odds, weight, as_target)
        ) > loss:
            length /= 2
            if length < 1e-10:
                break
        fit, before, loss = fit - length * step, loss, min(shorter, loss)
        if before - loss <= 1e-15:
            break
    scale = float(fit[0] / spread)
    return AffineCalibration(scale, float(fit[1] - scale * centre))


def _cross_entropy(
    log_odds: NDArray[np.float64], weight: NDArray[np.float64], as_target: NDArray[np.float64]
) -> float:
    # -w y ln p - w (1 - y) ln (1 - p), with ln p = -ln(1 + e^-x) and ln (1 - p) = -ln(1 + e^x)
    return float(weight @ np.logaddexp(0.0, log_odds) - as_target @ log_odds)
