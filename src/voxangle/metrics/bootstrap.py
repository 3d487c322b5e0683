r"""Confidence intervals by bootstrap over speakers, or over speakers and their sessions.

Trials are not independent: a hard voice spoils all of its trials at once. What was drawn from the population is the
speakers, so they are what is drawn again, with replacement. A speaker drawn :math:`w` times stands for :math:`w`
people: each brings her own target trials, and each pair of people their non-target trials. Hence a target trial of
speaker :math:`a` weighs :math:`w_a`, a non-target trial of :math:`a` and :math:`b` weighs :math:`w_a w_b` (the
pigeonhole bootstrap of Owen 2007, arXiv:0712.1111; the subsets bootstrap of Bolle, Ratha and Pankanti 2004 keeps all of
a person's trials together for the same reason). A copy does not meet her own copy: the list has no such non-target
trial. A non-target trial within one speaker (a wrong label of the list) comes with her, like a target trial. Error
rates are computed anew from the weighted trials, thresholds included.

With sessions there is a second stage. Of a speaker with :math:`m` sessions who was drawn :math:`w` times, :math:`w m`
sessions are drawn with replacement; session :math:`i` comes out :math:`u_i` times. Then weighs

- a trial of two speakers :math:`u_{a i} u_{b j}`;
- a trial within one session :math:`u_i`: it comes with the session;
- a trial across two sessions of one speaker :math:`u_i u_j\, m / (m w - 1)`: a copy of a session does not meet itself,
  so that pairs of different sessions are drawn too rarely by :math:`(m w - 1) / m w`, the more the fewer sessions there
  are; the factor makes up for it, and the weight is :math:`w` on average, like that of a trial within one session.

The first stage alone already carries the scatter of the sessions, because a speaker's come and go with her (Davison and
Hinkley 1997, "Bootstrap methods and their application", section 3.8): over speakers alone an interval is as wide as it
should be for new speakers in new sessions, over sessions too it is wider. Ask for it where a list has so few speakers,
or sessions so unlike, that one would rather err on the side of caution.

How draws become intervals and p-values, see ``voxangle.metrics.intervals``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxangle.errors import TrialError
from voxangle.metrics.intervals import Interval, Replicates
from voxangle.metrics.weighted_rates import WeightedTrials

__all__ = [
    "Bootstrap",
    "Interval",
    "LlrBootstrap",
    "PairedDifference",
    "bootstrap",
    "drawn_speakers",
    "llr_bootstrap",
    "paired_difference",
    "resample",
]

_COLUMNS = 128  # replicates side by side
_BLOCK = 1024  # pairs of units
_SHARE = 4  # of the draws one gets noise, there and back
_GROUPS = 100  # of speakers left out, at most: enough for the skewness
_Table = NDArray[np.float64]


@dataclass(frozen=True)
class Bootstrap:
    """Intervals of one system on one list.

    Attributes:
        eer: of the equal error rate.
        min_dcf: of the normalised minimum cost, one for each prior asked for.
        speakers: how many speakers the intervals rest on; with few of them an interval is rough, and too narrow.
        replicates: how many replicates were used.
        discarded: replicates left out because they held no target or no non-target trial.
    """

    eer: Interval
    min_dcf: tuple[Interval, ...]
    speakers: int
    replicates: int
    discarded: int


@dataclass(frozen=True)
class LlrBootstrap:
    """Intervals of what calibrated log-likelihood ratios cost on one list.

    Attributes:
        cllr: of Cllr, in bits.
        act_dcf: of the normalised actual cost, one for each prior asked for.
        speakers: how many speakers the intervals rest on.
        replicates: how many replicates were used.
        discarded: replicates left out because they held no target or no non-target trial.
    """

    cllr: Interval
    act_dcf: tuple[Interval, ...]
    speakers: int
    replicates: int
    discarded: int


@dataclass(frozen=True)
class PairedDifference:
    """First system minus second on the same trials, with intervals over the same draws of speakers.

    Negative means that the first system errs less. A difference is told from chance where its interval leaves out 0.

    Attributes:
        eer: difference of the equal error rates.
        eer_interval: its interval.
        min_dcf: differences of the minimum costs, one for each prior asked for.
        min_dcf_intervals: their intervals.
        first_better: share of the replicates in which the first system has the lower equal error rate (ties half).
        speakers: how many speakers the intervals rest on.
        replicates: how many replicates were used.
        p_value: two-sided, of no difference of the equal error rates: less than 1 - level exactly where the interval
            leaves out 0, and at least 1 / (replicates + 1).
        p_values: likewise of the minimum costs.
    """

    eer: float
    eer_interval: Interval
    min_dcf: tuple[float, ...]
    min_dcf_intervals: tuple[Interval, ...]
    first_better: float
    speakers: int
    replicates: int
    p_value: float = math.nan
    p_values: tuple[float, ...] = ()


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
    enrol_session: ArrayLike | None = None,
    test_session: ArrayLike | None = None,
) -> Bootstrap:
    """Intervals of EER and minDCF (unit costs) by resampling speakers, and their sessions where these are given.

    Args:
        scores: shape (trials,).
        target: shape (trials,), true where both sides are one speaker.
        enrol_speaker: shape (trials,), who speaks on the enrolment side: names or numbers.
        test_speaker: shape (trials,), who speaks on the test side.
        priors: priors of a target trial, one for each minDCF.
        replicates: how many times to draw the speakers.
        seed: of the draws; one seed gives one result.
        level: of the intervals, in (0, 1).
        enrol_session: shape (trials,), which of the speaker's sessions the enrolment side is from: names or numbers,
            which may be the same for different speakers. A model of several sessions counts as one of its own.
        test_session: shape (trials,), likewise of the test side.

    Raises:
        TrialError: a class is empty, a label contradicts the speakers, or no replicate holds both classes.
    """
    sides = _Sides.of(target, enrol_speaker, test_speaker, enrol_session, test_session)
    resampled = _resampled(_error_rates(sides, scores, priors), sides, replicates, seed)
    eer, *costs = resampled.intervals(level, least=0.0, most=1.0)
    return Bootstrap(eer, tuple(costs), sides.speakers, resampled.used, replicates - resampled.used)


def llr_bootstrap(
    llrs: ArrayLike,
    target: ArrayLike,
    enrol_speaker: ArrayLike,
    test_speaker: ArrayLike,
    *,
    priors: Sequence[float] = (0.01, 0.05),
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    enrol_session: ArrayLike | None = None,
    test_session: ArrayLike | None = None,
) -> LlrBootstrap:
    """Intervals of Cllr and actDCF (unit costs), over the same draws of speakers as those of ``bootstrap``.

    Both are means over trials, so that their weighted sums over all trials of two speakers are formed but once.

    Args and errors are those of ``bootstrap``, with ``llrs`` finite natural logarithms in place of the scores.
    """
    sides = _Sides.of(target, enrol_speaker, test_speaker, enrol_session, test_session)
    resampled = _resampled(_llr_costs(sides, llrs, priors), sides, replicates, seed)
    cllr, *costs = resampled.intervals(level, least=0.0)
    return LlrBootstrap(cllr, tuple(costs), sides.speakers, resampled.used, replicates - resampled.used)


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
    enrol_session: ArrayLike | None = None,
    test_session: ArrayLike | None = None,
) -> PairedDifference:
    """Intervals of the difference between two systems: both are measured on the same draws of speakers.

    Arguments and errors are those of ``bootstrap``; the trials of both systems are in one order.
    """
    sides = _Sides.of(target, enrol_speaker, test_speaker, enrol_session, test_session)
    first, second = (
        _resampled(_error_rates(sides, scores, priors), sides, replicates, seed)
        for scores in (first_scores, second_scores)
    )
    difference = first - second
    eer, *costs = difference.figures.tolist()
    eer_interval, *cost_intervals = difference.intervals(level)
    p_value, *p_values = difference.p_values()
    return PairedDifference(
        eer=eer,
        eer_interval=eer_interval,
        min_dcf=tuple(costs),
        min_dcf_intervals=tuple(cost_intervals),
        first_better=difference.shares_below_zero()[0],
        speakers=sides.speakers,
        replicates=difference.used,
        p_value=p_value,
        p_values=tuple(p_values),
    )


def resample(
    scores: ArrayLike,
    target: ArrayLike,
    enrol_speaker: ArrayLike,
    test_speaker: ArrayLike,
    *,
    priors: Sequence[float] = (0.01, 0.05),
    replicates: int = 1000,
    seed: int = 0,
    enrol_session: ArrayLike | None = None,
    test_session: ArrayLike | None = None,
) -> Replicates:
    """EER and minDCFs of one system, and what drawing the speakers anew makes of them, for the caller to combine.

    The draws depend on nothing but the set of speakers (of sessions), the seed and their number, so that what comes of
    several systems can be subtracted and averaged; fewer replicates are the first of more.

    Args and errors are those of ``bootstrap``.

    Returns:
        Figures (1 + priors,), EER first.
    """
    sides = _Sides.of(target, enrol_speaker, test_speaker, enrol_session, test_session)
    return _resampled(_error_rates(sides, scores, priors), sides, replicates, seed)


def drawn_speakers(speakers: int, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
    """How often each speaker is drawn, with replacement, where as many are drawn as there are; (draws, speakers)."""
    return random.multinomial(speakers, np.full(speakers, 1 / speakers), draws)


class _Figures(Protocol):
    def __call__(self, table: _Table, added: _Table | None = None, sign: int = 1) -> NDArray[np.float64]:
        """Of trials that weigh the product of two rows of a table, plus or minus that of another: a row a column."""


def _resampled(figures: _Figures, sides: _Sides, replicates: int, seed: int) -> Replicates:
    once = figures(sides.once())
    noisy = []
    random = np.random.default_rng([seed, 2])
    for table in sides.draws(math.ceil(replicates / _SHARE), seed):
        added = sides.pair_noise(table, random)
        noisy.append(np.stack([figures(table, added, sign) for sign in (1, -1)]))
    return Replicates(
        figures=once[0],
        draws=np.concatenate([figures(table) for table in sides.draws(replicates, seed)]),
        left_out=figures(sides.left_out()),
        speakers=sides.speakers,
        noisy=np.concatenate(noisy, axis=1),
    )


def _error_rates(sides: _Sides, scores: ArrayLike, priors: Sequence[float]) -> _Figures:
    trials = WeightedTrials(scores, sides.target, sides.left, sides.right)
    return lambda table, added=None, sign=1: trials.rates(table, priors, added, sign)


def _llr_costs(sides: _Sides, llrs: ArrayLike, priors: Sequence[float]) -> _Figures:
    """Cllr, then actDCF at each prior."""
    values = np.asarray(llrs, np.float64)
    if values.shape != sides.target.shape:
        raise ValueError(f"{sides.target.size} trials, but log-likelihood ratios of shape {values.shape}")
    if not np.isfinite(values).all():
        raise TrialError("a log-likelihood ratio is NaN or infinite; its cost has no interval")
    classes = []
    for is_target, sign in ((True, -1.0), (False, 1.0)):
        chosen = sides.target == is_target
        own = values[chosen]
        costs = [np.ones_like(own), np.logaddexp(0, sign * own) / (2 * math.log(2))]
        for p in priors:
            wrong = (own >= math.log((1 - p) / p)) != is_target
            costs.append(wrong * ((p if is_target else 1 - p) / min(p, 1 - p)))
        # All trials whose weights are the same count together.
        rows = sides.left[chosen] * (1 + sides.right.max()) + sides.right[chosen]
        _, first, group = np.unique(rows, return_index=True, return_inverse=True)
        sums = np.stack([np.bincount(group, weights=cost) for cost in costs])
        classes.append((sums, sides.left[chosen][first], sides.right[chosen][first]))

    def figures(table: _Table, added: _Table | None = None, sign: int = 1) -> NDArray[np.float64]:
        means: Any = 0
        with np.errstate(invalid="ignore"):  # 0 / 0 where a class has no weight
            for sums, left, right in classes:
                total = np.zeros((len(sums), table.shape[1]))
                for i in range(0, left.size, _BLOCK):
                    some = slice(i, i + _BLOCK)
                    weights = table[left[some]] * table[right[some]]
                    if added is not None:
                        weights += sign * added[left[some]] * added[right[some]]
                    total += sums[:, some] @ weights
                means = means + total[1:] / total[0]
        return np.asarray(means.T, np.float64)

    return figures


@dataclass(frozen=True, eq=False)
class _Sides:
    """Who is resampled, and of which two rows of a table of weights each trial's weight is the product.

    A unit is a speaker, or a session of hers. The rows are those of the units as a side of a trial between speakers;
    those of the units as the second session of a trial across sessions; and one of ones, for trials within a unit.
    """

    target: NDArray[np.bool_]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    speaker: NDArray[np.int64]  # of each unit, ascending
    sessions: NDArray[np.int64]  # of each speaker: how many

    @classmethod
    def of(
        cls,
        target: ArrayLike,
        enrol_speaker: ArrayLike,
        test_speaker: ArrayLike,
        enrol_session: ArrayLike | None,
        test_session: ArrayLike | None,
    ) -> _Sides:
        is_target = np.asarray(target, dtype=bool)
        names, speaker = _numbered(enrol_speaker, test_speaker, is_target.size, "speakers")
        wrong = np.flatnonzero(is_target & (speaker[0] != speaker[1]))
        if wrong.size:
            i = int(wrong[0])
            enrolled, tested = names[speaker[:, i]]
            raise TrialError(
                f"{wrong.size} trial(s) contradict the speakers, first trial {i + 1}: it is target, but of two "
                f"speakers ('{enrolled}', '{tested}'); correct the list or the speaker names"
            )
        if is_target.all() or not is_target.any():
            raise TrialError("an interval needs both target and non-target trials")
        if (enrol_session is None) != (test_session is None):
            raise ValueError("sessions are given for both sides or for neither")
        unit, unit_speaker = speaker, np.arange(len(names))
        if enrol_session is not None and test_session is not None:
            labels, session = _numbered(enrol_session, test_session, is_target.size, "sessions")
            codes, unit = np.unique(speaker * len(labels) + session, return_inverse=True)
            unit, unit_speaker = unit.reshape(speaker.shape), codes // len(labels)
        units = unit_speaker.size
        within = speaker[0] == speaker[1]
        second = np.where(unit[0] == unit[1], 2 * units, units + unit[1])
        right = np.where(within, second, unit[1])
        return cls(is_target, unit[0], right, unit_speaker, np.bincount(unit_speaker))

    @property
    def speakers(self) -> int:
        return self.sessions.size

    def once(self) -> _Table:
        """The list as it is."""
        return np.ones((2 * self.speaker.size + 1, 1))

    def draws(self, replicates: int, seed: int) -> Iterator[_Table]:
        """Speakers drawn with replacement, as many as there are; then of each as many sessions as she brings."""
        random = np.random.default_rng(seed)
        # Sessions apart, so that they do not change the draws of the speakers.
        of_sessions = np.random.default_rng([seed, 1])
        first = np.cumsum(self.sessions) - self.sessions
        for columns in _steps(replicates):
            table = np.ones((2 * self.speaker.size + 1, columns))
            for column, drawn in enumerate(drawn_speakers(self.speakers, columns, random)):
                counts = drawn[self.speaker]
                if self.speaker.size > self.speakers:
                    of = np.repeat(np.arange(self.speakers), drawn * self.sessions)
                    place = (of_sessions.random(of.size) * self.sessions[of]).astype(np.int64)
                    counts = np.bincount(first[of] + place, minlength=self.speaker.size)
                table[: counts.size, column] = counts
                # No trial is across sessions where there is but one.
                brought = np.maximum(drawn * self.sessions - 1, 1) / self.sessions
                table[counts.size : -1, column] = counts / brought[self.speaker]
            yield table

    def pair_noise(self, table: _Table, random: np.random.Generator) -> _Table:
        """A second table, whose products add as much again as they scatter too much, from pair to pair of units.

        To the weight W of a trial of two speakers it adds W e s s', with independent signs s and s' of the two units:
        nothing on average, and of a variance e^2 E[W^2], which is to be Var[W] - 1.
        """
        # Of how often a speaker is drawn, and a session of hers.
        square = 2 - 1 / self.speakers + 1 - 1 / self.sessions[self.speaker]
        between = ~self.target & (self.right < self.speaker.size)
        products = square[self.left[between]] * square[self.right[between]]
        mean = max(2.0, float(products.mean())) if between.any() else 2.0
        e = math.sqrt((mean - 2) / mean)
        added = np.zeros_like(table)
        signs = 2.0 * random.integers(2, size=(table.shape[1], self.speaker.size)).T - 1
        added[: self.speaker.size] = table[: self.speaker.size] * signs * math.sqrt(e)
        return added

    def left_out(self) -> _Table:
        """Each speaker left out once; where there are many, groups of them."""
        groups = min(self.speakers, _GROUPS)
        table = np.ones((2 * self.speaker.size + 1, groups))
        table[: self.speaker.size] = (self.speaker % groups)[:, None] != np.arange(groups)
        table[self.speaker.size : -1] = table[: self.speaker.size]
        return table


def _numbered(
    enrol: ArrayLike, test: ArrayLike, trials: int, what: str
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The names of both sides, ascending, and each side's number among them, shape (2, trials)."""
    sides = np.stack([np.asarray(enrol), np.asarray(test)])
    if sides.shape != (2, trials):
        raise ValueError(f"{trials} trials, but {what} of shape {sides.shape[1:]}")
    names, numbers = np.unique(sides, return_inverse=True)
    return names, numbers.reshape(sides.shape)


def _steps(columns: int) -> Iterator[int]:
    return (min(_COLUMNS, columns - first) for first in range(0, columns, _COLUMNS))
