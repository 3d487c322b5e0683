r"""Logistic regression from scores, and what else is known of a trial, to log-likelihood ratios.

Of columns :math:`x_{kt}` (a score, the scores of several systems, measures of quality) the affine map

.. math:: \ell_t = \sum_k w_k x_{kt} + b

is fitted by the least cross-entropy of the two classes, which weigh :math:`\pi` and :math:`1 - \pi` however many
trials each has (Bruemmer and du Preez, "Application-independent evaluation of speaker detection", 2006):

.. math::
    -\frac{\pi}{N_1} \sum_{t \in \mathrm{tar}} \ln \sigma(\ell_t + \operatorname{logit} \pi)
    -\frac{1 - \pi}{N_0} \sum_{t \in \mathrm{non}} \ln \sigma(-\ell_t - \operatorname{logit} \pi)

The classes are told as not quite certain, (N + 1) / (N + 2) of N trials (Platt, "Probabilistic outputs for support
vector machines", 1999), so that classes that nothing confuses have a finite map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import TrialError
from voxangle.metrics.operating_points import SortedScores

__all__ = ["FEWEST_TRIALS", "AffineCalibration", "LinearCalibration", "fit_calibration", "fit_linear"]

FEWEST_TRIALS = 10
"""Of each class, for each weight, that a fit must stand on."""

_STEPS = 100  # a dozen do, from anywhere
_SAME = 1e-10  # the least variance of any mixture (of unit length) of standardised columns


class AffineCalibration(NamedTuple):
    """``scale * score + offset`` is the log-likelihood ratio of a score, in nats."""

    scale: float
    offset: float


@dataclass(frozen=True, eq=False)
class LinearCalibration:
    """``weights @ columns + offset`` are log-likelihood ratios, in nats.

    Attributes:
        weights: shape (K,), one a column.
        offset: added.
    """

    weights: NDArray[np.float64]
    offset: float

    def llrs(self, columns: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Log-likelihood ratios, shape (T,), in nats, of trials with ``columns`` of shape (K, T)."""
        ratios: NDArray[np.float64] = self.weights @ columns.astype(np.float64, copy=False) + self.offset
        return ratios


def fit_calibration(scores: SortedScores, *, prior: float = 0.5) -> AffineCalibration:
    """The affine map from scores to log-likelihood ratios: ``fit_linear`` of one column.

    Args:
        scores: of trials that are not those the map will be judged on.
        prior: of a target trial, in (0, 1): where the map shall be best.

    Raises:
        TrialError: all scores are equal, or a class has fewer than ``FEWEST_TRIALS``.
    """
    every = np.concatenate([scores.target, scores.nontarget])
    target = np.arange(every.size) < scores.target.size
    fit = fit_linear(every[None], target, prior=prior, names=("score",))
    return AffineCalibration(float(fit.weights[0]), fit.offset)


def fit_linear(
    columns: NDArray[np.floating[Any]],
    target: NDArray[np.bool_],
    *,
    prior: float = 0.5,
    names: Sequence[str] | None = None,
) -> LinearCalibration:
    """The map from several columns to log-likelihood ratios with the least prior-weighted cross-entropy.

    Args:
        columns: shape (K, T), of trials that are not those the map will be judged on; any units.
        target: shape (T,), which are target trials.
        prior: of a target trial, in (0, 1): where the map shall be best.
        names: of the K columns, for the errors.

    Raises:
        TrialError: a class has fewer than ``FEWEST_TRIALS`` a column, a value is NaN or infinite, a column has the
            same value in all trials, or some columns say the same together.
    """
    if not 0 < prior < 1:
        raise ValueError(f"a prior lies in (0, 1); got {prior}")
    if columns.ndim != 2 or target.shape != columns.shape[1:]:
        raise ValueError(f"columns of shape {columns.shape}, but {target.shape} labels of trials")
    names = names or [f"column {k + 1}" for k in range(len(columns))]
    _require_enough(target, len(columns))
    standard, centre, spread = _standardised(columns, names)
    basis = np.concatenate([standard, np.ones((1, target.size))])
    # Each trial counts twice: as what it is, nearly, and as what it is not, a little.
    counts = np.array([target.size - np.count_nonzero(target), np.count_nonzero(target)])
    of_class = np.array([1 - prior, prior]) / counts
    sure = (counts + 1) / (counts + 2)
    weight = of_class[target.astype(np.intp)]
    as_target = weight * np.where(target, sure[1], 1 - sure[0])
    fit = _least_cross_entropy(basis, weight, as_target, math.log(prior / (1 - prior)))
    weights = fit[:-1] / spread
    return LinearCalibration(weights, float(fit[-1] - weights @ centre))


