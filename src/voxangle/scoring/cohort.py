"""The impostors whose scores a trial's score is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import TrialError
from voxangle.scoring.embedding_set import EmbeddingSet
from voxangle.scoring.result import LearntFrom

__all__ = ["FEWEST_IMPOSTORS", "Cohort"]

FEWEST_IMPOSTORS = 10
"""The least of a cohort, and of its most similar part: of fewer scores mean and deviation say little."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """Impostors: people, or utterances, none of which is in the trials.

    Attributes:
        vectors: shape (C, D), float64; neither centred nor of unit length.
        names: of the C speakers or utterances.
        unit: what a vector is: an utterance's embedding, or the mean of a speaker's.
        record: the embeddings it is made of.
        keys: of their utterances.
        speakers: of these utterances, where known.
    """

    vectors: NDArray[np.float64]
    names: tuple[str, ...]
    unit: Literal["utterance", "speaker"]
    record: LearntFrom
    keys: frozenset[str]
    speakers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, learnt_from: EmbeddingSet, *, by: Literal["utterance", "speaker"]) -> Cohort:
        """A cohort of utterances, or of the means of each speaker's embeddings (as WeSpeaker's is).

        Raises:
            TrialError: it has fewer than ``FEWEST_IMPOSTORS`` members, an embedding is not finite, or speakers are
                asked for that are not known.
        """
        source = learnt_from.record.source
        finite = np.isfinite(learnt_from.vectors).all(axis=1)
        if not finite.all():
            raise TrialError(
                f"{source}: the embedding of '{learnt_from.keys[int(finite.argmin())]}' is not finite, and cannot "
                "stand in a cohort; look at the recording and the model"
            )
        vectors = learnt_from.vectors.astype(np.float64)
        names = learnt_from.keys
        if by == "speaker":
            names, labels = learnt_from.labels()
            vectors = means_by_label(vectors, labels, len(names))
        if len(names) < FEWEST_IMPOSTORS:
            raise TrialError(
                f"{source}: a cohort of {len(names)} {by}s is too small, {FEWEST_IMPOSTORS} are the least; take more "
                "speech of others" + (", or every utterance for itself" if by == "speaker" else "")
            )
        return cls(
            vectors, names, by, learnt_from.record, frozenset(learnt_from.keys), learnt_from.known_speakers
        )


def means_by_label(
    vectors: NDArray[np.float64], labels: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """The mean vector of each label, shape (count, D)."""
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=count)
    firsts = np.cumsum(sizes) - sizes
    means: NDArray[np.float64] = np.add.reduceat(vectors[order], firsts, axis=0) / sizes[:, None]
    return means
