"""Scores of trials as inner products: whole matrices where a list is dense, rows of trials where it is sparse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxangle.data import Trials

__all__ = ["VALUES_A_BLOCK", "Sides", "trial_scores"]

VALUES_A_BLOCK = 1 << 22
"""Products that are in memory at once: 32 MiB."""

# A product of whole matrices also computes pairs that no trial asks for; gathering the rows of each trial pays
# where those are more than three in four (measured at 192 dimensions).
_DENSE = 4


@dataclass(frozen=True, eq=False)
class Sides:
    """What embeddings become on either side of a trial: the score is the inner product of two rows.

    In float64 a score has the same value, to the last digit of float32, whatever the block that computed it, so that
    trials which tie do so in any order of the list; and a cosine does not pass 1.

    Attributes:
        enrol: shape (K, P), of what may be enrolled: utterances, then models.
        test: shape (at least U, P), of what may be tested: utterances.
    """

    enrol: NDArray[np.float64]
    test: NDArray[np.float64]


def trial_scores(sides: Sides, trials: Trials) -> NDArray[np.float32]:
    """The scores of a list, shape (trials,); memory grows with trials and utterances, never with their product.

    Args:
        sides: rows for ``trials.keys`` on the side of enrolments, for ``trials.utterances`` on that of tests.
        trials: the pairs to score.
    """
    enrol, enrol_row = _used(trials.enrol, len(sides.enrol))
    test, test_row = _used(trials.test, len(sides.test))
    if enrol.size * test.size <= _DENSE * len(trials):
        return _dense(sides.enrol[enrol], sides.test[test], enrol_row, test_row)
    return _sparse(sides, trials)


def _used(side: NDArray[np.int64], rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that stand on a side, ascending, and the place of each trial's among them."""
    there = np.zeros(rows, dtype=bool)
    there[side] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[side]


def _dense(
    enrol: NDArray[np.float64],
    test: NDArray[np.float64],
    enrol_row: NDArray[np.int64],
    test_row: NDArray[np.int64],
) -> NDArray[np.float32]:
    scores = np.empty(enrol_row.size, dtype=np.float32)
    order = np.argsort(enrol_row, kind="stable")
    rows = max(1, VALUES_A_BLOCK // len(test))
    for first in range(0, len(enrol), rows):
        block = enrol[first : first + rows] @ test.T
        begin, end = np.searchsorted(enrol_row, [first, first + rows], sorter=order)
        chosen = order[begin:end]
        scores[chosen] = block[enrol_row[chosen] - first, test_row[chosen]]
    return scores


def _sparse(sides: Sides, trials: Trials) -> NDArray[np.float32]:
    scores = np.empty(len(trials), dtype=np.float32)
    step = max(1, VALUES_A_BLOCK // sides.enrol.shape[1])
    for first in range(0, len(trials), step):
        chosen = slice(first, first + step)
        scores[chosen] = np.einsum(
            "tp,tp->t", sides.enrol[trials.enrol[chosen]], sides.test[trials.test[chosen]]
        )
    return scores
