"""Error rates of scored trials: the DET curve, and the two points on it that a table shows.

A trial is accepted when its score is at least the threshold. FNR is the share of target trials rejected,
FPR the share of non-target trials accepted. Trials of one score stand or fall together, so the curve has
one vertex for each gap between neighbouring distinct scores (and one beyond each end), whatever the order
of the trials.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxangle.errors import TrialError

__all__ = ["OperatingPoint", "SortedScores", "det_curve", "eer", "min_dcf"]


@dataclass(frozen=True)
class OperatingPoint:
    """An error rate (or normalised cost) and its threshold; scores >= threshold are accepted."""

    rate: float
    threshold: float


@dataclass(frozen=True, eq=False)
class SortedScores:
    """The scores of one system on one list, each class in ascending order: sort once, ask often.

    Attributes:
        target: shape (targets,), ascending.
        nontarget: shape (nontargets,), ascending.
    """

    target: NDArray[np.floating[Any]]
    nontarget: NDArray[np.floating[Any]]

    @classmethod
    def of(cls, target: ArrayLike, nontarget: ArrayLike) -> SortedScores:
        """Sort the scores of the target and of the non-target trials, each of any shape and order.

        Raises:
            TrialError: a class is empty, or a score is NaN or infinite.
        """
        return cls(_ascending(target, "target"), _ascending(nontarget, "non-target"))

    def eer(self) -> OperatingPoint:
        """Equal error rate, in [0, 1]: where the DET curve, its vertices joined by lines, meets FNR = FPR.

        The threshold is the score at which the curve crosses; where a vertex lies on FNR = FPR, the middle
        of its gap.
        """
        # FNR - FPR grows at every distinct score, hence crosses 0 once: find the first score beyond which
        # it is >= 0.
        crossing = min(self._first_score_beyond(self.target), self._first_score_beyond(self.nontarget))
        missed, alarms = self._counts_below(crossing)
        missed_beyond, alarms_beyond = self._counts_above(crossing)
        balance = self._balance(missed_beyond, alarms_beyond)
        if balance == 0:
            return OperatingPoint(
                missed_beyond / self.target.size, self._threshold(missed_beyond, alarms_beyond)
            )
        share = self._balance(missed, alarms) / (self._balance(missed, alarms) - balance)
        rate = (missed + share * (missed_beyond - missed)) / self.target.size
        return OperatingPoint(rate, float(crossing))

    def min_dcf(self, *, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0) -> OperatingPoint:
        """Least detection cost over all thresholds, divided by that of the better blind decision: in [0, 1].

        NIST SRE: ``c_miss p_target FNR + c_fa (1 - p_target) FPR`` over ``min(c_miss p_target, c_fa (1 -
        p_target))``.

        Args:
            p_target: prior of a target trial, in (0, 1).
            c_miss: cost of rejecting a target trial, > 0.
            c_fa: cost of accepting a non-target trial, > 0.
        """
        if not 0 < p_target < 1 or c_miss <= 0 or c_fa <= 0:
            raise ValueError(
                f"p_target must lie in (0, 1) and costs above 0; got {p_target=}, {c_miss=}, {c_fa=}"
            )
        missed, alarms = self._corners
        miss_cost, alarm_cost = c_miss * p_target, c_fa * (1 - p_target)
        blind = min(miss_cost, alarm_cost)
        cost = missed * (miss_cost / blind / self.target.size)
        cost += alarms * (alarm_cost / blind / self.nontarget.size)
        best = int(np.argmin(cost))
        return OperatingPoint(float(cost[best]), self._threshold(int(missed[best]), int(alarms[best])))

    def at_fpr(self, most: float) -> OperatingPoint:
        """Least FNR whose FPR is at most ``most``, in [0, 1], and a threshold that gives it."""
        if not 0 <= most <= 1:
            raise ValueError(f"a rate lies in [0, 1]; got {most}")
        # The most alarms whose share, as it is computed, is allowed: rounding must neither take one away (0.29 of 100
        # are 29, not 28.999...) nor add one.
        near = int(most * self.nontarget.size)
        allowed = max(n for n in (near - 1, near, near + 1) if n / self.nontarget.size <= most)
        if allowed >= self.nontarget.size:
            return OperatingPoint(0.0, self._threshold(0, self.nontarget.size))
        # The greatest score that has to be rejected, and all that tie with it.
        missed, alarms = self._counts_above(self.nontarget[-1 - allowed])
        return OperatingPoint(missed / self.target.size, self._threshold(missed, alarms))

    def det_curve(
        self,
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.float64], NDArray[np.float64]]:
        """Thresholds (ascending), FNR and FPR at each vertex; shape (distinct scores + 1,) each.

        The first threshold is the least score (all accepted), the last one just above the greatest (all
        rejected).
        """
        thresholds = np.unique(np.concatenate([self.target, self.nontarget]))
        thresholds = np.append(thresholds, np.nextafter(thresholds[-1], np.inf, dtype=thresholds.dtype))
        fnr = np.searchsorted(self.target, thresholds) / self.target.size
        fpr = 1 - np.searchsorted(self.nontarget, thresholds) / self.nontarget.size
        return thresholds, fnr, fpr

    @cached_property
    def _corners(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        # (missed, false alarms) wherever one class cannot be served better without cost to the other: the
        # cost has its minimum there. Following the smaller class alone visits them all; a tie adds points
        # that are never better.
        targets, nontargets = self.target.size, self.nontarget.size
        if targets <= nontargets:
            missed = np.arange(targets + 1)
            alarms = np.append(nontargets - np.searchsorted(self.nontarget, self.target), 0)
        else:
            alarms = np.arange(nontargets, -1, -1)
            missed = np.insert(np.searchsorted(self.target, self.nontarget, side="right"), 0, 0)
        return missed, alarms

    def _first_score_beyond(self, scores: NDArray[np.floating[Any]]) -> np.floating[Any]:
        def balance_beyond(i: int) -> int:
            return self._balance(*self._counts_above(scores[i]))

        # Beyond the greatest score of a class the balance may still be < 0; the other class then has the
        # crossing.
        i = bisect_left(range(scores.size), 0, key=balance_beyond)
        return scores[i] if i < scores.size else np.float64(np.inf)

    def _counts_below(self, score: np.floating[Any]) -> tuple[int, int]:
        return self._counts(score, "left")

    def _counts_above(self, score: np.floating[Any]) -> tuple[int, int]:
        return self._counts(score, "right")

    def _counts(self, score: np.floating[Any], side: Any) -> tuple[int, int]:
        missed = int(np.searchsorted(self.target, score, side=side))
        return missed, self.nontarget.size - int(np.searchsorted(self.nontarget, score, side=side))

    def _balance(self, missed: int, alarms: int) -> int:
        # FNR - FPR over the common denominator: integers, so that equality is exact.
        return missed * self.nontarget.size - alarms * self.target.size

    def _threshold(self, missed: int, alarms: int) -> float:
        passed = self.nontarget.size - alarms
        below = [scores[n - 1] for scores, n in ((self.target, missed), (self.nontarget, passed)) if n > 0]
        above = [
            scores[n] for scores, n in ((self.target, missed), (self.nontarget, passed)) if n < scores.size
        ]
        if not above:
            return float(np.nextafter(max(below), np.inf))
        if not below:
            return float(min(above))
        low, high = max(below), min(above)
        middle = low + (high - low) / 2
        return float(middle if middle > low else high)


def eer(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> OperatingPoint:
    """Equal error rate by linear interpolation, tied scores merged; see ``SortedScores.eer``."""
    return SortedScores.of(target_scores, nontarget_scores).eer()


def min_dcf(
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    *,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> OperatingPoint:
    """Normalised minimum detection cost; see ``SortedScores.min_dcf``."""
    scores = SortedScores.of(target_scores, nontarget_scores)
    return scores.min_dcf(p_target=p_target, c_miss=c_miss, c_fa=c_fa)


def det_curve(
    target_scores: ArrayLike, nontarget_scores: ArrayLike
) -> tuple[NDArray[np.floating[Any]], NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds, FNR and FPR at each vertex of the DET curve; see ``SortedScores.det_curve``."""
    return SortedScores.of(target_scores, nontarget_scores).det_curve()


def _ascending(scores: ArrayLike, what: str) -> NDArray[np.floating[Any]]:
    array = np.asarray(scores)
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    if array.size == 0:
        raise TrialError(f"there are no {what} scores; error rates need trials of both classes")
    ordered = np.sort(array, axis=None)
    # NaN sorts last, so the two ends tell whether every score is finite.
    if not (np.isfinite(ordered[0]) and np.isfinite(ordered[-1])):
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise TrialError(
            f"{bad} of {array.size} {what} scores are NaN or infinite; look at the embeddings they came from"
        )
    return ordered
