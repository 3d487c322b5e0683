"""A run that begins with the weights of another: speakers by name, nothing silently random."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from voxangle.encoders import build_encoder
from voxangle.errors import CheckpointError
from voxangle.objectives import Objective
from voxangle.recipe import Recipe
from voxangle.training.checkpoint import CHECKPOINT, Checkpoint
from voxangle.training.loop import train
from voxangle.training.start import start_from

BRIEF = ["schedule.steps=4", "data.validation_speakers=0", "training.log_every=1"]


@pytest.fixture
def first(recipe_file: Path, tmp_path: Path) -> Path:
    """The folder of a run with three speeds."""
    folder = tmp_path / "first"
    train(Recipe.read(recipe_file, [*BRIEF, "data.speeds=[1.0, 0.9, 1.1]"]), folder)
    return folder


def modules(recipe: Recipe, speakers: int) -> tuple[torch.nn.Module, Objective]:
    torch.manual_seed(99)
    encoder = build_encoder(recipe.encoder)
    return encoder, Objective(recipe.objective, speakers=speakers, dimension=encoder.dimension)


def test_speeds_are_classes_of_the_checkpoint(first: Path) -> None:
    checkpoint = Checkpoint.read(first)
    assert checkpoint is not None
    names = [f"s{i}" for i in range(6)]
    assert checkpoint.speakers == [*names, *(f"sp{s}-{n}" for s in ("0.9", "1.1") for n in names)]
    assert len(checkpoint.objective["classification.prototypes"]) == 18


def test_prototypes_go_by_the_speaker_s_name(recipe_file: Path, first: Path) -> None:
    recipe = Recipe.read(recipe_file, [*BRIEF, f"start_from={first}"])
    wanted = ["s4", "s0", "s5"]
    encoder, objective = modules(recipe, 3)
    notes = start_from(recipe, wanted, encoder, objective)
    checkpoint = Checkpoint.read(first)
    assert checkpoint is not None
    prototypes = checkpoint.objective["classification.prototypes"]
    assert torch.equal(objective.classification.prototypes, prototypes[[4, 0, 5]])
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, checkpoint.encoder[name])
    assert "step 4" in notes[0]
    assert "15 classes" in notes[1]


def test_large_margin_fine_tuning_goes_on_from_where_the_run_ended(
    recipe_file: Path, first: Path, tmp_path: Path
) -> None:
    settings = [
        *BRIEF,
        f"start_from={first}",
        "batch.seconds=1.2",
        "objective.contrastive=null",
        "objective.classification.margin=0.0",
        "optimizer.lr=1e-8",
    ]
    before, said = first.joinpath(CHECKPOINT).read_bytes(), Console(record=True, quiet=False, width=400)
    with said.capture() as capture:
        train(Recipe.read(recipe_file, settings), tmp_path / "second", console=said)
    assert f"{first / CHECKPOINT}" in capture.get()
    assert first.joinpath(CHECKPOINT).read_bytes() == before
    start, end = Checkpoint.read(first), Checkpoint.read(tmp_path / "second")
    assert start is not None
    assert end is not None
    assert end.speakers == start.speakers[:6]
    encoder, _ = modules(Recipe.read(recipe_file), 6)
    for name, _ in encoder.named_parameters():
        torch.testing.assert_close(end.encoder[name], start.encoder[name], rtol=0, atol=1e-6)
    prototypes = "classification.prototypes"
    torch.testing.assert_close(end.objective[prototypes], start.objective[prototypes][:6], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("encoder.channels=24", "encoder.channels 16, this recipe has 24"),
        ("objective.classification.subcentres=2", "as many sub-centres"),
        ("data.speeds=[1.0, 0.8]", "'sp0.8-s0'; did you mean 'sp0.9-s0'"),
        ("start_from=/nowhere/at/all", "/nowhere/at/all/checkpoint.pt does not exist"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(
    recipe_file: Path, first: Path, tmp_path: Path, change: str, message: str
) -> None:
    recipe = Recipe.read(recipe_file, [*BRIEF, f"start_from={first}", change])
    with pytest.raises(CheckpointError) as caught:
        train(recipe, tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_stopped_and_gone_on_with_it_ends_with_the_same_bits(
    recipe_file: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [*BRIEF, f"start_from={first}", "data.speeds=[1.0, 0.9]", "training.checkpoint_every=2"]
    recipe = Recipe.read(recipe_file, settings)
    train(recipe, tmp_path / "whole")
    from voxangle.training import loop

    take = loop.Run.take

    def breaks(self: loop.Run, batch: object) -> dict[str, object]:
        if self.step == 3:
            raise RuntimeError("the power is cut")
        return take(self, batch)

    monkeypatch.setattr(loop.Run, "take", breaks)
    with pytest.raises(RuntimeError, match="power"):
        train(recipe, tmp_path / "cut")
    monkeypatch.setattr(loop.Run, "take", take)
    # What it began with is in its own checkpoint by now.
    (first / CHECKPOINT).unlink()
    train(recipe, tmp_path / "cut")
    whole, cut = Checkpoint.read(tmp_path / "whole"), Checkpoint.read(tmp_path / "cut")
    assert whole is not None
    assert cut is not None
    assert whole.speakers == cut.speakers
    for part in ("encoder", "objective"):
        for name, value in getattr(whole, part).items():
            assert torch.equal(value, getattr(cut, part)[name])
    steps = [json.loads(line)["losses"] for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert len(steps) == 4
    assert np.isfinite([value for step in steps for value in step.values()]).all()
