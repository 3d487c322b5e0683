"""How often intervals hold the truth, and how often two equal systems are called different, by simulation.

``python -m benchmarks.coverage [--lists 1000] [--replicates 1000] [--speakers 60 100 150] [--voices plain | hard]
[--alone] [--seed 0] [--out FILE]``

The voices are those of a two-covariance model with a spread of their own: a speaker's mean (two kinds of voice, as men
and women are), a deviation of each session and one of each utterance, whose size differs from speaker to speaker, so
that some voices are hard. Scores are cosines. A list holds, for each of its speakers, trials across her sessions and
trials against others; the truth is what a list of so many speakers that chance has no say in it measures. Lists of
which ``voxangle evaluate`` says that hardly a false alarm decides a cost are counted apart too.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta  # type: ignore[import-untyped]

from voxangle.metrics import SortedScores, bootstrap, paired_difference
from voxangle.scoring.machine import Machine
from voxangle.scoring.measure import _FEW_ALARMS

__all__ = ["POPULATIONS", "Voices", "coverage", "false_alarms"]

_PRIORS = (0.01, 0.05)
_FIGURES = ("EER", *(f"minDCF({prior:g})" for prior in _PRIORS))


@dataclass(frozen=True)
class Trials:
    """A simulated list; shape (trials,) each. ``other`` are the scores of a second system that errs as often."""

    scores: NDArray[np.float64]
    other: NDArray[np.float64]
    target: NDArray[np.bool_]
    enrol: NDArray[np.int64]
    test: NDArray[np.int64]
    enrol_session: NDArray[np.int64]
    test_session: NDArray[np.int64]


@dataclass(frozen=True)
class Voices:
    """The population.

    Attributes:
        dimensions: of an embedding.
        kinds: distance of the two kinds of voice from their middle, in standard deviations of speakers.
        session: standard deviation of sessions about their speaker, relative to that of speakers.
        utterance: of utterances about their session.
        hard: standard deviation of the logarithm of a speaker's own factor on these two.
        extractor: of what a system adds to every coordinate of an embedding; two systems add their own.
        sessions: of each speaker.
        utterances: of each session.
        targets: of each speaker.
        nontargets: of each speaker on the enrolment side.
    """

    dimensions: int = 20
    kinds: float = 1.5
    session: float = 0.5
    utterance: float = 0.5
    hard: float = 0.25
    extractor: float = 0.25
    sessions: int = 5
    utterances: int = 4
    targets: int = 100
    nontargets: int = 100

    def trials(self, random: np.random.Generator, speakers: int) -> Trials:
        """A list of newly drawn speakers."""
        embeddings = self._embeddings(random, speakers, self.sessions, self.utterances)

        def side(speaker: NDArray[np.int64], session: NDArray[np.int64]) -> NDArray[np.float64]:
            return embeddings[:, speaker, session, random.integers(self.utterances, size=speaker.size)]

        own = np.repeat(np.arange(speakers), self.targets)
        here = random.integers(self.sessions, size=own.size)
        there = (here + random.integers(1, self.sessions, size=own.size)) % self.sessions
        enrolled = np.repeat(np.arange(speakers), self.nontargets)
        tested = (enrolled + random.integers(1, speakers, size=enrolled.size)) % speakers
        sessions = random.integers(self.sessions, size=(2, enrolled.size))
        scores = np.concatenate(
            [
                (side(own, here) * side(own, there)).sum(axis=-1),
                (side(enrolled, sessions[0]) * side(tested, sessions[1])).sum(axis=-1),
            ],
            axis=1,
        )
        return Trials(
            scores[0],
            scores[1],
            np.repeat([True, False], [own.size, enrolled.size]),
            np.concatenate([own, enrolled]),
            np.concatenate([own, tested]),
            np.concatenate([here, sessions[0]]),
            np.concatenate([there, sessions[1]]),
        )

    def truth(self, random: np.random.Generator, speakers: int = 400_000) -> NDArray[np.float64]:
        """EER and minDCFs of the population, each speaker in one target trial and 29 others; shape (figures,)."""
        target, nontarget, step = [], [], 20_000
        for _ in range(speakers // step):
            first, second = self._embeddings(random, step, 2, 1)[0, :, :, 0].swapaxes(0, 1)
            target.append((first * second).sum(axis=-1))
            nontarget += [(first * np.roll(second, shift, axis=0)).sum(axis=-1) for shift in range(1, 30)]
        return error_rates(np.concatenate(target), np.concatenate(nontarget))

    def _embeddings(
        self, random: np.random.Generator, speakers: int, sessions: int, utterances: int
    ) -> NDArray[np.float64]:
        """Of unit length, of two systems; shape (2, speakers, sessions, utterances, dimensions)."""
        mean = random.normal(size=(speakers, 1, 1, self.dimensions))
        mean[..., 0] += np.where(random.random((speakers, 1, 1)) < 0.5, self.kinds, -self.kinds)
        spread = np.exp(random.normal(0, self.hard, (speakers, 1, 1, 1)))
        shape = (speakers, sessions, utterances, self.dimensions)
        embeddings = mean + spread * self.session * random.normal(
            size=(speakers, sessions, 1, self.dimensions)
        )
        embeddings = embeddings + spread * self.utterance * random.normal(size=shape)
        both = embeddings + self.extractor * random.normal(size=(2, *shape))
        both /= np.linalg.norm(both, axis=-1, keepdims=True)
        return both


POPULATIONS = {
    "plain": Voices(),
    # Nearer to each other, less alike in how hard they are, in two sessions, with fewer trials.
    "hard": Voices(dimensions=10, hard=0.5, sessions=2, targets=40, nontargets=60),
}


def error_rates(target: NDArray[np.float64], nontarget: NDArray[np.float64]) -> NDArray[np.float64]:
    """EER and minDCFs, shape (figures,)."""
    ordered = SortedScores.of(target, nontarget)
    return np.array([ordered.eer().rate, *(ordered.min_dcf(p_target=p).rate for p in _PRIORS)])


def coverage(
    voices: Voices,
    truth: NDArray[np.float64],
    speakers: int,
    lists: int,
    replicates: int,
    seed: int,
    *,
    alone: bool = False,
) -> dict[str, Counter[str]]:
    """In how many lists each figure's interval holds the truth, lies above it, below it; by what is drawn again.

    With ``alone`` speakers are, and neither trials nor sessions.

    ``plain`` are the lists of which nothing is said, ``plain and held`` those of them that hold the truth.
    """
    found: dict[str, Counter[str]] = {}
    for number in range(lists):
        random = np.random.default_rng([seed, speakers, number])
        drawn = voices.trials(random, speakers)
        told = drawn.scores, drawn.target, drawn.enrol, drawn.test
        by_method = {} if alone else {"trials": _trial_by_trial(drawn, replicates, random)}
        methods: dict[str, Any] = {"speakers": (None, None)}
        if not alone:
            methods["speakers x sessions"] = (drawn.enrol_session, drawn.test_session)
        for name, sessions in methods.items():
            result = bootstrap(
                *told,
                priors=_PRIORS,
                replicates=replicates,
                seed=number,
                enrol_session=sessions[0],
                test_session=sessions[1],
            )
            by_method[name] = [(one.low, one.high) for one in (result.eer, *result.min_dcf)]
        enough = [True, *(_false_alarms_decide(drawn, prior) for prior in _PRIORS)]
        for method, ends in by_method.items():
            counts = found.setdefault(method, Counter())
            for figure, (low, high), true, nothing_said in zip(_FIGURES, ends, truth, enough, strict=True):
                counts[f"{figure} held"] += bool(low <= true <= high)
                counts[f"{figure} plain"] += nothing_said
                counts[f"{figure} plain and held"] += nothing_said and bool(low <= true <= high)
                counts[f"{figure} too high"] += bool(true < low)
                counts[f"{figure} too low"] += bool(high < true)
                counts[f"{figure} width"] += high - low  # type: ignore[assignment]
    return found


def false_alarms(voices: Voices, speakers: int, lists: int, replicates: int, seed: int) -> Counter[str]:
    """In how many lists two systems that err equally often are called different at 5 %."""
    called: Counter[str] = Counter()
    for number in range(lists):
        drawn = voices.trials(np.random.default_rng([seed + 1, speakers, number]), speakers)
        told = drawn.scores, drawn.other, drawn.target, drawn.enrol, drawn.test
        result = paired_difference(*told, priors=_PRIORS, replicates=replicates, seed=number)
        for figure, p in zip(_FIGURES, (result.p_value, *result.p_values), strict=True):
            called[figure] += p < 0.05
    return called


def _false_alarms_decide(drawn: Trials, prior: float) -> bool:
    """Whether a minimum cost stands on so many that ``evaluate`` says nothing of it."""
    nontarget = drawn.scores[~drawn.target]
    point = SortedScores.of(drawn.scores[drawn.target], nontarget).min_dcf(p_target=prior)
    return int(np.count_nonzero(nontarget >= point.threshold)) >= _FEW_ALARMS


def _trial_by_trial(drawn: Trials, replicates: int, random: np.random.Generator) -> list[tuple[float, float]]:
    """The ends that a bootstrap gives which draws trials as if each were of voices of its own."""
    target, nontarget = drawn.scores[drawn.target], drawn.scores[~drawn.target]
    rates = [
        error_rates(random.choice(target, target.size), random.choice(nontarget, nontarget.size))
        for _ in range(replicates // 4)
    ]
    low, high = np.quantile(rates, [0.025, 0.975], axis=0).tolist()
    return list(zip(low, high, strict=True))


def _binomial(count: float, lists: int) -> str:
    """A share with its 95 % interval of Clopper and Pearson (1934)."""
    if not lists:
        return "none"
    low = beta.ppf(0.025, count, lists - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, lists - count) if count < lists else 1.0
    return f"{100 * count / lists:5.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lists", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--speakers", type=int, nargs="+", default=[60, 100, 150])
    parser.add_argument("--voices", choices=POPULATIONS, default="plain")
    parser.add_argument("--targets", type=int, help="of each speaker, else as the voices have it")
    parser.add_argument("--nontargets", type=int, help="likewise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="our intervals over speakers and nothing else")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("targets", "nontargets") if getattr(options, name)}
    voices = replace(POPULATIONS[options.voices], **given)
    truth = voices.truth(np.random.default_rng([options.seed, 0]))
    print("true", *(f"{name} {value:.4f}" for name, value in zip(_FIGURES, truth, strict=True)))
    content = {
        "truth": truth.tolist(),
        "machine": Machine.here().model_dump(),
        "options": vars(options) | {"out": None},
    }
    for speakers in options.speakers:
        found = coverage(
            voices,
            truth,
            speakers,
            options.lists,
            options.replicates,
            options.seed,
            alone=options.alone,
        )
        for method, counts in found.items():
            for figure in _FIGURES:
                line = (
                    f"{speakers:4d} speakers, drawn: {method:20s} {figure:12s} "
                    f"{_binomial(counts[f'{figure} held'], options.lists)}; interval too high "
                    f"{counts[f'{figure} too high']}, too low {counts[f'{figure} too low']}; mean width "
                    f"{counts[f'{figure} width'] / options.lists:.4f}"
                )
                if (plain := counts[f"{figure} plain"]) < options.lists:
                    share = _binomial(counts[f"{figure} plain and held"], plain)
                    line += f"; {_FEW_ALARMS} false alarms or more: {share} of {plain}"
                print(line, flush=True)
        if options.alone:
            content[str(speakers)] = {"coverage": found}
            continue
        called = false_alarms(voices, speakers, options.lists, options.replicates, options.seed)
        for figure in _FIGURES:
            share = _binomial(called[figure], options.lists)
            print(
                f"{speakers:4d} speakers, equal systems called different at 5 %: {figure:12s} {share}",
                flush=True,
            )
        content[str(speakers)] = {"coverage": found, "called different": called}
    if options.out:
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
