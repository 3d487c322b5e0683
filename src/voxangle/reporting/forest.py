"""A table whose rows carry their intervals as pictures under one scale, so that the eye sees what overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from voxangle.metrics import Interval
from voxangle.reporting.drawing import ticks_between
from voxangle.reporting.page import Table
from voxangle.reporting.wording import MINUS

__all__ = ["Forest", "Span"]

_WIDTH, _HEIGHT, _EDGE = 112, 24, 8


@dataclass(frozen=True)
class Span:
    """A figure and the ends of its interval, in the units of the scale."""

    value: float
    ends: Interval


@dataclass(frozen=True)
class Forest(Table):
    """A table with a column of intervals after the second one.

    The pictures repeat what the second column says in figures, so that readers of the screen pass over them.

    Attributes:
        spans: one for each row; ``None`` where there is nothing to show.
        reference: a line through all rows, such as 0 or the figure of the whole list.
        scale: what the scale measures.
    """

    spans: Sequence[Span | None] = ()
    reference: float = 0.0
    scale: str = ""

    def head(self) -> str:
        """The header's cells."""
        cells = [f'<th scope="col">{escape(cell)}</th>' for cell in self.header]
        low, high = self._limits()
        ticks = "".join(
            f'<text x="{self._place(tick):.1f}" y="21" text-anchor="middle">'
            f"{f'{tick:.6g}'.replace('-', MINUS)}</text>"
            for tick in ticks_between(low, high, 5)
        )
        cells.insert(
            2, f'<th scope="col" class="span">{escape(self.scale)}{self._svg(ticks, "95 % interval")}</th>'
        )
        return "".join(cells)

    def body(self) -> str:
        """The rows."""
        return "".join(
            f"<tr>{''.join(self._cells(row, span))}</tr>"
            for row, span in zip(self.rows, self.spans, strict=True)
        )

    def _cells(self, row: Sequence[str], span: Span | None) -> list[str]:
        first, *rest = row
        cells = [
            f'<th scope="row">{escape(first)}</th>',
            *(f"<td>{escape(cell)}</td>" for cell in rest),
        ]
        cells.insert(2, f'<td class="span">{self._svg(self._picture(span))}</td>')
        return cells

    def _picture(self, span: Span | None) -> str:
        reference = f'<path class="thin quiet d1" d="M{self._place(self.reference):.1f} 0V{_HEIGHT}"/>'
        if span is None:
            return reference
        low, high = self._limits()
        left, right = max(span.ends.low, low), min(span.ends.high, high)
        a, b, middle = self._place(left), self._place(right), _HEIGHT / 2
        ends = "".join(
            f"M{x:.1f} {middle - 4}V{middle + 4}" if whole else f"M{x - d:.1f} {middle - 4}l{d} 4l{-d} 4"
            for x, whole, d in ((a, span.ends.low >= low, -4), (b, span.ends.high <= high, 4))
        )
        point = ""
        if low <= span.value <= high:
            point = f'<circle class="dot s0" cx="{self._place(span.value):.1f}" cy="{middle:g}" r="4.5"/>'
        return f'{reference}<path class="line s0" d="M{a:.1f} {middle:g}H{b:.1f}{ends}"/>{point}'

    def _limits(self) -> tuple[float, float]:
        # An interval of nearly nothing known would squeeze all others: the scale ends a little beyond the estimates'
        # reach, and arrows say that an interval goes on.
        spans = [span for span in self.spans if span is not None]
        values = [span.value for span in spans] + [self.reference]
        reach = 2.5 * (max(values) - min(values)) or 1.0
        low = max(min([self.reference, *(span.ends.low for span in spans)]), min(values) - reach)
        high = min(max([self.reference, *(span.ends.high for span in spans)]), max(values) + reach)
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def _place(self, value: float) -> float:
        low, high = self._limits()
        return _EDGE + (value - low) / (high - low) * (_WIDTH - 2 * _EDGE)

    @staticmethod
    def _svg(content: str, title: str = "") -> str:
        said = f'role="img" aria-label="{escape(title)}"' if title else 'aria-hidden="true"'
        return f'<svg class="row" viewBox="0 0 {_WIDTH} {_HEIGHT}" {said}>{content}</svg>'
