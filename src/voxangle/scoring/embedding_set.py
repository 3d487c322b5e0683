"""Embeddings that something is learnt from: a mean, a cohort, PLDA."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.corpora.draw import draw
from voxangle.errors import TrialError
from voxangle.runtime.parts import INDEX, PartFolder
from voxangle.scoring.result import LearntFrom

__all__ = ["SEED", "EmbeddingSet", "StoredEmbeddings", "drawn_rows", "keys_sha256"]

SEED = 0

Block = tuple[Sequence[str], NDArray[Any]]  # K keys and their embeddings, (K, D)


@dataclass(frozen=True, eq=False)
class EmbeddingSet:
    """Embeddings, all in memory, with who speaks and where they are from.

    Attributes:
        vectors: shape (N, D), float32.
        keys: of the N utterances.
        speakers: of the N utterances; an empty name where it is not known.
        record: what they are, for the protocol.
    """

    vectors: NDArray[np.float32]
    keys: tuple[str, ...]
    speakers: tuple[str, ...]
    record: LearntFrom

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        utterances: int | None = None,
        speaker_of: Mapping[str, str] | None = None,
        weights_sha256: str = "",
    ) -> EmbeddingSet:
        """What ``voxangle embed`` wrote; arguments and errors are those of ``StoredEmbeddings.open``.

        Args:
            path: of the archive or the folder.
            utterances: take a sample of so many; None for all.
            speaker_of: who speaks, of those of its keys of which it is known.
            weights_sha256: of the model whose embeddings these must be.
        """
        stored = StoredEmbeddings.open(path, utterances=utterances, weights_sha256=weights_sha256)
        vectors = np.concatenate([block.astype(np.float32, copy=False) for _, block in stored.blocks()])
        of = speaker_of or {}
        return cls(vectors, stored.keys, tuple(of.get(key, "") for key in stored.keys), stored.record)

    @property
    def known_speakers(self) -> frozenset[str]:
        """Who speaks, as far as it is known."""
        return frozenset(self.speakers) - {""}

    def labels(self) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """The speakers, each once, and the place of each utterance's among them, shape (N,).

        Raises:
            TrialError: not all are known.
        """
        if "" in self.speakers:
            unknown = [key for key, speaker in zip(self.keys, self.speakers, strict=True) if not speaker]
            raise TrialError(
                f"{self.record.source}: nothing says who speaks in '{unknown[0]}' ({len(unknown):,} of "
                f"{len(self.keys):,} such utterances); take a split of a corpus, a recipe, or embeddings of utterances "
                "of the corpus that is tested"
            )
        number: dict[str, int] = {}
        labels = [number.setdefault(speaker, len(number)) for speaker in self.speakers]
        return tuple(number), np.array(labels, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class StoredEmbeddings:
    """What ``voxangle embed`` wrote, or a sample of it, to be read block by block: only the keys are in memory.

    Attributes:
        path: of an ``.npz`` with a vector a key, or of a folder of parts.
        keys: of the utterances, in the order of ``blocks``.
        record: what they are, for the protocol.
    """

    path: Path
    keys: tuple[str, ...]
    record: LearntFrom

    @classmethod
    def open(
        cls, path: str | Path, *, utterances: int | None = None, weights_sha256: str = ""
    ) -> StoredEmbeddings:
        """Look at an archive or a folder.

        Args:
            path: of the archive or the folder.
            utterances: take a sample of so many; None for all.
            weights_sha256: of the model whose embeddings these must be. A folder says whose it holds, an archive does
                not. Empty where it is not known.

        Raises:
            TrialError: the file is missing, no such archive or empty; or the folder is of another model.
            StorageError: the folder is none of ``voxangle embed``, not complete, or broken.
        """
        path = Path(path)
        if path.is_dir():
            folder = _open_folder(path, weights_sha256)
            available, digest = folder.keys(), _sha256([path / INDEX, *folder.parts])
            left_out = folder.index.recordings - len(available)
        else:
            with _Archive(path) as archive:
                available, digest, left_out = archive.keys, _sha256([path]), 0
        if not available:
            raise TrialError(f"{path}: holds no embedding")
        keys = tuple(available[row] for row in drawn_rows(available, utterances))
        record = LearntFrom(
            file=str(path),
            file_sha256=digest,
            utterances=len(keys),
            available=len(available),
            left_out=left_out,
            seed=SEED if len(keys) < len(available) else None,
            utterances_sha256=keys_sha256(keys),
        )
        return cls(path, keys, record)

    def blocks(self) -> Iterator[Block]:
        """Keys and vectors, (K, D), until all are read.

        Raises:
            TrialError: a vector is not finite, or has another dimension than the first (its key is named).
            StorageError: a part is broken.
        """
        dimension = 0
        for keys, vectors in self._in_folder() if self.path.is_dir() else self._in_archive():
            if vectors.ndim != 2 or not vectors.shape[1] or not np.issubdtype(vectors.dtype, np.floating):
                raise TrialError(
                    f"{self.path}: '{keys[0]}' is no embedding, but {vectors.dtype} of shape {vectors.shape[1:]}"
                )
            finite = np.isfinite(vectors).all(axis=1)
            if not finite.all():
                key = keys[int(finite.argmin())]
                raise TrialError(
                    f"{self.path}: the embedding of '{key}' is not finite; look at the recording and the model"
                )
            dimension = dimension or vectors.shape[1]
            if vectors.shape[1] != dimension:
                raise TrialError(
                    f"{self.path}: the embedding of '{keys[0]}' has {vectors.shape[1]} dimensions, those before it "
                    f"{dimension}; embed all with one model"
                )
            yield keys, vectors

    def _in_archive(self) -> Iterator[Block]:
        with _Archive(self.path) as archive:
            for key in self.keys:
                yield [key], archive.vector(key)[np.newaxis]

    def _in_folder(self) -> Iterator[Block]:
        wanted = set(self.keys)
        for keys, vectors in PartFolder.open(self.path).vectors():
            rows = [row for row, key in enumerate(keys) if key in wanted]
            if rows:
                yield [keys[row] for row in rows], vectors[rows]


def drawn_rows(keys: Sequence[str], count: int | None) -> NDArray[np.int64]:
    """Ascending places of ``count`` of the keys, the same whatever their order; of all, where None or too many."""
    if count is None or count >= len(keys):
        return np.arange(len(keys))
    rows = draw(range(len(keys)), count, seed=f"mean embedding {SEED}", key=keys.__getitem__)
    return np.array(sorted(rows), dtype=np.int64)


def keys_sha256(keys: Iterable[str]) -> str:
    """SHA-256 of keys, sorted, each ended by a newline."""
    return hashlib.sha256("".join(f"{key}\n" for key in sorted(keys)).encode()).hexdigest()


class _Archive:
    """An ``.npz`` whose every failure is a TrialError with its name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._refusing(), ExitStack() as opened:
            # NumPy leaves a file that it opened, and that turns out to be no archive, open.
            content = np.load(opened.enter_context(path.open("rb")))
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise ValueError("one array, where an archive with a vector a key is expected")
            self._content = opened.enter_context(content)
            self._opened = opened.pop_all()

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def keys(self) -> list[str]:
        return self._content.files

    def vector(self, key: str) -> NDArray[Any]:
        with self._refusing():
            vector: NDArray[Any] = self._content[key]
        return vector

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise TrialError(f"{self._path}: not an archive of `voxangle embed` ({error})") from error


def _open_folder(path: Path, weights_sha256: str) -> PartFolder:
    folder = PartFolder.open(path)
    folder.require_complete()
    theirs = folder.index.weights_sha256
    if theirs and weights_sha256 and theirs != weights_sha256:
        raise TrialError(
            f"{path}: holds embeddings of another model ('{folder.index.model}', weights {theirs[:12]}, not "
            f"{weights_sha256[:12]}), which say nothing here; embed the same list with this model"
        )
    return folder


def _sha256(files: Iterable[Path]) -> str:
    """Of the contents of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            hashlib.file_digest(content, lambda: digest)
    return digest.hexdigest()
