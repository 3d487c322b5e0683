"""From resampled figures to confidence intervals and p-values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import TrialError

__all__ = ["Differences", "Interval", "Replicates"]

_NORMAL = NormalDist()
_HUGE = 700.0  # whose exponential is still finite
_FEW = 10  # draws, which tell no variance
_ROUNDING = 1e-12  # figures are ratios of sums: what differs by less is equal


@dataclass(frozen=True)
class Interval:
    """The ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Replicates:
    r"""The figures of a list, and what resampling its speakers made of them.

    The interval is Efron's BCa (1987, "Better bootstrap confidence intervals"): percentiles of the draws at

    .. math:: \Phi\left(z_0 + \frac{z_0 + t}{1 - a (z_0 + t)}\right)

    with :math:`z_0 = \Phi^{-1}` (share of the draws below the figure, ties half) for the bias of a minimum over
    thresholds, and the acceleration :math:`a = \sum d^3 / 6 (\sum d^2)^{3/2}` of what leaving out speakers changes, for
    the skewness of an error rate. The scatter is known from the speakers themselves alone, so that :math:`t` is the
    quantile of Student's distribution, not the normal one, of

    .. math:: \nu = \left(\frac{1}{S - 1} + \frac{g}{2 S}\right)^{-1},
        \qquad g = \max\left(0, S \frac{\sum d^4}{(\sum d^2)^2} - 3\right)

    degrees of freedom, which are those of the variance of :math:`S` values of excess kurtosis :math:`g` (Satterthwaite
    1946, "An approximate distribution of estimates of variance components"): where a few hard voices make most of the
    errors, there are as good as fewer speakers. The draws are widened by :math:`\sqrt{S / (S - 1)}` (Hesterberg 2015,
    "What teachers should know about the bootstrap": the expanded percentile interval).

    And they are moved towards the figure, by a factor :math:`\kappa \le 1`, because products of speaker weights
    scatter too much: what is peculiar to a pair of speakers comes in with each of the two, and again with both, three
    times in all (Owen 2007; two-way clustered variances have the same surplus and subtract it, Cameron, Gelbach and
    Miller 2011, "Robust inference with multiway clustering"). Of a minimum cost that few false alarms decide that is
    a good part, and of a difference, where the voices cancel, most of the scatter. Of an EER it is a tenth, and stays:
    without it intervals held the truth somewhat too rarely (``benchmarks/coverage.py``). How much of the
    variance :math:`V` it is, is found by adding the surplus once more, as noise that is independent from pair to pair:
    if the variance is :math:`V'` then, it is :math:`V - (V' - V)` without, hence :math:`\kappa^2 = 2 - V' / V` (Cook
    and Stefanski 1994, "Simulation-extrapolation estimation"), and not below a third.

    Attributes:
        figures: shape (figures,), of the list as it is; the first of them, EER or Cllr, keeps its surplus.
        draws: shape (draws, figures), of the list with its speakers drawn anew; NaN rows where a class was missing.
        left_out: shape (groups, figures), of the list without a group of its speakers.
        speakers: :math:`S`.
        noisy: shape (2, some of the draws, figures), of the first of these draws with noise on each pair of speakers,
            and with the same noise the other way round; without, :math:`\kappa = 1`.
    """

    _bias_corrected: ClassVar[bool] = True
    _spared: ClassVar[int] = 1

    figures: NDArray[np.float64]
    draws: NDArray[np.float64]
    left_out: NDArray[np.float64]
    speakers: int
    noisy: NDArray[np.float64]

    def __sub__(self, other: Replicates) -> Differences:
        """Of two systems over the same draws."""
        return Differences(
            self.figures - other.figures,
            self.draws - other.draws,
            self.left_out - other.left_out,
            self.speakers,
            self.noisy - other.noisy,
        )

    @property
    def used(self) -> int:
        """How many draws held trials of both classes."""
        return int(np.count_nonzero(~np.isnan(self.draws).any(axis=1)))

    def intervals(self, level: float, *, least: float = -math.inf, most: float = math.inf) -> list[Interval]:
        """Of each figure, within what it can be at all, from ``least`` to ``most``.

        Raises:
            TrialError: no draw held trials of both classes.
        """
        ends = [one.interval(level) for one in self._distributions()]
        return [Interval(min(max(one.low, least), most), min(max(one.high, least), most)) for one in ends]

    def _distributions(self) -> list[_Distribution]:
        draws, left_out = (one[~np.isnan(one).any(axis=1)] for one in (self.draws, self.left_out))
        if not len(draws):
            raise TrialError("no draw of speakers held trials of both classes; the list has too few speakers")
        scale = np.sqrt(self._share_of_variance() * self.speakers / max(1, self.speakers - 1))
        draws = self.figures + scale * (draws - self.figures)
        draws[np.abs(draws) < _ROUNDING] = 0
        influence = left_out.mean(axis=0) - left_out if len(left_out) else np.zeros((1, self.figures.size))
        return [
            _Distribution(
                np.sort(column),
                _bias(column, figure) if self._bias_corrected else 0.0,
                _acceleration(changes),
                _freedom(changes, self.speakers),
            )
            for column, figure, changes in zip(draws.T, self.figures.tolist(), influence.T, strict=True)
        ]

    def _share_of_variance(self) -> NDArray[np.float64]:
        """Kappa squared."""
        plain = self.draws[: self.noisy.shape[1]]
        whole = ~np.isnan(plain + self.noisy.sum(axis=0)).any(axis=1)
        if np.count_nonzero(whole) < _FEW:
            return np.ones_like(self.figures)
        variance, more = plain[whole].var(axis=0), self.noisy[:, whole].var(axis=(0, 1))
        growth = np.divide(more, variance, out=np.ones_like(more), where=variance > _ROUNDING**2)
        kappa_squared: NDArray[np.float64] = np.clip(2 - growth, 1 / 3, 1)
        kappa_squared[: self._spared] = 1
        return kappa_squared


