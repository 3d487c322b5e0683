r"""What an ablation's error rates support: intervals over speakers and seeds together, and tests of differences.

Two draws lie behind a figure: the speakers of the list, and the seed of each training. Both are of more than was seen,
and they are crossed: every seed's model hears every speaker.

Speakers are drawn again by bootstrap, once a replicate for all variants and seeds. Of the means over the seeds in these
draws comes, by ``Replicates``, an interval at every level, and all of them together are a distribution of the true mean
for these seeds (a confidence distribution: Efron 1998, "R. A. Fisher in the 21st century"). There are too few seeds to
draw them again with replacement as well: the means of five drawn from five spread :math:`\sqrt{4/5}` as far as they
should, and have no tails. Instead, the error of a mean of :math:`n` normal values is added, by Student's distribution:

.. math:: d = q_U + t \, s / \sqrt n, \qquad U \sim \text{uniform}(0, 1), \quad t \sim t_{n-1},

where :math:`q_u` is the end of the speakers' interval that the true mean is below with confidence :math:`u`, and
:math:`s` the standard deviation of the :math:`n` seeds' figures on the list itself (of their paired differences, where
two variants ran with the same seeds). The interval is the middle part of the distribution of :math:`d`; the two-sided
p-value is twice the share beyond 0. What a seed and a speaker do only together counts in both parts: the intervals are
rather too wide than too narrow, as in the pigeonhole bootstrap (Owen 2007, arXiv:0712.1111).

With one seed, an interval is over speakers alone, and speaks of those trained models, not of their recipes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from voxangle.metrics import Interval
from voxangle.metrics.intervals import Differences, Replicates

__all__ = ["OverSeeds", "difference_over_seeds", "mean_over_seeds"]

_ENDS = 200  # of speakers' intervals
_ERRORS = 500  # of the seeds' mean, for each of them
_ROUNDING = 1e-12  # figures are ratios of sums: what differs by less is equal


@dataclass(frozen=True, eq=False)
class OverSeeds:
    """Figures of a mean over seeds, or of the difference of two; EER first, then a minDCF for each prior.

    Attributes:
        seeds: that count, ascending.
        values: shape (figures,), on the list itself.
        intervals: of each figure.
        p_values: of each figure of a difference, two-sided, that it is 0; empty of a mean.
        spreads: shape (figures,), standard deviation over the seeds; NaN of one seed.
    """

    seeds: tuple[int, ...]
    values: NDArray[np.float64]
    intervals: tuple[Interval, ...]
    p_values: tuple[float, ...]
    spreads: NDArray[np.float64]


def mean_over_seeds(figures: Mapping[int, Replicates], *, level: float = 0.95) -> OverSeeds:
    """The mean of a variant's figures over its seeds; the intervals stay within [0, 1].

    Args:
        figures: of the variant on one list, by seed, over one sequence of draws.
        level: of the intervals, in (0, 1).
    """
    mean = _over_seeds(figures, level)
    bounded = tuple(Interval(max(ends.low, 0.0), min(ends.high, 1.0)) for ends in mean.intervals)
    return replace(mean, intervals=bounded)


def difference_over_seeds(
    first: Mapping[int, Replicates],
    second: Mapping[int, Replicates],
    *,
    level: float = 0.95,
) -> OverSeeds | None:
    """First variant minus second, over the seeds that both ran with; None where there is no such seed.

    Args:
        first: of one variant, by seed.
        second: of another, on the same list and over the same draws.
        level: of the intervals, in (0, 1).
    """
    common = sorted(first.keys() & second.keys())
    return _over_seeds({one: first[one] - second[one] for one in common}, level) if common else None


def _over_seeds(figures: Mapping[int, Replicates], level: float) -> OverSeeds:
    seeds = tuple(sorted(figures))
    of_seed = [figures[one] for one in seeds]
    on_list = np.stack([one.figures for one in of_seed])
    mean = replace(
        of_seed[0],
        **{
            part.name: np.mean([getattr(one, part.name) for one in of_seed], axis=0)
            for part in fields(of_seed[0])
            if isinstance(getattr(of_seed[0], part.name), np.ndarray)
        },
    )
    if len(seeds) == 1:
        p_values = tuple(mean.p_values()) if isinstance(mean, Differences) else ()
        spreads = np.full(on_list.shape[1], np.nan)
        return OverSeeds(seeds, mean.figures, tuple(mean.intervals(level)), p_values, spreads)
    spreads = on_list.std(axis=0, ddof=1)
    student = _student(len(seeds) - 1)
    errors = spreads / np.sqrt(len(seeds))
    values = [
        np.add.outer(ends, error * student).ravel()
        for ends, error in zip(_confidence(mean), errors, strict=True)
    ]
    ends = [np.quantile(one, [(1 - level) / 2, (1 + level) / 2]).tolist() for one in values]
    return OverSeeds(
        seeds,
        mean.figures,
        tuple(Interval(low, high) for low, high in ends),
        tuple(_beyond_zero(one, least=1 / (mean.used + 1)) for one in values)
        if isinstance(mean, Differences)
        else (),
        spreads,
    )


def _confidence(mean: Replicates) -> NDArray[np.float64]:
    """The ends of the intervals at many levels, as many equally likely values of each figure: (figures, values)."""
    levels = 1 - (2 * np.arange(_ENDS // 2) + 1) / _ENDS
    intervals = [mean.intervals(float(level)) for level in levels]
    return (
        np.array([[(ends.low, ends.high) for ends in of_level] for of_level in intervals])
        .transpose(1, 0, 2)
        .reshape(mean.figures.size, -1)
    )


@cache
def _student(freedom: int) -> NDArray[np.float64]:
    """Equally likely values of Student's distribution: few of many draws, because NumPy has no quantiles of it."""
    draws = np.random.default_rng(0).standard_t(freedom, 1_000 * _ERRORS)
    draws = np.concatenate([draws, -draws])  # as symmetric as the distribution is
    return np.quantile(draws, (np.arange(_ERRORS) + 0.5) / _ERRORS)


def _beyond_zero(values: NDArray[np.float64], *, least: float) -> float:
    """Twice the share of the values on the lesser side of 0, ties half."""
    below = float(np.mean(values < -_ROUNDING))
    above = float(np.mean(values > _ROUNDING))
    return max(least, 1 - abs(above - below))
