r"""Every encoder under one small budget (``recipes/encoders.yaml``): error rates, and speed, for docs/encoders.md.

    python -m benchmarks.encoder_table [--only resnet-34 ...] [--work runs/encoders] [--speed] [--rounds 5] [--out FILE]

Trains each encoder into ``WORK/NAME`` (one that is there already is not trained again; one that was stopped goes on),
measures it on the trial lists of shared/corpora, and prints the table. ``--speed`` measures speeds instead: seconds of
speech a second embeds, features and all, in recordings of 4 s, 8 at a time, float32; in turns, all encoders in one run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.ratio import in_turns
from voxangle.audio import SAMPLE_RATE
from voxangle.encoders import Embedder, ModelCard, build_encoder
from voxangle.encoders.figures import sizes
from voxangle.encoders.model_files import read_model
from voxangle.features import build_filterbank
from voxangle.recipe import Recipe
from voxangle.scoring import Machine
from voxangle.scoring.result import Result

RECIPE = Path(__file__).parents[1] / "recipes" / "encoders.yaml"
LISTS = ("pooled", "speechocean762", "librispeech", "wuw", "an4", "dspspeech", "arabic")
SECONDS, TOGETHER = 4, 8


def encoders() -> dict[str, list[str]]:
    """The recipe's settings of every encoder, by name."""
    found = {}
    for architecture, given in sizes():
        bins = {"redimnet": 60 if given.get("size") == "b0" else 72}.get(architecture, 80)
        settings = json.dumps({"architecture": architecture, "bins": bins, **given})
        found["-".join(map(str, [architecture, *given.values()]))] = [
            f"encoder={settings}",
            f"features.bins={bins}",
        ]
    return found


def measure(name: str, settings: list[str], work: Path, root: Path) -> dict[str, Result]:
    """Train (or find that it is done), evaluate if need be, and give the results by list."""
    run = work / name
    results = run / "evaluation"
    chosen = [word for setting in settings for word in ("--set", setting)]
    _voxangle("train", str(RECIPE), "--out", str(run), "--set", f"data.root={root.resolve()}", *chosen)
    measured = results / f"{LISTS[0]}.json"
    if not measured.exists() or Result.read(measured).model.sha256 != read_model(run).weights_sha256:
        _voxangle(
            "evaluate", "--model", str(run), "--corpus", "table", "--root", str(root), "--out", str(results)
        )
    return {trials: Result.read(results / f"{trials}.json") for trials in LISTS}


def speeds(names: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of speech a second embeds, by encoder, a figure a round."""
    every = encoders()
    waveforms = list(
        np.random.default_rng(0).standard_normal((TOGETHER, SECONDS * SAMPLE_RATE), dtype=np.float32) / 10
    )
    calls = []
    for name in names:
        recipe = Recipe.read(RECIPE, every[name])
        torch.manual_seed(0)
        card = ModelCard(name=name, encoder=recipe.encoder, filterbank=recipe.features)
        embedder = Embedder(build_filterbank(recipe.features), build_encoder(recipe.encoder).eval(), card)
        calls.append(lambda embedder=embedder: embedder.embed(waveforms))
    seconds = in_turns(*calls, rounds=rounds, warm_up=1)
    return {name: (TOGETHER * SECONDS / taken).tolist() for name, taken in zip(names, seconds, strict=True)}


def _machine() -> str:
    machine = Machine.here()
    return f"{machine.cpu}, {machine.cores} cores, Python {machine.python}, torch {machine.torch}"


def _voxangle(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "voxangle", *words], check=True)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", help=f"of {', '.join(encoders())}")
    parser.add_argument("--work", type=Path, default=Path("runs/encoders"))
    parser.add_argument("--root", type=Path, default=RECIPE.parents[2] / "shared" / "corpora")
    parser.add_argument("--rounds", type=int, default=5, help="of the speeds")
    parser.add_argument("--speed", action="store_true", help="measure speeds, and train nothing")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args()
    every = encoders()
    names = options.only or list(every)
    if strangers := [name for name in names if name not in every]:
        parser.error(f"no encoder {', '.join(strangers)}; there are {', '.join(every)}")
    found: dict[str, Any] = {}
    if options.speed:
        found = speeds(names, options.rounds)
        table = Table(
            "encoder",
            "seconds of speech a second",
            title=f"{torch.get_num_threads()} threads, {_machine()}",
        )
        for name, values in found.items():
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
            table.add_row(name, f"{middle:.1f} [{low:.1f}, {high:.1f}]")
    else:
        table = Table("encoder", *LISTS, title=f"EER in %, 95 % interval over speakers; {_machine()}")
        for name in names:
            results = measure(name, every[name], options.work, options.root)
            found[name] = {key: [one.eer.value, one.eer.low, one.eer.high] for key, one in results.items()}
            table.add_row(
                name,
                *(
                    "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * value for value in found[name][key]))
                    for key in LISTS
                ),
            )
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    if options.out:
        options.out.write_text(json.dumps({"machine": _machine(), "found": found}, indent=2))


if __name__ == "__main__":
    main()
