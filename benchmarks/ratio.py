"""Two ways of doing a thing, timed in turns so that a busy machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Measurement", "in_turns"]


@dataclass(frozen=True)
class Measurement:
    """What one benchmark found.

    Attributes:
        name: what was measured.
        value: the median.
        low: its first quartile over the rounds.
        high: its third quartile.
        unit: of the three; empty for a ratio.
        goal: what it ought to be.
        met: whether the median is.
        detail: what else a reader needs.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    goal: str
    met: bool
    detail: str


def in_turns(
    first: Callable[[], object], second: Callable[[], object], *, rounds: int, warm_up: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each call, shape (rounds,), the two called alternately, each first every other round."""
    for _ in range(warm_up):
        first()
        second()
    seconds = np.empty((rounds, 2))
    for turn in range(rounds):
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        for which in order:
            began = time.perf_counter()
            (first, second)[which]()
            seconds[turn, which] = time.perf_counter() - began
    return seconds[:, 0], seconds[:, 1]
