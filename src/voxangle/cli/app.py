"""The application that every command joins, and what the commands share."""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib.util import find_spec
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
    "own_model",
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
        help="A run's folder, a model's folder or .safetensors, or the .onnx of `voxangle export onnx`; else the model "
        "that comes with voxangle.",
    ),
]
RuntimeOption = Annotated[
    Runtime | None,
    typer.Option("--runtime", help="What computes; onnx for an .onnx or without torch, else torch."),
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

    path = named_model(model, runtime)
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
    path = named_model(model, Runtime.TORCH)
    from voxangle.encoders import Embedder

    return Embedder.load(path), path


def named_model(model: Path | None, runtime: Runtime | None = None) -> Path:
    """Where the model is that was asked for; if none was, the shipped one for the runtime, or for what is installed."""
    from voxangle.runtime.shipped import SHIPPED_ONNX, SHIPPED_TORCH

    if model is not None:
        return model
    if runtime is None and find_spec("torch") is None:
        runtime = Runtime.ONNX
    return SHIPPED_ONNX if runtime is Runtime.ONNX else SHIPPED_TORCH


def own_model(model: Path | None) -> Path:
    """Where the model is that was asked for, and that may be changed.

    Raises:
        CheckpointError: none was asked for, and the shipped one stays as it is.
    """
    from voxangle.errors import CheckpointError
    from voxangle.runtime.shipped import SHIPPED

    if model is not None and not model.resolve().is_relative_to(SHIPPED.resolve()):
        return model
    runs = sorted(Path("runs").glob("**/model/model.json"))
    here = f" (here are: {', '.join(str(run.parent.parent) for run in runs)})" if runs else ""
    raise CheckpointError(
        f"the model that comes with voxangle stays as it is: name one of yours with --model or $VOXANGLE_MODEL{here}, "
        "or a copy (`voxangle export safetensors --out mine.safetensors`)"
    )
