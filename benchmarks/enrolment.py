"""``python -m benchmarks.enrolment --model M``: what more recordings, and longer ones, are worth.

EER of verification on speakers of a split (``eval``: nothing is tuned here), by the number of recordings that somebody
is enrolled with, and by the seconds of speech in them and in the recording that is tested, with 95 % intervals by
bootstrap over speakers. docs/product.md quotes what is printed.

Corpora have short recordings, so that one *of so many seconds of speech* is made of several of one session, joined and
cut where the speech (frames within 35 dB of the loudest 100 ms) is enough; pauses stay, and do not count. Enrolled is
one session; tested are others where the speaker has any, or else what is left of it, which is easier. Every speaker is
drawn ``--draws`` times; non-targets are of the same corpus. All rows are of the same speakers and trials: who has too
little speech for one of them is in none.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, load
from voxangle.audio.measures import FRAME, frame_energies, sounding
from voxangle.cli.app import load_model
from voxangle.metrics import Interval, bootstrap, eer, paired_difference
from voxangle.runtime.embedding import BaseEmbedder

__all__ = ["Drawn", "Embedded", "Plan", "Speaker", "Spoken", "Trials", "cut", "draw", "main", "trials"]

_CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"

Samples = NDArray[np.float32]
Condition = tuple[tuple[int, float], float]
"""Number of recordings that are enrolled, seconds of speech in each of them, seconds of speech that are tested."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        recordings: how many are enrolled, in turn.
        each: seconds of speech in each of them.
        seconds: of speech in one recording that is enrolled alone, in turn.
        tested: seconds of speech in the recording that is tested, in turn.
        tests: recordings that are tested of each speaker, at most.
        draws: of each speaker.
        seed: of the draws.
    """

    recordings: tuple[int, ...] = (1, 2, 3, 5)
    each: float = 2.0
    seconds: tuple[float, ...] = (2.0, 5.0, 10.0)
    tested: tuple[float, ...] = (1.0, 2.0, 3.0, 5.0)
    tests: int = 4
    draws: int = 2
    seed: int = 0

    @property
    def enrolments(self) -> dict[tuple[int, float], None]:
        """Each as the number of recordings and the seconds of speech in each of them."""
        several = [(count, self.each) for count in self.recordings]
        return dict.fromkeys([*several, *((1, seconds) for seconds in self.seconds)])


class Spoken(NamedTuple):
    """A recording.

    Attributes:
        waveform: (frames * 320,) at 16 kHz.
        speech: (frames,) which frames of 20 ms sound.
    """

    waveform: Samples
    speech: NDArray[np.bool_]

    @classmethod
    def of(cls, waveform: Samples) -> Spoken:
        """What sounds in samples, without the fraction of a frame at their end."""
        whole = waveform[: len(waveform) // FRAME * FRAME]
        return cls(whole, sounding(frame_energies(whole - whole.mean(dtype=np.float64))))


@dataclass(frozen=True, slots=True)
class Speaker:
    """Somebody's recordings.

    Attributes:
        name: of the speaker.
        corpus: whose other speakers are non-targets.
        sessions: of each recording.
        recordings: of 20 ms or more each.
    """

    name: str
    corpus: str
    sessions: tuple[str, ...]
    recordings: tuple[Spoken, ...]


class Drawn(NamedTuple):
    """The two sides of a speaker, as waveforms or as their embeddings.

    Attributes:
        enrolled: by the place of the recording among those enrolled, and its seconds of speech.
        tested: by seconds of speech, as many of each.
    """

    enrolled: dict[tuple[int, float], NDArray[np.float32]]
    tested: dict[float, list[NDArray[np.float32]]]


class Embedded(NamedTuple):
    """One draw of a speaker.

    Attributes:
        speaker: the name.
        corpus: the speaker's.
        number: of the draw.
        sides: their embeddings, (D,) each, not of unit length.
    """

    speaker: str
    corpus: str
    number: int
    sides: Drawn


class Trials(NamedTuple):
    """Scored, all of shape (T,).

    Attributes:
        scores: cosines.
        target: whether both sides are one speaker.
        enrol_speaker: who was enrolled.
        test_speaker: who is tested.
    """

    scores: NDArray[np.float64]
    target: NDArray[np.bool_]
    enrol_speaker: NDArray[np.str_]
    test_speaker: NDArray[np.str_]

    @property
    def eer(self) -> float:
        """In [0, 1]."""
        return eer(self.scores[self.target], self.scores[~self.target]).rate


def cut(recordings: Sequence[Spoken], seconds: float) -> tuple[Samples, int] | None:
    """So many seconds of speech, with the pauses between, from the beginning of recordings that are joined.

    Returns:
        The samples, and of how many recordings they are; None where there is too little speech in all.
    """
    missing = round(seconds * SAMPLE_RATE / FRAME)
    parts: list[Samples] = []
    for used, one in enumerate(recordings, start=1):
        heard = np.cumsum(one.speech)
        if heard[-1] >= missing:
            frames = int(np.searchsorted(heard, missing)) + 1
            return np.concatenate([*parts, one.waveform[: frames * FRAME]]), used
        missing -= int(heard[-1])
        parts.append(one.waveform)
    return None


def draw(speaker: Speaker, plan: Plan, random: np.random.Generator) -> Drawn | None:
    """Recordings to enrol and to test, in random order, none on both sides; None where there is too little speech."""
    order = random.permutation(len(speaker.recordings))
    sessions = random.permutation(np.unique(speaker.sessions))
    for session in sessions:
        here = [speaker.recordings[i] for i in order if speaker.sessions[i] == session]
        elsewhere = [speaker.recordings[i] for i in order if speaker.sessions[i] != session]
        enrolled, used = _enrolled(here, plan)
        tested = _tested(elsewhere if len(sessions) > 1 else here[used:], plan)
        if enrolled and tested[plan.tested[0]]:
            return Drawn(enrolled, tested)
    return None


def _enrolled(recordings: Sequence[Spoken], plan: Plan) -> tuple[dict[tuple[int, float], Samples], int]:
    """Every recording that is enrolled, none where one is missing, and how many were used up."""
    found, most = {}, 0
    for count, seconds in plan.enrolments:
        first = 0
        for place in range(count):
            piece = cut(recordings[first:], seconds)
            if piece is None:
                return {}, len(recordings)
            found[place, seconds] = piece[0]
            first += piece[1]
        most = max(most, first)
    return found, most


def _tested(recordings: Sequence[Spoken], plan: Plan) -> dict[float, list[Samples]]:
    """The short ones are the beginnings of the long ones."""
    found: dict[float, list[Samples]] = {seconds: [] for seconds in plan.tested}
    first = 0
    for _ in range(plan.tests):
        longest = cut(recordings[first:], max(plan.tested))
        if longest is None:
            break
        for seconds, pieces in found.items():
            piece = cut(recordings[first:], seconds)
            assert piece is not None  # the longest was found
            pieces.append(piece[0])
        first += longest[1]
    return found


def embed(embedder: BaseEmbedder, drawn: Drawn) -> Drawn:
    """The embeddings, (D,) each, not of unit length."""
    waveforms = [*drawn.enrolled.values(), *(one for pieces in drawn.tested.values() for one in pieces)]
    vectors = iter(embedder.embed(waveforms))
    return Drawn(
        {key: next(vectors) for key in drawn.enrolled},
        {seconds: [next(vectors) for _ in pieces] for seconds, pieces in drawn.tested.items()},
    )


def trials(embedded: Sequence[Embedded], enrolment: tuple[int, float], tested: float) -> Trials:
    """All of one draw and corpus against each other.

    Args:
        embedded: every draw of every speaker.
        enrolment: number of recordings, and seconds of speech in each.
        tested: seconds of speech.
    """
    count, seconds = enrolment
    parts = []
    for group in sorted({(one.corpus, one.number) for one in embedded}):
        here = [one for one in embedded if (one.corpus, one.number) == group]
        # A voiceprint is the mean of its recordings' embeddings as they are (voxangle.voiceprints).
        prints = _unit(
            [np.mean([one.sides.enrolled[place, seconds] for place in range(count)], axis=0) for one in here]
        )
        tests = _unit([vector for one in here for vector in one.sides.tested[tested]])
        names = np.array([one.speaker for one in here])
        of = np.repeat(names, [len(one.sides.tested[tested]) for one in here])
        enrol, test = np.repeat(names, len(of)), np.tile(of, len(names))
        parts.append(Trials((prints @ tests.T).ravel(), enrol == test, enrol, test))
    return Trials(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _unit(vectors: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    stacked = np.stack(vectors).astype(np.float64)
    unit: NDArray[np.float64] = stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
    return unit


def read_speakers(
    corpora: Path, split: str, wanted: Callable[[str], bool] = lambda _: True
) -> Iterable[Speaker]:
    """One after the other, for all their recordings are more than need be in memory; those wanted by name alone."""
    with (corpora / "utterances.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    by_speaker: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        by_speaker.setdefault((row["corpus"], row["speaker"]), []).append(row)
    for (corpus, name), theirs in sorted(by_speaker.items()):
        if not wanted(f"{corpus}/{name}"):
            continue
        recordings = tuple(Spoken.of(load(corpora / row["path"])) for row in theirs)
        yield Speaker(f"{corpus}/{name}", corpus, tuple(row["session"] for row in theirs), recordings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--model", type=Path, help="a run, a model's folder or an .onnx; the default model if none"
    )
    parser.add_argument(
        "--corpora", type=Path, default=_CORPORA, help="with utterances.csv and its recordings"
    )
    parser.add_argument("--split", default="eval")
    parser.add_argument("--draws", type=int, default=Plan().draws, help="of each speaker")
    parser.add_argument("--seed", type=int, default=Plan().seed)
    options = parser.parse_args(arguments)
    plan = Plan(draws=options.draws, seed=options.seed)
    embedder, _ = load_model(options.model)
    embedded: list[Embedded] = []
    few: Counter[str] = Counter()
    for place, speaker in enumerate(read_speakers(options.corpora, options.split)):
        randoms = (np.random.default_rng([plan.seed, place, number]) for number in range(plan.draws))
        found = [draw(speaker, plan, random) for random in randoms]
        embedded += [
            Embedded(speaker.name, speaker.corpus, number, embed(embedder, one))
            for number, one in enumerate(found)
            if one is not None
        ]
        few[speaker.corpus] += found.count(None) == len(found)
        print(f"{speaker.name}: {len(speaker.recordings)} recordings", file=sys.stderr)
    print("\n".join(_report(embedder, embedded, few, plan)))


def _report(
    embedder: BaseEmbedder,
    embedded: Sequence[Embedded],
    few: Counter[str],
    plan: Plan,
) -> Iterable[str]:
    corpora = Counter(corpus for corpus, _ in {(one.corpus, one.speaker) for one in embedded})
    first = plan.recordings[0], plan.each
    some = trials(embedded, first, plan.tested[0])
    yield f"{embedder.card.name} ({embedder.weights_sha256[:12]}), {plan.draws} draws, seed {plan.seed}"
    who = ", ".join(f"{corpus} {corpora[corpus]}" for corpus in sorted(few))
    yield f"speakers: {who}; {few.total()} have too little speech"
    yield f"trials: {some.target.sum():,} target, {(~some.target).sum():,} non-target"
    yield "\nEER in %, [95 %], by what is enrolled (rows) and the seconds of speech that are tested (columns)\n"
    yield "| enrolled | " + " | ".join(f"{seconds:g} s" for seconds in plan.tested) + " |"
    yield "|---|" + "---|" * len(plan.tested)
    for enrolment in plan.enrolments:
        cells = [_with_interval(trials(embedded, enrolment, seconds)) for seconds in plan.tested]
        yield f"| {_words(enrolment)} | " + " | ".join(cells) + " |"
    yield "\nwhat changes, in points of EER\n"
    for one, other in _compared(plan):
        mine, theirs = trials(embedded, *one), trials(embedded, *other)
        change = paired_difference(mine.scores, theirs.scores, *mine[1:])  # the trials are the same
        points = f"{100 * change.eer:+.1f} {_percent(change.eer_interval)}"
        yield f"- {_words(one[0])} and {one[1]:g} s, not {_words(other[0])} and {other[1]:g} s: {points}"


def _compared(plan: Plan) -> Iterable[tuple[Condition, Condition]]:
    """More recordings with one, and with one as long as all; a longer test with the next shorter."""
    longest = plan.tested[-1]
    several = [(count, plan.each) for count in plan.recordings]
    for more in several[1:]:
        yield (more, longest), (several[0], longest)
    for more in several[1:]:
        alone = (1, more[0] * plan.each)
        if alone in plan.enrolments:
            yield (more, longest), (alone, longest)
    for shorter, longer in pairwise(plan.tested):
        yield (several[-1], longer), (several[-1], shorter)


def _words(enrolment: tuple[int, float]) -> str:
    count, seconds = enrolment
    return f"{count} x {seconds:g} s"


def _with_interval(found: Trials) -> str:
    interval = bootstrap(*found).eer
    return f"{100 * found.eer:.1f} {_percent(interval)}"


def _percent(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


if __name__ == "__main__":
    main()
