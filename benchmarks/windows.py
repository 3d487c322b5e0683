"""``python -m benchmarks.windows``: how near the windows' mean is to the embedding of the whole, on real voices."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE
from voxangle.corpora import corpus_reader
from voxangle.encoders import Embedder
from voxangle.runtime.sources import AudioFile, Samples
from voxangle.runtime.windows import Windows

__all__ = ["joined_recordings"]

_CUTS = ((120.0, 0.0), (60.0, 0.0), (60.0, 6.0), (60.0, 30.0), (30.0, 0.0), (10.0, 0.0), (10.0, 1.0))


def joined_recordings(table: Path, *, speakers: int, shortest: float, longest: float) -> list[Samples]:
    """The recordings of each of several speakers, one after the other, drawn with a fixed seed.

    Args:
        table: of recordings, as the corpus ``table`` reads it.
        speakers: how many.
        shortest: seconds that a speaker must have.
        longest: seconds that are taken.
    """
    by_speaker: dict[str, list[AudioFile]] = {}
    seconds: dict[str, float] = {}
    for manifest in corpus_reader("table").read(table).splits.values():
        for one in manifest:
            by_speaker.setdefault(one.speaker, []).append(
                AudioFile(manifest.root / one.path, one.start, one.seconds or None)
            )
            seconds[one.speaker] = seconds.get(one.speaker, 0.0) + one.seconds
    enough = sorted(speaker for speaker, total in seconds.items() if total >= shortest)
    drawn = np.random.default_rng(0).permutation(len(enough))[:speakers]
    most = round(longest * SAMPLE_RATE)
    return [np.concatenate([file.read(None) for file in by_speaker[enough[i]]])[:most] for i in drawn]


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a run's folder")
    parser.add_argument(
        "table", type=Path, help="a table of recordings, such as shared/corpora/utterances.csv"
    )
    parser.add_argument("--speakers", type=int, default=12)
    parser.add_argument("--shortest", type=float, default=180.0, help="seconds of a speaker")
    parser.add_argument("--longest", type=float, default=300.0, help="seconds of a speaker that are taken")
    options = parser.parse_args()
    waveforms = joined_recordings(
        options.table, speakers=options.speakers, shortest=options.shortest, longest=options.longest
    )
    embedder = Embedder.load(options.model)

    def embed(windows: Windows | None) -> NDArray[np.float32]:
        embedder.windows = windows
        found = embedder.embed(waveforms)
        unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit

    whole = embed(None)
    minutes = sum(map(len, waveforms)) / SAMPLE_RATE / 60
    others = (whole @ whole.T)[~np.eye(len(whole), dtype=bool)]
    print(f"{len(waveforms)} speakers, {minutes:.1f} min; cosine of two speakers {others.mean():.3f}")
    for seconds, overlap in _CUTS:
        cosine = (embed(Windows(seconds=seconds, overlap=overlap)) * whole).sum(axis=1)
        print(
            f"windows of {seconds:g} s, overlap {overlap:g} s: cosine with the whole {cosine.mean():.4f} on average, "
            f"{cosine.min():.4f} at least",
            flush=True,
        )


if __name__ == "__main__":
    main()
