"""One rate for everything: 16 kHz, by a band-limited resampler."""

from __future__ import annotations

from math import ceil, gcd
from typing import TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

__all__ = ["SAMPLE_RATE", "Waveform", "resample", "window"]

SAMPLE_RATE = 16_000
"""Samples a second of every waveform in the house."""

Waveform: TypeAlias = NDArray[np.float32]
"""Mono audio, shape (samples,), full scale at +-1."""

# The filter of soxr's HQ recipe is shorter than 20 ms at 8 kHz; more context changes nothing.
_CONTEXT = SAMPLE_RATE // 10


def resample(waveform: Waveform, rate: int) -> Waveform:
    """Bring a waveform to 16 kHz with soxr's HQ recipe (linear phase, 20 bits of precision).

    Args:
        waveform: shape (samples,), float32.
        rate: its rate, in Hz.

    Returns:
        Shape (about samples * 16000 / rate,), float32; the same array where it is at 16 kHz already.
    """
    if rate == SAMPLE_RATE:
        return waveform
    resampled: Waveform = soxr.resample(waveform, rate, SAMPLE_RATE, quality="HQ")
    return resampled


def window(first: int, count: int | None, rate: int) -> tuple[int, int | None, int]:
    """What to read from a source so that a segment comes out as if all of it had been resampled.

    The source is entered where its samples and the 16 kHz ones fall together, with context on both
    sides; with soxr the segment then differs from the slice of the whole by less than 1e-5.

    Args:
        first: the segment's first sample, at 16 kHz.
        count: its samples at 16 kHz; None for all to the end.
        rate: the source's rate, in Hz.

    Returns:
        First sample to read and how many (None: to the end), at the source's rate; and how many samples
        precede the segment in what ``resample`` makes of them, at 16 kHz.
    """
    if rate == SAMPLE_RATE:
        return first, count, 0
    common = gcd(rate, SAMPLE_RATE)
    blocks = max(0, first - _CONTEXT) // (SAMPLE_RATE // common)
    source_first = blocks * (rate // common)
    lead = first - blocks * (SAMPLE_RATE // common)
    if count is None:
        return source_first, None, lead
    last = ceil((first + count + _CONTEXT) * rate / SAMPLE_RATE)
    return source_first, last - source_first, lead
