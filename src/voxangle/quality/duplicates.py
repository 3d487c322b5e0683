r"""The same recording twice, whatever the container, the gain and the silence before it.

Copies to the sample are found by the hash of their prepared samples. The others in two steps: a *print* of what
sounds (from the first sounding frame to the last: log energies in six bands up to 3.4 kHz, at 24 points in time, minus
their mean, at unit length) names candidates, compared only where what sounds lasts as long to 3 % + 100 ms; then the
normalised cross-correlation of the waveforms decides:

.. math::
    \rho = \max_\tau \frac{\left|\sum_t x_t\, y_{t+\tau}\right|}{\lVert x \rVert\, \lVert y \rVert}

A segment cut from the middle of a longer recording is not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE
from voxangle.quality.measures import FRAME, frame_energies, sounding

__all__ = ["PRINT_SIZE", "Duplicate", "Print", "correlation", "find_duplicates", "take_print"]

_BANDS = (200.0, 400.0, 700.0, 1100.0, 1700.0, 2500.0, 3400.0)
_TIMES = 24
PRINT_SIZE = (len(_BANDS) - 1) * _TIMES
_POINTS = 512
_ALIKE = 0.85  # cosine of prints from which waveforms are compared
_SAME = 0.8  # correlation of waveforms from which they are one recording
_LONGEST = 4 * SAMPLE_RATE  # of what sounds, compared
_BLOCK = 512

Samples = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Print:
    """What a recording is known by.

    Attributes:
        digest: of its samples, rounded to 16 bits.
        first: the first sample that sounds.
        length: how long what sounds is, in samples; 0 of silence.
        vector: (144,) float32 of unit length, or zeros.
    """

    digest: bytes
    first: int
    length: int
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two rows that hold one recording.

    Attributes:
        first: the row that comes first.
        other: the later one.
        correlation: of their waveforms, in [0, 1]; 1 of copies to the sample.
        exact: a copy to the sample.
    """

    first: int
    other: int
    correlation: float
    exact: bool


def take_print(waveform: Samples) -> Print:
    """The print of a recording, shape (samples,) in [-1, 1] at 16 kHz."""
    digest = hashlib.blake2b(np.rint(waveform * 32_768).astype("<i4").tobytes(), digest_size=16).digest()
    centred = waveform - waveform.mean()
    heard = np.flatnonzero(sounding(frame_energies(centred)))
    if not len(heard):
        return Print(digest, 0, 0, np.zeros(PRINT_SIZE, np.float32))
    first, last = int(heard[0]) * FRAME, min(len(waveform), (int(heard[-1]) + 1) * FRAME)
    span = np.pad(centred[first:last], (0, max(0, _POINTS - (last - first))))
    frames = np.lib.stride_tricks.sliding_window_view(span, _POINTS)[::FRAME]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(_POINTS).astype(np.float32), axis=1)))
    edges = np.round(np.array(_BANDS) * _POINTS / SAMPLE_RATE).astype(int)
    energy = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    # Averages over 24 equal parts, by differences of the running sum, so that a part may hold a fraction of a frame.
    running = np.vstack([np.zeros(energy.shape[1]), np.cumsum(energy, axis=0)])
    at = np.linspace(0, len(energy), _TIMES + 1)
    parts = np.diff(np.stack([np.interp(at, np.arange(len(running)), band) for band in running.T]), axis=1)
    logs = np.log(np.maximum(parts, 1e-6 * parts.max()) + 1e-30).ravel()
    logs -= logs.mean()
    norm = float(np.linalg.norm(logs))
    return Print(digest, first, last - first, (logs / norm if norm else logs).astype(np.float32))


def correlation(one: Samples, other: Samples) -> float:
    """The greatest normalised cross-correlation of two waveforms over all shifts, in [0, 1]."""
    norm = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    if norm == 0:
        return 0.0
    points = 1 << (len(one) + len(other) - 1).bit_length()
    product = np.fft.rfft(one, points) * np.conj(np.fft.rfft(other, points))
    return min(1.0, float(np.abs(np.fft.irfft(product, points)).max()) / norm)


def find_duplicates(prints: list[Print], read: Callable[[int, int, int], Samples]) -> list[Duplicate]:
    """Rows that hold one recording, each with the first row it equals; sorted by row.

    Args:
        prints: of all recordings.
        read: (row, first sample, samples) -> these samples of that recording.
    """
    found, of_digest = [], dict[bytes, int]()
    kept = []
    for row, print_ in enumerate(prints):
        if (first := of_digest.setdefault(print_.digest, row)) != row:
            found.append(Duplicate(first, row, 1.0, exact=True))
        elif print_.length:
            kept.append(row)
    for one, other in _candidates(prints, kept):
        rho = correlation(*(_span(prints[row], row, read) for row in (one, other)))
        if rho >= _SAME:
            found.append(Duplicate(min(one, other), max(one, other), rho, exact=False))
    return sorted(found, key=lambda duplicate: (duplicate.first, duplicate.other))


def _candidates(prints: list[Print], rows: list[int]) -> list[tuple[int, int]]:
    order = np.array(sorted(rows, key=lambda row: prints[row].length), dtype=np.int64)
    if not len(order):
        return []
    lengths = np.array([prints[row].length for row in order])
    vectors = np.stack([prints[row].vector for row in order])
    ends = np.searchsorted(lengths, 1.03 * lengths + 5 * FRAME, side="right")
    pairs = []
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        alike = vectors[start:stop] @ vectors[start : ends[stop - 1]].T >= _ALIKE
        for one, other in zip(*np.nonzero(alike), strict=True):
            if one < other < ends[start + one] - start:
                pairs.append((int(order[start + one]), int(order[start + other])))
    return pairs


def _span(print_: Print, row: int, read: Callable[[int, int, int], Samples]) -> Samples:
    return read(row, print_.first, min(print_.length, _LONGEST))
