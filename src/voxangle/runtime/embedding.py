"""From waveforms or files to embeddings, whatever computes them: which may be used, and how they are batched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, Waveform, load
from voxangle.errors import AudioError
from voxangle.runtime.card import Card

__all__ = ["MINIMUM_SECONDS", "BaseEmbedder", "EmbeddedFiles"]

MINIMUM_SECONDS = 0.25  # a shorter recording is refused: hardly a syllable
BATCH_SECONDS = 30.0  # padded, of one batch; a CPU is slower with more, a GPU busy enough
CHUNK_SECONDS = 600.0  # decoded files gathered before they are embedded, so that batches are of like lengths
NOT_FINITE = "its embedding is not finite: the model's weights are broken, or the samples are out of range"


class EmbeddedFiles(NamedTuple):
    """What became of a list of files.

    Attributes:
        embeddings: (K, D) float32, of the files that could be used, in the order given.
        kept: (K,) int64, their places in the list given.
        left_out: the errors of all others, in the order given.
    """

    embeddings: NDArray[np.float32]
    kept: NDArray[np.int64]
    left_out: tuple[AudioError, ...]


class BaseEmbedder(ABC):
    """A model that takes waveforms and files; what it is made of computes one padded batch.

    Attributes:
        card: what the model says about itself.
        weights_sha256: of its weights; empty of a model that was not loaded.
    """

    card: Card
    weights_sha256: str = ""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """D, the length of an embedding."""

    def embed(
        self, waveforms: Sequence[NDArray[np.floating]], *, batch_seconds: float = BATCH_SECONDS
    ) -> NDArray[np.float32]:
        """Embeddings of waveforms, in their order, the same (to 1e-4) however they are batched.

        Waveforms of like lengths go together, padded; one longer than ``batch_seconds`` goes alone and whole, so
        that the longest one bounds the memory (the ECAPA-TDNN of 512 channels takes 2 GB for ten minutes).

        Args:
            waveforms: N arrays (samples,) in [-1, 1] at 16 kHz, 0.25 s or longer each.
            batch_seconds: the most seconds in a batch, padding counted.

        Returns:
            (N, D) float32, not of unit length.

        Raises:
            AudioError: a waveform (named ``waveform 3`` for the fourth) is too short, silent or not finite, or its
                embedding is not finite.
        """
        for index, waveform in enumerate(waveforms):
            if cause := _unusable(waveform):
                raise AudioError(f"waveform {index}", cause)
        embeddings = self._embed(waveforms, batch_seconds)
        for index in _not_finite(embeddings):
            raise AudioError(f"waveform {index}", NOT_FINITE)
        return embeddings

    def embed_files(
        self,
        paths: Sequence[str | Path],
        *,
        on_progress: Callable[[int, int], None] | None = None,
        on_error: Callable[[AudioError], None] | None = None,
        workers: int = 2,
        batch_seconds: float = BATCH_SECONDS,
    ) -> EmbeddedFiles:
        """Embeddings of audio files, decoded in threads while others are embedded.

        At most ten minutes of decoded audio and four files a worker wait in memory at a time.

        Args:
            paths: the files, in any form that ``voxangle.audio.load`` reads.
            on_progress: called with the files done and the files in all.
            on_error: called with the error of every file that is left out; if None, the first one is raised.
            workers: threads that decode.
            batch_seconds: the most seconds in a batch, padding counted.

        Raises:
            AudioError: a file cannot be used, and ``on_error`` is None.
        """
        embeddings = np.empty((len(paths), self.dimension), dtype=np.float32)
        left_out: dict[int, AudioError] = {}

        def leave_out(row: int, error: AudioError) -> None:
            if on_error is None:
                raise error
            left_out[row] = error
            on_error(error)

        done = 0
        with closing(_decode(paths, workers)) as decoded:
            for chunk in _chunks(decoded):
                usable = {}
                for row, result in chunk:
                    if isinstance(result, AudioError):
                        leave_out(row, result)
                    elif cause := _unusable(result):
                        leave_out(row, AudioError(paths[row], cause))
                    else:
                        usable[row] = result
                rows = list(usable)
                embeddings[rows] = self._embed(list(usable.values()), batch_seconds)
                for index in _not_finite(embeddings[rows]):
                    leave_out(rows[index], AudioError(paths[rows[index]], NOT_FINITE))
                done += len(chunk)
                if on_progress is not None:
                    on_progress(done, len(paths))
        kept = np.array([row for row in range(len(paths)) if row not in left_out], dtype=np.int64)
        return EmbeddedFiles(embeddings[kept], kept, tuple(left_out[row] for row in sorted(left_out)))

    def _embed(self, waveforms: Sequence[NDArray[np.floating]], batch_seconds: float) -> NDArray[np.float32]:
        lengths = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
        embeddings = np.empty((len(waveforms), self.dimension), dtype=np.float32)
        for rows in _batches(lengths, int(batch_seconds * SAMPLE_RATE)):
            padded = np.zeros((len(rows), lengths[rows].max()), dtype=np.float32)
            for place, row in enumerate(rows):
                padded[place, : lengths[row]] = waveforms[row]
            embeddings[rows] = self._embed_padded(padded, lengths[rows])
        return embeddings

    @abstractmethod
    def _embed_padded(
        self, waveforms: NDArray[np.float32], samples: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Embeddings, (B, D), of waveforms (B, T) that hold (B,) samples each and then zeros."""


def _unusable(waveform: NDArray[np.floating]) -> str | None:
    if waveform.ndim != 1 or not np.issubdtype(waveform.dtype, np.floating):
        return f"expected one channel of floating-point samples, found {waveform.dtype} {waveform.shape}"
    seconds = len(waveform) / SAMPLE_RATE
    if seconds < MINIMUM_SECONDS:
        return f"{seconds:.3f} s is too short for an embedding: at least {MINIMUM_SECONDS} s"
    if not np.isfinite(waveform).all():
        return "samples that are not finite"
    if not waveform.any():
        return "silence: every sample is zero"
    return None


def _not_finite(embeddings: NDArray[np.float32]) -> list[int]:
    return [int(row) for row in np.flatnonzero(~np.isfinite(embeddings).all(axis=1))]


def _batches(lengths: NDArray[np.int64], most: int) -> Iterator[NDArray[np.intp]]:
    """Rows in batches whose padded size is at most ``most`` samples, or one row; the longest first."""
    order = np.argsort(-lengths, kind="stable")
    while len(order):
        count = max(1, most // int(lengths[order[0]]))
        yield order[:count]
        order = order[count:]


def _decode(paths: Sequence[str | Path], workers: int) -> Generator[tuple[int, Waveform | AudioError]]:
    """Every file's waveform, or what is wrong with it, in order; a few files are decoded ahead."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    ahead: deque[Future[Waveform]] = deque()
    try:
        for row in range(len(paths)):
            while len(ahead) < 4 * workers and row + len(ahead) < len(paths):
                ahead.append(pool.submit(load, paths[row + len(ahead)]))
            try:
                yield row, ahead.popleft().result()
            except AudioError as error:
                yield row, error
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(
    decoded: Iterator[tuple[int, Waveform | AudioError]],
) -> Iterator[list[tuple[int, Waveform | AudioError]]]:
    chunk: list[tuple[int, Waveform | AudioError]] = []
    samples = 0
    for row, result in decoded:
        chunk.append((row, result))
        samples += 0 if isinstance(result, AudioError) else len(result)
        if samples >= CHUNK_SECONDS * SAMPLE_RATE:
            yield chunk
            chunk, samples = [], 0
    if chunk:
        yield chunk
