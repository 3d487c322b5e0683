"""What a model says about itself."""

from __future__ import annotations

from pydantic import field_validator, model_validator

from voxangle.audio import SAMPLE_RATE
from voxangle.encoders.registry import EncoderConfig
from voxangle.features import AnyFilterbankConfig, FilterbankConfig
from voxangle.runtime.card import Calibration, Threshold
from voxangle.runtime.described import Attribution, DescribedCard, Metric, Origin, TrainingSummary

__all__ = ["Attribution", "Calibration", "Metric", "ModelCard", "Origin", "Threshold", "TrainingSummary"]


class ModelCard(DescribedCard):
    """Everything needed to build a model again and to use it well, but its weights.

    Attributes:
        encoder: the encoder's settings; ``architecture`` names it in ``ENCODERS``.
        filterbank: the features' settings.
    """

    encoder: EncoderConfig
    filterbank: AnyFilterbankConfig = FilterbankConfig()

    @field_validator("sample_rate")
    @classmethod
    def _rate_is_ours(cls, rate: int) -> int:
        if rate != SAMPLE_RATE:
            raise ValueError(f"made for recordings at {rate} Hz, but voxangle computes at {SAMPLE_RATE} Hz")
        return rate

    @model_validator(mode="after")
    def _features_fit(self) -> ModelCard:
        if self.encoder.bins != self.filterbank.bins:
            raise ValueError(
                f"the encoder reads {self.encoder.bins} bins a frame, the filterbank makes {self.filterbank.bins}"
            )
        return self
