"""The command line: parse, call, print. Every heavy import waits for the command that needs it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxangle import __version__
from voxangle.errors import VoxangleError

if TYPE_CHECKING:
    from rich.console import Console

# Two spinning OpenMP threads collapse beside another busy process; libgomp reads these when torch loads it.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

app = typer.Typer(
    help="Train, evaluate and use speaker encoders: is this the same voice?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
corpora_app = typer.Typer(help="List, get and prepare corpora.", no_args_is_help=True)
app.add_typer(corpora_app, name="corpora")

Model = Annotated[
    Path | None,
    typer.Option("--model", "-m", envvar="VOXANGLE_MODEL", help="A run's folder, or the model folder in it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main() -> None:
    """Run a command; a mistake of the user's ends with a message and exit code 2, never with a traceback."""
    try:
        app()
    except VoxangleError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # noqa: T201
        sys.exit(130)


def _console() -> Console:
    from rich.console import Console

    # Without a terminal rich assumes 80 columns and breaks lines that a log should keep whole.
    return Console(width=None if sys.stdout.isatty() else 120)


def _print_json(content: object) -> None:
    import json

    typer.echo(json.dumps(content, indent=2))


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Train, evaluate and use speaker encoders: is this the same voice?"""
    if show:
        typer.echo(f"voxangle {__version__}")
        raise typer.Exit


@corpora_app.command("list")
def corpora_list() -> None:
    """The corpora that voxangle reads."""
    from rich.table import Table

    from voxangle.corpora import CORPORA, corpus_folder

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("corpus", "what", "licence", "here"):
        table.add_column(heading, no_wrap=heading == "corpus")
    for name, reader in CORPORA.items():
        here = "given by --root" if reader.get is None else "yes" if corpus_folder(name).exists() else "get"
        table.add_row(name, reader.summary, reader.licence, here)
    _console().print(table)


@corpora_app.command("get")
def corpora_get(
    name: Annotated[str, typer.Argument(help="A corpus of `voxangle corpora list`.")],
    root: Annotated[Path | None, typer.Option(help="Where to put it; the cache by default.")] = None,
) -> None:
    """Download a corpus; a broken download goes on where it stopped."""
    from voxangle.corpora import corpus_folder, get_corpus

    target = root or corpus_folder(name)
    get_corpus(name, target, _console())
    typer.echo(f"{name} is in {target}")


@corpora_app.command("prepare")
def corpora_prepare(
    name: Annotated[str, typer.Argument(help="A corpus of `voxangle corpora list`.")],
    root: Annotated[Path | None, typer.Option(help="Where it lies; the cache by default.")] = None,
    split: Annotated[str | None, typer.Option(help="One split only.")] = None,
) -> None:
    """Decode a corpus once into the cache that training reads; say what was left out and why."""
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.prepared import prepare_split
    from voxangle.training.progress import counting

    console = _console()
    corpus = corpus_reader(name).read(root or corpus_folder(name))
    for part in [split] if split else list(corpus.splits):
        with counting(console, f"preparing {part}") as on_progress:
            prepared = prepare_split(corpus, part, on_progress=on_progress)
        hours = prepared.samples.sum() / 16_000 / 3600
        speakers = len(prepared.manifest.speakers())
        console.print(
            f"{part}: {len(prepared.manifest)} utterances, {speakers} speakers, {hours:.2f} h in {prepared.folder}",
            highlight=False,
            soft_wrap=True,
        )
        if prepared.left_out:
            console.print(f"  left out: {len(prepared.left_out)}, see {prepared.folder / 'left_out.csv'}")
            for left in prepared.left_out[:5]:
                console.print(f"    {left.path}: {left.cause}", highlight=False, soft_wrap=True)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The run's folder; runs/NAME.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override an entry: optimizer.lr=0.1 (repeatable).")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew where the folder holds a run.")] = False,
) -> None:
    """Train by a recipe; run the same command again to go on with a run that stopped."""
    from voxangle.training.allocator import keep_freed_memory

    keep_freed_memory()  # before torch allocates
    from voxangle.recipe import Recipe
    from voxangle.training.loop import TrainingInterrupted
    from voxangle.training.loop import train as run

    checked = Recipe.read(recipe, settings or [])
    folder = out or Path("runs") / checked.name
    try:
        model = run(checked, folder, fresh=fresh, console=_console())
    except TrainingInterrupted as stopped:
        command = shlex.join(["voxangle", *(word for word in sys.argv[1:] if word != "--fresh")])
        typer.echo(f"{stopped}\nto go on: {command}", err=True)
        raise typer.Exit(130) from None
    if int(os.environ.get("RANK", "0")) == 0:
        typer.echo(f"the model is in {model}")
