"""Trials counted by score, anew for each draw of speakers: what bands of confidence around a curve rest on."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.metrics.bootstrap import drawn_speakers
from voxangle.scoring import TrialScores

__all__ = ["Counts", "counts_by_draw", "det_band"]

_TAILS = (0.025, 0.975)
# Of the scores of a class: where a draw's curve has its vertices, evenly on the probit axis.
_QUANTILES = [NormalDist().cdf(z) for z in np.linspace(-4, 4, 161)]


@dataclass(frozen=True, eq=False)
class Counts:
    """Weighted counts; row 0 is the list itself, the others are draws that hold trials of both classes.

    Attributes:
        target: shape (1 + draws, bins).
        nontarget: likewise.
    """

    target: NDArray[np.float64]
    nontarget: NDArray[np.float64]


def counts_by_draw(
    trials: TrialScores,
    values: NDArray[np.floating[Any]],
    edges: NDArray[np.floating[Any]],
    *,
    draws: int,
    seed: int,
) -> Counts:
    """How many trials lie below, between and beyond ``edges``, with speakers drawn as ``metrics.bootstrap`` draws them.

    A target trial weighs what its speaker was drawn, a non-target trial the product of its two.

    Args:
        trials: who speaks in them, and which are target trials.
        values: shape (trials,), what is counted.
        edges: ascending; a value that equals an edge counts above it.
        draws: of speakers.
        seed: of the draws.
    """
    bin_of = np.searchsorted(edges, values, side="right")
    bins = len(edges) + 1
    _, number = np.unique(np.stack([trials.enrol_speaker, trials.test_speaker]), return_inverse=True)
    enrol, test = number.reshape(2, -1)
    speakers = int(number.max()) + 1
    drawn = drawn_speakers(speakers, draws, np.random.default_rng(seed))
    weights = np.concatenate([np.ones((1, speakers)), drawn])
    of_speaker = np.bincount(
        enrol[trials.target] * bins + bin_of[trials.target], minlength=speakers * bins
    ).reshape(speakers, bins)
    target = weights @ of_speaker
    other = ~trials.target
    enrol, test, bin_of = enrol[other], test[other], bin_of[other]
    within = np.flatnonzero(enrol == test)  # a wrong label of the list comes with its speaker, once
    nontarget = np.empty((len(weights), bins))
    for row, weight in enumerate(weights):
        pairs = weight[enrol] * weight[test]
        pairs[within] = weight[enrol[within]]
        nontarget[row] = np.bincount(bin_of, pairs, bins)
    both = (target.sum(axis=1) > 0) & (nontarget.sum(axis=1) > 0)
    return Counts(target[both], nontarget[both])


def det_band(
    trials: TrialScores, fpr: NDArray[np.float64], *, draws: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the misses at each rate of false alarms by itself, the 95 % of draws of speakers in the middle.

    Args:
        trials: scored.
        fpr: shape (places,), ascending, in (0, 1).
        draws: of speakers.
        seed: of the draws.

    Returns:
        Lowest and highest FNR, shape (places,) each.
    """
    edges = np.unique(
        [
            np.quantile(of_class, _QUANTILES, method="lower")
            for of_class in (trials.of_targets, trials.of_nontargets)
        ]
    )
    counts = counts_by_draw(trials, trials.scores, edges, draws=draws, seed=seed)
    missed = np.cumsum(counts.target, axis=1) / counts.target.sum(axis=1, keepdims=True)
    passed = np.cumsum(counts.nontarget, axis=1) / counts.nontarget.sum(axis=1, keepdims=True)
    curves = np.array(
        [
            # From the strictest threshold on, false alarms ascend; below the last one everything is accepted.
            np.interp(fpr, np.append(alarms[::-1], 1.0), np.append(misses[::-1], 0.0))
            for alarms, misses in zip(1 - passed[1:], missed[1:], strict=True)
        ]
    )
    low, high = np.quantile(curves, _TAILS, axis=0)
    return low, high
