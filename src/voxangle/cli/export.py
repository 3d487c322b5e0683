"""``voxangle export``: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxangle.cli.app import Model, app, load_trained, named_model

export_app = typer.Typer(help="A model for other programs.", no_args_is_help=True)
app.add_typer(export_app, name="export")


@export_app.command("safetensors")
def safetensors(
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors to write.")],
    model: Model = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store matrices and kernels as float16: half the size.")
    ] = False,
) -> None:
    """A model in one file: weights and card, to be used wherever a model's folder is."""
    from voxangle.encoders.model_files import copy_model
    from voxangle.errors import VoxangleError

    if out.suffix != ".safetensors":
        raise VoxangleError(f"--out {out}: give it the suffix .safetensors, by which it is known as a model")
    card = copy_model(named_model(model), out, half=half)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {card.encoder.dimension} dimensions")
    if half:
        typer.echo(
            "other weights than before, if nearly the same: measure them anew; figures on the card were left out"
        )


@export_app.command("onnx")
def onnx(
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx to write.")],
    model: Model = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise the encoder to 8 bits: smaller, and a little less exact.")
    ] = False,
) -> None:
    """Waveforms in, embeddings out, in one ONNX file that is compared with torch before it is kept."""
    from voxangle.encoders.onnx_export import export_onnx
    from voxangle.errors import VoxangleError

    if out.suffix != ".onnx":
        raise VoxangleError(f"--out {out}: give it the suffix .onnx, by which `verify` and `embed` know it")
    embedder, _ = load_trained(model)
    exported = export_onnx(embedder, out, int8=int8)
    typer.echo(
        f"{out}: {exported.size / 1e6:.1f} MB, opset {exported.opset}, {embedder.dimension} dimensions"
    )
    typer.echo(f"float32 differs from torch by {exported.difference:.1e} of the largest value")
    if exported.cosine is not None:
        typer.echo(f"int8 embeddings of noise have a cosine of {exported.cosine:.4f} or more to torch's")
