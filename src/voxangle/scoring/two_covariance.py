r"""The two-covariance model: a speaker is a point, and an utterance lies around it.

.. math:: y \sim \mathcal N(\mu, B), \qquad x \mid y \sim \mathcal N(y, W)

:math:`B` between speakers, :math:`W` within one (Brummer and de Villiers, "The speaker partitioning problem", Odyssey
2010; the simplest of the PLDA models that Sizov, Lee and Kinnunen compare, "Unifying probabilistic linear discriminant
analysis variants in biometric authentication", S+SSPR 2014, section 2.3).

In the coordinates where :math:`W` is the identity and :math:`B` the diagonal of :math:`\psi` all dimensions are
independent. There, with :math:`x` less :math:`\mu`, a speaker of whom n utterances sum up to :math:`s` has the
posterior

.. math::
    y \mid x_1 \ldots x_n \sim \mathcal N\!\left(m = \frac{\psi s}{1 + n \psi},\; v = \frac{\psi}{1 + n \psi}\right)

and the log-likelihood ratio of "another utterance of this speaker" to "one of somebody else" is, summed over
dimensions,

.. math::
    \ln \frac{\mathcal N(t; m, 1 + v)}{\mathcal N(t; 0, 1 + \psi)}
    = \frac{m}{1 + v} t - \frac12 \left( \frac1{1 + v} - \frac1{1 + \psi} \right) t^2
    - \frac12 \frac{m^2}{1 + v} + \frac12 \ln \frac{1 + \psi}{1 + v}

which is the inner product of a row that only the enrolment makes and a row :math:`(t, t^2, 1)` of the test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import TrialError
from voxangle.scoring.products import Sides

__all__ = ["Fit", "SpeakerStatistics", "TwoCovariance"]

_LEAST_RATIO = 1e-2  # a direction without any variance between speakers would never get some again
_SINGULAR = 1e-10  # the least variance beside the largest


class SpeakerStatistics(NamedTuple):
    """All that the model needs to know of its training data: P dimensions, S speakers.

    Attributes:
        counts: shape (S,), how many utterances each has.
        means: shape (S, P), of each speaker's utterances.
        scatter: shape (P, P), the sum over all utterances of the outer products of their distances from these means.
    """

    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: NDArray[np.float64], labels: NDArray[np.int64]) -> SpeakerStatistics:
        """Of utterances, shape (N, P), and the numbers of their speakers, shape (N,), each from 0 to S - 1."""
        counts = np.bincount(labels)
        order = np.argsort(labels, kind="stable")
        ordered = vectors[order]
        means = np.add.reduceat(ordered, np.cumsum(counts) - counts, axis=0) / counts[:, None]
        ordered -= means[labels[order]]
        return cls(counts, means, ordered.T @ ordered)

    @property
    def utterances(self) -> int:
        """N."""
        return int(self.counts.sum())

    def moments(self) -> TwoCovariance:
        """The model by the method of moments (analysis of variance): what expectation-maximisation starts from.

        Raises:
            TrialError: the utterances do not span their dimensions within speakers.
        """
        speakers, dimensions = self.means.shape
        free = self.utterances - speakers
        if free < dimensions:
            raise TrialError(
                f"{self.utterances:,} utterances of {speakers:,} speakers do not tell how {dimensions} dimensions vary "
                f"within a speaker: that takes {dimensions:,} more utterances than speakers; give more"
            )
        within = self.scatter / free
        variances = np.linalg.eigvalsh(within)
        if variances[0] <= _SINGULAR * variances[-1]:
            raise TrialError(
                "within speakers the embeddings vary in fewer dimensions than they have, so that their likelihood is "
                "unbounded; leave out dimensions that never change"
            )
        mean = self.means.mean(axis=0)
        between = np.cov(self.means.T, bias=False).reshape(within.shape) - within * np.mean(1 / self.counts)
        model = TwoCovariance(mean, between, within)
        ratios = np.maximum(model.ratios, _LEAST_RATIO)
        back = model.back
        return TwoCovariance(mean, (back * ratios) @ back.T, within)


class Fit(NamedTuple):
    """A model and how it was found.

    Attributes:
        model: of the largest likelihood.
        log_likelihoods: in nats an utterance, before each iteration.
    """

    model: TwoCovariance
    log_likelihoods: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class TwoCovariance:
    """The model of P dimensions.

    Attributes:
        mean: shape (P,).
        between: shape (P, P), covariance of speakers; it may lack dimensions.
        within: shape (P, P), covariance of a speaker's utterances; positive definite.
    """

    mean: NDArray[np.float64]
    between: NDArray[np.float64]
    within: NDArray[np.float64]

    @cached_property
    def _coordinates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        root = np.linalg.cholesky(self.within)
        half = np.linalg.solve(root, self.between)
        ratios, axes = np.linalg.eigh(np.linalg.solve(root, half.T))
        order = np.argsort(ratios)[::-1]
        return np.linalg.solve(root.T, axes[:, order]).T, ratios[order]

    @property
    def axes(self) -> NDArray[np.float64]:
        """Shape (P, P): rows that make ``within`` the identity and ``between`` the diagonal of ``ratios``."""
        return self._coordinates[0]

    @property
    def ratios(self) -> NDArray[np.float64]:
        """Shape (P,), descending: variance between speakers over that within one, along each axis."""
        return self._coordinates[1]

    @property
    def back(self) -> NDArray[np.float64]:
        """Shape (P, P), the inverse of ``axes``."""
        inverse: NDArray[np.float64] = self.within @ self.axes.T
        return inverse

    def sides(
        self, sums: NDArray[np.float64], counts: NDArray[np.int64], tests: NDArray[np.float64]
    ) -> Sides:
        """Rows whose inner products are the log-likelihood ratios of the module's formula.

        Args:
            sums: shape (K, P), of each enrolment's utterances.
            counts: shape (K,), how many utterances that is.
            tests: shape (U, P), one utterance each.
        """
        psi = np.maximum(self.ratios, 0.0)
        number = counts[:, None].astype(np.float64)
        gain = psi / (1 + number * psi)
        centre = ((sums - number * self.mean) @ self.axes.T) * gain
        precision = 1 / (1 + gain)
        constant = (
            np.sum(np.log1p(psi) + np.log(precision) - precision * centre**2, axis=1, keepdims=True) / 2
        )
        seen = (tests - self.mean) @ self.axes.T
        return Sides(
            np.concatenate([precision * centre, (1 / (1 + psi) - precision) / 2, constant], axis=1),
            np.concatenate([seen, seen**2, np.ones((len(seen), 1))], axis=1),
        )

    def log_likelihood(self, data: SpeakerStatistics) -> float:
        """Of training data, in nats an utterance."""
        number = data.counts[:, None].astype(np.float64)
        spread = 1 + number * np.maximum(self.ratios, 0.0)
        distance = (data.means - self.mean) @ self.axes.T
        _, log_volume = np.linalg.slogdet(self.axes)
        dimensions = len(self.mean)
        total = (
            data.utterances * (log_volume - dimensions / 2 * np.log(2 * np.pi))
            - np.sum(np.log(spread) + number * distance**2 / spread) / 2
            - np.sum((self.axes @ data.scatter) * self.axes) / 2
        )
        return float(total) / data.utterances

    def improved(self, data: SpeakerStatistics) -> TwoCovariance:
        """One iteration of expectation-maximisation: never less likely."""
        number = data.counts[:, None].astype(np.float64)
        psi = np.maximum(self.ratios, 0.0)
        variance = psi / (1 + number * psi)
        distance = (data.means - self.mean) @ self.axes.T
        speaker = number * variance * distance
        centre = speaker.mean(axis=0)
        around = speaker - centre
        between = (around.T @ around + np.diag(variance.sum(axis=0))) / len(speaker)
        rest = distance - speaker
        within = (
            self.axes @ data.scatter @ self.axes.T
            + (number * rest).T @ rest
            + np.diag((number * variance).sum(axis=0))
        ) / data.utterances
        back = self.back
        return TwoCovariance(
            self.mean + back @ centre, back @ _even(between) @ back.T, back @ _even(within) @ back.T
        )

    @classmethod
    def fit(cls, data: SpeakerStatistics, *, iterations: int = 100, tolerance: float = 1e-6) -> Fit:
        """The most likely model, by expectation-maximisation from the model of ``moments``.

        Args:
            data: of at least two speakers.
            iterations: at most.
            tolerance: the least gain, in nats an utterance, for which it goes on.

        Raises:
            TrialError: the utterances do not span their dimensions within speakers.
        """
        model = data.moments()
        likelihoods = [model.log_likelihood(data)]
        for _ in range(iterations):
            model = model.improved(data)
            likelihoods.append(model.log_likelihood(data))
            if likelihoods[-1] - likelihoods[-2] < tolerance:
                break
        return Fit(model, tuple(likelihoods))


def _even(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetric to the last digit."""
    return (matrix + matrix.T) / 2
