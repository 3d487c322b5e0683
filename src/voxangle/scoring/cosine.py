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

# Embeddings are float32: of one that differs less from the mean, relative to it, the direction is rounding.
_ROUNDING = 8 * float(np.finfo(np.float32).eps)


def cosine_scores(
    embeddings: NDArray[np.floating[Any]],
    trials: Trials,
    *,
    mean: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float32]:
    r"""The cosine of the angle between the two embeddings of each trial, as seen from a mean.

    .. math:: s(e, t) = \frac{(e - m)^\top (t - m)}{\lVert e - m \rVert \, \lVert t - m \rVert}

    A model's embedding is the mean :math:`e = \frac{1}{n} \sum_i x_i` of its utterances' embeddings as they are, of any
    norm (CN-Celeb's rule ``average``); :math:`m` is subtracted once, from that mean, which is the same as from each
    :math:`x_i`. Nothing has unit length before the subtraction, neither embeddings nor :math:`m`.

    So score WeSpeaker's published CN-Celeb figures, with :math:`m` the mean over the training set
    (``tools/vector_mean.py``, ``wespeaker/bin/score.py`` with ``cal_mean``; its training embeddings are of crops, as
    its extraction in batches has it, ours of full utterances), and Kaldi centres before it transforms
    (``egs/cnceleb/v1/run.sh``: ``ivector-mean``, ``ivector-subtract-global-mean``, then ``ivector-normalize-length``).
    3D-Speaker subtracts nothing.

    Memory grows with trials and utterances, never with their product.

    Args:
        embeddings: shape (utterances, dimensions), one row for each of ``trials.utterances``, of any norm.
        trials: the pairs to score.
        mean: shape (dimensions,), :math:`m`; None for zero.

    Returns:
        Shape (trials,), in [-1, 1].

    Raises:
        TrialError: an embedding is not finite, or zero, or nothing is left of it but rounding once the mean is
            subtracted (the utterance or the model is named); the mean has another dimension or is not finite.
    """
    if embeddings.ndim != 2 or len(embeddings) != len(trials.utterances):
        raise ValueError(f"{len(trials.utterances)} utterances, but embeddings of shape {embeddings.shape}")
    rows = _with_models(embeddings, trials)
    unit = _unit_length(rows, trials) if mean is None else _unit_length(*_centred(rows, mean, trials))
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


def _centred(
    embeddings: NDArray[np.floating[Any]], mean: NDArray[np.floating[Any]], trials: Trials
) -> tuple[NDArray[np.float64], Trials, float]:
    """The embeddings less the mean, and the norm below which they are rounding."""
    if mean.shape != embeddings.shape[1:]:
        raise TrialError(
            f"{trials.name}: the mean to subtract has {'x'.join(map(str, mean.shape))} dimensions, but the embeddings "
            f"have {embeddings.shape[1]}; take the mean of the same model's embeddings"
        )
    mean = mean.astype(np.float64)
    norm = float(np.linalg.norm(mean))
    if not np.isfinite(norm):
        raise TrialError(f"{trials.name}: the mean to subtract is not finite; look at what it is the mean of")
    return embeddings - mean, trials, _ROUNDING * norm


def _unit_length(
    embeddings: NDArray[np.floating[Any]], trials: Trials, rounding: float = 0.0
) -> NDArray[np.float32]:
    norms = np.linalg.norm(embeddings.astype(np.float64, copy=False), axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms <= rounding))
    if bad.size:
        nothing = "the mean that is subtracted from it, so that nothing is left" if rounding else "zero"
        what = nothing if norms[bad[0]] <= rounding else "not finite"
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
