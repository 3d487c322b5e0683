"""The application that every command joins, and what the commands share."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxangle import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from voxangle.encoders import Embedder
    from voxangle.runtime import BaseEmbedder

__all__ = [
    "AsJson",
    "Model",
    "Runtime",
    "RuntimeOption",
    "app",
    "load_model",
    "load_trained",
    "named_model",
    "open_console",
    "print_json",
]


app = typer.Typer(
    help="Train, evaluate and use speaker encoders: is this the same voice?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Runtime(StrEnum):
    """What computes the embeddings."""

    TORCH = "torch"
    ONNX = "onnx"


Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        envvar="VOXANGLE_MODEL",
        help="A run's folder, a model's folder or .safetensors, or the .onnx of `voxangle export onnx`.",
    ),
]
RuntimeOption = Annotated[
    Runtime | None,
    typer.Option("--runtime", help="What computes; onnx for an .onnx, else torch. onnx needs no torch."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Train, evaluate and use speaker encoders: is this the same voice?"""
    if show:
        typer.echo(f"voxangle {__version__}")
        raise typer.Exit


def open_console() -> Console:
    """Where to speak: as wide as the terminal, or 120 columns without one."""
    from rich.console import Console

    # Without a terminal rich assumes 80 columns and breaks lines that a log should keep whole.
    return Console(width=None if sys.stdout.isatty() else 120)


def print_json(content: object) -> None:
    """Print for another program."""
    import json

    typer.echo(json.dumps(content, indent=2))


def load_model(model: Path | None, runtime: Runtime | None = None) -> tuple[BaseEmbedder, Path]:
    """The model asked for, in the runtime asked for (a ``FILE.onnx`` asks for its own), and its folder."""
    from voxangle.errors import CheckpointError

    path = named_model(model)
    exported = path.suffix.lower() == ".onnx"
    if exported and runtime is Runtime.TORCH:
        raise CheckpointError(
            f"{path}: torch cannot run an exported model; name the folder of the trained one"
        )
    if exported or runtime is Runtime.ONNX:
        from voxangle.runtime import OnnxEmbedder

        return OnnxEmbedder.load(path), path.parent if exported else path
    return load_trained(path)


def load_trained(model: Path | None) -> tuple[Embedder, Path]:
    """The model asked for, in torch, and its folder."""
    path = named_model(model)
    from voxangle.encoders import Embedder

    return Embedder.load(path), path


def named_model(model: Path | None) -> Path:
    """Where the model is that was asked for."""
    from voxangle.errors import CheckpointError

    if model is not None:
        return model
    runs = sorted(Path("runs").glob("**/model/model.json"))
    known = ", ".join(str(run.parent.parent) for run in runs)
    raise CheckpointError(
        "no model is given: name a run with --model or $VOXANGLE_MODEL "
        + (f"(here are: {known})" if known else "(`voxangle demo` or `voxangle train RECIPE` makes one)")
    )
