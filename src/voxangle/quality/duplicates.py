r"""The same recording twice, whatever the container, the gain and the silence before it.

Copies to the sample are found by the hash of their prepared samples. The others in two steps: a *print* of what
sounds (from the first sounding frame to the last: log energies in six bands up to 3.4 kHz, at 24 points in time, minus
their mean, at unit length) names candidates, compared only where what sounds lasts as long to 3 % + 100 ms; then the
normalised cross-correlation of the waveforms decides:

.. math::
    \rho = \max_\tau \frac{\left|\sum_t x_t\, y_{t+\tau}\right|}{\lVert x \rVert\, \lVert y \rVert}

A segment cut from the middle of a longer recording is not found. Prints are compared with all of about the same
length, a matter of minutes for a million; what costs are the candidates that are none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE
from voxangle.audio.measures import FRAME, frame_energies, sounding

__all__ = ["PRINT_SIZE", "Duplicate", "Print", "Prints", "correlation", "find_duplicates", "take_print"]

_BANDS = (200.0, 400.0, 700.0, 1100.0, 1700.0, 2500.0, 3400.0)
_TIMES = 24
PRINT_SIZE = (len(_BANDS) - 1) * _TIMES
_POINTS = 512
_FLOOR = 1e-4  # of the greatest energy: what lies below is told apart by noise and coding alone
_ALIKE = 0.9  # cosine of prints from which waveforms are compared
_LONGEST = 4 * SAMPLE_RATE  # of what sounds, compared
_BLOCK, _ACROSS = 512, 16_384  # prints compared at once: a matrix of 32 MB

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


@dataclass(frozen=True)
class Prints:
    """What many recordings are known by: half a kilobyte each.

    Attributes:
        digests: (N,) of 16 bytes.
        first: (N,) the first sample that sounds.
        length: (N,) how long what sounds is, in samples.
        vectors: (N, 144) float16.
    """

    digests: NDArray[np.bytes_]
    first: NDArray[np.int64]
    length: NDArray[np.int64]
    vectors: NDArray[np.float16]

    @classmethod
    def of(cls, prints: Sequence[Print]) -> Prints:
        """Side by side."""
        return cls(
            np.array([one.digest for one in prints], dtype="S16"),
            np.array([one.first for one in prints], dtype=np.int64),
            np.array([one.length for one in prints], dtype=np.int64),
            np.array([one.vector for one in prints], dtype=np.float16).reshape(-1, PRINT_SIZE),
        )

    def __len__(self) -> int:
        return len(self.length)


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
    logs = np.log(np.maximum(parts, _FLOOR * parts.max()) + 1e-30).ravel()
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


def find_duplicates(
    prints: Prints, read: Callable[[int, int, int], Samples], *, same: float = 0.8
) -> list[Duplicate]:
    """Rows that hold one recording, each with one that it equals; sorted by row.

    Args:
        prints: of all recordings.
        read: (row, first sample, samples) -> these samples of that recording.
        same: the correlation from which two waveforms are one recording, in (0, 1].
    """
    _, firsts, group = np.unique(prints.digests, return_index=True, return_inverse=True)
    of = firsts[group]
    copies = np.flatnonzero(of != np.arange(len(prints)))
    found = [Duplicate(int(of[row]), int(row), 1.0, exact=True) for row in copies]
    kept = np.flatnonzero((prints.length > 0) & (of == np.arange(len(prints))))
    claimed = set[int]()

    def compare(pair: tuple[int, int]) -> float:
        one, other = (
            read(row, int(prints.first[row]), min(int(prints.length[row]), _LONGEST)) for row in pair
        )
        return correlation(one, other)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="compare") as pool:
        for pairs in _candidates(prints, kept):
            # Of k versions of one recording each is compared until it is claimed, not with all k.
            left = [pair for pair in pairs if pair[1] not in claimed]
            for (one, other), rho in zip(left, pool.map(compare, left), strict=True):
                if rho >= same and other not in claimed:
                    claimed.add(other)
                    found.append(Duplicate(min(one, other), max(one, other), rho, exact=False))
    return sorted(found, key=lambda duplicate: (duplicate.first, duplicate.other))


def _candidates(prints: Prints, rows: NDArray[np.int64]) -> Iterator[list[tuple[int, int]]]:
    """Pairs of rows alike in length and print, in blocks."""
    order = rows[np.argsort(prints.length[rows], kind="stable")]
    lengths = prints.length[order]
    ends = np.searchsorted(lengths, 1.03 * lengths + 5 * FRAME, side="right")
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        mine = prints.vectors[order[start:stop]].astype(np.float32)
        for across in range(start, int(ends[stop - 1]), _ACROSS):
            theirs = order[across : min(across + _ACROSS, int(ends[stop - 1]))]
            one, other = np.nonzero(mine @ prints.vectors[theirs].astype(np.float32).T >= _ALIKE)
            later = (other + across > one + start) & (other + across < ends[one + start])
            yield list(zip(order[one[later] + start].tolist(), theirs[other[later]].tolist(), strict=True))
