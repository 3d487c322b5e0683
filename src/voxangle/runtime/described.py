"""What a model's card says for people, whatever runs the model; nothing of it needs torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from voxangle import __version__
from voxangle.audio import SAMPLE_RATE
from voxangle.config import Config
from voxangle.runtime.card import Calibration, Line, Threshold

__all__ = ["Attribution", "DescribedCard", "Metric", "Origin", "PlainCard", "TrainingSummary"]


# No text that a terminal would take for a command; lists and groups are shown escaped.
Setting = Line | bool | int | float | list[Any] | dict[str, Any] | None


class TrainingSummary(Config):
    """How a model was trained.

    Attributes:
        recipe: the recipe's name.
        corpora: names of the corpora it learned from.
        steps: optimiser steps taken.
        seed: the seed of the run.
        settings: the whole recipe, defaults filled in; of files and folders their names only. Empty if unknown.
    """

    recipe: Line
    corpora: tuple[Line, ...]
    steps: int = Field(ge=0)
    seed: int
    settings: dict[str, Any] = Field(default_factory=dict)


class Origin(Config):
    """Where a model's weights came from that another toolkit trained.

    Attributes:
        toolkit: the toolkit's name.
        file: name of the file of weights.
        sha256: of that file.
        licence: the licence of the weights, as stated beside them; None if nothing was.
    """

    toolkit: Line = Field(min_length=1)
    file: Line = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: Line | None = None


class Attribution(Config):
    """Whom a model owes thanks, by licence or by manners.

    Attributes:
        name: of the corpus, the weights or the code.
        licence: its terms, as its makers state them.
    """

    name: Line = Field(min_length=1)
    licence: Line = ""


class Metric(Config):
    """An error rate that was measured, with its interval.

    Attributes:
        trials: name of the trial list.
        trials_sha256: of the list.
        name: such as ``EER`` or ``minDCF(0.01)``.
        value: of the metric; an EER is in [0, 1].
        low: lower end of the 95 % interval.
        high: its upper end.
        targets: target trials.
        nontargets: non-target trials.
        speakers: in the list.
        definition: what the metric is, and what was done to the embeddings before it.
        notes: what must be said wherever the figure is shown.
    """

    trials: Line
    trials_sha256: Line
    name: Line
    value: float
    low: float
    high: float
    targets: int = Field(ge=1)
    nontargets: int = Field(ge=1)
    speakers: int = Field(ge=1)
    definition: Line
    notes: tuple[Line, ...] = ()


class DescribedCard(Config):
    """A card, but for the settings of encoder and features.

    Attributes:
        name: what people call it.
        sample_rate: of the waveforms it reads, in Hz.
        thresholds: where it can decide; the first is meant where none is named. Empty if none was set.
        calibration: what turns its scores into log-likelihood ratios; None if that was not fitted.
        training: how it was trained; None if unknown.
        origin: where its weights came from; None if voxangle trained them.
        licence: of the weights, best as an SPDX identifier; None while nobody has chosen one.
        attributions: whom it owes thanks.
        metrics: what was measured of it.
        voxangle: the version of voxangle that made it.
    """

    name: Line = Field(min_length=1)
    sample_rate: int = SAMPLE_RATE
    thresholds: tuple[Threshold, ...] = ()
    calibration: Calibration | None = None
    training: TrainingSummary | None = None
    origin: Origin | None = None
    licence: Line | None = Field(default=None, min_length=1)
    attributions: tuple[Attribution, ...] = ()
    metrics: tuple[Metric, ...] = ()
    voxangle: Line = __version__

    @property
    def terms(self) -> str | None:
        """Under which licence others may use it: its own, else that of the weights it came from; None if unknown."""
        return self.licence or (self.origin.licence if self.origin else None)


class PlainCard(DescribedCard):
    """A card whose settings are plain data, as an exported model carries them.

    Attributes:
        encoder: the encoder's settings, ``architecture`` and ``dimension`` among them.
        filterbank: the features' settings, ``definition`` and ``bins`` among them.
    """

    encoder: dict[Line, Setting]
    filterbank: dict[Line, Setting]
