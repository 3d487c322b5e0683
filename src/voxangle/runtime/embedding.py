"""From recordings to embeddings, whatever computes them: read ahead, cut, batched, and put together again in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE
from voxangle.errors import AudioError, SilenceError
from voxangle.runtime.batching import LikeLengths
from voxangle.runtime.card import Card
from voxangle.runtime.sources import MINIMUM_SECONDS, AudioFile, Piece, Samples, Source, pieces
from voxangle.runtime.windows import Window, Windows

__all__ = ["MINIMUM_SECONDS", "BaseEmbedder", "EmbeddedFiles", "Embedding", "PartSize"]

BATCH_SECONDS = 30.0  # padded, of one batch; a CPU is slower with more, a GPU busy enough
BATCHES_AHEAD = 40  # of decoded audio (77 MB), out of which a batch of like lengths is chosen: 1 % padding
NOT_FINITE = "its embedding is not finite: the model's weights are broken, or the samples are out of range"


class Embedding(NamedTuple):
    """What became of one recording.

    Attributes:
        vector: (D,) float32, not of unit length; None where there is an error.
        samples: how many were read, at 16 kHz.
        windows: how many windows had a part in the vector.
        error: why there is no vector.
    """

    vector: NDArray[np.float32] | None
    samples: int
    windows: int
    error: AudioError | None = None


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


class PartSize(NamedTuple):
    """When a part of a long list is full: no batch crosses from one part into the next.

    Attributes:
        recordings: at so many,
        samples: or at so many samples, whichever comes first.
    """

    recordings: int = 2048
    samples: int = 2 * 3600 * SAMPLE_RATE

    def full(self, recordings: int, samples: int) -> bool:
        """Whether a part that holds so much is to be closed."""
        return recordings >= self.recordings or samples >= self.samples


class BaseEmbedder(ABC):
    """A model that takes waveforms and files; what it is made of computes one padded batch.

    Attributes:
        card: what the model says about itself.
        weights_sha256: of its weights; empty of a model that was not loaded.
        windows: how long recordings are cut, the same for every use of the model; None to embed them whole.
    """

    card: Card
    weights_sha256: str = ""
    windows: Windows | None = Windows()

    @property
    @abstractmethod
    def dimension(self) -> int:
        """D, the length of an embedding."""

    def embed(
        self, waveforms: Sequence[Samples], *, batch_seconds: float = BATCH_SECONDS
    ) -> NDArray[np.float32]:
        """Embeddings of waveforms, in their order, the same (to 1e-4) however they are batched.

        Waveforms of like lengths go together, padded; one longer than a window is cut (``Windows``).

        Args:
            waveforms: N arrays (samples,) in [-1, 1] at 16 kHz, 0.25 s or longer each.
            batch_seconds: the most seconds in a batch, padding counted.

        Returns:
            (N, D) float32, not of unit length.

        Raises:
            AudioError: a waveform (named ``waveform 3`` for the fourth) is too short, silent or not finite, or its
                embedding is not finite.
        """
        sources = [_Waveform(f"waveform {index}", waveform) for index, waveform in enumerate(waveforms)]
        embeddings = np.empty((len(waveforms), self.dimension), dtype=np.float32)
        every = sum(map(len, waveforms))
        for row, one in enumerate(self._stream(sources, 0, batch_seconds, every, None)):
            if one.error is not None:
                raise one.error
            embeddings[row] = one.vector
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
        """Embeddings of audio files, decoded in threads while others are embedded; see ``embed_stream``.

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
        kept: list[int] = []
        left_out: list[AudioError] = []
        stream = self.embed_stream(map(AudioFile, paths), workers=workers, batch_seconds=batch_seconds)
        with closing(stream):
            for row, one in enumerate(stream):
                if one.error is None:
                    embeddings[len(kept)] = one.vector
                    kept.append(row)
                elif on_error is None:
                    raise one.error
                else:
                    left_out.append(one.error)
                    on_error(one.error)
                if on_progress is not None:
                    on_progress(row + 1, len(paths))
        return EmbeddedFiles(embeddings[: len(kept)].copy(), np.array(kept, dtype=np.int64), tuple(left_out))

    def embed_stream(
        self,
        sources: Iterable[Source],
        *,
        workers: int = 2,
        batch_seconds: float = BATCH_SECONDS,
        part: PartSize | None = None,
    ) -> Generator[Embedding]:
        """Embeddings of any number of recordings, in their order, in memory that does not grow with them.

        Threads decode while others are embedded; recordings, and the windows of long ones, wait until there are
        others of like length (40 batches of decoded audio, and four recordings a worker). What goes into a batch
        depends on the recordings alone, so that the same list gives the same bits again.

        Args:
            sources: the recordings.
            workers: threads that read them; 0 for none.
            batch_seconds: the most seconds in a batch, padding counted.
            part: the list is embedded in parts of this size, each as if there were no other.

        Yields:
            One for every recording, with its vector or its error.
        """
        ahead = int(BATCHES_AHEAD * batch_seconds * SAMPLE_RATE)
        return self._stream(sources, workers, batch_seconds, ahead, part)

    def _stream(
        self,
        sources: Iterable[Source],
        workers: int,
        batch_seconds: float,
        ahead: int,
        part: PartSize | None,
    ) -> Generator[Embedding]:
        batch = int(batch_seconds * SAMPLE_RATE)
        waiting = LikeLengths[_Part](batch)
        unfinished: deque[_Recording] = deque()
        recordings = samples = 0  # of this part
        with closing(pieces(sources, self.windows, workers)) as read:
            for piece in read:
                if not unfinished or unfinished[-1].read:
                    unfinished.append(_Recording(piece.name))
                recording = unfinished[-1]
                if (item := recording.take(piece)) is not None:
                    if 2 * item.samples > batch:  # nothing could join it
                        self._embed_batch([item])
                    else:
                        waiting.add(item)
                full = False
                if recording.read:
                    recordings += 1
                    samples += recording.samples
                    full = part is not None and part.full(recordings, samples)
                while waiting.samples > ahead or (full and len(waiting)):
                    self._embed_batch(waiting.leave())
                if full:
                    recordings = samples = 0
                while unfinished and unfinished[0].finished:
                    yield unfinished.popleft().embedding()
        while len(waiting):
            self._embed_batch(waiting.leave())
        for recording in unfinished:
            yield recording.embedding()

    def _embed_batch(self, batch: Sequence[_Part]) -> None:
        lengths = np.array([part.samples for part in batch], dtype=np.int64)
        padded = np.zeros((len(batch), lengths.max()), dtype=np.float32)
        for row, part in zip(padded, batch, strict=True):
            row[: part.samples] = part.waveform
        for part, vector in zip(batch, self._embed_padded(padded, lengths), strict=True):
            part.recording.add(vector, part.samples)

    @abstractmethod
    def _embed_padded(
        self, waveforms: NDArray[np.float32], samples: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Embeddings, (B, D), of waveforms (B, T) that hold (B,) samples each and then zeros."""


@dataclass(frozen=True, slots=True)
class _Waveform:
    """A recording in memory."""

    name: str
    waveform: Samples

    def length(self) -> int:
        return len(self.waveform)

    def read(self, window: Window | None) -> Samples:
        if window is None:
            return self.waveform
        return self.waveform[window.first : window.first + window.samples]


class _Part(NamedTuple):
    """A waveform that waits to be embedded, and what it is of."""

    samples: int
    waveform: Samples
    recording: _Recording


@dataclass(slots=True, eq=False)
class _Recording:
    """What is known of a recording while its pieces are read and embedded."""

    name: str | Path
    samples: int = 0
    windows: int = 0
    read: bool = False  # to its end
    error: AudioError | None = None
    _awaited: int = 0  # pieces that wait to be embedded
    _weighted: NDArray[np.float64] | None = None
    _weight: int = 0

    def take(self, piece: Piece) -> _Part | None:
        """Note a piece; what of it is to be embedded."""
        self.samples = max(self.samples, piece.end)
        self.error = piece.error
        self.read = piece.last
        if piece.waveform is not None:
            self._awaited += 1
            self.windows += 1
            return _Part(len(piece.waveform), piece.waveform, self)
        if self.read and not self.windows and self.error is None:
            self.error = SilenceError(self.name)
        return None

    def add(self, vector: NDArray[np.float32], samples: int) -> None:
        """Note the embedding of a piece."""
        self._awaited -= 1
        self._weight += samples
        weighted = vector.astype(np.float64) * samples
        self._weighted = weighted if self._weighted is None else self._weighted + weighted

    @property
    def finished(self) -> bool:
        return self.read and not self._awaited

    def embedding(self) -> Embedding:
        """The weighted mean of its pieces' embeddings, see ``Windows``."""
        if self.error is None and self._weighted is not None:
            vector = (self._weighted / self._weight).astype(np.float32)
            if np.isfinite(vector).all():
                return Embedding(vector, self.samples, self.windows)
            self.error = AudioError(self.name, NOT_FINITE)
        return Embedding(None, self.samples, 0, self.error)
