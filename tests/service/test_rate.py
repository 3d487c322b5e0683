"""A bucket of tokens: a burst at once, then evenly, each caller for itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voxangle.service.rate import Buckets


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_evenly() -> None:
    clock = Clock()
    buckets = Buckets(per_minute=30, burst=3, clock=clock)
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 2, 2]
    assert buckets.take("b") == 0
    clock.now += 2.0
    assert [buckets.take("a") for _ in range(2)] == [0, 2]
    clock.now += 3600
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 2]


@given(st.lists(st.floats(0, 10), max_size=60))
def test_never_more_than_the_burst_and_what_came_back(gaps: list[float]) -> None:
    clock = Clock()
    buckets = Buckets(per_minute=60, burst=5, clock=clock)
    taken, began = 0, clock.now
    for gap in gaps:
        clock.now += gap
        wait = buckets.take("a")
        taken += not wait
        assert wait >= 0
    assert taken <= 5 + (clock.now - began) + 1e-6


def test_whoever_waits_as_told_is_let_in() -> None:
    clock = Clock()
    buckets = Buckets(per_minute=7, burst=1, clock=clock)
    assert buckets.take("a") == 0
    clock.now += buckets.take("a")
    assert buckets.take("a") == 0
