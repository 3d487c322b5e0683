"""What a trained model says about prepared recordings: embeddings, and the class-aware posterior of its run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE
from voxangle.data.prepare import Prepared
from voxangle.encoders import Embedder
from voxangle.objectives import own_class_posterior
from voxangle.runtime import MINIMUM_SECONDS
from voxangle.scoring.system import embed_prepared
from voxangle.training.checkpoint import Checkpoint

__all__ = ["class_posterior", "embed_usable"]

_PROTOTYPES = "classification.prototypes"
_BLOCK = 1024


def embed_usable(
    embedder: Embedder, prepared: Prepared, on_progress: Callable[[int, int], None] | None = None
) -> NDArray[np.float32]:
    """Embeddings of prepared recordings, shape (N, D); NaN of those too short for one."""
    usable = prepared.samples >= MINIMUM_SECONDS * SAMPLE_RATE
    embeddings = np.full((len(usable), embedder.dimension), np.nan, np.float32)
    part = prepared.where(usable)
    of_key = embed_prepared(embedder, part, on_progress)
    if of_key:
        embeddings[usable] = np.stack([of_key[key] for key in part.manifest.column("utterance")])
    return embeddings


def class_posterior(
    run: Path, embeddings: NDArray[np.float32], speakers: NDArray[np.object_]
) -> NDArray[np.float64] | None:
    """``own_class_posterior`` under the prototypes of a run, at its default scale and not normalised, shape (N,).

    Args:
        run: the run's folder.
        embeddings: (N, D); a row of NaN where there is none.
        speakers: (N,) names; NaN comes back of those that the run has not learnt.

    Returns:
        None where the folder holds no checkpoint, or one without prototypes of any of the speakers.

    Raises:
        CheckpointError: the checkpoint is damaged or of another version.
    """
    checkpoint = Checkpoint.read(run, sweep=False)
    prototypes = None if checkpoint is None else checkpoint.objective.get(_PROTOTYPES)
    if checkpoint is None or prototypes is None or prototypes.shape[-1] != embeddings.shape[1]:
        return None
    number = {speaker: label for label, speaker in enumerate(checkpoint.speakers)}
    labels = np.array([number.get(speaker, -1) for speaker in speakers])
    rows = np.flatnonzero((labels >= 0) & np.isfinite(embeddings).all(axis=1))
    if not len(rows):
        return None
    posterior = np.full(len(embeddings), np.nan)
    for first in range(0, len(rows), _BLOCK):
        some = rows[first : first + _BLOCK]
        posterior[some] = own_class_posterior(
            torch.from_numpy(embeddings[some]),
            torch.from_numpy(labels[some]),
            prototypes.float(),
            normalise=None,
        ).numpy()
    return posterior
