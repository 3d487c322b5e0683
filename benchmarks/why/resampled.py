"""Figures of speakers with what drawing the speakers anew makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.metrics.bootstrap import drawn_speakers as speakers_drawn
from voxangle.metrics.intervals import Replicates

__all__ = ["Figures", "drawn_speakers"]

Weights = NDArray[np.float64]
Figures = dict[str, dict[str, Any]]

_GROUPS = 100  # of speakers left out, at most, as ``voxangle.metrics.bootstrap`` has it


def drawn_speakers(
    names: tuple[str, ...],
    figures: Callable[[Weights], NDArray[np.float64]],
    speakers: int,
    *,
    draws: int = 1000,
    seed: int = 0,
    least: float = -np.inf,
    most: float = np.inf,
) -> Figures:
    """Figures and their 95 % intervals by bootstrap over speakers (``voxangle.metrics.intervals``).

    Args:
        names: of the figures.
        figures: what they are, shape (draws, figures), when each speaker counts so often, shape (draws, speakers); NaN
            where they do not exist.
        speakers: how many.
        draws: of the speakers.
        seed: of the draws.
        least: what the figures can be at all,
        most: and at the most.

    Returns:
        By name ``value``, ``low`` and ``high``; NaN becomes None.
    """
    random = np.random.default_rng(seed)
    (once,) = figures(np.ones((1, speakers)))
    drawn = figures(speakers_drawn(speakers, draws, random).astype(np.float64))
    group = np.arange(speakers) % min(speakers, _GROUPS)
    left_out = figures((group != np.arange(group.max() + 1)[:, None]).astype(np.float64))
    table: Figures = {}
    for place, (name, value) in enumerate(zip(names, once.tolist(), strict=True)):
        column = drawn[:, [place]]
        if np.isnan(value) or np.isnan(column).all():
            table[name] = {"value": None if np.isnan(value) else value, "low": None, "high": None}
            continue
        one = Replicates(once[[place]], column, left_out[:, [place]], speakers, np.empty((2, 0, 1)))
        (interval,) = one.intervals(0.95, least=least, most=most)
        table[name] = {"value": value, "low": interval.low, "high": interval.high}
    return table
