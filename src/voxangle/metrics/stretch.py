"""A stretch of the DET curve, its scores sorted."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stretch", "next_above"]

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Stretch:
    """The vertices of the DET curve from one threshold to another, told by counts of both kinds of error.

    Attributes:
        target: the target scores between the two thresholds, ascending.
        nontarget: the non-target scores between them, ascending.
        missed: target trials below the first threshold.
        alarms: non-target trials at or above the first threshold.
    """

    target: Scores
    nontarget: Scores
    missed: int
    alarms: int

    def above(self, score: np.floating[Any]) -> tuple[int, int]:
        """Missed target trials and false alarms where a score of the stretch is rejected."""
        return self._counts(score, "right")

    def crossing(self, targets: int, nontargets: int) -> tuple[tuple[int, int], tuple[int, int], float]:
        """Where FNR - FPR, of classes of these sizes, turns from below 0 to 0 or more: it does so in the stretch.

        Returns:
            Errors (missed, alarms) just before the score at which it turns and just after, and that score.
        """

        def first_score_beyond(scores: Scores) -> np.floating[Any]:
            def balance(i: int) -> int:
                missed, alarms = self.above(scores[i])
                # Over the common denominator, in whole numbers, so that equality is exact.
                return missed * nontargets - alarms * targets

            # Beyond the greatest score of a class the balance may still be < 0; the other class then has the
            # crossing.
            i = bisect_left(range(scores.size), 0, key=balance)
            return scores[i] if i < scores.size else np.float64(np.inf)

        # The balance grows at every distinct score.
        score = min(first_score_beyond(self.target), first_score_beyond(self.nontarget))
        return self._counts(score, "left"), self.above(score), float(score)

    def corners(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(missed, alarms) wherever one class cannot be served better without cost to the other, ascending in missed.

        A cost has its minimum there. Following the class of fewer scores visits them all; a tie adds points that are
        never better.
        """
        targets, nontargets = self.target.size, self.nontarget.size
        if targets <= nontargets:
            missed = np.arange(targets + 1)
            passed = np.append(np.searchsorted(self.nontarget, self.target), nontargets)
        else:
            missed = np.insert(np.searchsorted(self.target, self.nontarget, side="right"), 0, 0)
            passed = np.arange(nontargets + 1)
        return self.missed + missed, self.alarms - passed

    def threshold(self, missed: int, alarms: int) -> float:
        """Between the greatest score rejected and the least accepted; beyond the ends where there is none."""
        rejected = ((self.target, missed - self.missed), (self.nontarget, self.alarms - alarms))
        below = [scores[n - 1] for scores, n in rejected if n > 0]
        above = [scores[n] for scores, n in rejected if n < scores.size]
        if not above:
            return float(next_above(max(below)))
        if not below:
            return float(min(above))
        low, high = max(below), min(above)
        middle = low / 2 + high / 2  # their sum may be too great
        return float(middle if low < middle <= high else high)

    def _counts(self, score: np.floating[Any], side: Literal["left", "right"]) -> tuple[int, int]:
        missed = self.missed + int(np.searchsorted(self.target, score, side=side))
        return missed, self.alarms - int(np.searchsorted(self.nontarget, score, side=side))


def next_above(score: np.floating[Any]) -> np.floating[Any]:
    """The least number of the score's own precision that is greater; infinity after the greatest."""
    with np.errstate(over="ignore"):
        above: np.floating[Any] = np.nextafter(score, type(score)(np.inf))
    return above
