"""How figures are written, alike in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence

from voxangle.metrics import Interval
from voxangle.scoring import Result
from voxangle.scoring.result import Figure

__all__ = ["MINUS", "common_priors", "interval", "p_value", "per_cent", "signed"]

MINUS = "\N{MINUS SIGN}"


def per_cent(rate: float) -> str:
    """A rate in per cent, to a hundredth, without the sign."""
    return f"{100 * rate:.2f}"


def interval(measure: Figure, *, scale: float = 1.0, places: int = 3) -> str:
    """The interval of a figure, such as ``5.02-9.80``."""
    return f"{scale * measure.low:.{places}f}-{scale * measure.high:.{places}f}"


def signed(value: float, ends: Interval, *, scale: float = 1.0, places: int = 3) -> str:
    """A difference and, on the next line, its interval (``-2.31 to +0.05``), with true minus signs."""
    shown = [f"{scale * x:+.{places}f}" for x in (value, ends.low, ends.high)]
    return "{}\n{} to {}".format(*shown).replace("-", MINUS)


def p_value(probability: float) -> str:
    """A p-value to three places, never as 0."""
    return "< 0.001" if probability < 0.001 else f"{probability:.3f}"


def common_priors(results: Sequence[Result]) -> tuple[float, ...]:
    """The priors of every result.

    Raises:
        ValueError: there are no results, or their priors differ, so that one head of a table cannot speak for all.
    """
    priors = {result.protocol.p_targets for result in results}
    if len(priors) != 1:
        raise ValueError(f"one table needs results of one set of priors; got {sorted(priors)}")
    return priors.pop()
