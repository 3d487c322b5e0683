"""``voxangle import`` and ``voxangle models``: models of other toolkits, and the encoders there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxangle.cli.app import AsJson, app, open_console, print_json


@app.command("import")
def import_(
    toolkit: Annotated[str, typer.Argument(help="speechbrain, wespeaker, 3dspeaker or redimnet.")],
    path: Annotated[Path, typer.Argument(help="Its file of weights, or the folder with it and its config.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model folder to write.")],
    name: Annotated[
        str | None, typer.Option(help="What to call the model; the folder's name if none.")
    ] = None,
) -> None:
    """A model of another toolkit as one of ours, with the same embeddings. Nothing in its files is run."""
    from voxangle.encoders.foreign import import_model
    from voxangle.recipe import as_yaml
    from voxangle.training.start import sections_of

    model = import_model(toolkit, path, out, name=name)
    origin = model.card.origin
    assert origin is not None  # noqa: S101 - it was imported
    parameters = sum(parameter.numel() for parameter in model.encoder.parameters())
    typer.echo(
        f"{out}: {model.card.encoder.architecture} of {parameters / 1e6:.2f} M parameters, embeddings of "
        f"{model.encoder.dimension} dimensions, from {origin.toolkit}'s {origin.file}"
    )
    typer.echo(f"licence of the weights: {origin.licence or 'not stated beside them'}")
    if model.left_out:
        typer.echo(f"left out, a classifier's: {', '.join(model.left_out)}")
    begins = {"start_from": str(out.resolve()), **sections_of(model.card)}
    typer.echo(f"a recipe that trains it further begins with:\n{as_yaml(begins)}", nl=False)


@app.command()
def models(as_json: AsJson = False) -> None:
    """The encoders there are, with parameters and multiply-adds of 2 s, as counted on the spot."""
    from voxangle.encoders.figures import figures

    rows = figures()
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    table.add_column("encoder")
    table.add_column("settings")
    for heading in ("parameters", "multiply-adds of 2 s", "dimension"):
        table.add_column(heading, justify="right")
    table.add_column("paper")
    for row in rows:
        table.add_row(
            row.architecture,
            row.settings,
            f"{row.parameters / 1e6:.2f} M",
            f"{row.multiply_adds / 1e9:.2f} G",
            str(row.dimension),
            row.paper,
        )
    open_console().print(table)
