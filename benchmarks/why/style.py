"""How the figures look: as those of the reports do."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from voxangle.storage import atomic_write

__all__ = [
    "BLUE",
    "COLOURS",
    "GREEN",
    "GREY",
    "PURPLE",
    "STYLES",
    "VERMILION",
    "finish",
    "house_style",
    "new_figure",
    "running_mean",
]

LineStyle: TypeAlias = Literal["-", "--", "-.", ":"]

# Okabe & Ito (2008), as in the reports: told apart by the colour-blind; line styles tell them apart in print, too.
BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#777777"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000")
STYLES: tuple[LineStyle, ...] = ("-", "--", "-.", ":")

_DOTS_PER_INCH = 160


def house_style() -> AbstractContextManager[None]:
    """Matplotlib's settings while figures are drawn, and no longer."""
    return mpl.rc_context(
        {
            "svg.hashsalt": "voxangle",
            "font.size": 10.5,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
        }
    )


def new_figure(width: float, height: float) -> Figure:
    """An empty one, inches wide and high."""
    return Figure(figsize=(width, height), layout="constrained")


def finish(figure: Figure, axes: Sequence[Axes], path: Path) -> None:
    """Grid and spines as in the house, then the file (``.svg`` or ``.png``); the same content makes the same file."""
    for each in axes:
        each.grid(visible=True, color="0.9", linewidth=0.8)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=_DOTS_PER_INCH, metadata=metadata)


def running_mean(values: NDArray[Any], width: int) -> NDArray[np.float64]:
    """The mean of up to ``width`` values around each, fewer at the ends; shape (N,)."""
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, np.float64))])
    place = np.arange(len(values))
    first = np.maximum(place - (width - 1) // 2, 0)
    last = np.minimum(place + width // 2 + 1, len(values))
    mean: NDArray[np.float64] = (sums[last] - sums[first]) / (last - first)
    return mean
