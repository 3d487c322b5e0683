"""What views are made of each crop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from voxangle.config import Config

__all__ = ["AugmentConfig", "KindWeights"]


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the range runs from {bounds[0]:g} down to {bounds[1]:g}; give the lower end first")
    return bounds


Decibels = Annotated[tuple[float, float], AfterValidator(_ordered)]
Weight = Annotated[float, Field(ge=0)]


class KindWeights(Config):
    """How often each kind of view is drawn, relative to the others; 0 switches it off."""

    clean: Weight = 0.0
    reverb: Weight = 1.0
    noise: Weight = 1.0
    babble: Weight = 1.0
    music: Weight = 1.0
    telephone: Weight = 0.0


class AugmentConfig(Config):
    """Views of a crop and where their noises and rooms come from.

    The SNR ranges are those of the x-vector recipe (Snyder et al., ICASSP 2018).

    Attributes:
        views: views of each crop, V.
        clean_first: the first view is the crop itself; only the others draw a kind.
        kinds: weights of the kinds.
        noise_snr: range of the signal-to-noise ratio, in dB, drawn uniformly.
        music_snr: likewise for music.
        babble_snr: likewise for babble (all talkers together).
        babble_speakers: fewest and most talkers of a babble.
        musan: a MUSAN folder (with ``noise`` and ``music`` in it); else coloured noise is synthesised.
        music: a folder of music, anywhere below it; goes before MUSAN's music.
        rirs: a folder of impulse responses (RIRS_NOISES or any); else rooms are simulated.
        rooms: impulse responses held ready, simulated or drawn from ``rirs``.
        bank_seconds: recordings held ready of noise, music and babble each, in seconds (32 kB a second).
    """

    views: int = Field(2, ge=1)
    clean_first: bool = True
    kinds: KindWeights = KindWeights()
    noise_snr: Decibels = (0.0, 15.0)
    music_snr: Decibels = (5.0, 15.0)
    babble_snr: Decibels = (13.0, 20.0)
    babble_speakers: Annotated[tuple[int, int], AfterValidator(_ordered)] = (3, 7)
    musan: Path | None = None
    music: Path | None = None
    rirs: Path | None = None
    rooms: int = Field(128, ge=1)
    bank_seconds: float = Field(1800.0, gt=0)

    @model_validator(mode="after")
    def _something_to_draw(self) -> AugmentConfig:
        if self.drawn_views and not any(self.kinds.model_dump().values()):
            raise ValueError("every kind of view has weight 0; give at least one of them a weight")
        if self.babble_speakers[0] < 1:
            raise ValueError("a babble has at least one talker; raise the lower end of babble_speakers to 1")
        return self

    @property
    def drawn_views(self) -> int:
        """Views of a crop whose kind is drawn."""
        return self.views - self.clean_first
