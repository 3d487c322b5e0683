"""Confidence intervals by bootstrap over speakers.

Trials are not independent: a hard voice spoils all of its trials at once. What was drawn from the
population is the speakers, so they are what is drawn again, with replacement. A speaker drawn ``w`` times
stands for ``w`` people: each brings her own target trials, and each pair of people their non-target trials.
Hence a target trial of speaker ``a`` weighs ``w_a``, a non-target trial of ``a`` and ``b`` weighs
``w_a w_b`` (the pigeonhole bootstrap of Owen 2007, arXiv:0712.1111; the subsets bootstrap of Bolle, Ratha and
Pankanti 2004 keeps all of a person's trials together for the same reason). A copy does not meet her own copy:
the list has no such non-target trial. Error rates are computed anew from the weighted trials, thresholds
included.

The ends are bias-corrected percentiles (Efron 1981, "Nonparametric standard errors and confidence
intervals", section 7). A minimum over thresholds flatters a small list, and a replicate even more than the
list itself: plain percentiles of minDCF would sit too low. The correction mends what a bootstrap can see of
that; with few speakers minDCF stays optimistic, and so does its interval.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxangle.errors import TrialError

__all__ = ["Bootstrap", "Interval", "PairedDifference", "bootstrap", "paired_difference"]


@dataclass(frozen=True)
class Interval:
    """The ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Intervals of one system on one list.

    Attributes:
        eer: of the equal error rate.
        min_dcf: of the normalised minimum cost, one for each prior asked for.
        speakers: how many speakers the intervals rest on; with few of them an interval is rough, and too
            narrow.
        replicates: how many replicates were used.
        discarded: replicates left out because they held no target or no non-target trial.
    """

    eer: Interval
    min_dcf: tuple[Interval, ...]
    speakers: int
    replicates: int
    discarded: int


@dataclass(frozen=True)
class PairedDifference:
    """First system minus second on the same trials, with intervals over the same draws of speakers.

    Negative means that the first system errs less. A difference is told from chance where its interval
    leaves out 0.

    Attributes:
        eer: difference of the equal error rates.
        eer_interval: its interval.
        min_dcf: differences of the minimum costs, one for each prior asked for.
        min_dcf_intervals: their intervals.
        first_better: share of the replicates in which the first system has the lower equal error rate (ties
            half).
        speakers: how many speakers the intervals rest on.
        replicates: how many replicates were used.
    """

    eer: float
    eer_interval: Interval
    min_dcf: tuple[float, ...]
    min_dcf_intervals: tuple[Interval, ...]
    first_better: float
    speakers: int
    replicates: int


def bootstrap(
    scores: ArrayLike,
    target: ArrayLike,
    enrol_speaker: ArrayLike,
    test_speaker: ArrayLike,
    *,
    priors: Sequence[float] = (0.01, 0.05),
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Bootstrap:
    """Intervals of EER and minDCF (unit costs) by resampling speakers.

    Args:
        scores: shape (trials,).
        target: shape (trials,), true where both sides are one speaker.
        enrol_speaker: shape (trials,), who speaks on the enrolment side: names or numbers.
        test_speaker: shape (trials,), who speaks on the test side.
        priors: priors of a target trial, one for each minDCF.
        replicates: how many times to draw the speakers.
        seed: of the draws; one seed gives one result.
        level: of the intervals, in (0, 1).

    Raises:
        TrialError: a class is empty, a label contradicts the speakers, or no replicate holds both classes.
    """
    speakers = _Speakers.of(target, enrol_speaker, test_speaker)
    system = _WeightedTrials(scores, speakers)
    estimates = system.rates(speakers.once(), priors)
    usable = _usable([system.rates(weights, priors) for weights in speakers.draws(replicates, seed)])
    eer, *costs = _intervals(estimates, usable, level)
    return Bootstrap(eer, tuple(costs), speakers.count, len(usable), replicates - len(usable))


def paired_difference(
    first_scores: ArrayLike,
    second_scores: ArrayLike,
    target: ArrayLike,
    enrol_speaker: ArrayLike,
    test_speaker: ArrayLike,
    *,
    priors: Sequence[float] = (0.01, 0.05),
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDifference:
    """Intervals of the difference between two systems: both are measured on the same draws of speakers.

    Arguments and errors are those of ``bootstrap``; the trials of both systems are in one order.
    """
    speakers = _Speakers.of(target, enrol_speaker, test_speaker)
    first, second = _WeightedTrials(first_scores, speakers), _WeightedTrials(second_scores, speakers)

    def difference(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        return first.rates(weights, priors) - second.rates(weights, priors)

    estimates = difference(speakers.once())
    usable = _usable([difference(weights) for weights in speakers.draws(replicates, seed)])
    eer_interval, *cost_intervals = _intervals(estimates, usable, level)
    eer, *costs = estimates.tolist()
    return PairedDifference(
        eer=eer,
        eer_interval=eer_interval,
        min_dcf=tuple(costs),
        min_dcf_intervals=tuple(cost_intervals),
        first_better=_share_below(usable[:, 0], 0.0),
        speakers=speakers.count,
        replicates=len(usable),
    )


@dataclass(frozen=True, eq=False)
class _Speakers:
    target: NDArray[np.bool_]
    enrol: NDArray[np.int64]
    test: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, target: ArrayLike, enrol_speaker: ArrayLike, test_speaker: ArrayLike) -> _Speakers:
        is_target = np.asarray(target, dtype=bool)
        sides = np.stack([np.asarray(enrol_speaker), np.asarray(test_speaker)])
        if sides.shape != (2, is_target.size):
            raise ValueError(f"{is_target.size} trials, but speakers of shape {sides.shape[1:]}")
        names, numbers = np.unique(sides, return_inverse=True)
        enrol, test = numbers.reshape(sides.shape)
        wrong = np.flatnonzero(is_target & (enrol != test))
        if wrong.size:
            i = int(wrong[0])
            raise TrialError(
                f"{wrong.size} trial(s) contradict the speakers, first trial {i + 1}: it is target, but of "
                f"two speakers ('{sides[0, i]}', '{sides[1, i]}'); correct the list or the speaker names"
            )
        if is_target.all() or not is_target.any():
            raise TrialError("an interval needs both target and non-target trials")
        return cls(is_target, enrol, test, len(names))

    def once(self) -> NDArray[np.int64]:
        """Each speaker once, shape (speakers,): the list as it is."""
        return np.ones(self.count, dtype=np.int64)

    def draws(self, replicates: int, seed: int) -> Iterator[NDArray[np.int64]]:
        """How often each speaker is drawn, shape (speakers,), once a replicate."""
        generator = np.random.default_rng(seed)
        shares = np.full(self.count, 1 / self.count)
        return (generator.multinomial(self.count, shares) for _ in range(replicates))


class _WeightedTrials:
    """One system's trials, sorted once, so that a replicate costs two cumulative sums over its trials."""

    def __init__(self, scores: ArrayLike, speakers: _Speakers) -> None:
        values = np.asarray(scores)
        if values.shape != speakers.target.shape:
            raise ValueError(f"{speakers.target.size} trials, but scores of shape {values.shape}")
        if not np.isfinite(values).all():
            raise TrialError("a score is NaN or infinite; look at the embeddings it came from")
        order = np.argsort(values)
        values, target = values[order], speakers.target[order]
        enrol, test = speakers.enrol[order], speakers.test[order]
        self._target_speaker = enrol[target]
        self._nontarget_speakers = enrol[~target], test[~target]
        # A non-target trial within one speaker (a wrong label of the list) comes with that speaker, once.
        self._within = np.flatnonzero(enrol[~target] == test[~target])
        # Vertices of the DET curve: how many trials of each class lie below each gap between distinct scores.
        below = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [values.size]])
        self._targets_below = np.concatenate([[0], np.cumsum(target)])[below]
        self._nontargets_below = below - self._targets_below
        # The cost has its minimum at a corner: a non-target score (or none) below, a target score (or none)
        # above.
        after_nontarget = np.diff(self._nontargets_below, prepend=-1) > 0
        before_target = np.diff(self._targets_below, append=values.size + 1) > 0
        corners = after_nontarget & before_target
        self._corner_targets = self._targets_below[corners]
        self._corner_nontargets = self._nontargets_below[corners]

    def rates(self, weights: NDArray[np.int64], priors: Sequence[float]) -> NDArray[np.float64]:
        """EER, then minDCF at each prior, shape (1 + priors,); NaN where the replicate lacks a class."""
        enrol, test = self._nontarget_speakers
        missed = _sums(weights[self._target_speaker])
        pairs = weights[enrol] * weights[test]
        pairs[self._within] = weights[enrol[self._within]]
        passed = _sums(pairs)
        targets, nontargets = int(missed[-1]), int(passed[-1])
        if targets == 0 or nontargets == 0:
            return np.full(1 + len(priors), np.nan)

        def balance(vertex: int) -> int:
            fewer = int(passed[self._nontargets_below[vertex]])
            return int(missed[self._targets_below[vertex]]) * nontargets - (nontargets - fewer) * targets

        vertex = bisect_left(range(self._targets_below.size), 0, key=balance)
        share = balance(vertex - 1) / (balance(vertex - 1) - balance(vertex))
        before, after = (int(missed[self._targets_below[v]]) for v in (vertex - 1, vertex))
        eer = (before + share * (after - before)) / targets

        fnr = missed[self._corner_targets] / targets
        fpr = 1 - passed[self._corner_nontargets] / nontargets
        costs = [np.min(p * fnr + (1 - p) * fpr) / min(p, 1 - p) for p in priors]
        return np.array([eer, *costs])


