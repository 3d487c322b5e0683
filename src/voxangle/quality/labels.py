r"""Recordings that sound like another speaker than the one they are said to be of.

With unit embeddings :math:`z`, less their mean over the corpus and brought back to unit length, and the centroid
:math:`c_k` of speaker k (for the speaker itself: of its *other* utterances), the doubt in utterance i of speaker y is

.. math::
    d_i = \max_{k \neq y} \cos(z_i, c_k) - \cos(z_i, c_y^{(-i)})

The centroids are taken twice, the second time without the utterances that the first time were nearer to another
speaker. Above 0 another speaker is nearer. A speaker with one utterance has no others: its doubt is NaN.
A model trained on the very labels has learnt some of the wrong ones too, and doubts them less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Doubts", "doubt_labels"]

_BLOCK = 1024


@dataclass(frozen=True)
class Doubts:
    """How little each label is to be believed.

    Attributes:
        own: (N,) cosine to the speaker's other utterances; NaN where there are none.
        other: (N,) cosine to the nearest other speaker; NaN where there is none.
        nearest: (N,) that speaker's number.
    """

    own: NDArray[np.float64]
    other: NDArray[np.float64]
    nearest: NDArray[np.int64]

    @property
    def doubt(self) -> NDArray[np.float64]:
        """d, (N,), in [-2, 2]."""
        return self.other - self.own


def doubt_labels(embeddings: NDArray[np.floating], labels: NDArray[np.int64]) -> Doubts:
    """How little each label is to be believed.

    Args:
        embeddings: (N, D), none of them zero.
        labels: (N,) speaker numbers in [0, C), each of them met.
    """
    unit = _unit(embeddings.astype(np.float32))
    unit = _unit(unit - unit.mean(axis=0, dtype=np.float64).astype(np.float32))
    first = _doubts(unit, labels, np.ones(len(unit)))
    # One wrong utterance among a speaker's few bends the centroid: what is doubted is left out of it once.
    second = _doubts(unit, labels, (~(first.doubt > 0)).astype(np.float64))
    return Doubts(np.where(np.isnan(second.own), first.own, second.own), second.other, second.nearest)


def _doubts(unit: NDArray[np.float32], labels: NDArray[np.int64], trust: NDArray[np.float64]) -> Doubts:
    """Doubts by the centroids of the utterances whose ``trust``, shape (N,), is 1 and not 0."""
    counts = np.bincount(labels, trust)
    sums = np.zeros((len(counts), unit.shape[1]))
    blocks = [np.arange(first, min(first + _BLOCK, len(unit))) for first in range(0, len(unit), _BLOCK)]
    for rows in blocks:
        np.add.at(sums, labels[rows], trust[rows, None] * unit[rows])
    centroids = _unit(sums).astype(np.float32)
    own, other, nearest = (
        np.full(len(unit), np.nan),
        np.full(len(unit), np.nan),
        np.zeros(len(unit), np.int64),
    )
    for rows in blocks:
        mine = labels[rows]
        own[rows] = np.einsum("nd,nd->n", unit[rows], _unit(sums[mine] - trust[rows, None] * unit[rows]))
        cosines = unit[rows] @ centroids.T
        cosines[:, counts == 0] = -np.inf
        cosines[np.arange(len(rows)), mine] = -np.inf
        nearest[rows] = cosines.argmax(axis=1)
        best = cosines.max(axis=1)
        other[rows] = np.where(np.isfinite(best), best, np.nan)
    own[counts[labels] - trust < 1] = np.nan
    return Doubts(own, other, nearest)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    unit: NDArray[np.floating] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
