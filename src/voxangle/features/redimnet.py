"""The log-mel energies of the authors' ReDimNet (IDRnD/ReDimNet), for models from there."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from voxangle.audio import SAMPLE_RATE
from voxangle.features.base import BaseFilterbankConfig
from voxangle.features.centred import CentredFilterbank, points_of
from voxangle.features.mel import mel_points, triangles
from voxangle.features.padding import padding_mask

__all__ = ["ReDimNetFilterbank", "ReDimNetFilterbankConfig"]

PRE_EMPHASIS = 0.97
POWER_FLOOR = 1e-6  # added before the logarithm
DEVIATION_FLOOR = 1e-6  # added to the deviation of a recording that is scaled by it


class ReDimNetFilterbankConfig(BaseFilterbankConfig):
    """Settings of ``ReDimNetFilterbank``.

    Attributes:
        low_hz: lower edge of the first filter, in Hz.
        high_hz: upper edge of the last filter, in Hz, at most 8000 (half of 16 kHz).
        shift: samples from frame to frame; 240 (15 ms) in the published models.
        pre_emphasis: whether high frequencies are raised first, by 0.97.
        normalise: whether a recording is first brought to zero mean and unit deviation.
    """

    definition: Literal["redimnet"] = "redimnet"
    bins: int = Field(default=72, ge=1, le=1024)
    low_hz: float = Field(default=20.0, ge=0.0)
    high_hz: float = Field(default=7600.0, gt=0.0, le=SAMPLE_RATE / 2)
    shift: int = Field(default=240, ge=1, le=SAMPLE_RATE)
    pre_emphasis: bool = True
    normalise: bool = False


class ReDimNetFilterbank(CentredFilterbank):
    """Mel energies on a natural logarithm: centred frames, the ends mirrored, a spectrum of 512 points.

    Args:
        config: the settings.
    """

    fft: ClassVar[int] = 512
    mirrors: ClassVar[bool] = True
    shortest = 257
    needs = "the 257 samples that are needed to mirror its ends"

    def __init__(self, config: ReDimNetFilterbankConfig | None = None) -> None:
        config = config or ReDimNetFilterbankConfig()
        super().__init__(config, config.shift, _mel_weights(config))
        self.pre_emphasis, self.normalise = config.pre_emphasis, config.normalise

    def _log_mel(self, waveforms: Tensor, samples: Tensor | None) -> Tensor:
        if self.normalise:
            waveforms = _normalised(waveforms, samples)
        if self.pre_emphasis:
            # What stands before the first sample is the second one: the mirrored recording.
            previous = torch.cat([waveforms[:, 1:2], waveforms[:, :-1]], dim=1)
            waveforms = waveforms - PRE_EMPHASIS * previous
        return (self._mel_power(waveforms, samples) + POWER_FLOOR).log()


def _normalised(waveforms: Tensor, samples: Tensor | None) -> Tensor:
    if samples is None:
        variance, mean = torch.var_mean(waveforms, dim=1, correction=0, keepdim=True)
        return (waveforms - mean) / (variance.sqrt() + DEVIATION_FLOOR)
    padding, count = padding_mask(samples, waveforms.shape[1]), samples.unsqueeze(1)
    mean = waveforms.masked_fill(padding, 0.0).sum(dim=1, keepdim=True) / count
    centred = (waveforms - mean).masked_fill(padding, 0.0)
    return centred / ((centred.square().sum(dim=1, keepdim=True) / count).sqrt() + DEVIATION_FLOOR)


def _mel_weights(config: ReDimNetFilterbankConfig) -> NDArray[np.float64]:
    """Triangles straight in Hz, each from the centre of the one before it to that of the next: (257, bins)."""
    points = mel_points(config.bins, config.low_hz, config.high_hz)
    return triangles(points_of(ReDimNetFilterbank.fft), points[:-2], points[1:-1], points[2:])
