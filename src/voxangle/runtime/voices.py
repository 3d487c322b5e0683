r"""Whether one recording holds two voices, one after the other.

The speech of a recording is cut into windows of 1.5 s, which are embedded and parted into two groups (by the leading
direction of their differences, then by 2-means on the sphere). With :math:`s` the mean cosine between windows of
different groups, the model's own calibration says how likely two groups of one voice are; where

.. math:: \ell(s) < -3

two voices are taken for certain enough to refuse the recording. The bound was chosen on speakers of a training split
whom the model had not seen (``python -m benchmarks.service voices``; figures in ``docs/service.md``).

Two who speak at the same time make windows that are all alike: they cannot be told in this way, and are not.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, Waveform
from voxangle.audio.levels import is_silent
from voxangle.runtime.card import Calibration
from voxangle.runtime.measures import RecordingMeasures
from voxangle.runtime.speech import FRAME

__all__ = ["TWO_VOICES", "between_groups", "two_voices", "voice_windows"]

TWO_VOICES = -3.0
"""The log-likelihood ratio, in nats, below which two groups are two voices."""

_WINDOW_SECONDS = 1.5
_WINDOW = round(_WINDOW_SECONDS * SAMPLE_RATE)
_HOP = _WINDOW // 2
_ROUNDS = 10


def voice_windows(waveform: Waveform, speech: NDArray[np.bool_]) -> list[Waveform]:
    """Windows of 1.5 s of speech, every 0.75 s; none of less than 3 s of speech, in which there is nothing to part.

    Args:
        waveform: (samples,) at 16 kHz.
        speech: (frames,) which frames of 512 samples are speech.
    """
    heard = waveform[np.repeat(speech, FRAME)[: len(waveform)]]
    if len(heard) < 2 * _WINDOW:
        return []
    windows = (heard[first : first + _WINDOW] for first in range(0, len(heard) - _WINDOW + 1, _HOP))
    return [window for window in windows if not is_silent(window)]


def two_voices(embeddings: NDArray[np.float32], measures: RecordingMeasures, fit: Calibration) -> bool:
    """Whether windows are of two voices.

    Args:
        embeddings: (N, D) of the windows of a recording, N >= 2.
        measures: of the recording.
        fit: the model's calibration.
    """
    window = dataclasses.replace(measures, speech=_WINDOW_SECONDS)
    return fit.log_likelihood_ratio(between_groups(embeddings), window, window) < TWO_VOICES


def between_groups(embeddings: NDArray[np.float32]) -> float:
    """The mean cosine between the windows of the two most different groups; 1 where all are the same.

    Args:
        embeddings: (N, D), N >= 2, none of them 0.
    """
    unit = embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    first = np.linalg.eigh(centred @ centred.T)[1][:, -1] > 0
    for _ in range(_ROUNDS):
        if first.all() or not first.any():
            return 1.0
        means = np.stack([unit[first].mean(axis=0), unit[~first].mean(axis=0)])
        nearer = np.subtract(*(means / np.linalg.norm(means, axis=1, keepdims=True) @ unit.T)) > 0
        if (nearer == first).all():
            break
        first = nearer
    if first.all() or not first.any():
        return 1.0
    return float((unit[first] @ unit[~first].T).mean())
