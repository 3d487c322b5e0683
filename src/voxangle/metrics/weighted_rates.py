"""Error rates of one list under many weightings of its trials at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxangle.errors import TrialError

__all__ = ["WeightedTrials"]

_BLOCK = 256  # trials: the weights of a block stay in the cache
_VALUES_A_STEP = 1 << 18
_Weights = NDArray[np.floating[Any]]
_Signed = list[tuple[_Weights, int]]  # what the products of each count


class WeightedTrials:
    """One system's trials in the order of their scores, each weighing the product of two rows of a table.

    A column of the table is a weighting. Of every block of neighbouring trials only the sums of the weights are formed,
    for many columns side by side. The sums bound the error rates at all thresholds within a block, so that single
    trials are looked at only where the figure asked for may lie. Time grows with trials times columns, memory with the
    trials.

    Args:
        scores: shape (trials,).
        target: shape (trials,), true where both sides are one speaker.
        left: shape (trials,), a row of the table.
        right: shape (trials,), another.

    Raises:
        TrialError: a score is NaN or infinite.
    """

    def __init__(
        self,
        scores: ArrayLike,
        target: NDArray[np.bool_],
        left: NDArray[np.int64],
        right: NDArray[np.int64],
    ) -> None:
        values = np.asarray(scores)
        if values.shape != target.shape:
            raise ValueError(f"{target.size} trials, but scores of shape {values.shape}")
        if not np.isfinite(values).all():
            raise TrialError("a score is NaN or infinite; look at the embeddings it came from")
        order = np.argsort(values)
        values = values[order]
        self._target = target[order]
        self._left, self._right = left[order].astype(np.int32), right[order].astype(np.int32)
        # n trials rejected is a vertex of the DET curve where the trials on both sides of the cut differ in score.
        self._is_vertex = np.concatenate([[True], values[1:] != values[:-1], [True]])
        self._vertices = np.flatnonzero(self._is_vertex)
        # The trials of each class, and where each block begins among them.
        starts = np.append(np.arange(0, values.size, _BLOCK), values.size)
        places = [np.flatnonzero(one) for one in (self._target, ~self._target)]
        self._classes = [
            (self._left[one], self._right[one], np.searchsorted(one, starts).tolist()) for one in places
        ]

    def rates(
        self, table: _Weights, priors: Sequence[float], added: _Weights | None = None, sign: int = 1
    ) -> NDArray[np.float64]:
        """EER, then minDCF (unit costs) at each prior, under every weighting.

        Args:
            table: shape (rows, weightings). Whole numbers make exact counts.
            priors: of a target trial.
            added: a second table, whose products are added to those of the first; no sum may be negative.
            sign: -1 to subtract them.

        Returns:
            Shape (weightings, 1 + priors); NaN where a class has no weight.
        """
        tables = _in_least_precision([table] if added is None else [table, added])
        signed = list(zip(tables, (1, sign), strict=False))
        sums = np.stack([self._sums(signed, *one) for one in self._classes])
        usable = (sums[:, -1] > 0).all(axis=0)
        rates = np.full((table.shape[1], 1 + len(priors)), np.nan)
        if usable.any():
            kept = [(np.ascontiguousarray(one[:, usable]), of) for one, of in signed]
            curves = _Curves(self, kept, sums[:, :, usable])
            rates[usable] = np.stack([curves.eer(), *(curves.min_dcf(p) for p in priors)], axis=1)
        return rates

    def _sums(
        self, tables: _Signed, left: NDArray[np.int32], right: NDArray[np.int32], starts: list[int]
    ) -> NDArray[np.float64]:
        """Of a class: the weight before each block, and in all; shape (blocks + 1, weightings)."""
        sums = np.zeros((len(starts), tables[0][0].shape[1]))
        block, other = (np.empty((_BLOCK, sums.shape[1]), tables[0][0].dtype) for _ in range(2))
        for i, (first, last) in enumerate(pairwise(starts)):
            weights, factor = block[: last - first], other[: last - first]
            for table, sign in tables:
                # The rows are known to be there; without "clip" numpy would fill a buffer first.
                table.take(left[first:last], axis=0, out=weights, mode="clip")
                table.take(right[first:last], axis=0, out=factor, mode="clip")
                np.multiply(weights, factor, out=weights)
                sums[i + 1] += sign * weights.sum(axis=0)
        return np.cumsum(sums, axis=0, out=sums)

    def _within(
        self, tables: _Signed, blocks: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Weight of each class in the first 0, 1, ... trials of a block; shape (2, blocks, _BLOCK + 1)."""
        place = blocks[:, None] * _BLOCK + np.arange(_BLOCK)
        beyond = place >= self._target.size
        place[beyond] = 0
        left, right, column = self._left[place], self._right[place], columns[:, None]
        weights = np.zeros(place.shape)
        for table, sign in tables:
            weights += sign * table[left, column] * table[right, column]
        weights[beyond] = 0
        is_target = self._target[place]
        sums = np.zeros((2, len(blocks), _BLOCK + 1))
        np.cumsum(weights * is_target, axis=1, out=sums[0, :, 1:])
        np.cumsum(weights * ~is_target, axis=1, out=sums[1, :, 1:])
        return sums


