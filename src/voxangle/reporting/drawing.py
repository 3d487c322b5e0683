"""Line drawings as SVG within the page: sharp at any size, in the page's own colours by day, by night and in print."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DRAWING_STYLE", "Axes", "Drawing", "Key", "series", "ticks_between"]

# Okabe & Ito (2008), told apart by the colour-blind: their blue and orange are changed for each other's lighter or
# darker kin where paper or night would swallow them. Dashes tell the series apart where there is no colour.
DRAWING_STYLE = """
:root { --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #b0548a; --s4: #a06c00; --s5: #1b1f24; }
@media screen and (prefers-color-scheme: dark) { :root { --s0: #56b4e9; --s1: #f0803c; --s2: #2fc79b; --s3: #e39cc3;
  --s4: #f0c04a; --s5: #e6e9ec; } }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); }
.s4 { --c: var(--s4); } .s5 { --c: var(--s5); } .plain { --c: var(--ink); } .quiet { --c: var(--faint); }
svg.drawing { display: block; width: 100%; max-width: 32rem; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: var(--faint); stroke: none; } svg text.name { fill: var(--ink); }
svg .grid { stroke: var(--line); stroke-width: 1; fill: none; }
svg .edge { stroke: var(--faint); stroke-width: 1; fill: none; }
svg .line { stroke: var(--c); stroke-width: 1.8; fill: none; stroke-linejoin: round; }
svg .thin { stroke: var(--c); stroke-width: 1; fill: none; }
svg .band { fill: var(--c); fill-opacity: .16; stroke: none; }
svg .area { fill: var(--c); fill-opacity: .3; stroke: none; }
svg .dot { fill: var(--c); stroke: var(--paper); stroke-width: 1.5; }
svg .hollow { fill: var(--paper); stroke: var(--c); stroke-width: 1.5; }
svg .d1 { stroke-dasharray: 7 3; } svg .d2 { stroke-dasharray: 7 3 1.5 3; } svg .d3 { stroke-dasharray: 1.5 3; }
.keys { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: .25rem 0 0; padding: 0; list-style: none;
  color: var(--ink); font-size: .92rem; }
.keys svg { width: 1.9rem; height: .75rem; margin-right: .4rem; vertical-align: -.05rem; }
.keys li { overflow-wrap: anywhere; }
"""

_COLOURS, _DASHES = 6, 4
_FEW = 1e-9


def series(number: int) -> str:
    """The classes of a line of its own colour and dashes: twelve differ."""
    return f"s{number % _COLOURS} d{number % _DASHES}"


def ticks_between(low: float, high: float, most: int = 6) -> list[float]:
    """At most so many round numbers (1, 2 or 5 times a power of ten apart) in ``[low, high]``."""
    span = (high - low) * (1 + _FEW)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= most - 1)
    first = math.ceil(low / step - _FEW)
    return [step * n for n in range(first, math.floor(high / step + _FEW) + 1)]


@dataclass(frozen=True)
class Key:
    """What a mark stands for.

    Attributes:
        name: in words.
        marks: SVG elements within a box of 30 x 12, such as ``Key.LINE``.
        css: classes of the marks.
    """

    LINE = '<path class="line {}" d="M0 6H30"/>'
    BANDED = '<path class="band {0}" d="M0 0H30V12H0Z"/><path class="line {0}" d="M0 6H30"/>'
    AREA = '<path class="area {0}" d="M1 1H29V11H1Z"/><path class="line {0}" d="M1 11V1H29V11"/>'
    HATCH = (
        '<path class="line {0}" d="M1 11V1H29V11"/>'
        '<path class="thin {0}" d="M6 1V11M11 1V11M16 1V11M21 1V11M26 1V11"/>'
    )

    name: str
    css: str
    marks: str = LINE

    def html(self) -> str:
        """The key's markup."""
        return (
            f'<li><svg viewBox="0 0 30 12" aria-hidden="true">{self.marks.format(self.css)}</svg>'
            f"{escape(self.name)}</li>"
        )


@dataclass(frozen=True)
class Drawing:
    """A drawing on the page, as a block of it.

    Attributes:
        width: of the drawing's own units; about as many as the pixels of a phone, so that its text can be read there.
        height: likewise.
        body: SVG elements.
        caption: below it.
        description: for those who cannot see it; the figures it shows, not how it looks.
        keys: what its marks stand for.
    """

    width: int
    height: int
    body: str
    caption: str
    description: str
    keys: Sequence[Key] = ()

    def html(self) -> str:
        """The drawing's markup."""
        keys = "".join(key.html() for key in self.keys)
        listed = f'<ul class="keys">{keys}</ul>' if keys else ""
        return (
            f'<figure><svg class="drawing" role="img" viewBox="0 0 {self.width} {self.height}" '
            f'aria-label="{escape(self.description)}">{self.body}</svg>'
            f"{listed}<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


@dataclass(eq=False)
class Axes:
    """A frame with scales, and what is drawn in it; nothing shows outside.

    Attributes:
        x_limits: values at the left and at the right edge.
        y_limits: values at the lower and at the upper edge.
        left: of the frame, in the drawing's units.
        top: likewise.
        width: likewise.
        height: likewise.
    """

    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    left: float = 50
    top: float = 8
    width: float = 280
    height: float = 290
    _inside: list[str] = field(default_factory=list)
    _outside: list[str] = field(default_factory=list)

    def x(self, values: ArrayLike) -> NDArray[np.float64]:
        """Places from the left edge."""
        low, high = self.x_limits
        return (np.asarray(values, np.float64) - low) / (high - low) * self.width

    def y(self, values: ArrayLike) -> NDArray[np.float64]:
        """Places from the upper edge."""
        low, high = self.y_limits
        return (high - np.asarray(values, np.float64)) / (high - low) * self.height

    def x_ticks(self, ticks: Iterable[float], names: Iterable[str], label: str = "") -> None:
        """Lines of the grid, their names below the frame, and what they measure below these."""
        for place, name in zip(self.x(list(ticks)), names, strict=True):
            self._inside.append(f'<path class="grid" d="M{place:.1f} 0V{self.height:g}"/>')
            self._outside.append(self._text(self.left + place, self.top + self.height + 14, name))
        if label:
            self._outside.append(
                self._text(self.left + self.width / 2, self.top + self.height + 30, label, "name")
            )

    def y_ticks(self, ticks: Iterable[float], names: Iterable[str], label: str = "") -> None:
        """Likewise, left of the frame."""
        for place, name in zip(self.y(list(ticks)), names, strict=True):
            self._inside.append(f'<path class="grid" d="M0 {place:.1f}H{self.width:g}"/>')
            self._outside.append(self._text(self.left - 5, self.top + place + 4, name, anchor="end"))
        if label:
            middle = self.top + self.height / 2
            self._outside.append(
                f'<text class="name" text-anchor="middle" transform="translate(11 {middle:.1f}) rotate(-90)">'
                f"{escape(label)}</text>"
            )

    def line(self, x: ArrayLike, y: ArrayLike, css: str) -> None:
        """A line through points."""
        self._inside.append(f'<path class="{css}" d="{self._path(x, y)}"/>')

    def between(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, css: str) -> None:
        """The area between two lines over the same ``x``."""
        along = np.asarray(x, np.float64)
        there_and_back = np.concatenate([along, along[::-1]])
        edges = np.concatenate([np.asarray(low, np.float64), np.asarray(high, np.float64)[::-1]])
        self._inside.append(f'<path class="{css}" d="{self._path(there_and_back, edges)}Z"/>')

    def bars(
        self, edges: NDArray[np.float64], heights: NDArray[np.float64], css: str, *, hatch: bool
    ) -> None:
        """A histogram's outline, filled, or hatched by upright lines."""
        x = np.repeat(edges, 2)
        y = np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
        if hatch:
            places = np.arange(edges[0], edges[-1], 5 / self.width * (self.x_limits[1] - self.x_limits[0]))
            tops = heights[np.clip(np.searchsorted(edges, places, side="right") - 1, 0, len(heights) - 1)]
            strokes = "".join(
                f"M{px:.1f} {self.height:g}V{py:.1f}"
                for px, py, top in zip(self.x(places), self.y(tops), tops, strict=True)
                if top > 0
            )
            self._inside.append(f'<path class="thin {css}" d="{strokes}"/>')
        else:
            self._inside.append(f'<path class="area {css}" d="{self._path(x, y)}Z"/>')
        self._inside.append(f'<path class="line {css}" d="{self._path(x, y)}"/>')

    def dots(self, x: ArrayLike, y: ArrayLike, css: str, radius: float = 4.5) -> None:
        """Round marks."""
        places = zip(np.atleast_1d(self.x(x)), np.atleast_1d(self.y(y)), strict=True)
        self._inside += [
            f'<circle class="{css}" cx="{px:.1f}" cy="{py:.1f}" r="{radius:g}"/>' for px, py in places
        ]

    def uprights(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, css: str) -> None:
        """Upright lines, as of intervals."""
        places = zip(
            *(np.atleast_1d(side) for side in (self.x(x), self.y(low), self.y(high))),
            strict=True,
        )
        path = "".join(f"M{px:.1f} {a:.1f}V{b:.1f}" for px, a, b in places)
        self._inside.append(f'<path class="{css}" d="{path}"/>')

    def label(self, x: float, y: float, words: str, *, anchor: str = "start") -> None:
        """Words at a place in the frame."""
        self._inside.append(self._text(float(self.x(x)), float(self.y(y)), words, "name", anchor))

    def svg(self) -> str:
        """The frame and all that was drawn."""
        # An inner svg cuts off what is beyond it, without the name in the page that a clipping path would need.
        return (
            f'<svg x="{self.left:g}" y="{self.top:g}" width="{self.width:g}" height="{self.height:g}">'
            f"{''.join(self._inside)}</svg>"
            f'<path class="edge" d="M{self.left:g} {self.top:g}v{self.height:g}h{self.width:g}"/>'
            f"{''.join(self._outside)}"
        )

    def _path(self, x: ArrayLike, y: ArrayLike) -> str:
        points = np.stack([self.x(x), self.y(y)], axis=1)
        # Far outside is outside: no need for more digits.
        points = np.clip(points, -1000, 2000)
        return "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in points)

    @staticmethod
    def _text(x: float, y: float, words: str, css: str = "", anchor: str = "middle") -> str:
        named = f' class="{css}"' if css else ""
        return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
