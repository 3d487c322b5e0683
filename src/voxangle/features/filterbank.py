"""The log-mel filterbank of Kaldi's ``compute-fbank-feats``, batched, as a module.

The definition is Kaldi's (``feature-window.cc``, ``mel-computations.cc``, ``feature-fbank.cc``): frames of
25 ms every 10 ms that lie whole within the signal, the mean of each frame removed, pre-emphasis 0.97 within
the frame, Povey's or Hamming's window, power spectrum of 512 points, triangles on the mel scale, natural
logarithm. There is no dither, so that the same recording has the same features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from voxangle.audio import SAMPLE_RATE
from voxangle.features.base import BaseFilterbank, BaseFilterbankConfig
from voxangle.features.mel import triangles

__all__ = ["Filterbank", "FilterbankConfig"]

FRAME = 400  # samples: 25 ms
SHIFT = 160  # samples: 10 ms
FFT = 512
PRE_EMPHASIS = 0.97
FLOOR = torch.finfo(torch.float32).eps


class FilterbankConfig(BaseFilterbankConfig):
    """Settings of ``Filterbank``.

    Attributes:
        low_hz: lower edge of the first filter, in Hz.
        high_hz: upper edge of the last filter, in Hz, at most 8000 (half of 16 kHz).
        window: ``povey`` is Kaldi's default; ``hamming`` is WeSpeaker's.
        full_scale: what a sample of 1.0 counts as before the logarithm: 32768 as Kaldi counts steps of 16 bits, 1
            in 3D-Speaker. With the mean subtracted it matters for the faintest sounds alone, at the floor.
    """

    definition: Literal["kaldi"] = "kaldi"
    low_hz: float = Field(default=20.0, ge=0.0)
    high_hz: float = Field(default=SAMPLE_RATE / 2, le=SAMPLE_RATE / 2)
    window: Literal["povey", "hamming"] = "povey"
    full_scale: float = Field(default=2.0**15, gt=0.0)

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


class Filterbank(BaseFilterbank):
    """Log-mel energies of a batch of waveforms, as Kaldi defines them: 1 + (T - 400) // 160 frames of T samples.

    Args:
        config: the settings; the defaults are the field's (80 filters from 20 Hz to 8 kHz, mean subtracted).
    """

    shortest = FRAME
    needs = f"one frame ({FRAME} samples, 25 ms)"
    window: Tensor
    weights: Tensor

    def __init__(self, config: FilterbankConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FilterbankConfig()
        self.full_scale = config.full_scale
        # Not persistent: the config is their whole truth, so they do not belong among the weights of a model.
        window = WINDOWS[config.window]()
        self.register_buffer("window", torch.from_numpy(window).float(), persistent=False)
        mel = mel_weights(config.bins, config.low_hz, config.high_hz)
        self.register_buffer("weights", torch.from_numpy(mel).float(), persistent=False)

    def frames_of(self, samples: Tensor) -> Tensor:
        """Those that lie whole within the samples."""
        return 1 + (samples - FRAME) // SHIFT

    def _log_mel(self, waveforms: Tensor, samples: Tensor | None) -> Tensor:  # noqa: ARG002 - no frame reads padding
        frames = (waveforms * self.full_scale).unfold(-1, FRAME, SHIFT)
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


def hamming_window() -> NDArray[np.float64]:
    """Kaldi's Hamming window, 0.54 - 0.46 cos, which is symmetric: (400,)."""
    return np.hamming(FRAME)


WINDOWS: dict[str, Callable[[], NDArray[np.float64]]] = {"povey": povey_window, "hamming": hamming_window}


def mel_weights(bins: int, low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Triangles of unit height, evenly spaced and straight on the mel scale: (257, bins).

    The scale is 1127 ln(1 + f / 700) with f in Hz; neighbouring triangles overlap by half.
    """
    low, high = _mel(low_hz), _mel(high_hz)
    edges = low + (high - low) / (bins + 1) * np.arange(bins + 2, dtype=np.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    points = np.array([_mel(SAMPLE_RATE / FFT * k) for k in range(FFT // 2 + 1)])
    return triangles(points, left, centre, right)


def _mel(hertz: float) -> float:
    return 1127.0 * math.log1p(hertz / 700.0)
