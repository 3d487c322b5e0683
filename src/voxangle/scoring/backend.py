"""What turns embeddings into scores."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voxangle.scoring.directions import Embedded
from voxangle.scoring.products import Sides

__all__ = ["Backend"]


class Backend(Protocol):
    """A rule of scoring whose scores are inner products, so that a list, or a cohort, is scored by matrix products.

    The score of two utterances is the same whichever of them is enrolled.
    """

    def sides(self, embedded: Embedded, mean: NDArray[np.floating[Any]] | None = None) -> Sides:
        """The rows of utterances and models on either side of a trial.

        Args:
            embedded: utterances and models.
            mean: shape (D,), what is subtracted from every embedding; None for the rule's own.

        Raises:
            TrialError: an embedding cannot be scored, or the mean does not fit.
        """
