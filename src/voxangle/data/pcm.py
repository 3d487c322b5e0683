"""Waveforms as they are stored: 16-bit samples, none shorter than a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, Waveform

__all__ = ["FULL_SCALE", "to_pcm", "why_too_short"]

FULL_SCALE = 32_768
_SHORTEST = SAMPLE_RATE // 40  # one frame of a filterbank


def to_pcm(waveform: Waveform) -> NDArray[np.int16]:
    """16-bit samples, shape (samples,): rounded to the nearest; beyond full scale they saturate."""
    return np.rint(np.clip(waveform * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1)).astype(np.int16)


def why_too_short(waveform: Waveform) -> str:
    """Why a waveform is left out that holds no frame; empty where it is long enough."""
    if len(waveform) >= _SHORTEST:
        return ""
    return f"lasts {len(waveform) / SAMPLE_RATE:.4f} s; the shortest usable is one frame of 0.025 s"
