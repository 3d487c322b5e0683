"""Frames that are centred on their time, not counted from their start: what librosa, torch.stft and kin do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voxangle.audio import SAMPLE_RATE
from voxangle.features.base import BaseFilterbank, BaseFilterbankConfig
from voxangle.features.padding import padding_mask, reflected

__all__ = ["CentredFilterbank"]

FRAME = 400  # samples: 25 ms
REACH = FRAME // 2  # a frame reaches as far before its time as beyond it


class CentredFilterbank(BaseFilterbank):
    """Mel energies of frames of 25 ms, centred at every multiple of a shift from the first sample on.

    The window is Hamming's in its periodic form, as torch makes it. Of T samples there are 1 + T // shift frames.

    Args:
        config: the settings.
        shift: samples from frame to frame.
        weights: (fft / 2 + 1, bins), the filters.
    """

    fft: ClassVar[int]  # points of the spectrum
    mirrors: ClassVar[bool]  # beyond the ends stands the mirrored recording, and not zeros
    window: Tensor
    weights: Tensor

    def __init__(self, config: BaseFilterbankConfig, shift: int, weights: NDArray[np.float64]) -> None:
        super().__init__()
        self.config = config
        self.shift = shift
        # Not persistent: the config is their whole truth, so they do not belong among the weights of a model.
        self.register_buffer("window", torch.hamming_window(FRAME, dtype=torch.float64).float(), False)
        self.register_buffer("weights", torch.from_numpy(weights).float(), False)

    def frames_of(self, samples: Tensor) -> Tensor:
        """One at the first sample and at every ``shift`` samples after it."""
        return 1 + samples // self.shift

    def _mel_power(self, waveforms: Tensor, samples: Tensor | None) -> Tensor:
        """(B, F, bins) of (B, T)."""
        around = reflected(waveforms, REACH, samples) if self.mirrors else _in_silence(waveforms, samples)
        frames = around.unfold(-1, FRAME, self.shift) * self.window
        spectrum = torch.view_as_real(torch.fft.rfft(frames, n=self.fft))
        return spectrum.square().sum(dim=-1) @ self.weights


def points_of(fft: int) -> NDArray[np.float64]:
    """Frequencies of a spectrum of ``fft`` points, in Hz: (fft / 2 + 1,)."""
    return np.linspace(0.0, SAMPLE_RATE / 2, fft // 2 + 1)


def _in_silence(waveforms: Tensor, samples: Tensor | None) -> Tensor:
    if samples is not None:
        waveforms = waveforms.masked_fill(padding_mask(samples, waveforms.shape[-1]), 0.0)
    return torch.nn.functional.pad(waveforms, (REACH, REACH))
