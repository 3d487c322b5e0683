r"""What can be heard to be wrong with one recording, measured on prepared audio (16 kHz mono).

All measures ask frames of 20 ms (320 samples, side by side). A frame is *sounding* where its energy is within 35 dB
of the loudest 100 ms of the recording: a rule that does not change with the gain. The others are silence.

Clipping: the share of samples in flat tops, runs of at least ``FLAT_RUN`` samples within 1 % of the recording's own
highest (or lowest) sample; a gain after the clipping changes nothing.

Sample-rate fakes: with the power spectra of the sounding frames (512 points, Hann), :math:`H_t` the mean power
density of frame t from 4300 to 7500 Hz and :math:`L_t` from 300 to 3700 Hz,

.. math::
    r = 10 \log_{10} \frac{\sum_t H_t}{\sum_t L_t}

Of wide-band speech the fricatives carry the numerator, however few. Material of 8 kHz that was brought to 16 kHz
has nothing but rounding and coding noise above 4 kHz. What lies above 8 kHz nobody hears in prepared audio, so that
16 kHz material in files of 44.1 kHz is harmless here and not sought.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxangle.audio.resampling import SAMPLE_RATE

__all__ = ["FLAT_RUN", "FRAME", "Measures", "frame_energies", "measure", "sounding"]

FRAME = SAMPLE_RATE // 50
FLAT_RUN = 4
_SOUNDING_DB = 35.0
_LOUDEST_FRAMES = 5
_POINTS = 512
_LOW = (300.0, 3700.0)
_HIGH = (4300.0, 7500.0)
_QUIETEST = -120.0
_FLATNESS = 0.99
_SPECTRA = 400  # of the sounding frames, evenly spread, are transformed: 8 s of speech

Samples = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured on one recording.

    Attributes:
        seconds: its duration.
        level: of the sounding frames, in dB below full scale (RMS of a full-scale square is 0), at least -120.
        peak: the largest absolute sample, in [0, 1].
        silence: the share of frames that do not sound, in [0, 1].
        clipping: the share of samples in flat tops, in [0, 1].
        offset: the mean of the samples, in (-1, 1).
        above_4khz: r, the power density above 4 kHz against that below, over the sounding frames, in dB; at least -120,
            which also stands for a recording too short to tell.
    """

    seconds: float
    level: float
    peak: float
    silence: float
    clipping: float
    offset: float
    above_4khz: float


def measure(waveform: Samples) -> Measures:
    """Measure one recording.

    Args:
        waveform: (samples,) in [-1, 1] at 16 kHz, at least one sample.

    Raises:
        ValueError: there are no samples.
    """
    if not len(waveform):
        raise ValueError("waveform has no samples")
    offset = float(waveform.mean(dtype=np.float64))
    centred = waveform - np.float32(offset)
    energies = frame_energies(centred)
    heard = sounding(energies)
    return Measures(
        seconds=len(waveform) / SAMPLE_RATE,
        level=_decibels(float(energies[heard].mean()) if heard.any() else 0.0),
        peak=float(np.abs(waveform).max()),
        silence=float(1 - heard.mean()),
        clipping=_flat(waveform),
        offset=offset,
        above_4khz=_above_4khz(centred, heard),
    )


def frame_energies(waveform: Samples) -> NDArray[np.float64]:
    """Mean squares of frames of 20 ms, shape (frames,); at least one frame, the last is padded with zeros."""
    frames = max(1, math.ceil(len(waveform) / FRAME))
    padded = np.zeros(frames * FRAME)
    padded[: len(waveform)] = waveform
    energies: NDArray[np.float64] = np.square(padded).reshape(frames, FRAME).mean(axis=1)
    return energies


def sounding(energies: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which frames are within 35 dB of the loudest 100 ms, shape (frames,); none of a recording of zeros."""
    width = min(_LOUDEST_FRAMES, len(energies))
    loudest = np.convolve(energies, np.full(width, 1 / width), mode="valid").max()
    heard: NDArray[np.bool_] = (energies > loudest * 10 ** (-_SOUNDING_DB / 10)) & (energies > 0)
    return heard


def _flat(waveform: Samples) -> float:
    flat = 0
    for extreme in (float(waveform.max()), float(waveform.min())):
        if extreme == 0:
            continue
        edges = np.diff((waveform / extreme >= _FLATNESS).astype(np.int8), prepend=0, append=0)
        runs = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
        flat += int(runs[runs >= FLAT_RUN].sum())
    return flat / len(waveform)


def _above_4khz(waveform: Samples, heard: NDArray[np.bool_]) -> float:
    starts = np.flatnonzero(heard) * FRAME
    starts = starts[starts + _POINTS <= len(waveform)]
    if not len(starts):
        return _QUIETEST
    starts = starts[np.linspace(0, len(starts) - 1, min(_SPECTRA, len(starts))).astype(int)]
    frames = np.lib.stride_tricks.sliding_window_view(waveform, _POINTS)[starts]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(_POINTS).astype(np.float32), axis=1))).mean(
        axis=0
    )
    hertz = np.fft.rfftfreq(_POINTS, 1 / SAMPLE_RATE)
    low, high = (power[(hertz >= first) & (hertz <= last)].mean() for first, last in (_LOW, _HIGH))
    return max(_QUIETEST, _decibels(float(high)) - _decibels(float(low))) if low > 0 else 0.0


def _decibels(power: float) -> float:
    return max(_QUIETEST, 10 * math.log10(power)) if power > 0 else _QUIETEST
