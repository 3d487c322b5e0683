r"""What a model costs and loses as ONNX, in float32 and in 8 bits, beside torch.

    python -m benchmarks.onnx --model RUN [--root ../shared/corpora] [--rounds 15] [--work FOLDER] [--out FILE.json]

Exports the model twice into FOLDER and prints: the equal error rates of the three on the corpus's trial lists, with the
difference int8 minus float32 and its 95 % interval by bootstrap over speakers (1000 draws, seed 0, both on the same
draws); the size of each file; how many seconds of speech a second of one thread embeds (a recording at a time, in
turns); and how long a fresh process takes until it has the first embedding.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# One thread everywhere, set before torch is loaded.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from benchmarks.lists import on_lists
from benchmarks.ratio import in_turns
from benchmarks.told import tell
from voxangle.audio import SAMPLE_RATE
from voxangle.corpora import corpus_reader
from voxangle.encoders import Embedder
from voxangle.encoders.onnx_export import export_onnx
from voxangle.runtime import BaseEmbedder, OnnxEmbedder
from voxangle.scoring import compare

SECONDS = (3.0, 10.0)
TORCH, FLOAT, INT8 = "torch float32", "onnx float32", "onnx int8"

FIRST_EMBEDDING = """
import sys, time
began = time.perf_counter()
import numpy as np
if sys.argv[1].endswith(".onnx"):
    from voxangle.runtime import OnnxEmbedder as Model
else:
    from voxangle.encoders import Embedder as Model
imported = time.perf_counter()
model = Model.load(sys.argv[1], **({"threads": 1} if sys.argv[1].endswith(".onnx") else {"device": "cpu"}))
model.embed([np.random.default_rng(0).standard_normal(48_000).astype(np.float32) / 10])
print(imported - began, time.perf_counter() - began, "torch" in sys.modules)
"""


def error_rates(models: dict[str, BaseEmbedder], root: Path) -> Iterator[dict[str, str]]:
    """A row a trial list."""
    for trials, results in on_lists(models, corpus_reader("table").read(root)):
        loss = compare(results[INT8], results[FLOAT])
        interval = loss.eer_interval
        yield {
            "list": trials.name,
            "speakers": str(loss.speakers),
            "trials": f"{len(trials):,}",
            **{f"{name} EER %": f"{100 * result.eer.value:.3f}" for name, result in results.items()},
            "int8 - float32 EER": f"{100 * loss.eer:+.3f} [{100 * interval.low:+.3f}, {100 * interval.high:+.3f}]",
            "score, most": _most_apart(results[INT8], results[FLOAT]),
        }


def _most_apart(first: Any, second: Any) -> str:
    """The largest difference of a trial's score."""
    return f"{np.abs(first.scores.scores - second.scores.scores).max():.4f}"


def speeds(models: dict[str, BaseEmbedder], sizes: dict[str, int], rounds: int) -> Iterator[dict[str, str]]:
    """A row a model."""
    random = np.random.default_rng(0)
    seconds: dict[float, dict[str, np.ndarray]] = {}
    for length in SECONDS:
        waveform = (0.1 * random.standard_normal(round(length * SAMPLE_RATE))).astype(np.float32)
        calls = [lambda model=model: model.embed([waveform]) for model in models.values()]  # noqa: B023
        seconds[length] = dict(zip(models, in_turns(*calls, rounds=rounds), strict=True))
    for name in models:
        row = {"runtime": name, "file": f"{sizes[name] / 1e6:.2f} MB"}
        for length in SECONDS:
            took = seconds[length][name]
            ratio = np.quantile(seconds[length][TORCH] / took, [0.25, 0.5, 0.75])
            row[f"{length:g} s"] = (
                f"{1000 * np.median(took):.1f} ms, {length / np.median(took):.0f} x real time"
            )
            row[f"{length:g} s, torch / this"] = f"{ratio[1]:.2f} [{ratio[0]:.2f}, {ratio[2]:.2f}]"
        yield row


def beginnings(places: dict[str, Path], rounds: int) -> Iterator[dict[str, str]]:
    """A row a model: a fresh process each time, the models in turns."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in places}
    loaded: dict[str, str] = {}
    for turn in range(rounds + 1):
        for name, place in places.items():
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", FIRST_EMBEDDING, str(place)],
                capture_output=True,
                text=True,
                check=True,
            )
            whole = time.perf_counter() - began
            imported, embedded, loaded[name] = done.stdout.split()
            if turn:  # the first one warms the disk's cache
                found[name].append((float(imported), float(embedded), whole))
    for name, times in found.items():
        imported, embedded, whole = np.median(times, axis=0).tolist()
        yield {
            "runtime": name,
            "imports": f"{imported:.2f} s",
            "first embedding after": f"{embedded:.2f} s",
            "whole process": f"{whole:.2f} s",
            "torch is loaded": loaded[name],
        }


def main() -> None:
    """Export, measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a run's folder")
    parser.add_argument("--root", type=Path, default=Path("../shared/corpora"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--work", type=Path, help="keep the exported files here")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        trained = Embedder.load(options.model, device="cpu")
        files = {FLOAT: work / "float32.onnx", INT8: work / "int8.onnx"}
        for name, file in files.items():
            exported = export_onnx(trained, file, int8=name == INT8)
            print(f"{name}: {exported}", file=sys.stderr, flush=True)
        models: dict[str, BaseEmbedder] = {
            TORCH: trained,
            **{name: OnnxEmbedder.load(file, threads=1) for name, file in files.items()},
        }
        weights = sum(tensor.nbytes for tensor in trained.encoder.state_dict().values())
        sizes = {TORCH: weights, **{name: file.stat().st_size for name, file in files.items()}}
        tables = {
            "speed, one thread, a recording at a time": list(speeds(models, sizes, options.rounds)),
            "a fresh process": list(beginnings({TORCH: options.model, **files}, 5)),
            "equal error rate": list(error_rates(models, options.root.resolve())),
        }
    tell(tables, options.out)


if __name__ == "__main__":
    main()
