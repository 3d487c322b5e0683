from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from voxangle.metrics.convex_hull import lower_hull

Counts = NDArray[np.int64]


def points_of(steps: list[tuple[int, int]]) -> tuple[Counts, Counts]:
    """A curve that goes right and down."""
    right, down = np.array([(0, 0), *steps], dtype=np.int64).T
    return np.cumsum(right), int(down.sum()) - np.cumsum(down)


def naive_hull(x: Counts, y: Counts) -> list[tuple[int, int]]:
    """The ends, and the points below every line between an earlier and a later one."""
    points = list(zip(x.tolist(), y.tolist(), strict=True))

    def below(i: int, j: int, k: int) -> bool:
        (x0, y0), (x1, y1), (x2, y2) = points[i], points[j], points[k]
        return (y1 - y0) * (x2 - x0) < (y2 - y0) * (x1 - x0)

    inner = [
        points[j]
        for j in range(1, len(points) - 1)
        if all(below(i, j, k) for i in range(j) for k in range(j + 1, len(points)))
    ]
    return [points[0], *inner, points[-1]]


steps = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(lambda step: step != (0, 0)),
    min_size=1,
    max_size=25,
)


@given(steps)
def test_its_vertices_lie_below_every_line_between_two_points(steps: list[tuple[int, int]]) -> None:
    x, y = points_of(steps)
    hull = list(zip(*(side.tolist() for side in lower_hull(x, y)), strict=True))
    assert hull == naive_hull(x, y)


def test_points_in_a_line_have_two_vertices() -> None:
    x, y = lower_hull(np.arange(7), 6 - np.arange(7))
    assert (x.tolist(), y.tolist()) == ([0, 6], [6, 0])


def test_one_point_is_its_own_hull() -> None:
    x, y = lower_hull(np.array([3]), np.array([5]))
    assert (x.tolist(), y.tolist()) == ([3], [5])


def test_a_convex_curve_keeps_every_point() -> None:
    # Ever flatter: 1 right, 60 down; 1 right, 59 down ...
    x, y = points_of([(1, down) for down in range(60, 0, -1)])
    assert lower_hull(x, y)[0].size == 61


def test_a_point_that_comes_to_lie_in_a_line_is_no_vertex() -> None:
    # Of slopes 10 and 10 once the point between 9 and 11 is gone: the only one that the first round drops.
    downs = [*range(20, 10, -1), 9, 11, 10, *range(8, 0, -1)]
    x, y = points_of([(1, down) for down in downs])
    assert np.setdiff1d(x, lower_hull(x, y)[0]).tolist() == [11, 12]


@pytest.mark.parametrize("length", [100, 30_000])
def test_a_last_point_that_undoes_a_convex_curve_one_by_one_is_settled_at_once(length: int) -> None:
    # No point but the last is above the line between its neighbours, until the one after it is gone: a round each.
    down = np.arange(length, 0, -1)
    x = np.append(np.arange(length + 1), length + 2)
    y = 10 * length * length - np.concatenate([[0], np.cumsum(down), [int(down.sum()) + 9 * length * length]])
    assert [side.tolist() for side in lower_hull(x, y)] == [[0, length + 2], [int(y[0]), int(y[-1])]]


def test_great_counts_are_compared_exactly() -> None:
    # One below the line between its neighbours, where products exceed what a float64 holds.
    n = 1 << 30
    x, y = np.array([0, n, 2 * n + 1]), np.array([2 * n + 1, n, 0])
    assert lower_hull(x, y)[0].tolist() == [0, n, 2 * n + 1]
    assert lower_hull(x, np.array([2 * n + 1, n + 1, 0]))[0].tolist() == [0, 2 * n + 1]
