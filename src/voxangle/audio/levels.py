"""Samples that no encoder can use: none, not numbers, or silent."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from voxangle.audio.resampling import Waveform
from voxangle.errors import AudioError

__all__ = ["SILENCE_FLOOR", "check_finite", "check_sounding"]

SILENCE_FLOOR = 1e-4
"""Half the range from the lowest to the highest sample below which a recording is silent: -80 dBFS.

That is three steps of 16 bits: digital silence, a constant offset, and either with dither on it. The
quietest usable speech lies far above."""


def check_finite(path: Path, waveform: Waveform) -> None:
    """Raise AudioError where a waveform is empty or has a sample that is NaN or infinite."""
    if not len(waveform):
        raise AudioError(path, "holds no samples (zero length)")
    if not (isfinite(waveform.min()) and isfinite(waveform.max())):
        raise AudioError(path, "has samples that are not finite (NaN or infinity)")


def check_sounding(path: Path, waveform: Waveform) -> None:
    """Raise AudioError where a finite waveform stays below ``SILENCE_FLOOR`` around its mean level."""
    if (float(waveform.max()) - float(waveform.min())) / 2 < SILENCE_FLOOR:
        raise AudioError(path, "is silent (digital silence: below -80 dBFS throughout)")
