"""Several ways of doing a thing, timed in turns so that a busy machine slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

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

    @classmethod
    def of(
        cls,
        name: str,
        values: ArrayLike,
        unit: str,
        detail: str,
        *,
        most: float | None = None,
        least: float | None = None,
    ) -> Self:
        """The median and quartiles of values, one a round, against a bound, if there is one."""
        low, value, high = np.quantile(np.asarray(values, np.float64), [0.25, 0.5, 0.75]).tolist()
        met = (most is None or value <= most) and (least is None or value >= least)
        limits = (("<=", most), (">=", least))
        bounds = [f"{sign} {bound:,g} {unit}".strip() for sign, bound in limits if bound is not None]
        return cls(name, value, low, high, unit, " and ".join(bounds) or "none", met, detail)


def in_turns(*calls: Callable[[], object], rounds: int, warm_up: int = 3) -> tuple[np.ndarray, ...]:
    """Seconds of each call, shape (rounds,) each; in every round all are called, each first in its turn."""
    for _ in range(warm_up):
        for call in calls:
            call()
    seconds = np.empty((len(calls), rounds))
    for turn in range(rounds):
        for place in range(len(calls)):
            which = (turn + place) % len(calls)
            began = time.perf_counter()
            calls[which]()
            seconds[which, turn] = time.perf_counter() - began
    return tuple(seconds)
