"""``voxangle card``, ``push`` and ``pull``: what a model says about itself, and models of a hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxangle.cli.app import AsJson, Model, app, named_model, print_json
from voxangle.errors import VoxangleError

if TYPE_CHECKING:
    from voxangle.encoders.card import Attribution, Metric


@app.command()
def card(
    model: Model = None,
    name: Annotated[str | None, typer.Option(help="Call the model so.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Say under which licence others may use it: cc-by-4.0, apache-2.0, ...")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="Add whom it owes thanks: 'NAME' or 'NAME: LICENCE' (repeatable)."),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(help="Add the figures of a JSON of `voxangle evaluate` (repeatable)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a model says about itself; with options, say more. Its weights stay as they are."""
    from voxangle.encoders.model_files import read_model, rewrite_card
    from voxangle.encoders.model_page import model_page

    path = named_model(model)
    stored = read_model(path)
    said = stored.card
    changes: dict[str, object] = {}
    if name:
        changes["name"] = name
    if licence:
        changes["licence"] = licence
    if attribute:
        added = [_attribution(text) for text in attribute]
        changes["attributions"] = tuple({one.name: one for one in (*said.attributions, *added)}.values())
    if results:
        measured = [one for file in results for one in _metrics(file, stored.weights_sha256)]
        by_figure = {(one.trials, one.name, one.definition): one for one in (*said.metrics, *measured)}
        changes["metrics"] = tuple(by_figure.values())
    if changes:
        said = type(said).model_validate({**dict(said), **changes})
        rewrite_card(path, said)
    if as_json:
        print_json(said.model_dump(mode="json"))
    else:
        typer.echo(model_page(said, str(path)), nl=False)


@app.command()
def push(
    repository: Annotated[str, typer.Argument(help="OWNER/NAME of the repository; made if missing.")],
    model: Model = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Put a model into a repository of a Hugging Face hub, with its card as the page. $HF_TOKEN says who you are."""
    from voxangle.encoders.hub import push_model

    commit = push_model(named_model(model), repository, private=private)
    typer.echo(f"{commit.repository} holds the model, commit {commit.revision}")


@app.command()
def pull(
    repository: Annotated[str, typer.Argument(help="OWNER/NAME of the repository.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The model folder to write; models/NAME.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="A branch, a tag or a commit; the newest state.")
    ] = None,
) -> None:
    """Fetch a model from a repository of a Hugging Face hub. Nothing in its files is run."""
    from voxangle.encoders.hub import pull_model

    folder = out or Path("models") / repository.rpartition("/")[2]
    commit = pull_model(repository, folder, revision=revision)
    typer.echo(f"{folder}: {commit.repository}, commit {commit.revision}")


def _attribution(text: str) -> Attribution:
    from voxangle.encoders.card import Attribution

    whom, _, terms = text.partition(":")
    if not whom.strip():
        raise VoxangleError(f"--attribute '{text}': say whom, as in 'LibriSpeech: CC BY 4.0'")
    return Attribution(name=whom.strip(), licence=terms.strip())


def _metrics(file: Path, weights_sha256: str) -> list[Metric]:
    """The figures of a result, which must be one of these weights."""
    from voxangle.scoring.card_metrics import card_metrics
    from voxangle.scoring.result import Result

    result = Result.read(file)
    if result.model.sha256 != weights_sha256:
        raise VoxangleError(
            f"{file}: figures of other weights (of '{result.model.name}'); evaluate this model, and give its results"
        )
    return card_metrics(result)
