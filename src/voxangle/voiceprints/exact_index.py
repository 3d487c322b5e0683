"""Exact search: all vectors of a model in one matrix, and one product with it a query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExactIndex"]

_GROWTH = 1.25
_FEWEST = 256


class ExactIndex:
    """Vectors of unit length by number; it may change between two searches, but not during one.

    Args:
        dimension: D.
    """

    def __init__(self, dimension: int) -> None:
        self._rows: dict[int, int] = {}
        self._numbers = np.empty(0, np.int64)
        self._unit = np.empty((0, dimension), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dimension(self) -> int:
        """D."""
        return self._unit.shape[1]

    def reserve(self, count: int) -> None:
        """Make room for so many vectors in all, so that growing to them copies nothing."""
        if count > len(self._numbers):
            used = len(self._numbers)
            numbers, unit = np.empty(count, np.int64), np.empty((count, self._unit.shape[1]), np.float32)
            numbers[:used], unit[:used] = self._numbers, self._unit
            self._numbers, self._unit = numbers, unit

    def put(self, numbers: Sequence[int], vectors: NDArray[np.floating]) -> None:
        """Add vectors, (N, D), of any length but 0, or put them in the place of those that have their numbers."""
        rows = [self._rows.setdefault(number, len(self._rows)) for number in numbers]
        if len(self) > len(self._numbers):
            self.reserve(max(_FEWEST, int(_GROWTH * len(self))))
        self._numbers[rows] = numbers
        self._unit[rows] = vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget vectors; numbers that are not here count for nothing. What they were is overwritten."""
        for number in numbers:
            row = self._rows.pop(number, None)
            if row is None:
                continue
            last = len(self._rows)
            if row != last:
                moved = int(self._numbers[last])
                self._numbers[row], self._unit[row] = moved, self._unit[last]
                self._rows[moved] = row
            self._unit[last] = 0

    def nearest(self, vector: NDArray[np.floating], count: int) -> list[tuple[int, float]]:
        """Numbers and cosines of the nearest vectors, nearest first; of equal ones the lower number first.

        Args:
            vector: (D,), of any length but 0.
            count: how many at most.
        """
        used = len(self)
        unit = (vector / np.linalg.norm(vector.astype(np.float64))).astype(np.float32)
        scores = self._unit[:used] @ unit
        best = np.arange(used) if used <= count else np.argpartition(scores, used - count)[used - count :]
        best = best[np.lexsort((self._numbers[best], -scores[best]))]
        return [(int(self._numbers[row]), float(scores[row])) for row in best]
