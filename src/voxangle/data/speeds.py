"""Speed perturbation: a speaker played faster or slower is another speaker."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from voxangle.audio import SAMPLE_RATE, Waveform
from voxangle.audio.resampling import resample, window
from voxangle.data.batches import LabelledRecordings, Recordings
from voxangle.data.sampler import Rows

__all__ = ["SpeedPerturbed"]


class SpeedPerturbed:
    r"""Recordings at several speeds, row after row, speed after speed; each speed has speakers of its own.

    At speed a the waveform :math:`x(t)` becomes :math:`x(at)`: its duration is divided by a, its pitch and formants are
    multiplied by it. Row ``s * N + n`` is recording n of N at speed s, label ``s * C + c`` speaker c of C. A segment is
    resampled from just the samples it needs, and is what it would be in the whole perturbed recording.

    T. Ko et al., "Audio augmentation for speech recognition", Interspeech 2015; as new speakers: H. Yamamoto et al.,
    "Speaker augmentation and bandwidth extension for deep speaker embedding", Interspeech 2019.

    Args:
        recordings: as they are.
        speeds: a > 0, multiples of 0.01; 1.0 reads the recordings untouched.

    Attributes:
        speakers: the names of the labels; a speaker at another speed than 1.0 is ``sp0.9-NAME``.
        voices: C, the speakers there are without their other speeds.
        labels: shape (S * N,), int64.
        samples: shape (S * N,), int64; the length of each row at 16 kHz.
    """

    def __init__(self, recordings: LabelledRecordings, speeds: Sequence[float] = (1.0,)) -> None:
        names, labels = recordings.manifest.speakers(), recordings.manifest.labels()
        self._recordings: Recordings = recordings
        # Played a times as fast, samples come a times as often.
        self._rates = [round(SAMPLE_RATE * speed) for speed in speeds]
        self.voices = len(names)
        self.speakers: list[str] = [
            name if speed == 1 else f"sp{speed:g}-{name}" for speed in speeds for name in names
        ]
        self.labels: Rows = np.concatenate([i * self.voices + labels for i in range(len(speeds))])
        self.samples: Rows = np.concatenate(
            [recordings.samples * SAMPLE_RATE // rate for rate in self._rates]
        )

    def over(self, recordings: Recordings) -> SpeedPerturbed:
        """The same rows, read from where else the recordings lie."""
        elsewhere = copy.copy(self)
        elsewhere._recordings = recordings
        return elsewhere

    def read(self, row: int, first: int = 0, samples: int | None = None) -> Waveform:
        """Samples [first, first + samples) of a row, to its end where ``samples`` is None.

        Raises:
            IndexError: the row has no such samples.
        """
        speed, number = divmod(row, len(self._recordings.samples))
        rate = self._rates[speed]
        if rate == SAMPLE_RATE:
            return self._recordings.read(number, first, samples)
        length = int(self.samples[row])
        last = length if samples is None else first + samples
        if not 0 <= first <= last <= length:
            raise IndexError(f"samples [{first}, {last}) are not within the {length} of row {row}")
        begin, count, lead = window(first, last - first, rate)
        count = min(count or 0, int(self._recordings.samples[number]) - begin)
        segment: np.ndarray[Any, np.dtype[np.float32]] = resample(
            self._recordings.read(number, begin, count), rate
        )
        return segment[lead : lead + last - first]
