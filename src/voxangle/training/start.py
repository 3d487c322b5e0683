"""Beginning with what another run has learned: large-margin fine-tuning and its like."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from voxangle.errors import CheckpointError, nearest
from voxangle.recipe import Recipe
from voxangle.training.checkpoint import CHECKPOINT, Checkpoint

__all__ = ["start_from"]


def start_from(recipe: Recipe, speakers: list[str], encoder: nn.Module, objective: nn.Module) -> list[str]:
    """Fill encoder and objective with the weights of the run that ``recipe.start_from`` names.

    Prototypes (and biases of classes) go by the name of their speaker; those of speakers who are not trained on any
    more, such as other speeds, are dropped. What else the losses and their balancer learn is taken over where both
    runs have it. The optimiser begins anew.

    Returns:
        Notes for a person: where from, and what was dropped.

    Raises:
        CheckpointError: there is no run, it has another encoder, other features or another kind of classifier, or a
            speaker is not in it.
    """
    assert recipe.start_from is not None  # noqa: S101 - the caller has looked
    where = recipe.start_from / CHECKPOINT
    checkpoint = Checkpoint.read(recipe.start_from, sweep=False)
    if checkpoint is None:
        raise CheckpointError(
            f"start_from: {where} does not exist; train that run first, or name the folder of another "
            "(--set start_from=runs/NAME)"
        )
    then, now = checkpoint.recipe, recipe.plain()
    for section in ("encoder", "features"):
        for key, value in now[section].items():
            if then.get(section, {}).get(key) != value:
                raise CheckpointError(
                    f"start_from: {where} has {section}.{key} {then.get(section, {}).get(key)!r}, this recipe has "
                    f"{value!r}; weights fit only where they are alike"
                )
    encoder.load_state_dict(checkpoint.encoder)
    number = {name: row for row, name in enumerate(checkpoint.speakers)}
    if strangers := [name for name in speakers if name not in number]:
        raise CheckpointError(
            f"start_from: {where} has no prototype of {len(strangers)} of the {len(speakers)} speakers of this recipe, "
            f"such as '{strangers[0]}'{nearest(strangers[0], list(number)[:10_000])}. Its data and speeds must have "
            "all the speakers that this recipe trains on"
        )
    rows = torch.tensor([number[name] for name in speakers])
    objective.load_state_dict(_for_speakers(checkpoint, objective.state_dict(), rows, str(where)))
    notes = [f"start_from: encoder and {len(speakers)} prototypes of {where}, step {checkpoint.step}"]
    if dropped := len(number) - len(speakers):
        notes.append(f"start_from: {dropped} classes of that run are not trained on any more, and dropped")
    if checkpoint.step < (steps := then["schedule"]["steps"]):
        notes.append(f"start_from: that run is not finished: {checkpoint.step} of {steps} steps")
    return notes


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
