"""Beginning with what is learned already: a run's large-margin fine-tuning, another toolkit's model, and their like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from voxangle.encoders import Embedder, ModelCard
from voxangle.errors import CheckpointError, nearest
from voxangle.recipe import Recipe, as_yaml
from voxangle.training.checkpoint import CHECKPOINT, Checkpoint

__all__ = ["card_of", "sections_of", "start_from"]


def start_from(recipe: Recipe, speakers: list[str], encoder: nn.Module, objective: nn.Module) -> list[str]:
    """Fill encoder and objective with the weights of the run or the model that ``recipe.start_from`` names.

    Of a run prototypes (and biases of classes) go by the name of their speaker; those of speakers who are not trained
    on any more, such as other speeds, are dropped. What else the losses and their balancer learn is taken over where
    both runs have it. A model has an encoder alone: the objective stays as it is. The optimiser begins anew.

    Returns:
        Notes for a person: where from, and what was dropped or begins anew.

    Raises:
        CheckpointError: there is neither run nor model, it has another encoder, other features or another kind of
            classifier, or a speaker is not in it.
    """
    assert recipe.start_from is not None  # noqa: S101 - the caller has looked
    checkpoint = Checkpoint.read(recipe.start_from, sweep=False)
    if checkpoint is None:
        model = _model(recipe.start_from)
        _demand_alike(sections_of(model.card), recipe, recipe.start_from)
        encoder.load_state_dict(model.encoder.state_dict())
        note = f"encoder of {recipe.start_from}, a model, which has no prototypes: those of {len(speakers)} speakers"
        return [f"start_from: {note} begin anew"]
    where = recipe.start_from / CHECKPOINT
    _demand_alike(checkpoint.recipe, recipe, where)
    encoder.load_state_dict(checkpoint.model)
    number = {name: row for row, name in enumerate(checkpoint.speakers)}
    if strangers := [name for name in speakers if name not in number]:
        raise CheckpointError(
            f"start_from: {where} has no prototype of {len(strangers)} of the {len(speakers)} speakers of this recipe, "
            f"such as '{strangers[0]}'{nearest(strangers[0], list(number)[:10_000])}. Its data and speeds must have "
            "all the speakers that this recipe trains on; to begin with its encoder alone, let start_from name the "
            f"run's model, {recipe.start_from / 'model'}"
        )
    rows = torch.tensor([number[name] for name in speakers])
    objective.load_state_dict(_for_speakers(checkpoint, objective.state_dict(), rows, str(where)))
    notes = [f"start_from: encoder and {len(speakers)} prototypes of {where}, step {checkpoint.step}"]
    if dropped := len(number) - len(speakers):
        notes.append(f"start_from: {dropped} classes of that run are not trained on any more, and dropped")
    if checkpoint.step < (steps := checkpoint.recipe["schedule"]["steps"]):
        notes.append(f"start_from: that run is not finished: {checkpoint.step} of {steps} steps")
    return notes


def sections_of(card: ModelCard) -> dict[str, Any]:
    """The sections of a recipe, as plain data, that a run must have to start from a model."""
    return {
        "encoder": card.encoder.model_dump(mode="json"),
        "features": card.filterbank.model_dump(mode="json"),
    }


def card_of(place: Path) -> ModelCard | None:
    """The card of a model or of a finished run; None of anything else."""
    try:
        return _model(place).card
    except CheckpointError:
        return None


def _model(place: Path) -> Embedder:
    try:
        return Embedder.load(place, device="cpu")
    except CheckpointError as error:
        raise CheckpointError(
            f"start_from: {place} is neither a run to go on from (no {CHECKPOINT} in it: train that run first) nor a "
            f"model that can be read: {error}"
        ) from error


def _demand_alike(theirs: Mapping[str, Any], recipe: Recipe, where: Path) -> None:
    ours = recipe.plain()
    sections = {section: theirs[section] for section in ("encoder", "features")}
    for section, entries in sections.items():
        for key, value in ours[section].items():
            if entries.get(key) != value:
                raise CheckpointError(
                    f"start_from: {where} has {section}.{key} {entries.get(key)!r}, this recipe has {value!r}; weights "
                    f"fit only where they are alike. Its sections are:\n{as_yaml(sections).rstrip()}"
                )


def _for_speakers(
    checkpoint: Checkpoint, wanted: dict[str, Any], rows: torch.Tensor, where: str
) -> dict[str, Any]:
    """The state to load: of the checkpoint where it has it, its classes chosen; else as it is."""
    state = dict(wanted)
    for name, value in wanted.items():
        old = checkpoint.objective.get(name)
        if name.startswith("classification.") and value.ndim and value.shape[0] == len(rows):
            if old is None or old.shape[1:] != value.shape[1:]:
                has = "none" if old is None else f"{tuple(old.shape[1:])} a speaker"
                raise CheckpointError(
                    f"start_from: {where} does not fit objective.classification: '{name}' is "
                    f"{tuple(value.shape[1:])} a speaker here, there {has}; give both runs the same kind of "
                    "classifier, with as many sub-centres"
                )
            state[name] = old[rows]
        elif old is not None and old.shape == value.shape:
            state[name] = old
    return state
