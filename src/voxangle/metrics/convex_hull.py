"""The convex hull of a descending curve of counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lower_hull"]

_WORTH = 8  # a round over all points at once pays while it drops one point in so many

Counts = NDArray[np.int64]


def lower_hull(x: Counts, y: Counts) -> tuple[Counts, Counts]:
    """The vertices of the greatest convex curve below the points; the first and the last point are two of them.

    No other vertex lies on or above the line between two points. Rounds over all points at once drop those on or above
    the line between their neighbours, which are no vertices whatever the others are; a stack (Andrew 1979, "Another
    efficient algorithm for convex hulls in two dimensions") settles the rest. They are few: points that no round drops
    turn upwards one after another, and of such points in whole numbers a box of A x B holds of the order of
    (A B)^(1/3).

    Args:
        x: shape (points,), not descending; products of two differences must fit 63 bits.
        y: shape (points,), not ascending.

    Returns:
        Coordinates of the vertices, shape (vertices,) each, in the order of the points.
    """
    while x.size > 2:
        dx, dy = np.diff(x), np.diff(y)
        kept = np.ones(x.size, dtype=bool)
        np.less(dx[1:] * dy[:-1], dx[:-1] * dy[1:], out=kept[1:-1])
        before = x.size
        x, y = x[kept], y[kept]
        if x.size == before:
            break
        if (before - x.size) * _WORTH < before:
            return _by_stack(x, y)
    return x, y


def _by_stack(x: Counts, y: Counts) -> tuple[Counts, Counts]:
    hull: list[tuple[int, int]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(hull) > 1 and not _turns_up(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    vertices = np.array(hull, dtype=np.int64)
    return vertices[:, 0], vertices[:, 1]


def _turns_up(first: tuple[int, int], second: tuple[int, int], third: tuple[int, int]) -> bool:
    (x0, y0), (x1, y1), (x2, y2) = first, second, third
    return (x2 - x1) * (y1 - y0) < (x1 - x0) * (y2 - y1)