def _sums(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    sums = np.zeros(weights.size + 1, dtype=np.int64)
    np.cumsum(weights, out=sums[1:])
    return sums


def _usable(rates: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    draws = np.array(rates)
    usable = draws[~np.isnan(draws).any(axis=1)]
    if not len(usable):
        raise TrialError("no draw of speakers held trials of both classes; the list has too few speakers")
    return usable


def _intervals(estimates: NDArray[np.float64], draws: NDArray[np.float64], level: float) -> list[Interval]:
    normal = NormalDist()
    reach = normal.inv_cdf((1 + level) / 2)
    intervals = []
    for estimate, column in zip(estimates, draws.T, strict=True):
        margin = 0.5 / len(column)
        below = min(max(_share_below(column, float(estimate)), margin), 1 - margin)
        shift = 2 * normal.inv_cdf(below)
        low, high = np.quantile(column, [normal.cdf(shift - reach), normal.cdf(shift + reach)])
        intervals.append(Interval(float(low), float(high)))
    return intervals


def _share_below(draws: NDArray[np.float64], value: float) -> float:
    # Ties count half. Rates are ratios of counts, so a difference below rounding is a tie.
    rounding = 1e-12
    return float((np.mean(draws < value - rounding) + np.mean(draws <= value + rounding)) / 2)
