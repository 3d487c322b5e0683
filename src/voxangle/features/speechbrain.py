"""The log-mel energies of SpeechBrain's ``Fbank`` with sentence-wise mean normalisation, for models from there."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from voxangle.audio import SAMPLE_RATE
from voxangle.features.base import BaseFilterbankConfig
from voxangle.features.centred import CentredFilterbank, points_of
from voxangle.features.mel import mel_points, triangles
from voxangle.features.padding import padding_mask

__all__ = ["SpeechBrainFilterbank", "SpeechBrainFilterbankConfig"]

SHIFT = 160  # samples: 10 ms
POWER_FLOOR = 1e-10
RANGE = 80.0  # dB below a recording's loudest value; there the fainter ones are cut off


class SpeechBrainFilterbankConfig(BaseFilterbankConfig):
    """Settings of ``SpeechBrainFilterbank``.

    Attributes:
        low_hz: where the first filter begins, in Hz.
        high_hz: where the mel scale of the filters ends, in Hz, at most 8000 (half of 16 kHz).
    """

    definition: Literal["speechbrain"] = "speechbrain"
    low_hz: float = Field(default=0.0, ge=0.0)
    high_hz: float = Field(default=SAMPLE_RATE / 2, gt=0.0, le=SAMPLE_RATE / 2)


class SpeechBrainFilterbank(CentredFilterbank):
    """Mel energies in decibels: centred frames, silence beyond the ends, a spectrum of 400 points.

    Values fainter than 80 dB below the loudest of their recording are raised to there.

    Args:
        config: the settings.
    """

    fft: ClassVar[int] = 400
    mirrors: ClassVar[bool] = False
    shortest = 1
    needs = "one sample"

    def __init__(self, config: SpeechBrainFilterbankConfig | None = None) -> None:
        config = config or SpeechBrainFilterbankConfig()
        super().__init__(config, SHIFT, _mel_weights(config))

    def _log_mel(self, waveforms: Tensor, samples: Tensor | None) -> Tensor:
        decibels = 10.0 * self._mel_power(waveforms, samples).clamp(min=POWER_FLOOR).log10()
        heard = decibels
        if samples is not None:
            padding = padding_mask(self.frames_of(samples), decibels.shape[1]).unsqueeze(-1)
            heard = decibels.masked_fill(padding, -float("inf"))
        return decibels.maximum(heard.amax(dim=(1, 2), keepdim=True) - RANGE)


def _mel_weights(config: SpeechBrainFilterbankConfig) -> NDArray[np.float64]:
    """Triangles straight in Hz, as wide above their centre as below it: (201, bins).

    Above its centre a filter does not reach the next one's, therefore.
    """
    points = mel_points(config.bins, config.low_hz, config.high_hz)
    left, centre = points[:-2], points[1:-1]
    return triangles(points_of(SpeechBrainFilterbank.fft), left, centre, 2 * centre - left)
