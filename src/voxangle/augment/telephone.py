"""A telephone's line: its band at 8 kHz, and the eight bits a sample that G.711 leaves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from voxangle.audio import SAMPLE_RATE
from voxangle.augment.mixing import smooth_size

__all__ = ["A_LAW", "MU_LAW", "coded_by", "over_telephone"]

_BAND = (200.0, 300.0, 3400.0, 3800.0)  # Hz; from 0 to 1 between the first two, back to 0 between the others
# Silence behind a crop, for the filter to ring in: it would wrap around to the front.
_RINGING = SAMPLE_RATE // 20


def _levels(sizes: np.ndarray[Any, np.dtype[np.int64]], largest: int) -> torch.Tensor:
    return torch.from_numpy(np.union1d(-sizes, sizes) / largest).float()


# G.711, tables 1 and 2: eight segments of sixteen even steps, each segment's twice as wide as those of the one below
# (but for the A-law's first two, which are alike).
_SEGMENT, _STEP = np.arange(8)[:, None], np.arange(16)
_DOUBLED = (2 * _STEP + 33) << _SEGMENT
MU_LAW = _levels(_DOUBLED - 33, 8192)
A_LAW = _levels(np.where(_SEGMENT == 0, 2 * _STEP + 1, _DOUBLED >> 1), 4096)


def over_telephone(waveforms: torch.Tensor, a_law: torch.Tensor) -> torch.Tensor:
    """Waveforms as they come over a telephone's line, at 16 kHz again.

    300 to 3400 Hz of them, at 8 kHz, each sample one of the 256 (mu-law: 255) levels of ITU-T G.711. What leaves
    [-1, 1] is clipped, as on a line.

    Args:
        waveforms: shape (B, T), at 16 kHz.
        a_law: shape (B,), bool: by the A-law of Europe, else by the mu-law of North America and Japan.

    Returns:
        Shape (B, T).
    """
    samples = waveforms.shape[-1]
    size = 4 * smooth_size(-(-(samples + _RINGING) // 4))
    half = size // 2
    # The lower half of a spectrum is that of the waveform at half the rate.
    spectra = torch.fft.rfft(waveforms, size)[..., : half // 2 + 1] * _passed(half, waveforms.device)
    line = torch.fft.irfft(spectra, half) * 0.5
    coded = torch.where(a_law[:, None], coded_by(A_LAW, line), coded_by(MU_LAW, line))
    heard: torch.Tensor = torch.fft.irfft(torch.fft.rfft(coded, half) * 2, size)[..., :samples]
    return heard


def _passed(half: int, device: torch.device) -> torch.Tensor:
    """What passes of each frequency of a spectrum of ``half`` samples at 8 kHz: raised cosines at the edges."""
    hertz = torch.fft.rfftfreq(half, 2 / SAMPLE_RATE, device=device)
    floor, low, high, ceiling = _BAND
    rise = ((hertz - floor) / (low - floor)).clamp(0, 1)
    fall = ((ceiling - hertz) / (ceiling - high)).clamp(0, 1)
    return 0.25 * (1 - torch.cos(math.pi * rise)) * (1 - torch.cos(math.pi * fall))


def coded_by(levels: torch.Tensor, line: torch.Tensor) -> torch.Tensor:
    """Samples as the nearest of levels, shape (L,) in rising order: where two are as near, the lower."""
    levels = levels.to(line)
    return levels[torch.bucketize(line, (levels[1:] + levels[:-1]) / 2)]
