"""The mean embedding that is subtracted before scoring, and whom it may not know."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.corpora.draw import draw
from voxangle.data import Trials
from voxangle.errors import TrialError
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
    ) -> MeanEmbedding:
        """The mean of an ``.npz`` with one vector a key, as ``voxangle embed`` writes it.

        Args:
            path: of the archive.
            utterances: average a sample of so many; None for all.
            speaker_of: who speaks, of those of its keys of which it is known.

        Raises:
            TrialError: the file is missing, no such archive or empty; or a vector is not finite, or has another
                dimension than the first (its key is named).
        """
        path = Path(path)
        try:
            content = np.load(path)
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise ValueError("one array, where an archive with a vector a key is expected")
            with content as archive:
                available = list(archive.files)
                keys = [available[row] for row in drawn_rows(available, utterances)]
                vector = _mean_of_vectors(path, ((key, archive[key]) for key in keys))
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise TrialError(f"{path}: not an archive of `voxangle embed` ({error})") from error
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(
            vector,
            MeanSubtraction(
                file=str(path),
                file_sha256=digest,
                utterances=len(keys),
                available=len(available),
                seed=SEED if len(keys) < len(available) else None,
                utterances_sha256=keys_sha256(keys),
            ),
            frozenset(keys),
            frozenset(speaker_of[key] for key in keys if key in speaker_of) if speaker_of else frozenset(),
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


def _mean_of_vectors(path: Path, vectors: Iterable[tuple[str, NDArray[Any]]]) -> NDArray[np.float64]:
    total: NDArray[np.float64] | None = None
    count = 0
    for key, vector in vectors:
        if vector.ndim != 1 or not vector.size or not np.issubdtype(vector.dtype, np.floating):
            raise TrialError(f"{path}: '{key}' is no embedding, but {vector.dtype} of shape {vector.shape}")
        if not np.isfinite(vector).all():
            raise TrialError(
                f"{path}: the embedding of '{key}' is not finite; look at the recording and the model"
            )
        if total is None:
            total = np.zeros(vector.size)
        if vector.size != total.size:
            raise TrialError(
                f"{path}: the embedding of '{key}' has {vector.size} dimensions, those before it {total.size}; embed "
                "all with one model"
            )
        total += vector
        count += 1
    if total is None:
        raise TrialError(f"{path}: holds no embedding, so it has no mean")
    return total / count
