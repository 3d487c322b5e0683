"""``python -m benchmarks.why RUN [RUN ...] --out FOLDER``: why the objective does what it does, from real runs.

A RUN is the folder of a training, finished or not. Writes for each part its figures as JSON, with command, seed and
machine, and a picture:

    course    alpha, and the cosine and the norms of the two losses' gradients, over the steps (from log.jsonl)
    belief    the class-aware attention of recordings under right and swapped labels, how well it finds the swapped
              ones, and which recordings of the corpus itself the classifiers believe least
    angles    angles within and between validation speakers
    gradient  the part that swapped labels have in the gradient, by each form of attention

The last three rebuild the run's corpus by its recipe and take encoder and prototypes from its checkpoint; ``belief``
and ``gradient`` are about training recordings, ``angles`` about validation speakers. ``eval`` is never read. A minute
or so a run on one CPU core.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

# Before torch loads OpenMP, and before it allocates.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from rich.console import Console
from rich.table import Table

from benchmarks.why.angles import angles_in_words, draw_angles, measure_angles
from benchmarks.why.belief import belief_in_words, draw_belief, least_believed, measure_belief
from benchmarks.why.course import course_in_words, draw_course, read_course
from benchmarks.why.gradient import draw_gradient, gradient_in_words, measure_gradient
from benchmarks.why.learnt import Learnt, name_runs
from benchmarks.why.style import house_style
from voxangle.console import counting
from voxangle.errors import VoxangleError
from voxangle.scoring.machine import Machine
from voxangle.storage import atomic_write, writable_folder


class Part(NamedTuple):
    """What is done with the figures of all runs, by name of the run."""

    draw: Callable[[dict[str, Any], Path], None]
    words: Callable[[dict[str, Any]], Iterable[str]]


_PARTS = {
    "course": Part(draw_course, course_in_words),
    "belief": Part(draw_belief, belief_in_words),
    "angles": Part(draw_angles, angles_in_words),
    "gradient": Part(draw_gradient, gradient_in_words),
}
_KEPT, _SHOWN = 200, 20  # of the least believed recordings


def main(arguments: list[str] | None = None) -> None:
    """Measure, write and print."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.why",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, help="folder of the JSON files and pictures")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--batches", type=int, default=24, help="real batches a run, for belief and gradient")
    parser.add_argument(
        "--among", default="", metavar="PREFIX", help="list the least believed of these recordings"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstraps")
    parser.add_argument("--format", choices=("svg", "png"), default="svg", help="of the pictures")
    options = parser.parse_args(arguments)
    try:
        with house_style():
            _measure(options, f"python -m benchmarks.why {shlex.join(arguments)}")
    except VoxangleError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _measure(options: argparse.Namespace, command: str) -> None:
    console = Console(stderr=True)
    out = writable_folder(options.out)
    found: dict[str, dict[str, Any]] = {part: {} for part in options.parts}
    for folder, name in zip(options.runs, name_runs(options.runs), strict=True):
        if "course" in found:
            found["course"][name] = read_course(folder)
        if found.keys() == {"course"}:
            continue
        run = Learnt.read(folder, name)
        told: dict[str, Any] = {}
        if found.keys() & {"belief", "gradient"} and run.prototypes is not None:
            batches = list(run.batches(options.batches))
            if "belief" in found:
                with counting(console, f"{name}: believing") as on_progress:
                    told["belief"] = measure_belief(run, batches, seed=options.seed, on_progress=on_progress)
            if "gradient" in found:
                told["gradient"] = measure_gradient(run, batches, seed=options.seed)
        if "angles" in found:
            told["angles"] = measure_angles(run, seed=options.seed)
        for part, figures in told.items():
            if figures is not None:
                found[part][name] = figures
    for part, runs in found.items():
        if not runs:
            console.print(f"{part}: none of these runs has what it needs; nothing written")
            continue
        content: dict[str, Any] = {
            "command": command,
            "seed": options.seed,
            "machine": Machine.here().model_dump(),
            "runs": runs,
        }
        if part == "belief":
            rows = least_believed(runs, options.among)
            content["least_believed"] = rows[:_KEPT]
            for figures in runs.values():
                del figures["rightly_labelled"]
            _show(rows[:_SHOWN], options.among)
        with atomic_write(out / f"why-{part}.json") as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        _PARTS[part].draw(runs, out / f"why-{part}.{options.format}")
        for line in _PARTS[part].words(runs):
            print(line)


def _show(rows: list[dict[str, Any]], among: str) -> None:
    table = Table(title=f"least believed{f', of {among}*' if among else ''} (labels as they came)")
    for heading in ("recording", "labelled", "believed less", "belief", "given away", "rather", "doubt"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            row["utterance"],
            row["speaker"],
            f"{100 * row['standing']:.2f} %",
            f"{row['belief']:.4f}",
            f"{row['given_away']} of {row['of']} runs",
            row["rather"] or "-",
            "-" if row["doubt"] is None else f"{row['doubt']:+.2f}",
        )
    Console(width=None if sys.stdout.isatty() else 170).print(table)


if __name__ == "__main__":
    main()