@dataclass(frozen=True, eq=False)
class Differences(Replicates):
    """The figures of one system minus those of another.

    Their interval is that of a single system without the correction for bias (:math:`z_0 = 0`): what a minimum over
    thresholds flatters both systems by cancels, and the correction would add its own noise (by measurement,
    ``benchmarks/coverage.py``). No figure keeps the surplus, which in a difference is most of the scatter.
    """

    _bias_corrected: ClassVar[bool] = False
    _spared: ClassVar[int] = 0

    def p_values(self) -> list[float]:
        r"""Of each figure: how well 0 agrees with it, two-sided.

        The interval inverted: with :math:`z = \Phi^{-1}` (share of the draws below 0) it is how often Student's
        :math:`t` lies as far out as

        .. math:: \frac{z}{1 + a z}

        so that p < 1 - level where the interval leaves out 0, and nowhere else; but never less than 1 / (draws + 1),
        which is all that so many draws can tell.

        Raises:
            TrialError: no draw held trials of both classes.
        """
        return [one.p_value() for one in self._distributions()]

    def shares_below_zero(self) -> list[float]:
        """Of each figure: the share of the draws below 0, ties half."""
        usable = self.draws[~np.isnan(self.draws).any(axis=1)]
        return [_share_below(column, 0.0) for column in usable.T]


@dataclass(frozen=True, eq=False)
class _Distribution:
    """The draws of one figure, ascending; the bias z0, the acceleration and the degrees of freedom."""

    draws: NDArray[np.float64]
    bias: float
    acceleration: float
    freedom: float

    def interval(self, level: float) -> Interval:
        reach = _student(_NORMAL.inv_cdf((1 + level) / 2), self.freedom)
        low, high = np.quantile(self.draws, [self._percentile(-reach), self._percentile(reach)]).tolist()
        return Interval(low, high)

    def p_value(self) -> float:
        not_above, below = (int(np.searchsorted(self.draws, 0, side=side)) for side in ("right", "left"))
        p = 2 * min(
            _NORMAL.cdf(_normal(self._deviate(self._quantile_of_zero(not_above)), self.freedom)),
            _NORMAL.cdf(_normal(-self._deviate(self._quantile_of_zero(below)), self.freedom)),
        )
        return min(max(p, 1 / (len(self.draws) + 1)), 1.0)

    def _quantile_of_zero(self, before: int) -> float:
        """At which quantile the draws pass 0 behind the first ``before``, joined by lines as ``np.quantile`` does."""
        if before in (0, len(self.draws)):
            return float(before > 0)
        low, high = self.draws[before - 1 : before + 1].tolist()
        return float((before - 1 - low / (high - low)) / (len(self.draws) - 1))

    def _percentile(self, deviate: float) -> float:
        """The share of the draws at which an interval ends that would end so many standard deviations off."""
        if math.isinf(deviate):
            return float(deviate > 0)
        shifted = self.bias + deviate
        scale = 1 - self.acceleration * shifted
        return _NORMAL.cdf(self.bias + shifted / scale) if scale > 0 else float(shifted > 0)

    def _deviate(self, percentile: float) -> float:
        """The inverse of ``_percentile``."""
        if not 0 < percentile < 1:
            return math.copysign(math.inf, percentile - 0.5)
        shifted = _NORMAL.inv_cdf(percentile) - self.bias
        scale = 1 + self.acceleration * shifted
        return shifted / scale - self.bias if scale > 0 else math.copysign(math.inf, shifted)


def _student(deviate: float, freedom: float) -> float:
    """The deviate of Student's distribution that is as rare as one of the normal; Wallace (1959), solved for t.

    To 1.2 % from 3 degrees of freedom on; with one or two, for two or three speakers, it errs to the safe side.
    """
    if freedom <= 0:
        return math.copysign(math.inf, deviate)
    exponent = (deviate * (8 * freedom + 3) / (8 * freedom + 1)) ** 2 / freedom
    return math.copysign(math.sqrt(freedom * math.expm1(exponent)) if exponent < _HUGE else math.inf, deviate)


def _normal(deviate: float, freedom: float) -> float:
    """The inverse of ``_student``."""
    if freedom <= 0:
        return 0.0
    size = math.sqrt(freedom * math.log1p(deviate**2 / freedom)) if math.isfinite(deviate) else math.inf
    return math.copysign(size * (8 * freedom + 1) / (8 * freedom + 3), deviate)


def _acceleration(changes: NDArray[np.float64]) -> float:
    """A sixth of the skewness of the figure, of what leaving out speakers changes."""
    squares = float((changes**2).sum())
    return float((changes**3).sum()) / (6 * squares**1.5) if squares > _ROUNDING**2 else 0.0


def _freedom(changes: NDArray[np.float64], speakers: int) -> float:
    """Of Student's distribution; the excess kurtosis of groups of speakers is less than theirs by the groups' size."""
    if speakers < 2:
        return 0.0
    squares = float((changes**2).sum())
    excess = changes.size * float((changes**4).sum()) / squares**2 - 3 if squares > _ROUNDING**2 else 0.0
    return 1 / (1 / (speakers - 1) + max(excess, 0.0) / (2 * changes.size))


def _bias(draws: NDArray[np.float64], figure: float) -> float:
    margin = 0.5 / len(draws)
    return _NORMAL.inv_cdf(min(max(_share_below(draws, figure), margin), 1 - margin))


def _share_below(draws: NDArray[np.float64], value: float) -> float:
    return float((np.mean(draws < value - _ROUNDING) + np.mean(draws <= value + _ROUNDING)) / 2)
