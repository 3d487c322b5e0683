"""The DET curve at the edges of narrow bins of scores: what can be known of it before anything is sorted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bins", "CoarseCurve"]

_BINS = 1 << 14
_FEW = 1 << 14  # scores that are sorted as soon as counted
_CHUNK = 1 << 17  # scores at a time: what is made of them stays in the cache

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Bins:
    """A map from scores to whole numbers that never puts a higher score into a lower bin.

    Rounding may move the edge between two bins, but for all scores alike: subtraction of a constant, multiplication
    by a positive one and truncation never swap two numbers.

    Attributes:
        low: the least score.
        scale: bins per unit of score; 0 where there is one bin for all.
        count: of the bins.
    """

    low: np.floating[Any]
    scale: np.floating[Any]
    count: int

    @classmethod
    def over(cls, *classes: Scores) -> Bins:
        """Bins for these scores, all finite: one where there are few of them, or where they cannot be told apart."""
        kind = np.result_type(np.float32, *classes).type
        low = kind(min(scores.min() for scores in classes))
        with np.errstate(over="ignore", divide="ignore"):
            scale = kind(_BINS - 1) / (kind(max(scores.max() for scores in classes)) - low)
        few = sum(scores.size for scores in classes) <= _FEW
        if few or scale == 0 or not np.isfinite(scale):
            return cls(low, kind(0), 1)
        return cls(low, scale, _BINS)

    def of(self, scores: Scores) -> NDArray[np.uint16]:
        """The bin of each score, shape (scores,)."""
        if self.count == 1:
            return np.zeros(scores.size, dtype=np.uint16)
        place = np.subtract(scores, self.low, dtype=self.low.dtype)
        place *= self.scale
        return place.astype(np.uint16)

    def counts(self, scores: Scores) -> NDArray[np.int64]:
        """How many scores each bin holds, shape (count,)."""
        counts = np.zeros(self.count, dtype=np.int64)
        for chunk in _chunks(scores):
            counts += np.bincount(self.of(chunk), minlength=self.count)
        return counts

    def within(self, scores: Scores, first: int, last: int) -> Scores:
        """The scores in bins ``[first, last)``, ascending."""
        found = []
        for chunk in _chunks(scores):
            place = self.of(chunk)
            found.append(chunk[(place >= first) & (place < last)])
        return np.sort(np.concatenate(found))


@dataclass(frozen=True, eq=False)
class CoarseCurve:
    """Some vertices of the DET curve, in ascending order of threshold: those between two bins, and the two ends.

    Attributes:
        missed: shape (bins + 1,), target trials below each edge.
        alarms: shape (bins + 1,), non-target trials at or above each edge.
    """

    missed: NDArray[np.int64]
    alarms: NDArray[np.int64]

    @classmethod
    def of(cls, bins: Bins, target: Scores, nontarget: Scores) -> Self:
        """Count, without sorting."""
        missed, passed = (
            np.concatenate([[0], np.cumsum(bins.counts(scores))]) for scores in (target, nontarget)
        )
        return cls(missed, nontarget.size - passed)

    @cached_property
    def rejected(self) -> NDArray[np.int64]:
        """Shape (bins + 1,), trials of both classes below each edge."""
        rejected: NDArray[np.int64] = self.missed - self.alarms + self.alarms[0]
        return rejected

    def next_score(self, edge: int) -> int:
        """The edge above the first bin from ``edge`` on that holds a score; the last edge where none does."""
        above = int(np.searchsorted(self.rejected, self.rejected[edge], side="right"))
        return min(above, self.rejected.size - 1)


def _chunks(scores: Scores) -> Iterator[Scores]:
    return (scores[first : first + _CHUNK] for first in range(0, scores.size, _CHUNK))
