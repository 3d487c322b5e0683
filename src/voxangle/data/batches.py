"""Batches of random crops, read ahead in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch

from voxangle.audio import SAMPLE_RATE, Waveform
from voxangle.data.manifest import Manifest
from voxangle.data.sampler import Rows, SpeakerSampler
from voxangle.errors import RecipeError

__all__ = ["CropBatch", "CropReader", "LabelledRecordings", "Recordings", "SpeakerSampler"]


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
            self._read(crop, row, place)
        return CropBatch(
            torch.from_numpy(crops), torch.from_numpy(self._labels[rows]), torch.from_numpy(rows)
        )

    def stream(
        self, first_step: int, last_step: int, *, ahead: int = 4, threads: int = 2
    ) -> Generator[CropBatch, None, None]:
        """The batches of steps [first_step, last_step) in order, read ahead by background threads.

        What is yielded does not depend on ``ahead`` or ``threads``. An error while reading is raised here,
        in place of its batch. Closing the iterator ends the threads.

        Args:
            first_step: the first global step.
            last_step: one past the last.
            ahead: batches held ready at most.
            threads: readers.
        """
        with ThreadPoolExecutor(threads, thread_name_prefix="crops") as readers:
            steps = iter(range(first_step, last_step))
            ready: deque[Future[CropBatch]] = deque()
            try:
                for step in steps:
                    ready.append(readers.submit(self.batch, step))
                    if len(ready) > ahead:
                        yield ready.popleft().result()
                while ready:
                    yield ready.popleft().result()
            finally:
                for future in ready:
                    future.cancel()

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

    def _read(self, crop: Waveform, row: int, place: float) -> None:
        samples = int(self._prepared.samples[row])
        if samples >= self._length:
            crop[:] = self._prepared.read(row, int(place * (samples - self._length + 1)), self._length)
        else:
            phase = int(place * samples)
            crop[:] = np.take(self._prepared.read(row), np.arange(phase, phase + self._length), mode="wrap")
