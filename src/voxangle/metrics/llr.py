"""What log-likelihood ratios are worth when they are believed.

A log-likelihood ratio (LLR) is a natural logarithm, of the likelihood of a trial's recordings where both are of one
speaker over that where they are of two. Plus and minus infinity are LLRs: they claim certainty, which costs nothing
where it is right; where it is wrong, Cllr is infinite. NaN is none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxangle.errors import TrialError
from voxangle.metrics.operating_points import SortedScores, error_costs

__all__ = ["act_dcf", "cllr", "min_cllr"]

_CHUNK = 1 << 16  # LLRs at a time: what is made of them, in double precision, stays in the cache


def act_dcf(
    target_llrs: ArrayLike,
    nontarget_llrs: ArrayLike,
    *,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    r"""Normalised detection cost of deciding by the Bayes threshold: what a user of the LLRs pays, at least minDCF.

    .. math:: \frac{C_\mathrm{miss}\, p\, \mathrm{FNR}(\theta) + C_\mathrm{fa}\, (1 - p)\, \mathrm{FPR}(\theta)}
        {\min(C_\mathrm{miss}\, p,\; C_\mathrm{fa}\, (1 - p))},
        \qquad \theta = \ln \frac{C_\mathrm{fa} (1 - p)}{C_\mathrm{miss}\, p}

    An LLR of at least the threshold is accepted, as in NIST's speaker recognition evaluations since 2012; the cost is
    normalised as that of ``min_dcf``. It is above 1 where LLRs are believed that are worse than none.

    Args:
        target_llrs: of the target trials, any shape and order.
        nontarget_llrs: of the non-target trials.
        p_target: prior of a target trial, in (0, 1).
        c_miss: cost of rejecting a target trial, > 0.
        c_fa: cost of accepting a non-target trial, > 0.

    Raises:
        TrialError: a class is empty, or an LLR is NaN.
    """
    target, nontarget = _llrs(target_llrs, "target"), _llrs(nontarget_llrs, "non-target")
    a_miss, an_alarm = error_costs(target.size, nontarget.size, p_target=p_target, c_miss=c_miss, c_fa=c_fa)
    # A scalar of numpy's, so that LLRs of single precision are compared in double.
    threshold = np.float64(math.log(c_fa * (1 - p_target) / (c_miss * p_target)))
    missed = target.size - int(np.count_nonzero(target >= threshold))
    alarms = int(np.count_nonzero(nontarget >= threshold))
    return missed * a_miss + alarms * an_alarm


def cllr(target_llrs: ArrayLike, nontarget_llrs: ArrayLike) -> float:
    r"""Cost of log-likelihood ratios in bits, over all priors and costs at once; 1 where nothing is told (all 0).

    .. math:: \frac{1}{2 \ln 2} \Bigl( \frac{1}{T} \sum_{t=1}^{T} \ln(1 + e^{-\ell_t})
        + \frac{1}{N} \sum_{n=1}^{N} \ln(1 + e^{\ell_n}) \Bigr)

    Bruemmer and du Preez, "Application-independent evaluation of speaker detection", 2006. It is infinite where an
    infinite LLR is wrong. The order of the trials changes nothing but the rounding of the sums.

    Args:
        target_llrs: :math:`\ell_t` of the target trials, any shape and order.
        nontarget_llrs: :math:`\ell_n` of the non-target trials.

    Raises:
        TrialError: a class is empty, or an LLR is NaN.
    """
    target, nontarget = _llrs(target_llrs, "target"), _llrs(nontarget_llrs, "non-target")
    nats = _mean_softplus(target, sign=-1) + _mean_softplus(nontarget, sign=1)
    return nats / (2 * math.log(2))


def min_cllr(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> float:
    """Least ``cllr``, in bits and in [0, 1], of any map of the scores that never decreases.

    The map is that of isotonic regression (pool adjacent violators, scores that tie in one pool), and the pools are
    the edges of the convex hull of the ROC curve: along each, the LLR is the logarithm of the share of the target
    trials over that of the non-target trials. Only the order of the scores matters; ``cllr`` less ``min_cllr`` is what
    calibration loses (Bruemmer and du Preez 2006).

    Args:
        target_scores: of the target trials, any shape and order; LLRs or any other score.
        nontarget_scores: of the non-target trials.

    Raises:
        TrialError: a class is empty, or a score is NaN or infinite.
    """
    return SortedScores.of(target_scores, nontarget_scores).min_cllr()


def _llrs(values: ArrayLike, what: str) -> NDArray[np.floating[Any]]:
    llrs = np.asarray(values).ravel()
    if not np.issubdtype(llrs.dtype, np.floating):
        llrs = llrs.astype(np.float64)
    if llrs.size == 0:
        raise TrialError(
            f"there are no log-likelihood ratios of {what} trials; costs need trials of both classes"
        )
    bad = int(np.count_nonzero(np.isnan(llrs)))
    if bad:
        raise TrialError(
            f"{bad} of {llrs.size} log-likelihood ratios of {what} trials are NaN; look at the scores and at the "
            "calibration that they came from"
        )
    return llrs


def _mean_softplus(llrs: NDArray[np.floating[Any]], *, sign: int) -> float:
    # ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|), which neither overflows nor loses a small cost.
    sums = []
    for first in range(0, llrs.size, _CHUNK):
        x = sign * llrs[first : first + _CHUNK].astype(np.float64)
        cost = np.log1p(np.exp(-np.abs(x)))
        cost += np.maximum(x, 0)
        sums.append(float(cost.sum()))
    return math.fsum(sums) / llrs.size
