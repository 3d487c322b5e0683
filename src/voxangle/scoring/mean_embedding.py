"""The mean embedding that is subtracted before scoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxangle.scoring.embedding_set import EmbeddingSet, StoredEmbeddings
from voxangle.scoring.result import LearntFrom, MeanSubtraction

__all__ = ["MeanEmbedding"]


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
    def of(cls, learnt_from: EmbeddingSet) -> MeanEmbedding:
        """The mean of a set, each embedding with the same weight."""
        return cls(
            learnt_from.vectors.mean(axis=0, dtype=np.float64),
            _record(learnt_from.record),
            frozenset(learnt_from.keys),
            learnt_from.known_speakers,
        )

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

        It is read block by block; only the keys are all in memory.

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
        stored = StoredEmbeddings.open(path, utterances=utterances, weights_sha256=weights_sha256)
        total: NDArray[np.float64] = sum(
            vectors.sum(axis=0, dtype=np.float64) for _, vectors in stored.blocks()
        )
        of = speaker_of or {}
        return cls(
            total / len(stored.keys),
            _record(stored.record),
            frozenset(stored.keys),
            frozenset(of[key] for key in stored.keys if key in of),
        )


def _record(learnt_from: LearntFrom) -> MeanSubtraction:
    return MeanSubtraction(**dict(learnt_from))
