"""``voxangle identify``: whose voice it is, if that of anybody enrolled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxangle.cli.app import AsJson, Model, RuntimeOption, app, load_model, open_console, print_json
from voxangle.cli.voiceprints import Anyway, ExitCode, Store, actor, as_content, opened

if TYPE_CHECKING:
    from voxangle.voiceprints import Identification


@app.command()
def identify(
    file: Annotated[Path, typer.Argument(help="A recording of one voice.")],
    model: Model = None,
    top: Annotated[int, typer.Option(min=1, max=100, help="How many candidates to tell.")] = 5,
    prior: Annotated[
        float | None,
        typer.Option(help="How probable somebody enrolled is before anything is heard, in (0, 1). [0.5]"),
    ] = None,
    c_miss: Annotated[
        float | None, typer.Option(help="What it costs to call somebody enrolled nobody. [1]")
    ] = None,
    c_fa: Annotated[float | None, typer.Option(help="What it costs to name a stranger. [1]")] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Decide by the score instead: from this one on, or from one of the model's by name."
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Look at every voiceprint, also where PostgreSQL has an index.")
    ] = False,
    anyway: Anyway = False,
    store: Store = None,
    runtime: RuntimeOption = None,
    exit_code: ExitCode = False,
    as_json: AsJson = False,
) -> None:
    """Whose voice is it? Of all who are enrolled with the model, or nobody's."""
    from voxangle.cli.use import rule_for
    from voxangle.voiceprints import identify as identify_recording
    from voxangle.voiceprints import take_heard

    with opened(store, records="an identification") as prints:
        embedder, _ = load_model(model, runtime)
        rule = rule_for(embedder.card, threshold, prior=prior, c_miss=c_miss, c_fa=c_fa)
        (recording,), heard = take_heard(embedder, [file], anyway=anyway)
        found = identify_recording(
            prints, embedder, recording, actor=actor(), top=top, rule=rule, threshold=threshold, exact=exact
        )
    notes = [*heard, *found.notes]
    if as_json:
        print_json(
            {
                "identified": None if found.who is None else found.who.name,
                "decided": found.decided,
                "decided_by": found.by,
                "threshold": found.threshold,
                "threshold_name": found.name,
                "threshold_source": found.why,
                "enrolled": found.enrolled,
                "nobody": found.nobody,
                "candidates": [one._asdict() | {"entry": as_content(one.entry)} for one in found.candidates],
                **rule.model_dump(),
                "model": embedder.card.name,
                "notes": notes,
            }
        )
    else:
        _tell(found, notes)
    if exit_code and found.who is None:
        raise typer.Exit(1)


def _tell(found: Identification, notes: list[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from voxangle.cli.use import share

    console = open_console()
    answer = "nobody who is enrolled" if found.decided else "no decision"
    console.print(found.who.name if found.who else answer, style="bold", highlight=False, markup=False)
    table = Table(box=None, header_style="bold")
    for heading in ("candidate", "score", "LLR", "probability"):
        table.add_column(heading, justify="left" if heading == "candidate" else "right")
    for one in found.candidates:
        ratio = "" if one.log_likelihood_ratio is None else f"{one.log_likelihood_ratio:+.2f}"
        probability = "" if one.probability is None else share(one.probability)
        table.add_row(escape(one.entry.name), f"{one.score:.4f}", ratio, probability)
    if found.nobody is not None:
        table.add_row("nobody", "", "", share(found.nobody))
    console.print(table)
    limit = "none" if found.threshold is None else f"{found.threshold:+.2f}"
    unit = {"log_likelihood_ratio": "LLR ", "score": "score ", None: ""}[found.by]
    console.print(f"threshold {unit}{limit} ({found.why})", highlight=False, markup=False, soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
