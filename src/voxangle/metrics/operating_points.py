"""Error rates of scored trials: the DET curve, and the two points on it that a table shows.

A trial is accepted when its score is at least the threshold. FNR is the share of target trials rejected,
FPR the share of non-target trials accepted. Trials of one score stand or fall together, so the curve has
one vertex for each gap between neighbouring distinct scores (and one beyond each end), whatever the order
of the trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxangle.errors import TrialError
from voxangle.metrics.coarse import Bins, CoarseCurve
from voxangle.metrics.convex_hull import lower_hull
from voxangle.metrics.stretch import Stretch, next_above

__all__ = ["OperatingPoint", "SortedScores", "det_curve", "eer", "min_dcf"]


@dataclass(frozen=True)
class OperatingPoint:
    """An error rate (or normalised cost) and its threshold; scores >= threshold are accepted."""

    rate: float
    threshold: float


@dataclass(frozen=True, eq=False)
class SortedScores:
    """The scores of one system on one list, each class in ascending order: sort once, ask often.

    Of a long list only as much is sorted as a figure needs: counts of scores in narrow bins give vertices of the DET
    curve, and tell between which of them the figure lies. The figure is that of the whole list, to the last bit.
    """

    _targets: NDArray[np.floating[Any]]
    _nontargets: NDArray[np.floating[Any]]

    @classmethod
    def of(cls, target: ArrayLike, nontarget: ArrayLike) -> SortedScores:
        """The scores of the target and of the non-target trials, each of any shape and order; they are copied.

        Raises:
            TrialError: a class is empty, or a score is NaN or infinite.
        """
        return cls(_finite(target, "target"), _finite(nontarget, "non-target"))

    @cached_property
    def target(self) -> NDArray[np.floating[Any]]:
        """Shape (targets,), ascending."""
        return np.sort(self._targets)

    @cached_property
    def nontarget(self) -> NDArray[np.floating[Any]]:
        """Shape (nontargets,), ascending."""
        return np.sort(self._nontargets)

    def eer(self, *, convex_hull: bool = False) -> OperatingPoint:
        """Equal error rate, in [0, 1]: where the DET curve, its vertices joined by lines, meets FNR = FPR.

        The threshold is the score at which the curve crosses; where a vertex lies on FNR = FPR, the middle
        of its gap.

        Args:
            convex_hull: take the rate where the lower convex hull of the curve meets FNR = FPR: never more than the
                curve's own, and never above 0.5. It is the largest Bayes error rate, over all priors, of a system
                that decides by the best threshold for each (Bruemmer and de Villiers, "The BOSARIS Toolkit", 2013,
                arXiv:1304.2865). No threshold reaches it unless a vertex does; the one given is that of the curve.
        """
        targets, nontargets = self._targets.size, self._nontargets.size
        edges = self._edges
        # FNR - FPR grows at every distinct score, hence crosses 0 once: the bin, then the score.
        bin_after = int(np.argmax(edges.missed * nontargets >= edges.alarms * targets))
        stretch = self._stretch(bin_after - 1, bin_after)
        before, after, score = stretch.crossing(targets, nontargets)
        met = after[0] * nontargets == after[1] * targets
        threshold = stretch.threshold(*after) if met else score
        if convex_hull:
            missed, alarms = self._hull
            beyond = int(np.argmax(missed * nontargets >= alarms * targets))
            if beyond == 0:  # the first vertex has FNR 0, hence FPR 0
                return OperatingPoint(0.0, threshold)
            before = int(missed[beyond - 1]), int(alarms[beyond - 1])
            after = int(missed[beyond]), int(alarms[beyond])
        return OperatingPoint(_rate_between(before, after, targets, nontargets), threshold)

    def min_dcf(self, *, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0) -> OperatingPoint:
        """Least detection cost over all thresholds, divided by that of the better blind decision: in [0, 1].

        NIST SRE: ``c_miss p_target FNR + c_fa (1 - p_target) FPR`` over ``min(c_miss p_target, c_fa (1 -
        p_target))``.

        Args:
            p_target: prior of a target trial, in (0, 1).
            c_miss: cost of rejecting a target trial, > 0.
            c_fa: cost of accepting a non-target trial, > 0.
        """
        a_miss, an_alarm = error_costs(
            self._targets.size, self._nontargets.size, p_target=p_target, c_miss=c_miss, c_fa=c_fa
        )
        edges = self._edges
        # Within a bin no fewer are missed than at its lower edge, and there are no fewer alarms than at its upper one.
        at_least = edges.missed[:-1] * a_miss + edges.alarms[1:] * an_alarm
        best_edge = np.min(edges.missed * a_miss + edges.alarms * an_alarm)
        possible = np.flatnonzero(at_least <= best_edge)
        stretch = self._stretch(int(possible[0]), int(possible[-1]) + 1)
        missed, alarms = stretch.corners()
        cost = missed * a_miss + alarms * an_alarm
        best = int(np.argmin(cost))
        return OperatingPoint(float(cost[best]), stretch.threshold(int(missed[best]), int(alarms[best])))

    def min_cllr(self) -> float:
        """Least Cllr, in bits and in [0, 1], of any map of the scores that never decreases; see ``min_cllr``."""
        missed, alarms = self._hull
        # Along an edge of the hull lie a share of the targets and one of the non-targets: e^LLR is their ratio.
        targets = np.diff(missed) / self._targets.size
        nontargets = -np.diff(alarms) / self._nontargets.size
        both = (targets > 0) & (nontargets > 0)  # elsewhere the map is certain, and right
        targets, nontargets = targets[both], nontargets[both]
        cost = targets * np.log1p(nontargets / targets) + nontargets * np.log1p(targets / nontargets)
        return float(cost.sum() / (2 * math.log(2)))

    def at_fpr(self, most: float) -> OperatingPoint:
        """Least FNR whose FPR is at most ``most``, in [0, 1], and a threshold that gives it."""
        if not 0 <= most <= 1:
            raise ValueError(f"a rate lies in [0, 1]; got {most}")
        nontargets = self._nontargets.size
        # The most alarms whose share, as it is computed, is allowed: rounding must neither take one away (0.29 of 100
        # are 29, not 28.999...) nor add one.
        near = int(most * nontargets)
        allowed = max(n for n in (near - 1, near, near + 1) if n / nontargets <= most)
        if allowed >= nontargets:
            return OperatingPoint(0.0, self._stretch(0, 1).threshold(0, nontargets))
        bin_after = int(np.argmax(self._edges.alarms <= allowed))
        stretch = self._stretch(bin_after - 1, bin_after)
        # The greatest score that has to be rejected, and all that tie with it.
        missed, alarms = stretch.above(stretch.nontarget[stretch.alarms - 1 - allowed])
        return OperatingPoint(missed / self._targets.size, stretch.threshold(missed, alarms))

    def det_curve(
        self,
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.float64], NDArray[np.float64]]:
        """Thresholds (ascending), FNR and FPR at each vertex; shape (distinct scores + 1,) each.

        The first threshold is the least score (all accepted), the last one just above the greatest (all
        rejected).
        """
        thresholds = np.unique(np.concatenate([self.target, self.nontarget]))
        thresholds = np.append(thresholds, next_above(thresholds[-1]))
        fnr = np.searchsorted(self.target, thresholds) / self.target.size
        fpr = 1 - np.searchsorted(self.nontarget, thresholds) / self.nontarget.size
        return thresholds, fnr, fpr

    @cached_property
    def _bins(self) -> Bins:
        return Bins.over(self._targets, self._nontargets)

    @cached_property
    def _edges(self) -> CoarseCurve:
        return CoarseCurve.of(self._bins, self._targets, self._nontargets)

    @cached_property
    def _hull(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return lower_hull(*self._stretch(0, self._bins.count).corners())

    def _stretch(self, first: int, last: int) -> Stretch:
        # Every vertex that is looked for has a score of these bins below it (or none at all); above it may be the next.
        edges = self._edges
        last = edges.next_score(last)
        # Most of the list, where it is short, or where a far outlier makes the bins wide: all is sorted, once.
        if 2 * (edges.rejected[last] - edges.rejected[first]) > edges.rejected[-1]:
            return Stretch(self.target, self.nontarget, 0, self._nontargets.size)
        return Stretch(
            self._bins.within(self._targets, first, last),
            self._bins.within(self._nontargets, first, last),
            int(edges.missed[first]),
            int(edges.alarms[first]),
        )


def error_costs(
    targets: int, nontargets: int, *, p_target: float, c_miss: float, c_fa: float
) -> tuple[float, float]:
    """What one missed target trial and one false alarm add to the normalised detection cost."""
    if not 0 < p_target < 1 or c_miss <= 0 or c_fa <= 0:
        raise ValueError(
            f"p_target must lie in (0, 1) and costs above 0; got {p_target=}, {c_miss=}, {c_fa=}"
        )
    miss_cost, alarm_cost = c_miss * p_target, c_fa * (1 - p_target)
    blind = min(miss_cost, alarm_cost)
    return miss_cost / blind / targets, alarm_cost / blind / nontargets


def eer(
    target_scores: ArrayLike, nontarget_scores: ArrayLike, *, convex_hull: bool = False
) -> OperatingPoint:
    """Equal error rate by linear interpolation, tied scores merged; see ``SortedScores.eer``."""
    return SortedScores.of(target_scores, nontarget_scores).eer(convex_hull=convex_hull)


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


def _rate_between(before: tuple[int, int], after: tuple[int, int], targets: int, nontargets: int) -> float:
    """The rate at which the line between two points (missed, alarms), on either side of FNR = FPR, meets it."""
    balance_before, balance_after = (
        missed * nontargets - alarms * targets for missed, alarms in (before, after)
    )
    if balance_after == 0:
        return after[0] / targets
    share = balance_before / (balance_before - balance_after)
    return (before[0] + share * (after[0] - before[0])) / targets


def _finite(scores: ArrayLike, what: str) -> NDArray[np.floating[Any]]:
    array = np.array(scores).ravel()
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    if array.size == 0:
        raise TrialError(f"there are no {what} scores; error rates need trials of both classes")
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise TrialError(
            f"{bad} of {array.size} {what} scores are NaN or infinite; look at the embeddings they came from"
        )
    return array
