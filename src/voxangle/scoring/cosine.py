"""Cosine scores of trials."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.data import Trials
from voxangle.errors import TrialError

__all__ = ["cosine_scores"]

# A product of whole matrices also computes pairs that no trial asks for; gathering the rows of each trial pays
# where those are more than three in four (measured at 192 dimensions).
_DENSE = 4
_VALUES_A_BLOCK = 1 << 22


def cosine_scores(embeddings: NDArray[np.floating[Any]], trials: Trials) -> NDArray[np.float32]:
    r"""The cosine of the angle between the two embeddings of each trial.

    A model's embedding is the mean :math:`\frac{1}{n} \sum_i x_i` of its utterances' embeddings as they are, of any
    norm (CN-Celeb's rule ``average``).

    Memory grows with trials and utterances, never with their product.

    Args:
        embeddings: shape (utterances, dimensions), one row for each of ``trials.utterances``, of any norm.
        trials: the pairs to score.

    Returns:
        Shape (trials,), in [-1, 1].

    Raises:
        TrialError: an embedding is zero or not finite; the utterance or the model is named.
    """
    if embeddings.ndim != 2 or len(embeddings) != len(trials.utterances):
        raise ValueError(f"{len(trials.utterances)} utterances, but embeddings of shape {embeddings.shape}")
    unit = _unit_length(_with_models(embeddings, trials), trials)
    enrol, enrol_row = _used(trials.enrol, len(unit))
    test, test_row = _used(trials.test, len(unit))
    if enrol.size * test.size <= _DENSE * len(trials):
        scores = _dense(unit[enrol], unit[test], enrol_row, test_row)
    else:
        scores = _sparse(unit, trials)
    return np.clip(scores, -1, 1, out=scores)


def _with_models(embeddings: NDArray[np.floating[Any]], trials: Trials) -> NDArray[np.floating[Any]]:
    """One row for each of ``trials.keys``."""
    if not trials.models:
        return embeddings
    means = [embeddings[members].mean(axis=0, dtype=np.float64) for members in trials.models.values()]
    return np.concatenate([embeddings, np.stack(means)])


def _used(side: NDArray[np.int64], rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that stand on a side, ascending, and the place of each trial's among them."""
    used = np.zeros(rows, dtype=bool)
    used[side] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[side]


def _unit_length(embeddings: NDArray[np.floating[Any]], trials: Trials) -> NDArray[np.float32]:
    norms = np.linalg.norm(embeddings.astype(np.float64, copy=False), axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if bad.size:
        what = "zero" if norms[bad[0]] == 0 else "not finite"
        raise TrialError(
            f"{trials.name}: the embedding of '{trials.keys[bad[0]]}' is {what} "
            f"({bad.size} of {len(norms)} cannot be scored); look at the recording and the model"
        )
    unit: NDArray[np.float32] = (embeddings / norms[:, None]).astype(np.float32)
    return unit


def _dense(
    enrol: NDArray[np.float32],
    test: NDArray[np.float32],
    enrol_row: NDArray[np.int64],
    test_row: NDArray[np.int64],
) -> NDArray[np.float32]:
    scores = np.empty(enrol_row.size, dtype=np.float32)
    order = np.argsort(enrol_row, kind="stable")
    rows = max(1, _VALUES_A_BLOCK // len(test))
    for first in range(0, len(enrol), rows):
        block = enrol[first : first + rows] @ test.T
        begin, end = np.searchsorted(enrol_row, [first, first + rows], sorter=order)
        chosen = order[begin:end]
        scores[chosen] = block[enrol_row[chosen] - first, test_row[chosen]]
    return scores


def _sparse(unit: NDArray[np.float32], trials: Trials) -> NDArray[np.float32]:
    scores = np.empty(len(trials), dtype=np.float32)
    step = max(1, _VALUES_A_BLOCK // unit.shape[1])
    for first in range(0, len(trials), step):
        chosen = slice(first, first + step)
        np.einsum("td,td->t", unit[trials.enrol[chosen]], unit[trials.test[chosen]], out=scores[chosen])
    return scores
