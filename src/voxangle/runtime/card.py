"""What is needed of a model's card to use the model."""

from __future__ import annotations

from typing import Protocol

from pydantic import Field

from voxangle.config import Config

__all__ = ["Calibration", "Card", "Threshold"]


class Threshold(Config):
    """The score from which two recordings count as one voice, and where it comes from.

    Attributes:
        value: the cosine score at the threshold.
        source: what it was set on, for a person to read.
        false_acceptance: share of non-target trials at or above it there, from 0 to 1.
        false_rejection: share of target trials below it there, from 0 to 1.
    """

    value: float
    source: str = Field(min_length=1)
    false_acceptance: float | None = Field(default=None, ge=0.0, le=1.0)
    false_rejection: float | None = Field(default=None, ge=0.0, le=1.0)


class Calibration(Config):
    """What turns a score into a log-likelihood ratio: ``scale * score + offset``, in nats.

    Attributes:
        scale: of the cosine score; more similar voices have the higher ratio.
        offset: added to it.
        source: what it was fitted on, for a person to read.
    """

    scale: float = Field(gt=0.0)
    offset: float
    source: str = Field(min_length=1)

    def log_likelihood_ratio(self, score: float) -> float:
        """Logarithm of how many times likelier the score is of one voice than of two."""
        return self.scale * score + self.offset


class Card(Protocol):
    """What a model says about itself, whatever runs it."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def threshold(self) -> Threshold | None:
        """The threshold it decides at; None if none was set."""

    @property
    def calibration(self) -> Calibration | None:
        """What turns its scores into log-likelihood ratios; None if that was not fitted."""
