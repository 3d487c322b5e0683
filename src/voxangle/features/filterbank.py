"""The log-mel filterbank of Kaldi's ``compute-fbank-feats``, batched, as a module.

The definition is Kaldi's (``feature-window.cc``, ``mel-computations.cc``, ``feature-fbank.cc``): frames of
25 ms every 10 ms that lie whole within the signal, the mean of each frame removed, pre-emphasis 0.97 within
the frame, Povey window, power spectrum of 512 points, triangles on the mel scale, natural logarithm. There is
no dither, so that the same recording has the same features.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from voxangle.audio import SAMPLE_RATE
from voxangle.config import Config
from voxangle.features.padding import padding_mask

__all__ = ["Filterbank", "FilterbankConfig"]

FRAME = 400  # samples: 25 ms
SHIFT = 160  # samples: 10 ms
FFT = 512
PRE_EMPHASIS = 0.97
SCALE = 2.0**15  # Kaldi counts 16-bit steps where we count from -1 to 1
FLOOR = torch.finfo(torch.float32).eps


class FilterbankConfig(Config):
    """Settings of ``Filterbank``.

    Attributes:
        bins: number of mel filters.
        low_hz: lower edge of the first filter, in Hz.
        high_hz: upper edge of the last filter, in Hz, at most 8000 (half of 16 kHz).
        subtract_mean: subtract from each bin its mean over the recording (cepstral mean normalisation), which
            cancels a fixed channel.
    """

    bins: int = Field(default=80, ge=1)
    low_hz: float = Field(default=20.0, ge=0.0)
    high_hz: float = Field(default=SAMPLE_RATE / 2, le=SAMPLE_RATE / 2)
    subtract_mean: bool = True

    @model_validator(mode="after")
    def _every_filter_hears_something(self) -> FilterbankConfig:
        if self.low_hz >= self.high_hz:
            raise ValueError(f"low_hz ({self.low_hz:g}) must be below high_hz ({self.high_hz:g})")
        if (mel_weights(self.bins, self.low_hz, self.high_hz).sum(axis=0) == 0).any():
            raise ValueError(
                f"bins = {self.bins} is too many: a filter between {self.low_hz:g} and {self.high_hz:g} Hz "
                f"falls between two points of the {FFT}-point spectrum; use fewer bins"
            )
        return self


class Filterbank(nn.Module):
    """Log-mel energies of a batch of waveforms, computed in float32 under any autocast.

    Args:
        config: the settings; the defaults are the field's (80 filters from 20 Hz to 8 kHz, mean subtracted).
    """

    window: Tensor
    weights: Tensor

    def __init__(self, config: FilterbankConfig | None = None) -> None:
        super().__init__()
        self.config = config or FilterbankConfig()
        # Not persistent: the config is their whole truth, so they do not belong among the weights of a model.
        self.register_buffer("window", torch.from_numpy(povey_window()).float(), persistent=False)
        mel = mel_weights(self.config.bins, self.config.low_hz, self.config.high_hz)
        self.register_buffer("weights", torch.from_numpy(mel).float(), persistent=False)

    def forward(self, waveforms: Tensor, samples: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Log-mel energies, and how many frames of each row are real.

        Args:
            waveforms: (B, T) in [-1, 1] at 16 kHz, T >= 400 (one frame of 25 ms).
            samples: (B,) integers, the length of each row before padding, in samples; None if none is padded.

        Returns:
            features: (B, F, bins) float32 with F = 1 + (T - 400) // 160, natural logarithm; exactly zero
                beyond a row's frames. What stands in the padding of ``waveforms`` changes nothing.
            frames: (B,) integers, 1 + (samples - 400) // 160; None if ``samples`` is None.

        Raises:
            ValueError: a row is shorter than one frame, or ``samples`` exceeds T.
        """
        if waveforms.shape[-1] < FRAME:
            raise ValueError(
                f"a waveform of {waveforms.shape[-1]} samples is shorter than one frame "
                f"({FRAME} samples, 25 ms)"
            )
        if samples is not None and not torch.compiler.is_compiling():
            _check_lengths(samples, waveforms.shape[-1])
        with torch.autocast(waveforms.device.type, enabled=False):
            features = self._log_mel(waveforms.float())
        if samples is None:
            if self.config.subtract_mean:
                features = features - features.mean(dim=1, keepdim=True)
            return features, None
        frames = 1 + (samples - FRAME) // SHIFT
        padding = padding_mask(frames, features.shape[1]).unsqueeze(-1)
        features = features.masked_fill(padding, 0.0)
        if self.config.subtract_mean:
            mean = features.sum(dim=1, keepdim=True) / frames[:, None, None]
            features = (features - mean).masked_fill(padding, 0.0)
        return features, frames

    def _log_mel(self, waveforms: Tensor) -> Tensor:
        frames = (waveforms * SCALE).unfold(-1, FRAME, SHIFT)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        # Kaldi's first sample of a frame has itself as predecessor.
        previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        frames = (frames - PRE_EMPHASIS * previous) * self.window
        spectrum = torch.view_as_real(torch.fft.rfft(frames, n=FFT))
        power = spectrum.square().sum(dim=-1)
        return (power @ self.weights).clamp(min=FLOOR).log()


def povey_window() -> NDArray[np.float64]:
    """Kaldi's default window, a Hann window to the power 0.85 (so that it falls to zero): (400,)."""
    window: NDArray[np.float64] = np.hanning(FRAME) ** 0.85
    return window


def mel_weights(bins: int, low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Triangles of unit height, evenly spaced and straight on the mel scale: (257, bins).

    The scale is 1127 ln(1 + f / 700) with f in Hz; neighbouring triangles overlap by half.
    """
    low, high = _mel(low_hz), _mel(high_hz)
    edges = low + (high - low) / (bins + 1) * np.arange(bins + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    points = np.array([[_mel(SAMPLE_RATE / FFT * k)] for k in range(FFT // 2 + 1)])
    rising, falling = (points - left) / (centre - left), (right - points) / (right - centre)
    weights: NDArray[np.float64] = np.minimum(rising, falling).clip(min=0.0)
    return weights


def _mel(hertz: float) -> float:
    return 1127.0 * math.log1p(hertz / 700.0)


def _check_lengths(samples: Tensor, total: int) -> None:
    wrong = ((samples < FRAME) | (samples > total)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"row {row}: a length of {int(samples[row])} samples is outside {FRAME} (one frame of 25 ms) "
            f"to {total} (the padded length)"
        )