def _require_enough(target: NDArray[np.bool_], columns: int) -> None:
    targets = int(np.count_nonzero(target))
    nontargets = target.size - targets
    fewest = FEWEST_TRIALS * columns
    if min(targets, nontargets) < fewest:
        raise TrialError(
            f"{targets} target and {nontargets} non-target trials are too few to calibrate by: a fit of {columns} "
            f"weight{'s' if columns > 1 else ''} needs {fewest} of each; give more trials"
        )


def _standardised(
    columns: NDArray[np.floating[Any]], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The columns with mean 0 and standard deviation 1, their means and their standard deviations."""
    values = columns.astype(np.float64)
    for name, column in zip(names, values, strict=True):
        if not np.isfinite(column).all():
            place = int(np.flatnonzero(~np.isfinite(column))[0])
            raise TrialError(
                f"{name} of trial {place + 1} is {column[place]}: nothing can be calibrated by values that are not "
                "finite; look at the recordings of that trial"
            )
        if column.min() == column.max():
            every = "all scores are equal" if name == "score" else f"{name} is the same in all trials"
            raise TrialError(f"{every}: nothing can be calibrated by it; leave it out, or give other trials")
    centre, spread = values.mean(axis=1), values.std(axis=1)
    values -= centre[:, None]
    values /= spread[:, None]
    if len(values) > 1:
        shares, mixtures = np.linalg.eigh(values @ values.T / values.shape[1])
        if shares[0] < _SAME:
            involved = [name for name, part in zip(names, mixtures[:, 0], strict=True) if abs(part) > 0.01]
            raise TrialError(
                f"{' and '.join(involved)} say the same in all trials, so that their weights could be anything; leave "
                "one out"
            )
    return values, centre, spread


def _least_cross_entropy(
    basis: NDArray[np.float64],
    weight: NDArray[np.float64],
    as_target: NDArray[np.float64],
    log_odds: float,
) -> NDArray[np.float64]:
    """Newton's method with steps that are halved until they go down; shape (K + 1,)."""
    fit = np.zeros(len(basis))
    loss = _cross_entropy(fit @ basis + log_odds, weight, as_target)
    for _ in range(_STEPS):
        posterior = np.exp(-np.logaddexp(0.0, -(fit @ basis + log_odds)))
        gradient = basis @ (weight * posterior - as_target)
        curvature = (basis * (weight * posterior * (1 - posterior))) @ basis.T
        step = np.linalg.solve(curvature + 1e-12 * np.eye(len(basis)), gradient)
        length = 1.0
        while (shorter := _cross_entropy((fit - length * step) @ basis + log_odds, weight, as_target)) > loss:
            length /= 2
            if length < 1e-10:
                return fit
        fit, before, loss = fit - length * step, loss, shorter
        if before - loss <= 1e-15:
            break
    return fit


def _cross_entropy(
    log_odds: NDArray[np.float64], weight: NDArray[np.float64], as_target: NDArray[np.float64]
) -> float:
    # -w y ln p - w (1 - y) ln (1 - p), with ln p = -ln(1 + e^-x) and ln (1 - p) = -ln(1 + e^x)
    return float(weight @ np.logaddexp(0.0, log_odds) - as_target @ log_odds)
