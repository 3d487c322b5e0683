"""``voxangle train`` and ``voxangle demo``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from voxangle.cli.app import app, open_console
from voxangle.errors import VoxangleError


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The run's folder; runs/NAME.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override an entry: optimizer.lr=0.1 (repeatable).")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew where the folder holds a run.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Look at the data, time a few steps, print the plan; train and write nothing."
        ),
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="For --check: how many processes will share the batch.")
    ] = None,
) -> None:
    """Train by a recipe; run the same command again to go on with a run that stopped."""
    from voxangle.training.allocator import keep_freed_memory

    keep_freed_memory()  # before torch allocates
    from voxangle.recipe import Recipe
    from voxangle.training.loop import TrainingInterrupted
    from voxangle.training.loop import train as run

    checked = Recipe.read(recipe, settings or [])
    if check:
        from voxangle.training.plan import make_plan, plan_table

        plan = make_plan(checked, processes=processes or int(os.environ.get("WORLD_SIZE", "1")))
        console = open_console()
        console.print(plan_table(plan))
        for note in plan.notes:
            console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
        return
    if processes:
        raise VoxangleError("--processes belongs to --check; torchrun says how many train")
    folder = out or Path("runs") / checked.name
    try:
        model = run(checked, folder, fresh=fresh, console=open_console())
    except TrainingInterrupted as stopped:
        command = shlex.join(["voxangle", *(word for word in sys.argv[1:] if word != "--fresh")])
        if int(os.environ.get("RANK", "0")) == 0:
            launcher = "the same torchrun command, or alone: " if "WORLD_SIZE" in os.environ else ""
            typer.echo(f"{stopped}\nto go on: {launcher}{command}", err=True)
        raise typer.Exit(130) from None
    if int(os.environ.get("RANK", "0")) == 0:
        typer.echo(f"the model is in {model}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Gloo's threads outlive DistributedDataParallel and can abort a process whose interpreter ends (torch 2.15):
        # everything is written, so it does not end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="For runs, results and the page.")] = Path(
        "runs/demo"
    ),
    corpus: Annotated[
        str,
        typer.Option(help="debian-voices or mini-librispeech; `auto` takes the first that can be reached."),
    ] = "auto",
    settings: Annotated[list[str] | None, typer.Option("--set", help="Override the demo's recipe.")] = None,
) -> None:
    """From real voices to error rates: the full objective against AAM-softmax alone, on held-out voices."""
    from voxangle.training.allocator import keep_freed_memory

    keep_freed_memory()
    from voxangle.demo import run_demo

    page = run_demo(out, corpus, settings or [], open_console())
    typer.echo(f"the report is {page}")
