"""Error rates and costs of scores, beside scikit-learn, SpeechBrain and the way that NIST's script goes about it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_curve

from benchmarks.memory import peak_of
from benchmarks.peers import speechbrain
from benchmarks.ratio import Measurement, in_turns
from voxangle.metrics import SortedScores, cllr

__all__ = ["error_rates"]

_SIZES = ((100, 9_900), (10_000, 990_000), (100_000, 9_900_000), (5_000_000, 5_000_000))
_PRIORS = (0.01, 0.05)
_MOST = 0.3  # seconds, of ten million scores
_SPEECHBRAIN = 10_000  # scores: its memory grows with their square
_AT_A_TIME = 1_000_000  # scores: a short list is measured several times over in a round

Scores = NDArray[np.float32]
Rates = tuple[float, float, float]


def error_rates(rounds: int) -> Iterator[Measurement]:
    """Seconds of EER and both minDCFs and of Cllr and minCllr, how many times as long others take, and memory.

    Raises:
        AssertionError: another way finds other figures, so that times say nothing.
    """
    for targets, nontargets in _SIZES:
        target, nontarget = scores_of(targets, nontargets)
        yield from _rates(target, nontarget, rounds)
        yield from _costs(target, nontarget, rounds)
    yield from _memory(*_SIZES[2])


def scores_of(targets: int, nontargets: int) -> tuple[Scores, Scores]:
    """Normal scores of single precision that a threshold of 0 errs on at 6.7 %."""
    random = np.random.default_rng(0)
    return (
        random.normal(1.5, 1, targets).astype(np.float32),
        random.normal(-1.5, 1, nontargets).astype(np.float32),
    )


def ours(target: Scores, nontarget: Scores) -> Rates:
    """EER, then minDCF at both priors."""
    scores = SortedScores.of(target, nontarget)
    low, high = (scores.min_dcf(p_target=prior).rate for prior in _PRIORS)
    return scores.eer().rate, low, high


def by_scikit_learn(target: Scores, nontarget: Scores) -> Rates:
    """From every point of its ROC curve."""
    labels = np.repeat([1, 0], [target.size, nontarget.size])
    fpr, tpr, _ = roc_curve(labels, np.concatenate([target, nontarget]), drop_intermediate=False)
    return _from_curve(1 - tpr, fpr)


def by_sorting_all(target: Scores, nontarget: Scores) -> Rates:
    """As NIST's script for SRE 2016 does: sort the scores of both classes, and sum the labels up."""
    order = np.argsort(np.concatenate([target, nontarget]))
    is_target = np.repeat([1.0, 0.0], [target.size, nontarget.size])[order]
    is_nontarget = 1 - is_target
    fnr = np.cumsum(is_target) / np.sum(is_target)
    fpr = 1 - np.cumsum(is_nontarget) / np.sum(is_nontarget)
    return _from_curve(fnr, fpr)


def by_speechbrain(target: Scores, nontarget: Scores) -> Rates:
    """Its ``EER`` and ``minDCF``, the latter normalised."""
    theirs = speechbrain("utils.metric_stats")
    classes = torch.from_numpy(target), torch.from_numpy(nontarget)
    low, high = (theirs.minDCF(*classes, p_target=prior)[0] / min(prior, 1 - prior) for prior in _PRIORS)
    return theirs.EER(*classes)[0], low, high


def _from_curve(fnr: NDArray[np.float64], fpr: NDArray[np.float64]) -> Rates:
    crossings = np.flatnonzero(np.diff(np.sign(fnr - fpr)))
    i = int(crossings[0])
    before, after = fnr[i] - fpr[i], fnr[i + 1] - fpr[i + 1]
    eer = fnr[i] + before / (before - after) * (fnr[i + 1] - fnr[i])
    low, high = (np.min(prior * fnr + (1 - prior) * fpr) / min(prior, 1 - prior) for prior in _PRIORS)
    return float(eer), float(low), float(high)


