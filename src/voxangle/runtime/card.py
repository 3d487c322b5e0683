"""What is needed of a model's card to use the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from voxangle.config import Config
from voxangle.errors import VoxangleError, nearest
from voxangle.runtime.measures import TRIAL_MEASURES, RecordingMeasures, trial_columns

__all__ = ["Calibration", "Card", "Line", "Range", "Ranges", "Threshold", "choose_threshold"]


_RECORDINGS = 100

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


class Range(Config):
    """Between which values a measure of the recordings was that a calibration was fitted on.

    Attributes:
        low: that 1 % of them were below.
        high: that 1 % of them were above.
    """

    low: float
    high: float

    @model_validator(mode="after")
    def _ascends(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"from {self.low:g} to {self.high:g} is no range")
        return self


class Ranges(Config):
    """What the recordings were like that a calibration was fitted on; see ``RecordingMeasures``.

    Attributes:
        speech: in seconds.
        clipping: a share.
        above_4khz: in dB.
        magnitude: of the embeddings.
    """

    speech: Range
    clipping: Range
    above_4khz: Range
    magnitude: Range

    @classmethod
    def of(cls, recordings: Sequence[RecordingMeasures]) -> Ranges | None:
        """The 1 % and 99 % quantiles of recordings; None of fewer than a hundred, who have no hundredth."""
        if len(recordings) < _RECORDINGS:
            return None
        ranges = {}
        for name in cls.model_fields:
            low, high = np.quantile([getattr(one, name) for one in recordings], [0.01, 0.99])
            ranges[name] = Range(low=float(low), high=float(high))
        return cls(**ranges)


class Calibration(Config):
    r"""What turns a score into a log-likelihood ratio, in nats.

    With measures of quality :math:`q_m` (``TRIAL_MEASURES``) of a trial with score :math:`s`, it is

    .. math:: \ell = \mathrm{scale} \, s + \sum_m w_m q_m + \mathrm{offset}

    Attributes:
        scale: of the cosine score; more similar voices have the higher ratio.
        offset: added to it.
        source: what it was fitted on, for a person to read.
        weights: :math:`w_m` by name of the measure; empty where the score alone decides.
        prior: of a target trial, at which it was fitted: where it is best.
        ranges: what the recordings were like that it was fitted on; None if that was not written down.
        trials_sha256: of the list it was fitted on; empty if that was not written down.
    """

    scale: float = Field(gt=0.0)
    offset: float
    source: Line = Field(min_length=1)
    weights: dict[str, float] = Field(default_factory=dict)
    prior: float = Field(default=0.5, gt=0.0, lt=1.0)
    ranges: Ranges | None = None
    trials_sha256: str = ""

    @field_validator("weights")
    @classmethod
    def _are_known(cls, weights: dict[str, float]) -> dict[str, float]:
        if unknown := [name for name in weights if name not in TRIAL_MEASURES]:
            raise ValueError(
                f"'{unknown[0]}' is no measure that this voxangle knows{nearest(unknown[0], TRIAL_MEASURES)}; upgrade "
                "voxangle, or calibrate the model again"
            )
        return weights

    @property
    def asks_measures(self) -> bool:
        """Whether measuring the recordings of a trial tells more than its score does."""
        return bool(self.weights) or self.ranges is not None

    @property
    def formula(self) -> str:
        """For a person to read."""
        terms = [f"{weight:+.4g} x {name}" for name, weight in self.weights.items()]
        return " ".join([f"{self.scale:.4g} x score", *terms, f"{self.offset:+.4g}"])

    def log_likelihood_ratios(
        self, scores: NDArray[np.floating[Any]], columns: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Logarithms of how many times likelier trials are of one voice than of two, shape (T,).

        Args:
            scores: shape (T,).
            columns: shape (M, T), of the measures in ``weights``, in their order (``trial_columns``).
        """
        weights = np.array(list(self.weights.values()))
        ratios: NDArray[np.float64] = self.scale * scores.astype(np.float64) + weights @ columns + self.offset
        return ratios

    def place_of(self, threshold: Threshold) -> float | None:
        """A threshold of the score as a log-likelihood ratio; None where measures make it another in each trial."""
        return None if self.weights else self.scale * threshold.value + self.offset

    def log_likelihood_ratio(self, score: float, *sides: RecordingMeasures) -> float:
        """That of one trial; its two sides have to be measured only where there are weights."""
        columns = trial_columns(tuple(self.weights), sides, np.array([0]), np.array([1]))
        return float(self.log_likelihood_ratios(np.array([score]), columns)[0])


class Card(Protocol):
    """What a model says about itself, whatever runs it."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """Scores where it can decide; the first is meant where it has no calibration. Empty if none was set."""

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
