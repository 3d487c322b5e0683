"""``voxangle enrol``: a person's voiceprint, of one or more recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxangle.cli.app import AsJson, Model, RuntimeOption, app, load_model, print_json
from voxangle.cli.voiceprints import Store, actor, as_content, counted, opened


@app.command()
def enrol(
    name: Annotated[
        str, typer.Argument(help="Who it is: a name, or better a number that only you can resolve.")
    ],
    files: Annotated[list[Path], typer.Argument(help="Recordings of this person alone.")],
    model: Model = None,
    add: Annotated[
        bool, typer.Option("--add", help="Add the recordings to the voiceprint there is.")
    ] = False,
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway",
            help="Enrol what would be refused: noise, too short, clipped, not one voice. Never silence.",
        ),
    ] = False,
    references: Annotated[
        bool, typer.Option(help="Keep the names and checksums of the files; never the recordings.")
    ] = True,
    store: Store = None,
    runtime: RuntimeOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a voiceprint of recordings, or add to it, if they hold enough speech of one voice."""
    from voxangle.runtime.outside import outside
    from voxangle.voiceprints import enrol as enrol_recordings
    from voxangle.voiceprints import hear_files, take_files

    embedder, _ = load_model(model, runtime)
    recordings = take_files(embedder, files, references=references)
    heard = hear_files(embedder, files, recordings)
    fit = embedder.card.calibration
    ranges = None if fit is None else fit.ranges
    with opened(store, create=True) as prints:
        entry, warnings = enrol_recordings(
            prints, embedder, name, recordings, actor=actor(), add=add, anyway=anyway, heard=heard
        )
        place = prints.place
    unlike = [
        note
        for file, one in zip(files, recordings, strict=True)
        for note in outside(file, one.measures, ranges)
    ]
    if as_json:
        print_json(as_content(entry) | {"store": place, "warnings": [*warnings, *unlike]})
        return
    typer.echo(
        f"{'added to' if add else 'enrolled'}: {entry.name}, {counted(entry.recordings, 'recording')} with "
        f"{entry.measures.speech:.1f} s of sound, by the model '{entry.model.name}', in {place}"
    )
    for warning in (*warnings, *unlike):
        typer.echo(f"warning: {warning}")