def _rates(target: Scores, nontarget: Scores, rounds: int) -> Iterator[Measurement]:
    def check(name: str, found: Rates) -> None:
        if not np.allclose(found, ours(target, nontarget), rtol=0, atol=1 / target.size):
            raise AssertionError(f"{name} finds other rates")

    others = {"scikit-learn's roc_curve": by_scikit_learn, "NIST's way": by_sorting_all}
    for name, other in others.items():
        check(name, other(target, nontarget))
    yield from _beside(
        "EER + 2 minDCF",
        _bound(ours, target, nontarget),
        {name: _bound(other, target, nontarget) for name, other in others.items()},
        (target.size, nontarget.size),
        rounds,
        most=_MOST,
    )
    if target.size + nontarget.size <= _SPEECHBRAIN:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        by_speechbrain(*scores_of(9, 9))
        # Its seconds are thousands of ours, and need no turns.
        began = time.perf_counter()
        found = by_speechbrain(target, nontarget)
        theirs = time.perf_counter() - began
        torch.set_num_threads(threads)
        check("SpeechBrain", found)
        (my_seconds,) = in_turns(_repeated(_bound(ours, target, nontarget), 100), rounds=rounds, warm_up=1)
        name = f"{_named('EER + 2 minDCF', target.size, nontarget.size)}: SpeechBrain / ours"
        yield Measurement.of(name, 100 * theirs / my_seconds, "", f"takes {theirs:.3g} s, once; one thread")


def _costs(target: Scores, nontarget: Scores, rounds: int) -> Iterator[Measurement]:
    def our_costs() -> tuple[float, float]:
        return cllr(target, nontarget), SortedScores.of(target, nontarget).min_cllr()

    def by_isotonic_regression() -> tuple[float, float]:
        is_target = np.arange(target.size + nontarget.size) < target.size
        weight = np.where(is_target, 0.5 / target.size, 0.5 / nontarget.size)
        scores = np.concatenate([target, nontarget]).astype(np.float64)
        actual = np.logaddexp(0, np.where(is_target, -scores, scores))
        posterior = IsotonicRegression().fit_transform(scores, is_target, sample_weight=weight)
        certain = np.where(is_target, posterior, 1 - posterior)
        return float(weight @ actual) / math.log(2), -float(weight @ np.log2(certain))

    if not np.allclose(our_costs(), by_isotonic_regression(), rtol=0, atol=1e-6):
        raise AssertionError("isotonic regression finds another cost")
    yield from _beside(
        "Cllr + minCllr",
        our_costs,
        {"scikit-learn's IsotonicRegression": by_isotonic_regression},
        (target.size, nontarget.size),
        rounds,
    )


def _beside(
    what: str,
    mine: Callable[[], object],
    others: dict[str, Callable[[], object]],
    sizes: tuple[int, int],
    rounds: int,
    most: float | None = None,
) -> Iterator[Measurement]:
    times = max(1, _AT_A_TIME // sum(sizes))
    calls = [_repeated(call, times) for call in (mine, *others.values())]
    my_seconds, *their_seconds = (seconds / times for seconds in in_turns(*calls, rounds=rounds, warm_up=1))
    what = _named(what, *sizes)
    yield Measurement.of(what, my_seconds, "s", "float32, one thread", most=most)
    for name, seconds in zip(others, their_seconds, strict=True):
        yield Measurement.of(
            f"{what}: {name} / ours",
            seconds / my_seconds,
            "",
            f"takes {np.median(seconds):.3g} s; one thread",
        )


def _named(what: str, targets: int, nontargets: int) -> str:
    return f"{what}, {targets:,} target and {nontargets:,} non-target scores"


def _repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(times):
            call()

    return repeated


def _memory(targets: int, nontargets: int) -> Iterator[Measurement]:
    ways = {"ours": (ours, (targets, nontargets)), "scikit-learn": (by_scikit_learn, (targets, nontargets))}
    ways["NIST's way"] = by_sorting_all, (targets, nontargets)
    ways["SpeechBrain"] = by_speechbrain, _SIZES[0]
    for name, (way, sizes) in ways.items():
        # A first small call takes the memory that code and libraries need.
        before = (
            f"from benchmarks import metrics\nway = metrics.{way.__name__}\nway(*metrics.scores_of(100, 100))"
        )
        before += f"\ntarget, nontarget = metrics.scores_of(*{sizes})"
        peak = peak_of("way(target, nontarget)", before=before)
        what = f"{_named('EER + 2 minDCF', *sizes)}: memory, {name}"
        yield Measurement.of(what, [peak.added], "MB", "beside the scores themselves, which are float32")


def _bound(way: Callable[[Scores, Scores], Any], target: Scores, nontarget: Scores) -> Callable[[], object]:
    return lambda: way(target, nontarget)