def _in_least_precision(tables: list[_Weights]) -> list[_Weights]:
    # Sums of whole numbers below 2^24 are exact in single precision, and half the work.
    whole = all(
        (one == np.rint(one)).all() and float(np.abs(one).max()) ** 2 * _BLOCK < 1 << 24 for one in tables
    )
    return [np.ascontiguousarray(one, np.float32 if whole else np.float64) for one in tables]


class _Curves:
    """The DET curves of all weightings."""

    def __init__(self, trials: WeightedTrials, tables: _Signed, sums: NDArray[np.float64]) -> None:
        self._trials, self._tables = trials, tables
        # Weight of the target trials missed and the non-target trials passed over when all before a block are rejected.
        self._sums = sums
        self._totals = sums[:, -1]
        self._columns = np.arange(tables[0][0].shape[1])

    def eer(self) -> NDArray[np.float64]:
        """Shape (weightings,): see ``SortedScores.eer``."""
        block = np.count_nonzero(self._balance(self._sums, self._totals) < 0, axis=0) - 1
        within = self._within(block, self._columns)
        early = np.count_nonzero(self._balance(within, self._totals[:, :, None]) < 0, axis=1)
        # Where the rates are equal between two blocks, sums of trials and of blocks may round to either side of 0.
        early = np.minimum(early, _BLOCK)
        # The first cut whose balance is not negative may part trials that tie: the vertices around it do not.
        vertices = self._trials._vertices
        beyond = np.searchsorted(vertices, block * _BLOCK + early)
        before, after = self._at(vertices[beyond - 1]), self._at(vertices[beyond])
        lack, excess = self._balance(before, self._totals), self._balance(after, self._totals)
        missed = before[0] + lack / (lack - excess) * (after[0] - before[0])
        rates: NDArray[np.float64] = missed / self._totals[0]
        return rates

    def min_dcf(self, prior: float) -> NDArray[np.float64]:
        """Shape (weightings,): see ``SortedScores.min_dcf``."""
        miss, alarm = np.array([prior, 1 - prior]) / min(prior, 1 - prior)
        per_miss, per_alarm = miss / self._totals[0], alarm / self._totals[1]
        missed, left = self._sums[0] * per_miss, (self._totals[1] - self._sums[1]) * per_alarm
        at_vertex = self._trials._is_vertex[np.append(np.arange(0, self._trials._target.size, _BLOCK), -1)]
        least: NDArray[np.float64] = (missed + left)[at_vertex].min(axis=0)
        # Within a block no cut costs less than the misses before it and the alarms beyond it.
        block, column = np.nonzero(missed[:-1] + left[1:] < least)
        step = max(1, _VALUES_A_STEP // _BLOCK)
        for first in range(0, len(block), step):
            blocks, columns = block[first : first + step], column[first : first + step]
            passed = self._within(blocks, columns)
            cost = passed[0] * per_miss[columns, None]
            cost += (self._totals[1, columns, None] - passed[1]) * per_alarm[columns, None]
            cuts = np.minimum(blocks[:, None] * _BLOCK + np.arange(_BLOCK + 1), self._trials._target.size)
            cost[~self._trials._is_vertex[cuts]] = np.inf
            np.minimum.at(least, columns, cost.min(axis=1))
        return least

    @staticmethod
    def _balance(passed: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
        # FNR - FPR over the common denominator: of whole numbers, exact.
        balance: NDArray[np.float64] = passed[0] * totals[1] - (totals[1] - passed[1]) * totals[0]
        return balance

    def _within(self, blocks: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Weight of each class before every cut within a block; shape (2, blocks, _BLOCK + 1)."""
        within: NDArray[np.float64] = self._trials._within(self._tables, blocks, columns)
        within += self._sums[:, blocks, columns, None]
        return within

    def _at(self, cuts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Weight of each class before a cut of each weighting's own; shape (2, weightings)."""
        block = np.minimum(cuts // _BLOCK, len(self._sums[0]) - 2)
        at: NDArray[np.float64] = self._within(block, self._columns)[:, self._columns, cuts - block * _BLOCK]
        return at
