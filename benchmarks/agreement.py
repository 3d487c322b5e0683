"""``python -m benchmarks.agreement``: from which log-likelihood ratio on recordings should be enrolled as one person's.

Recordings *of so many seconds of speech* are made of several of one session, joined and cut (``benchmarks.enrolment``).
Enrolled are two and three of them, of one person or with one of another of the same corpus among them, and judged as
``voxangle.voiceprints`` judges an enrolment: by the recording that agrees least with the others. Of such enrolments the
share is printed that each bound refuses. Speakers are those of a split whom the model was not trained on, by the recipe
that it was trained by (``--seen``: those whom it was); docs/product.md quotes what is printed.

``copies`` compares each recording with copies of it in other formats, and with the others of the same person: how alike
two recordings have to be to be one.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from benchmarks.enrolment import Samples, Speaker, cut, read_speakers
from voxangle.audio import SAMPLE_RATE, resample
from voxangle.audio.measures import FRAME
from voxangle.cli.app import load_trained
from voxangle.corpora import corpus_reader
from voxangle.encoders import Embedder
from voxangle.recipe import Recipe
from voxangle.runtime.card import Calibration
from voxangle.training.held_out import trained_on
from voxangle.voiceprints import Recording, take_waveforms
from voxangle.voiceprints.enrolment import EnrolmentRules, agreements, cosine

__all__ = ["Enrolment", "Person", "enrolments", "main"]

_ROOT = Path(__file__).resolve().parents[1]
_CORPORA = _ROOT.parent / "shared" / "corpora"
_RECIPE = _ROOT / "recipes" / "shared.yaml"
_BOUNDS = (-4.6, -3.0, -2.0, -1.0, 0.0)
_COPIED = 5  # recordings of each speaker, at most
_COPIES = {
    "flac": ("FLAC", "PCM_16", 16_000),
    "opus": ("OGG", "OPUS", 16_000),
    "vorbis": ("OGG", "VORBIS", 16_000),
    "mp3": ("MP3", "MPEG_LAYER_III", 16_000),
    "flac, 8 kHz": ("FLAC", "PCM_16", 8_000),
}


class Person(NamedTuple):
    """Recordings of equal length of a speaker.

    Attributes:
        name: of the speaker.
        corpus: whose other speakers are the others.
        sessions: of each recording.
        recordings: embedded.
    """

    name: str
    corpus: str
    sessions: tuple[str, ...]
    recordings: tuple[Recording, ...]


class Enrolment(NamedTuple):
    """Recordings that are given as one person's.

    Attributes:
        kind: of what.
        corpus: of which.
        lowest: the log-likelihood ratio of the recording that agrees least with the others.
    """

    kind: str
    corpus: str
    lowest: float


def pieces(
    speaker: Speaker, seconds: float, most: int, random: np.random.Generator
) -> list[tuple[str, Samples]]:
    """Up to so many of each session, with the session, no recording in two of them."""
    found = []
    for session in sorted(set(speaker.sessions)):
        here = [one for one, its in zip(speaker.recordings, speaker.sessions, strict=True) if its == session]
        here = [here[place] for place in random.permutation(len(here))]
        for _ in range(most):
            piece = cut(here, seconds)
            if piece is None:
                break
            found.append((session, piece[0]))
            here = here[piece[1] :]
    return found


def enrolments(
    people: Sequence[Person], fit: Calibration, random: np.random.Generator
) -> Iterable[Enrolment]:
    """Every pair and triple of one session of a person; a pair of every two people, and a triple with an intruder."""

    def judged(kind: str, corpus: str, recordings: Sequence[Recording]) -> Enrolment:
        ratios = [one.ratio for one in agreements(recordings, fit) if one.ratio is not None]
        return Enrolment(kind, corpus, min(ratios))

    for one in people:
        for count in (2, 3):
            for places in combinations(range(len(one.recordings)), count):
                sessions = len({one.sessions[place] for place in places})
                day = "" if sessions == 1 else ", other days"
                yield judged(f"{count} of one{day}", one.corpus, [one.recordings[place] for place in places])
        for other in people:
            if other.corpus != one.corpus or other.name == one.name:
                continue
            (intruder,) = random.choice(len(other.recordings), 1)
            if other.name > one.name:
                (own,) = random.choice(len(one.recordings), 1)
                pair = [one.recordings[own], other.recordings[intruder]]
                yield judged("1 of each of two", one.corpus, pair)
            session = random.permutation(
                [place for place, its in enumerate(one.sessions) if its == one.sessions[0]]
            )
            if len(session) > 1:
                two = [one.recordings[place] for place in session[:2]]
                yield judged("2 of one, 1 of another", one.corpus, [*two, other.recordings[intruder]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["bounds", "copies"], nargs="?", default="bounds")
    parser.add_argument("--model", type=Path, help="a run or a model's folder; the default model if none")
    parser.add_argument(
        "--corpora", type=Path, default=_CORPORA, help="with utterances.csv and its recordings"
    )
    parser.add_argument("--split", default="train")
    parser.add_argument("--recipe", type=Path, default=_RECIPE, help="that the model was trained by")
    parser.add_argument("--seen", action="store_true", help="speakers whom the model was trained on")
    parser.add_argument("--seconds", type=float, default=3.0, help="of speech in each recording")
    parser.add_argument("--recordings", type=int, default=4, help="of each session, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    embedder, _ = load_trained(options.model)
    corpus, recipe = corpus_reader("table").read(options.corpora), Recipe.read(options.recipe)
    seen = trained_on(embedder.card, "table", corpus, options.split, options.corpora, recipe)
    speakers = read_speakers(options.corpora, options.split, lambda name: (name in seen) == options.seen)
    print(f"{embedder.card.name} ({embedder.weights_sha256[:12]}), seed {options.seed}")
    if options.what == "copies":
        print("\n".join(_of_copies(embedder, speakers)))
        return
    fit = embedder.card.calibration
    if fit is None:
        raise SystemExit(f"{embedder.card.name}: has no calibration")
    people = []
    for place, speaker in enumerate(speakers):
        random = np.random.default_rng([options.seed, place])
        found = pieces(speaker, options.seconds, options.recordings, random)
        if found:
            sessions, waveforms = zip(*found, strict=True)
            people.append(
                Person(speaker.name, speaker.corpus, sessions, tuple(take_waveforms(embedder, waveforms)))
            )
    judged = list(enrolments(people, fit, np.random.default_rng(options.seed)))
    print(f"{len(people)} speakers with recordings of {options.seconds:g} s of speech\n")
    print("\n".join(_table(judged)))


def _table(judged: Sequence[Enrolment]) -> Iterable[str]:
    yield (
        "| enrolled | corpus | enrolments | refused below " + " | ".join(f"{one:g}" for one in _BOUNDS) + " |"
    )
    yield "|---|---|---:|" + "---:|" * len(_BOUNDS)
    for kind in sorted({one.kind for one in judged}):
        of_kind = [one for one in judged if one.kind == kind]
        corpora = sorted({one.corpus for one in of_kind})
        for corpus in [*corpora, *(["all"] if len(corpora) > 1 else [])]:
            ratios = np.array([one.lowest for one in of_kind if corpus in ("all", one.corpus)])
            shares = " | ".join(f"{100 * np.mean(ratios < bound):.1f} %" for bound in _BOUNDS)
            yield f"| {kind} | {corpus} | {len(ratios):,} | {shares} |"


def _of_copies(embedder: Embedder, speakers: Iterable[Speaker]) -> Iterable[str]:
    """How alike copies are, by format and corpus, and how alike two recordings of a person are at most."""
    likeness: dict[tuple[str, str], list[float]] = {}
    different: list[float] = []
    for speaker in speakers:
        whole = [one.waveform for one in speaker.recordings if one.speech.sum() * FRAME >= SAMPLE_RATE]
        if not whole:
            continue
        own = embedder.embed(whole)
        different += [cosine(a, b) for a, b in combinations(own, 2)]
        for kind, how in _COPIES.items():
            copies = embedder.embed([_copied(one, *how) for one in whole[:_COPIED]])
            found = likeness.setdefault((kind, speaker.corpus), [])
            found += [cosine(one, copy) for one, copy in zip(own, copies, strict=False)]
    least = EnrolmentRules().copy_from
    yield f"| copy | corpus | copies | median cosine | {least} or more |"
    yield "|---|---|---:|---:|---:|"
    for (kind, corpus), each in sorted(likeness.items()):
        told = f"{100 * np.mean(np.array(each) >= least):.0f} %"
        yield f"| {kind} | {corpus} | {len(each)} | {np.median(each):.4f} | {told} |"
    yield f"\n{len(different):,} pairs of two recordings of a person: {max(different):.4f} at most"


def _copied(waveform: Samples, kind: str, subtype: str, rate: int) -> NDArray[np.float32]:
    file = io.BytesIO()
    lower = soxr.resample(waveform, SAMPLE_RATE, rate, quality="HQ")
    soundfile.write(file, lower, rate, format=kind, subtype=subtype)
    samples, rate = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    return resample(samples, rate)


if __name__ == "__main__":
    main()
