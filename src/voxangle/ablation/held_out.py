"""What the variants of an ablation are measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from rich.console import Console

from voxangle.console import counting
from voxangle.data import Trials
from voxangle.data.batches import LabelledRecordings
from voxangle.encoders import Embedder
from voxangle.errors import RecipeError
from voxangle.recipe import DataConfig, Recipe
from voxangle.scoring import Result
from voxangle.scoring.system import embed_prepared, evaluate_lists, model_of
from voxangle.training.material import gather_material

__all__ = ["HeldOut", "ValidationTrials", "validation_trials"]

_NOT_OF_THE_SPEAKERS = {"buffer", "speeds"}  # entries of data that leave the validation speakers as they are


class HeldOut(Protocol):
    """Trial lists on speakers that no variant trains on, and the recordings they name."""

    @property
    def name(self) -> str:
        """As a name of a folder."""
        ...

    @property
    def description(self) -> str:
        """What this is, for a reader of the table: whose trials, and what they may be used for."""
        ...

    @property
    def lists(self) -> Mapping[str, str]:
        """SHA-256 of each list, by its name."""
        ...

    def measure(self, embedder: Embedder, console: Console) -> Sequence[Result]:
        """The model's results on each list, with their scores."""
        ...


class ValidationTrials:
    """Trials among the validation speakers of a recipe: the place to choose by.

    Args:
        recordings: of the validation speakers.
        trials: among them.
    """

    name = "validation"
    description = (
        "validation trials: speakers of the training split, held out of training. Variants may be chosen by these; "
        "what is then said of the chosen one needs other speakers (--on lists)."
    )

    def __init__(self, recordings: LabelledRecordings, trials: Trials) -> None:
        self._recordings, self._trials = recordings, trials
        self.lists = {trials.name: trials.sha256()}

    def measure(self, embedder: Embedder, console: Console) -> Sequence[Result]:
        """The model's results on the validation trials."""
        with counting(console, "embedding") as on_progress:
            embeddings = embed_prepared(embedder, self._recordings, on_progress)
        return evaluate_lists(
            embeddings, [self._trials], model=model_of(embedder), manifest=self._recordings.manifest
        )


def validation_trials(recipes: Mapping[str, Recipe], console: Console) -> ValidationTrials:
    """The validation trials that recipes have in common.

    Args:
        recipes: by name of their variant.
        console: where to show the preparing of the corpus.

    Raises:
        RecipeError: the recipes hold out no speakers, or perhaps not the same ones.
        CorpusError: the corpus cannot be reached or used.
    """
    first, *others = recipes
    data = recipes[first].data
    if data.validation_speakers == 0:
        raise RecipeError(
            "the recipe holds out no validation speakers to measure on: hold some out with --set "
            "data.validation_speakers=20, or measure on trial lists of other speakers with --on lists"
        )
    for other in others:
        if differing := _differing(data, recipes[other].data):
            raise RecipeError(
                f"the variants '{first}' and '{other}' differ in {', '.join(differing)}, and may not hold out the same "
                "validation speakers and recordings; measure them on trial lists of other speakers with --on lists"
            )
    with counting(console, "preparing") as on_progress:
        material = gather_material(data, on_progress)
    if material.validation is None or material.validation_trials is None:
        raise RecipeError("the recipe's corpus gives no validation trials; measure with --on lists")
    return ValidationTrials(material.validation, material.validation_trials)


def _differing(one: DataConfig, other: DataConfig) -> list[str]:
    return [
        f"data.{name}"
        for name in DataConfig.model_fields
        if name not in _NOT_OF_THE_SPEAKERS and getattr(one, name) != getattr(other, name)
    ]
