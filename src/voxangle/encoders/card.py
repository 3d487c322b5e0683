"""What a model says about itself."""

from __future__ import annotations

from pydantic import Field, model_validator

from voxangle import __version__
from voxangle.config import Config
from voxangle.encoders.registry import EncoderConfig
from voxangle.features import AnyFilterbankConfig, FilterbankConfig
from voxangle.runtime.card import Threshold

__all__ = ["ModelCard", "Origin", "Threshold", "TrainingSummary"]


class TrainingSummary(Config):
    """How a model was trained; the run's folder holds the whole recipe.

    Attributes:
        recipe: the recipe's name.
        corpora: names of the corpora it learned from.
        steps: optimiser steps taken.
        seed: the seed of the run.
    """

    recipe: str
    corpora: tuple[str, ...]
    steps: int = Field(ge=0)
    seed: int


class Origin(Config):
    """Where a model's weights came from that another toolkit trained.

    Attributes:
        toolkit: the toolkit's name.
        file: name of the file of weights.
        sha256: of that file.
        licence: the licence of the weights, as stated beside them; None if nothing was.
    """

    toolkit: str = Field(min_length=1)
    file: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str | None = None


class ModelCard(Config):
    """Everything needed to build a model again and to use it well, but its weights.

    Attributes:
        name: what people call it.
        encoder: the encoder's settings; ``architecture`` names it in ``ENCODERS``.
        filterbank: the features' settings.
        threshold: the threshold it decides at; None if none was set.
        training: how it was trained; None if unknown.
        origin: where its weights came from; None if voxangle trained them.
        voxangle: the version of voxangle that made it.
    """

    name: str
    encoder: EncoderConfig
    filterbank: AnyFilterbankConfig = FilterbankConfig()
    threshold: Threshold | None = None
    training: TrainingSummary | None = None
    origin: Origin | None = None
    voxangle: str = __version__

    @model_validator(mode="after")
    def _features_fit(self) -> ModelCard:
        if self.encoder.bins != self.filterbank.bins:
            raise ValueError(
                f"the encoder reads {self.encoder.bins} bins a frame, the filterbank makes {self.filterbank.bins}"
            )
        return self
