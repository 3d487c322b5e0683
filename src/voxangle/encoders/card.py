"""What a model says about itself."""

from __future__ import annotations

from pydantic import Field, model_validator

from voxangle import __version__
from voxangle.config import Config
from voxangle.encoders.registry import EncoderConfig
from voxangle.features import FilterbankConfig
from voxangle.runtime.card import Threshold

__all__ = ["ModelCard", "Threshold", "TrainingSummary"]


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


class ModelCard(Config):
    """Everything needed to build a model again and to use it well, but its weights.

    Attributes:
        name: what people call it.
        encoder: the encoder's settings; ``architecture`` names it in ``ENCODERS``.
        filterbank: the features' settings.
        threshold: the threshold it decides at; None if none was set.
        training: how it was trained; None if unknown.
        voxangle: the version of voxangle that made it.
    """

    name: str
    encoder: EncoderConfig
    filterbank: FilterbankConfig = FilterbankConfig()
    threshold: Threshold | None = None
    training: TrainingSummary | None = None
    voxangle: str = __version__

    @model_validator(mode="after")
    def _features_fit(self) -> ModelCard:
        if self.encoder.bins != self.filterbank.bins:
            raise ValueError(
                f"the encoder reads {self.encoder.bins} bins a frame, the filterbank makes {self.filterbank.bins}"
            )
        return self
