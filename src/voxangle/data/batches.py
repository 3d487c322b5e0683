"""Batches of random crops, read ahead in the background."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch

from voxangle.audio import SAMPLE_RATE, Waveform
from voxangle.data.ahead import worked_ahead
from voxangle.data.manifest import Manifest
from voxangle.data.sampler import Rows, SpeakerSampler
from voxangle.errors import RecipeError

__all__ = ["CropBatch", "CropReader", "LabelledRecordings", "Recordings", "SpeakerSampler", "cut"]


class Recordings(Protocol):
    """What the reader asks of prepared audio (``voxangle.data.prepare.Prepared`` is the one to use)."""

    @property
    def samples(self) -> Rows:
        """Shape (utterances,), int64; the length of each recording at 16 kHz."""

    def read(self, row: int, first: int = 0, samples: int | None = None) -> Waveform:
        """Samples [first, first + samples) of a recording, to its end where ``samples`` is None."""


class LabelledRecordings(Recordings, Protocol):
    """Recordings and what is known of them: ``Prepared``, and what is made of it."""

    @property
    def manifest(self) -> Manifest:
        """What is known of each, with measured seconds."""

    def where(self, keep: np.ndarray[Any, np.dtype[np.bool_]]) -> Self:
        """The recordings whose entry in ``keep``, shape (utterances,), is true, in their order."""


@dataclass(frozen=True)
class CropBatch:
    """Random crops of one step.

    Attributes:
        waveforms: shape (B, T), float32.
        labels: shape (B,), int64; the speaker of each crop.
        rows: shape (B,), int64; the recording of each crop.
    """

    waveforms: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor


def cut(recordings: Recordings, row: int, place: float, length: int) -> Waveform:
    """A crop of a recording; one that is shorter is repeated from a phase until it fills the crop.

    Args:
        recordings: where to read.
        row: the recording.
        place: where the crop begins, as a fraction in [0, 1) of its possible beginnings.
        length: in samples.
    """
    samples = int(recordings.samples[row])
    if samples >= length:
        return recordings.read(row, int(place * (samples - length + 1)), length)
    phase = int(place * samples)
    return np.take(recordings.read(row), np.arange(phase, phase + length), mode="wrap")


class CropReader:
    """Random crops of the rows that a sampler draws, a pure function of (seed, step, position in the batch).

    A crop begins anywhere in its recording with equal chance. A recording shorter than the crop is
    repeated from a random phase until it fills it. Where one recording stands m times in a batch, its
    crops begin 1/m of the possible beginnings apart (around the circle), as far as m crops can be.
    The draws belong to the positions of the global batch: a rank reads exactly the crops that a single
    process would read for its rows.

    Args:
        prepared: the recordings.
        labels: shape (utterances,), int64; the speaker of each row.
        sampler: draws the rows.
        seconds: length of a crop.
        seed: of the crops' beginnings, >= 0.

    Raises:
        RecipeError: the crop holds no sample.
    """

    def __init__(
        self, prepared: Recordings, labels: Rows, sampler: SpeakerSampler, *, seconds: float, seed: int
    ) -> None:
        self._length = round(seconds * SAMPLE_RATE)
        if self._length < 1:
            raise RecipeError(f"a crop of {seconds} s holds no sample; set its seconds to 2 or so")
        self._prepared = prepared
        self._labels = np.asarray(labels, np.int64)
        self._sampler = sampler
        self._seed = seed

    def batch(self, step: int) -> CropBatch:
        """The batch of a global step, counted from 0 over all epochs."""
        rows = self._sampler.batch(*divmod(step, len(self._sampler)))
        crops = np.empty((len(rows), self._length), np.float32)
        for crop, row, place in zip(crops, rows.tolist(), self._places(step, rows).tolist(), strict=True):
            crop[:] = cut(self._prepared, row, place, self._length)
        return CropBatch(
            torch.from_numpy(crops), torch.from_numpy(self._labels[rows]), torch.from_numpy(rows)
        )

    def stream(
        self, first_step: int, last_step: int, *, threads: int = 2
    ) -> Generator[CropBatch, None, None]:
        """The batches of steps [first_step, last_step) in order, read ahead by background threads.

        What is yielded does not depend on ``threads``. An error while reading is raised here,
        in place of its batch. Closing the iterator ends the threads.

        Args:
            first_step: the first global step.
            last_step: one past the last.
            threads: readers; two batches each are held ready at most.
        """
        with worked_ahead(self.batch, range(first_step, last_step), threads, each=2) as batches:
            yield from batches

    def _places(self, step: int, rows: Rows) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Where each crop begins, shape (B,), as a fraction in [0, 1) of its possible beginnings."""
        # A stream of draws of its own: the sampler's seed may be the same number.
        random = np.random.default_rng(np.random.SeedSequence((self._seed, step), spawn_key=(1,)))
        places = random.random(self._sampler.batch_rows)[self._sampler.first_row :][: len(rows)]
        _, first, inverse, counts = np.unique(
            rows, return_index=True, return_inverse=True, return_counts=True
        )
        order = np.argsort(inverse, kind="stable")
        turn = np.empty(len(rows), np.int64)
        turn[order] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        spread: np.ndarray[Any, np.dtype[np.float64]] = (
            places[first[inverse]] + turn / counts[inverse]
        ) % 1.0
        return spread
