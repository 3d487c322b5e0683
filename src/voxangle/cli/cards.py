"""``voxangle card``, ``push`` and ``pull``: what a model says about itself, and models of a hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxangle.cli.app import AsJson, Model, app, named_model, own_model, print_json
from voxangle.errors import CheckpointError, VoxangleError

if TYPE_CHECKING:
    from voxangle.encoders.card import Attribution, Metric, ModelCard
    from voxangle.runtime.onnx_metadata import ExportedCard


@app.command()
def card(
    model: Model = None,
    name: Annotated[str | None, typer.Option(help="Call the model so.")] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Say under which licence others may use it: cc-by-4.0, ...; '' for none."),
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
    from pydantic import ValidationError

    from voxangle.config import first_problem
    from voxangle.runtime.model_page import model_page
    from voxangle.runtime.shipped import SHIPPED

    path = named_model(model)
    said: ModelCard | ExportedCard
    if name is None and licence is None and not attribute and not results:
        said = _card_of(path)
    else:
        said = _say(own_model(model), name, licence, attribute or [], results or [])
    if as_json:
        print_json(said.model_dump(mode="json"))
        return
    try:
        typer.echo(model_page(said, None if path.parent == SHIPPED else str(path)), nl=False)
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: its card says what this voxangle does not know ({first_problem(error)}); upgrade voxangle, or "
            "see all it says with --json"
        ) from error


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


def _card_of(path: Path) -> ModelCard | ExportedCard:
    if path.suffix.lower() == ".onnx":
        from voxangle.runtime import OnnxEmbedder

        return OnnxEmbedder.load(path).card
    from voxangle.encoders.model_files import read_model

    return read_model(path).card


def _say(
    path: Path, name: str | None, licence: str | None, attribute: list[str], results: list[Path]
) -> ModelCard:
    """Write more on a card; the card."""
    from pydantic import ValidationError

    from voxangle.config import first_problem
    from voxangle.encoders.card import ModelCard
    from voxangle.encoders.model_files import read_model, rewrite_card

    card, _, weights_sha256 = read_model(path)
    changes: dict[str, object] = {}
    if name is not None:
        changes["name"] = name
    if licence is not None:
        changes["licence"] = licence or None
    measured = [one for file in results for one in _metrics(file, weights_sha256)]
    figures = {
        (one.trials_sha256, one.trials, one.name, one.definition): one for one in (*card.metrics, *measured)
    }
    try:
        owed = {one.name: one for one in (*card.attributions, *map(_attribution, attribute))}
        changes |= {"metrics": tuple(figures.values()), "attributions": tuple(owed.values())}
        card = ModelCard.model_validate({**dict(card), **changes})
    except ValidationError as error:
        raise VoxangleError(f"the card cannot say so: {first_problem(error)}") from error
    rewrite_card(path, card)
    return card


def _attribution(text: str) -> Attribution:
    from voxangle.encoders.card import Attribution

    whom, _, terms = text.partition(": ")
    return Attribution(name=whom.strip(), licence=terms.strip())


def _metrics(file: Path, weights_sha256: str) -> list[Metric]:
    """The figures of a result, which must be one of these weights."""
    from voxangle.scoring.card_metrics import card_metrics
    from voxangle.scoring.result import Result

    result = Result.read(file, with_scores=False)
    if result.model.sha256 != weights_sha256:
        raise VoxangleError(
            f"{file}: figures of other weights (of '{result.model.name}'); evaluate this model, and give its results"
        )
    return card_metrics(result)
