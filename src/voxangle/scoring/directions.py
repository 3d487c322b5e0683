"""Embeddings on their way to a score: averaged to models, seen from a mean, brought to unit length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import TrialError

__all__ = ["Embedded", "centred", "unit_length"]

# Embeddings are float32: of one that differs less from the mean, relative to it, the direction is rounding.
_ROUNDING = 8 * float(np.finfo(np.float32).eps)


class Embedded:
    """Embeddings of utterances, and the models that are made of some of them.

    Args:
        vectors: shape (U, D), of the utterances.
        names: of the utterances, then of the models, for the errors.
        where: what holds them, for the errors.
        models: places of a model's utterances, one array a model.
    """

    def __init__(
        self,
        vectors: NDArray[np.floating[Any]],
        names: Sequence[str],
        where: str,
        models: Iterable[NDArray[np.int64]] = (),
    ) -> None:
        self.vectors = vectors
        self.names = names
        self.where = where
        self.models = tuple(models)
        if vectors.ndim != 2 or len(vectors) + len(self.models) != len(names):
            raise ValueError(
                f"{len(names) - len(self.models)} utterances, but embeddings of shape {vectors.shape}"
            )

    def averaged(self) -> NDArray[np.float64]:
        """The utterances, then the mean of each model's: shape (U + models, D)."""
        vectors = self.vectors.astype(np.float64)
        if not self.models:
            return vectors
        return np.concatenate([vectors, [vectors[members].mean(axis=0) for members in self.models]])


def centred(
    vectors: NDArray[np.float64], mean: NDArray[np.floating[Any]], where: str
) -> tuple[NDArray[np.float64], float]:
    """Vectors less a mean, and the norm below which they are rounding.

    Raises:
        TrialError: the mean has another dimension, or is not finite.
    """
    if mean.shape != vectors.shape[1:]:
        raise TrialError(
            f"{where}: the mean to subtract has {'x'.join(map(str, mean.shape))} dimensions, but the embeddings have "
            f"{vectors.shape[1]}; take the mean of the same model's embeddings"
        )
    mean = mean.astype(np.float64)
    norm = float(np.linalg.norm(mean))
    if not np.isfinite(norm):
        raise TrialError(f"{where}: the mean to subtract is not finite; look at what it is the mean of")
    return vectors - mean, _ROUNDING * norm


def unit_length(
    vectors: NDArray[np.float64], names: Sequence[str], where: str, rounding: float = 0.0
) -> NDArray[np.float64]:
    """Vectors divided by their norms.

    Args:
        vectors: shape (K, D).
        names: of the K, for the errors.
        where: what holds them, for the errors.
        rounding: the norm at which nothing is left of a vector.

    Raises:
        TrialError: a vector is not finite, or zero, or nothing but rounding; it is named.
    """
    norms = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms <= rounding))
    if bad.size:
        nothing = "the mean that is subtracted from it, so that nothing is left" if rounding else "zero"
        what = nothing if norms[bad[0]] <= rounding else "not finite"
        raise TrialError(
            f"{where}: the embedding of '{names[bad[0]]}' is {what} "
            f"({bad.size} of {len(norms)} cannot be scored); look at the recording and the model"
        )
    unit: NDArray[np.float64] = vectors / norms[:, None]
    return unit
