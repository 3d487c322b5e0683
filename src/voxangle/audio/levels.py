"""Samples that no encoder can use: none, not numbers, or silent."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import AudioError, SilenceError

__all__ = ["SILENCE_FLOOR", "check_finite", "check_sounding", "is_silent"]

SILENCE_FLOOR = 1e-4
"""Half the range from the lowest to the highest sample below which a recording is silent: -80 dBFS.

That is three steps of 16 bits: digital silence, a constant offset, and either with dither on it. The
quietest usable speech lies far above."""


def check_finite(path: str | Path, waveform: NDArray[np.floating]) -> None:
    """Raise AudioError where a waveform is empty or has a sample that is NaN or infinite."""
    if not len(waveform):
        raise AudioError(path, "holds no samples (zero length)")
    if not (isfinite(waveform.min()) and isfinite(waveform.max())):
        raise AudioError(path, "has samples that are not finite (NaN or infinity)")


def check_sounding(path: str | Path, waveform: NDArray[np.floating]) -> None:
    """Raise SilenceError where a finite waveform is silent."""
    if is_silent(waveform):
        raise SilenceError(path)


def is_silent(waveform: NDArray[np.floating]) -> bool:
    """Whether a finite waveform stays below ``SILENCE_FLOOR`` around its mean level."""
    return (float(waveform.max()) - float(waveform.min())) / 2 < SILENCE_FLOOR
