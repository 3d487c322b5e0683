r"""Our model beside Resemblyzer 0.1.4, on every list of shared/corpora and of debian-voices.

    make peers
    python -m benchmarks.resemblyzer [--model RUN] [--root ../shared/corpora] [--rounds 9] [--out FILE.json]

Resemblyzer (Apache-2.0) is a GE2E LSTM of 256 dimensions after Wan et al. (arXiv 1710.10467), trained on
LibriSpeech-other, VoxCeleb1 and VoxCeleb2; its weights come in its wheel. It hears recordings as it wants to: volume
normalised, long pauses cut. Both are scored by the cosine. Prints both equal error rates and costs, with their 95 %
intervals and that of their difference, by bootstrap over speakers (1000 draws, seed 0, both on the same draws); and
how long a recording takes each on one thread: recordings of the lists, one at a time, in turns.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# One thread everywhere, set before torch is loaded.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.lists import on_lists
from benchmarks.peers import resemblyzer
from benchmarks.ratio import in_turns
from benchmarks.told import tell
from voxangle.audio import SAMPLE_RATE, Waveform
from voxangle.corpora import Corpus, corpus_folder, corpus_reader
from voxangle.corpora.prepared import prepare_split
from voxangle.encoders import Embedder
from voxangle.runtime import BaseEmbedder, OnnxEmbedder
from voxangle.scoring import compare

__all__ = ["Resemblyzer", "main", "rows", "speeds"]

OURS, THEIRS = "voxangle", "Resemblyzer"
SPOKEN = 40  # recordings of which the time is taken


class Resemblyzer(BaseEmbedder):
    """Resemblyzer's encoder, as its own examples use it, on the CPU."""

    windows = None
    dimension = 256

    def __init__(self) -> None:
        self._module = resemblyzer()
        self._encoder = self._module.VoiceEncoder("cpu", verbose=False)

    def _embed_padded(
        self, waveforms: NDArray[np.float32], samples: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        heard = [
            self._module.preprocess_wav(row[:count], source_sr=SAMPLE_RATE)
            for row, count in zip(waveforms, samples.tolist(), strict=True)
        ]
        return np.stack([self._encoder.embed_utterance(one) for one in heard])


def rows(ours: BaseEmbedder, theirs: BaseEmbedder, corpus: Corpus) -> Iterator[dict[str, str]]:
    """A row a trial list."""
    for trials, results in on_lists({OURS: ours, THEIRS: theirs}, corpus):
        difference = compare(results[OURS], results[THEIRS])
        interval = difference.eer_interval
        yield {
            "list": trials.name,
            "speakers": str(difference.speakers),
            "trials": f"{len(trials):,}",
            **{f"EER %, {name}": _percent(result.eer) for name, result in results.items()},
            "difference": f"{100 * difference.eer:+.2f} [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]",
            **{f"minDCF 0.01, {name}": _cost(result.min_dcf[0]) for name, result in results.items()},
        }


def _percent(measure: Any) -> str:
    return f"{100 * measure.value:.2f} [{100 * measure.low:.2f}, {100 * measure.high:.2f}]"


def _cost(measure: Any) -> str:
    return f"{measure.value:.3f} [{measure.low:.3f}, {measure.high:.3f}]"


def speeds(
    models: dict[str, BaseEmbedder], recordings: list[Waveform], rounds: int
) -> Iterator[dict[str, str]]:
    """A row a model: milliseconds a recording, each alone, median and quartiles over the rounds."""
    calls = [lambda model=model: [model.embed([one]) for one in recordings] for model in models.values()]
    seconds = dict(zip(models, in_turns(*calls, rounds=rounds, warm_up=1), strict=True))
    for name, took in seconds.items():
        low, middle, high = 1000 * np.quantile(took / len(recordings), [0.25, 0.5, 0.75])
        ratio = np.quantile(took / seconds[THEIRS], [0.25, 0.5, 0.75])
        yield {
            "model": name,
            "ms a recording": f"{middle:.1f} [{low:.1f}, {high:.1f}]",
            f"of {THEIRS}'s time": f"{ratio[1]:.2f} [{ratio[0]:.2f}, {ratio[2]:.2f}]",
        }


def _some(corpus: Corpus, count: int) -> list[Waveform]:
    """Recordings of the corpus's evaluation, drawn with seed 0."""
    prepared = prepare_split(corpus, "eval")
    drawn = np.random.default_rng(0).choice(
        len(prepared.samples), min(count, len(prepared.samples)), replace=False
    )
    return [prepared.read(int(row)) for row in np.sort(drawn)]


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a run's folder; else the model that comes with voxangle")
    parser.add_argument("--root", type=Path, default=Path("../shared/corpora"))
    parser.add_argument("--rounds", type=int, default=9, help="of the timing; 0 for none")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shared = corpus_reader("table").read(options.root.resolve())
    debian = corpus_reader("debian-voices").read(corpus_folder("debian-voices"))
    ours, theirs = Embedder.load(options.model, device="cpu"), Resemblyzer()
    tables = {"error rates": [row for corpus in (shared, debian) for row in rows(ours, theirs, corpus)]}
    if options.rounds:
        recordings = _some(shared, SPOKEN)
        seconds = sum(map(len, recordings)) / SAMPLE_RATE / len(recordings)
        models: dict[str, BaseEmbedder] = {f"{OURS}, torch": ours}
        if options.model is None:
            models[f"{OURS}, ONNX Runtime"] = OnnxEmbedder.load(threads=1)
        models[THEIRS] = theirs
        title = f"time, one thread, {len(recordings)} recordings of {seconds:.1f} s on average"
        tables[title] = list(speeds(models, recordings, options.rounds))
    tell(tables, options.out)


if __name__ == "__main__":
    main()
