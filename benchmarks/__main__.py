"""``python -m benchmarks``: every benchmark (or those that are named) in one run, as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

# Before torch loads OpenMP, and before it allocates.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from voxangle.training.allocator import keep_freed_memory

_NAMES = (
    "road",
    "balancing",
    "contrast",
    "metrics",
    "trials",
    "size",
    "loading",
    "augmentation",
    "encoders",
    "embedding",
)


def main() -> None:
    """Run, print bounds and measurements side by side, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"{', '.join(_NAMES)}; all by default")
    parser.add_argument("--rounds", type=int, default=15, help="of each training benchmark")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args()
    keep_freed_memory()

    from rich.console import Console
    from rich.table import Table

    from benchmarks.augmentation import augmentation
    from benchmarks.balancing import balancing
    from benchmarks.contrastive import contrast
    from benchmarks.embedding import embedding
    from benchmarks.encoders import encoders
    from benchmarks.loading import loading
    from benchmarks.metrics import error_rates
    from benchmarks.ratio import Measurement
    from benchmarks.size import size
    from benchmarks.training import road
    from benchmarks.trials import trial_lists
    from voxangle.scoring.machine import Machine

    benchmarks: dict[str, Callable[[], Iterable[Measurement]]] = {
        "road": lambda: [road(options.rounds)],
        "balancing": lambda: balancing(options.rounds),
        "contrast": lambda: contrast(options.rounds),
        "metrics": lambda: error_rates(5),
        "trials": lambda: trial_lists(3),
        "size": lambda: size(3),
        "loading": lambda: loading(3),
        "augmentation": lambda: augmentation(3),
        "encoders": lambda: encoders(options.rounds),
        "embedding": lambda: embedding(5),
    }
    if unknown := set(options.names) - set(benchmarks):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(benchmarks)}")
    measurements = []
    for name in options.names or benchmarks:
        for m in benchmarks[name]():
            measurements.append(m)
            print(f"{name}: {m.name}: {_short(m.value)} {m.unit}", file=sys.stderr, flush=True)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    machine = Machine.here()

    table = Table(title=f"voxangle benchmarks, commit {commit or 'unknown'}", caption=r"median \[quartiles]")
    for heading in ("what", "measured", "bound", "", "detail"):
        table.add_column(heading)
    for m in measurements:
        measured = f"{_short(m.value)} [{_short(m.low)}, {_short(m.high)}] {m.unit}".strip()
        held = "" if m.goal == "none" else "held" if m.met else "NOT held"
        table.add_row(m.name, measured, m.goal, held, m.detail)
    console = Console(width=None if os.isatty(1) else 140)
    console.print(table)
    console.print(f"{machine.cpu}, {machine.cores} cores, Python {machine.python}, torch {machine.torch}")
    if options.out:
        content = {
            "commit": commit,
            "machine": machine.model_dump(),
            "measurements": [asdict(m) for m in measurements],
        }
        options.out.write_text(json.dumps(content, indent=2) + "\n")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3f}"


if __name__ == "__main__":
    main()
