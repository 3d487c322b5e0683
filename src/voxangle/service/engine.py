"""The model at work: one thread, which embeds together what came while it was busy.

Requests that arrive while a batch is computed make the next one, so that a service with nothing to do answers at once
and a busy one computes batches as large as it has work for. Padding changes no embedding (``BaseEmbedder.embed``).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, Waveform
from voxangle.errors import AudioError
from voxangle.runtime.embedding import BaseEmbedder, Embedding
from voxangle.runtime.windows import Window

__all__ = ["Engine"]

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Recording:
    """A waveform as the embedder reads it."""

    waveform: Waveform
    name: str = "the recording"

    def length(self) -> int:
        return len(self.waveform)

    def read(self, window: Window | None) -> Waveform:
        if window is None:
            return self.waveform
        return self.waveform[window.first : window.first + window.samples]


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    waveforms: Sequence[Waveform]
    samples: int
    done: asyncio.Future[list[Vector | AudioError]]


class Engine:
    """A model that many requests share.

    Args:
        embedder: the model; only the engine's thread uses it.
        batch_seconds: of audio, padding counted, in one batch; 0 for one recording at a time.
        on_batch: called with the recordings of a batch and the seconds that it took.
    """

    def __init__(
        self,
        embedder: BaseEmbedder,
        batch_seconds: float,
        on_batch: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self.embedder = embedder
        self._batch = int(batch_seconds * SAMPLE_RATE)
        self._on_batch = on_batch
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """Finish what was accepted, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    @property
    def waiting(self) -> int:
        """Jobs that no batch has begun."""
        return len(self._waiting)

    async def embed(self, waveforms: Sequence[Waveform]) -> list[Vector | AudioError]:
        """Embeddings, (D,) float32 each, of waveforms at 16 kHz; or why there is none."""
        done: asyncio.Future[list[Vector | AudioError]] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._waiting.append(_Job(waveforms, sum(map(len, waveforms)), done))
            self._changed.notify()
        return await done

    def _work(self) -> None:
        while jobs := self._next():
            recordings = [_Recording(waveform) for job in jobs for waveform in job.waveforms]
            began = time.perf_counter()
            try:
                found = [_vector_or_error(one) for one in self._embedded(recordings)]
            except Exception as error:
                for job in jobs:
                    _settle(job, error)
                continue
            self._on_batch(len(recordings), time.perf_counter() - began)
            first = 0
            for job in jobs:
                _settle(job, found[first : first + len(job.waveforms)])
                first += len(job.waveforms)

    def _embedded(self, recordings: Sequence[_Recording]) -> Iterator[Embedding]:
        if self._batch:
            seconds = self._batch / SAMPLE_RATE
            yield from self.embedder.embed_stream(recordings, workers=0, batch_seconds=seconds)
            return
        for one in recordings:
            yield from self.embedder.embed_stream([one], workers=0)

    def _next(self) -> list[_Job]:
        """Jobs for a batch, in the order in which they came, as many as fit; none when all is over."""
        jobs: list[_Job] = []
        samples = 0
        with self._changed:
            while not jobs and (self._waiting or not self._stopping):
                if not self._waiting:
                    self._changed.wait()
                while self._waiting and (not jobs or samples + self._waiting[0].samples <= self._batch):
                    job = self._waiting.popleft()
                    if not job.done.cancelled():  # whoever asked is still there
                        jobs.append(job)
                        samples += job.samples
        return jobs


def _vector_or_error(one: Embedding) -> Vector | AudioError:
    if one.vector is not None:
        return one.vector
    assert one.error is not None  # noqa: S101 - for the type checker
    return one.error


def _settle(job: _Job, result: list[Vector | AudioError] | Exception) -> None:
    """Give a job's result to the loop that waits for it, unless nobody does any more."""

    def settle() -> None:
        if job.done.done():
            return
        if isinstance(result, Exception):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)

    loop = job.done.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
