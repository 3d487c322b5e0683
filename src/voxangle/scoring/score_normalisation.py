r"""Scores told in the spread of impostors' scores: S-norm and AS-norm.

The score of one enrolment against everybody may lie higher than that of another, as of one test; a threshold for all
asks them to be alike. With the mean and the standard deviation of the scores that a side makes with a cohort,

.. math::
    s' = \frac12 \left( \frac{s - \mu_e}{\sigma_e} + \frac{s - \mu_t}{\sigma_t} \right)

where :math:`\mu_e, \sigma_e` are those of the enrolment's scores with the whole cohort (S-norm: Kenny, "Bayesian
speaker verification with heavy-tailed priors", Odyssey 2010, section 5), or with the ``top`` members of the cohort
that score highest with the enrolment itself (adaptive S-norm: Cumani et al., "Comparison of speaker recognition
approaches for real applications", Interspeech 2011; "AS-norm1" of Matejka et al., "Analysis of score normalization in
multilingual speaker recognition", Interspeech 2017, equation 7), and :math:`\mu_t, \sigma_t` likewise of the test's.
Each side has its own top; "AS-norm2" of Matejka et al., in which each side is judged by the other's, is another rule.

The standard deviation is that of the scores themselves, divided by their number (as WeSpeaker's; SpeechBrain divides
by one less, a factor that is the same for all trials).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.scoring.backend import Backend
from voxangle.scoring.cohort import FEWEST_IMPOSTORS, Cohort
from voxangle.scoring.directions import Embedded
from voxangle.scoring.products import VALUES_A_BLOCK, Sides
from voxangle.scoring.result import ScoreNormalisation

__all__ = ["CohortStatistics", "ScoreNormaliser", "cohort_statistics"]

# Scores that differ by no more than the rounding of float32 embeddings, or of their products in float64, are alike.
_EMBEDDING_ROUNDING = 8 * float(np.finfo(np.float32).eps)
_PRODUCT_ROUNDING = 8 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class CohortStatistics:
    """Of the scores of K embeddings with their part of a cohort.

    Attributes:
        mean: shape (K,).
        deviation: shape (K,), standard; not 0.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoreNormaliser:
    """S-norm or AS-norm with a cohort; how, the module says.

    Attributes:
        cohort: the impostors.
        top: how many of them count on each side, the most similar ones; None for all (S-norm).
    """

    cohort: Cohort
    top: int | None = None

    def __post_init__(self) -> None:
        """Check that the top is one of the cohort.

        Raises:
            TrialError: the cohort is smaller, or the top too small.
        """
        size = len(self.cohort.vectors)
        if self.top is not None and self.top > size:
            raise TrialError(
                f"{self.cohort.record.source}: the top {self.top:,} of a cohort of {size:,} {self.cohort.unit}s is "
                "asked for; take a smaller top, or a larger cohort"
            )
        if self.top is not None and self.top < FEWEST_IMPOSTORS:
            raise TrialError(
                f"the top {self.top:,} of a cohort says little of its scores; take {FEWEST_IMPOSTORS} or more (300 is "
                "usual)"
            )

    @property
    def record(self) -> ScoreNormalisation:
        """How and by whom, for the protocol."""
        size = len(self.cohort.vectors)
        return ScoreNormalisation(
            **dict(self.cohort.record),
            kind="s-norm" if self.top is None else "as-norm",
            cohort=size,
            unit=self.cohort.unit,
            top=size if self.top is None else self.top,
        )

    def normalised(
        self,
        scores: NDArray[np.float32],
        sides: Sides,
        trials: Trials,
        backend: Backend,
        mean: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Scores of a list, normalised; shape (trials,).

        Args:
            scores: shape (trials,).
            sides: what they are the products of.
            trials: the list.
            backend: what made the sides; it treats the cohort alike. A member is one utterance to it.
            mean: subtracted from the embeddings of the trials, and so from the cohort.

        Raises:
            TrialError: a member of the cohort cannot be scored; or an embedding scores alike with all of its part of
                the cohort.
        """
        where = f"{trials.name}, cohort"
        cohort = backend.sides(Embedded(self.cohort.vectors, self.cohort.names, where), mean)
        if cohort.test.shape[1] != sides.enrol.shape[1]:
            raise TrialError(
                f"{where}: the embeddings have {self.cohort.vectors.shape[1]} dimensions, those of the trials others; "
                "take the same model's embeddings"
            )
        # Also those that are tested are utterances with a row on the side of enrolments.
        found = self._statistics(sides.enrol, cohort.test, trials)
        total = np.zeros(len(trials))
        for side in (trials.enrol, trials.test):
            total += (scores - found.mean[side]) / found.deviation[side]
        return (total / 2).astype(np.float32)

    def _statistics(
        self, rows: NDArray[np.float64], cohort: NDArray[np.float64], trials: Trials
    ) -> CohortStatistics:
        """Of the rows that stand in the trials; those of others are not a number."""
        there = np.zeros(len(rows), dtype=bool)
        there[trials.enrol] = there[trials.test] = True
        used = np.flatnonzero(there)
        found = cohort_statistics(rows[used], cohort, self.top)
        longest = float(np.linalg.norm(cohort, axis=1).max())
        rounding = _PRODUCT_ROUNDING * longest * np.linalg.norm(rows[used], axis=1)
        least = _EMBEDDING_ROUNDING * np.abs(found.mean) + rounding
        if (alike := np.flatnonzero(found.deviation <= least)).size:
            which = "the cohort" if self.top is None else f"the top {self.top:,} of the cohort"
            raise TrialError(
                f"{trials.name}: '{trials.keys[used[alike[0]]]}' has the same score with all of {which} "
                f"({alike.size:,} of {used.size:,} utterances and models have), so that nothing can be told in their "
                "spread; is one recording in the cohort many times?"
            )
        mean, deviation = np.full((2, len(rows)), np.nan)
        mean[used], deviation[used] = found.mean, found.deviation
        return CohortStatistics(mean, deviation)


def cohort_statistics(
    rows: NDArray[np.float64], cohort: NDArray[np.float64], top: int | None = None
) -> CohortStatistics:
    """Mean and standard deviation of each row's scores with the members of a cohort that score highest with it.

    Memory does not grow with rows times members.

    Args:
        rows: shape (K, P).
        cohort: shape (C, P); a score is the inner product of two rows (``Sides``).
        top: how many of the C; None for all.
    """
    mean, deviation = np.empty((2, len(rows)))
    step = max(1, VALUES_A_BLOCK // len(cohort))
    for first in range(0, len(rows), step):
        scores = rows[first : first + step] @ cohort.T
        if top is not None and top < len(cohort):
            scores.partition(len(cohort) - top, axis=1)
            scores = scores[:, len(cohort) - top :]
        mean[first : first + step] = scores.mean(axis=1)
        deviation[first : first + step] = scores.std(axis=1)
    return CohortStatistics(mean, deviation)
