"""Cosine scores of trials."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.data import Trials
from voxangle.scoring.directions import Embedded, centred, unit_length
from voxangle.scoring.products import Sides, trial_scores

__all__ = ["Cosine", "cosine_scores"]


class Cosine:
    """The rule of ``cosine_scores`` as a ``Backend``."""

    def sides(self, embedded: Embedded, mean: NDArray[np.floating[Any]] | None = None) -> Sides:
        """Vectors of unit length, the same on both sides."""
        vectors, rounding = embedded.averaged(), 0.0
        if mean is not None:
            vectors, rounding = centred(vectors, mean, embedded.where)
        unit = unit_length(vectors, embedded.names, embedded.where, rounding)
        return Sides(unit, unit)


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
    embedded = Embedded(embeddings, trials.keys, trials.name, trials.models.values())
    return trial_scores(Cosine().sides(embedded, mean), trials)
