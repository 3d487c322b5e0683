"""What is needed of a model's card to use the model."""

from __future__ import annotations

import math
from typing import Annotated, Protocol

from pydantic import Field

from voxangle.config import Config
from voxangle.errors import VoxangleError

__all__ = ["Calibration", "Card", "Line", "Threshold", "choose_threshold"]


Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""Text for a person, which a terminal shows as it is: without control characters."""


class Threshold(Config):
    """The score from which two recordings count as one voice, and where it comes from.

    Attributes:
        name: what to ask for it by, such as ``eer``, or ``far-1%`` for 1 % false acceptances.
        value: the cosine score at the threshold.
        source: what it was set on, for a person to read.
        false_acceptance: share of non-target trials at or above it there, from 0 to 1.
        false_rejection: share of target trials below it there, from 0 to 1.
    """

    name: str = Field(pattern="^[a-z][a-z0-9.%-]*$")
    value: float
    source: Line = Field(min_length=1)
    false_acceptance: float | None = Field(default=None, ge=0.0, le=1.0)
    false_rejection: float | None = Field(default=None, ge=0.0, le=1.0)

    def __str__(self) -> str:
        if self.false_acceptance is None or self.false_rejection is None:
            return self.source
        return (
            f"{self.source}: {100 * self.false_acceptance:.1f} % false acceptances, "
            f"{100 * self.false_rejection:.1f} % false rejections there"
        )


class Calibration(Config):
    """What turns a score into a log-likelihood ratio: ``scale * score + offset``, in nats.

    Attributes:
        scale: of the cosine score; more similar voices have the higher ratio.
        offset: added to it.
        source: what it was fitted on, for a person to read.
    """

    scale: float = Field(gt=0.0)
    offset: float
    source: Line = Field(min_length=1)

    def log_likelihood_ratio(self, score: float) -> float:
        """Logarithm of how many times likelier the score is of one voice than of two."""
        return self.scale * score + self.offset


class Card(Protocol):
    """What a model says about itself, whatever runs it."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """Where it can decide; the first is meant where none is named. Empty if none was set."""

    @property
    def calibration(self) -> Calibration | None:
        """What turns its scores into log-likelihood ratios; None if that was not fitted."""


def choose_threshold(card: Card, asked: str | None) -> Threshold | None:
    """The threshold that is asked for: a name on the card or a number; the card's first one, if any, for None.

    Raises:
        VoxangleError: it is neither a finite number nor a name on the card.
    """
    if asked is None:
        return next(iter(card.thresholds), None)
    for one in card.thresholds:
        if one.name == asked:
            return one
    try:
        value = float(asked)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        names = ", ".join(one.name for one in card.thresholds)
        raise VoxangleError(
            f"threshold {asked}: expected a number" + (f" or one of the model's: {names}" if names else "")
        )
    return Threshold(name="given", value=value, source="given by you")
