"""What a difference of two systems supports, in words; and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxangle.metrics import PairedDifference
from voxangle.reporting.wording import MINUS

__all__ = ["FEWEST_SPEAKERS", "Verdict", "adjusted_by_holm", "verdict"]

FEWEST_SPEAKERS = 30
"""With fewer the intervals are too rough to name a winner by."""

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Verdict:
    """Who errs less, if that can be said.

    Attributes:
        winner: name of the better system, ``None`` where the data does not support one.
        text: the difference, its interval, and what follows, as a sentence.
    """

    winner: str | None
    text: str


def verdict(
    difference: PairedDifference,
    first: str,
    second: str,
    *,
    adjusted_p: float | None = None,
    speakers_known: bool = True,
) -> Verdict:
    """Name a winner by equal error rate only where the data supports it.

    It does where the 95 % interval of the difference leaves out 0, where at least ``FEWEST_SPEAKERS`` were drawn from,
    and, where several comparisons were made, where the p-value adjusted for that is below 0.05.

    Args:
        difference: first system minus second.
        first: what to call the first system.
        second: what to call the second system.
        adjusted_p: p-value of the difference after correction for all comparisons made; ``None`` where it is the only
            one.
        speakers_known: whether the speakers have names, or are groups of utterances that target trials join: of those
            one person may make many, and the interval is too narrow to name a winner by.
    """
    ends = difference.eer_interval
    shown = [f"{100 * x:+.2f}".replace("-", MINUS) for x in (difference.eer, ends.low, ends.high)]
    span = f"{first} minus {second} is {shown[0]} points of EER [{shown[1]}, {shown[2]}]"
    speakers = difference.speakers
    if ends.low <= 0 <= ends.high:
        return Verdict(None, f"{span}; these {speakers} speakers do not tell the two apart.")
    if not speakers_known:
        return Verdict(
            None,
            f"{span}; who speaks is not known, and the {speakers} groups of utterances that target trials join may be "
            "far fewer people: no winner is named. Give the speakers, as a corpus does.",
        )
    if speakers < FEWEST_SPEAKERS:
        return Verdict(None, f"{span}; {speakers} speakers are too few to name a winner.")
    if adjusted_p is not None and adjusted_p >= _SIGNIFICANT:
        return Verdict(
            None,
            f"{span}; by itself that leaves out 0, but among all comparisons made here it may be chance "
            f"(p = {adjusted_p:.3f} after Holm's correction).",
        )
    winner = first if difference.eer < 0 else second
    return Verdict(winner, f"{span}; on these {speakers} speakers {winner} errs less.")


def adjusted_by_holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    r"""P-values adjusted for how many there are, so that all their false alarms together stay below the level.

    Of :math:`m` values in ascending order, :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})` (Holm
    1979, "A simple sequentially rejective multiple test procedure"). Nothing is assumed of how the tests depend on each
    other, and these do: they share speakers.

    Args:
        p_values: shape (tests,), in [0, 1].

    Returns:
        Shape (tests,), in their order.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    factors = np.arange(len(values), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * values[order]))
    return adjusted
