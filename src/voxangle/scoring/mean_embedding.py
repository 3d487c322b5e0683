"""The mean embedding that is subtracted before scoring, and whom it may not know."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.corpora.draw import draw
from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.runtime.parts import INDEX, PartFolder
from voxangle.scoring.result import MeanSubtraction

__all__ = ["SEED", "MeanEmbedding", "drawn_rows", "keys_sha256", "require_unseen"]

SEED = 0


@dataclass(frozen=True, eq=False)
class MeanEmbedding:
    """The mean of many embeddings.

    Attributes:
        vector: shape (dimensions,), float64.
        record: what it is the mean of, for the protocol.
        keys: of the utterances averaged.
        speakers: of the utterances averaged, where known.
    """

    vector: NDArray[np.float64]
    record: MeanSubtraction
    keys: frozenset[str]
    speakers: frozenset[str] = frozenset()

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        utterances: int | None = None,
        speaker_of: Mapping[str, str] | None = None,
        weights_sha256: str = "",
    ) -> MeanEmbedding:
        """The mean of what ``voxangle embed`` wrote: an ``.npz`` with a vector a key, or a folder of parts.

        A folder is read part by part; only the keys are all in memory.

        Args:
            path: of the archive or the folder.
            utterances: average a sample of so many; None for all.
            speaker_of: who speaks, of those of its keys of which it is known.
            weights_sha256: of the model whose embeddings the mean is to be subtracted from. A folder says whose it
                holds, an archive does not. Empty where it is not known.

        Raises:
            TrialError: the file is missing, no such archive or empty; a vector is not finite, or has another
                dimension than the first (its key is named); or the folder is of another model.
            StorageError: the folder is none of ``voxangle embed``, not complete, or broken.
        """
        path = Path(path)
        found = (
            _of_folder(path, utterances, weights_sha256) if path.is_dir() else _of_archive(path, utterances)
        )
        return cls(
            found.vector,
            MeanSubtraction(
                file=str(path),
                file_sha256=found.sha256,
                utterances=len(found.keys),
                available=found.available,
                left_out=found.left_out,
                seed=SEED if len(found.keys) < found.available else None,
                utterances_sha256=keys_sha256(found.keys),
            ),
            frozenset(found.keys),
            frozenset(speaker_of[key] for key in found.keys if key in speaker_of)
            if speaker_of
            else frozenset(),
        )


def drawn_rows(keys: Sequence[str], count: int | None) -> NDArray[np.int64]:
    """Ascending places of ``count`` of the keys, the same whatever their order; of all, where None or too many."""
    if count is None or count >= len(keys):
        return np.arange(len(keys))
    rows = draw(range(len(keys)), count, seed=f"mean embedding {SEED}", key=keys.__getitem__)
    return np.array(sorted(rows), dtype=np.int64)


def keys_sha256(keys: Iterable[str]) -> str:
    """SHA-256 of keys, sorted, each ended by a newline."""
    return hashlib.sha256("".join(f"{key}\n" for key in sorted(keys)).encode()).hexdigest()


def require_unseen(
    trials: Trials,
    speakers: Mapping[str, str] | None,
    *,
    keys: Collection[str],
    mean_speakers: Collection[str],
) -> None:
    """Nothing may be learnt from who is tested, and a mean is learnt.

    Args:
        trials: the list.
        speakers: who speaks in it, by key, where known.
        keys: of the utterances of the mean.
        mean_speakers: of these utterances, where known.

    Raises:
        TrialError: a speaker, or an utterance where speakers are not known, of the list is one of the mean's.
    """
    if speakers is not None and mean_speakers:
        tested = {speakers[key] for key in trials.utterances if key in speakers}
        seen, what = sorted(tested.intersection(mean_speakers)), "speakers"
    else:
        tested = set(trials.utterances)
        seen, what = sorted(tested.intersection(keys)), "utterances"
    if seen:
        raise TrialError(
            f"{trials.name}: {len(seen):,} of its {len(tested):,} {what}, such as '{seen[0]}', are also among those "
            "whose mean embedding is to be subtracted, and nothing may be learnt from who is tested; subtract the mean "
            "of others, such as the training set's"
        )


class _Found(NamedTuple):
    """The mean of ``keys``, which are some of the ``available`` ones."""

    vector: NDArray[np.float64]
    keys: list[str]
    available: int
    left_out: int
    sha256: str


def _of_archive(path: Path, utterances: int | None) -> _Found:
    try:
        content = np.load(path)
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise ValueError("one array, where an archive with a vector a key is expected")
        with content as archive:
            available = archive.files
            keys = [available[row] for row in drawn_rows(available, utterances)]
            vector = _mean(path, (([key], archive[key][np.newaxis]) for key in keys))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TrialError(f"{path}: not an archive of `voxangle embed` ({error})") from error
    return _Found(vector, keys, len(available), 0, _sha256([path]))


def _of_folder(path: Path, utterances: int | None, weights_sha256: str) -> _Found:
    folder = PartFolder.open(path)
    folder.require_complete()
    theirs = folder.index.weights_sha256
    if theirs and weights_sha256 and theirs != weights_sha256:
        raise TrialError(
            f"{path}: holds embeddings of another model ('{folder.index.model}', weights {theirs[:12]}, not "
            f"{weights_sha256[:12]}), whose mean says nothing here; embed the same list with this model"
        )
    available = folder.keys()
    rows = drawn_rows(available, utterances)
    vector = _mean(path, _at(rows, folder.vectors()))
    return _Found(
        vector,
        [available[row] for row in rows],
        len(available),
        folder.index.recordings - len(available),
        _sha256([folder.folder / INDEX, *folder.parts]),
    )


_Block = tuple[Sequence[str], NDArray[Any]]  # K keys and their embeddings, (K, D)


def _at(rows: NDArray[np.int64], blocks: Iterable[_Block]) -> Iterator[_Block]:
    """Of rows that are numbered through all blocks those at ascending places."""
    begin = 0
    for keys, vectors in blocks:
        first, last = np.searchsorted(rows, [begin, begin + len(keys)])
        inside = rows[first:last] - begin
        yield [keys[row] for row in inside], vectors[inside]
        begin += len(keys)


def _mean(path: Path, blocks: Iterable[_Block]) -> NDArray[np.float64]:
    total: NDArray[np.float64] | None = None
    count = 0
    for keys, vectors in blocks:
        if not keys:
            continue
        if vectors.ndim != 2 or not vectors.shape[1] or not np.issubdtype(vectors.dtype, np.floating):
            raise TrialError(
                f"{path}: '{keys[0]}' is no embedding, but {vectors.dtype} of shape {vectors.shape[1:]}"
            )
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            key = keys[int(finite.argmin())]
            raise TrialError(
                f"{path}: the embedding of '{key}' is not finite; look at the recording and the model"
            )
        if total is None:
            total = np.zeros(vectors.shape[1])
        if vectors.shape[1] != total.size:
            raise TrialError(
                f"{path}: the embedding of '{keys[0]}' has {vectors.shape[1]} dimensions, those before it "
                f"{total.size}; embed all with one model"
            )
        total += vectors.sum(axis=0, dtype=np.float64)
        count += len(keys)
    if total is None:
        raise TrialError(f"{path}: holds no embedding, so it has no mean")
    return total / count


def _sha256(files: Iterable[Path]) -> str:
    """Of the contents of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            hashlib.file_digest(content, lambda: digest)
    return digest.hexdigest()
