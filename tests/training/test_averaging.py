"""The moving average of the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from voxangle.encoders import Embedder
from voxangle.recipe import Recipe
from voxangle.training.averaging import MovingAverage
from voxangle.training.checkpoint import Checkpoint
from voxangle.training.loop import TrainingInterrupted, train


class Counting(torch.nn.Module):
    """One weight, one statistic, one counter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([5.0], dtype=torch.float64))
        self.register_buffer("mean", torch.tensor([5.0], dtype=torch.float64))
        self.register_buffer("seen", torch.tensor(0))


def test_it_is_the_weighted_mean_of_all_steps() -> None:
    module = Counting()
    average = MovingAverage(module, 0.9)  # type: ignore[arg-type]
    expected = 5.0
    for step in range(120):
        value = float(np.sin(step))
        with torch.no_grad():
            module.weight.fill_(value)
        module.mean.fill_(value)
        module.seen.fill_(step + 1)
        average.take(module, step)  # type: ignore[arg-type]
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    state = average.state_dict()
    assert state["weight"].item() == pytest.approx(expected, abs=1e-12)
    assert state["mean"].item() == pytest.approx(expected, abs=1e-12)
    assert state["seen"].item() == 120
    assert not average.encoder.weight.requires_grad
    assert module.weight.item() == np.sin(119)


def test_the_model_is_the_average_and_a_stopped_run_goes_on_to_the_same(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.read(
        recipe_file, ["optimizer.average=0.5", "schedule.steps=6", "training.checkpoint_every=3"]
    )
    whole = Embedder.load(train(recipe, tmp_path / "whole")).encoder.state_dict()
    checkpoint = Checkpoint.read(tmp_path / "whole")
    assert checkpoint is not None
    assert checkpoint.average is not None
    assert all(torch.equal(whole[name], checkpoint.model[name]) for name in whole)
    assert any(not torch.equal(whole[name], checkpoint.encoder[name]) for name in whole)

    with monkeypatch.context() as patch:
        patch.setattr("voxangle.training.loop.agree", lambda *_: True)
        with pytest.raises(TrainingInterrupted):
            train(recipe, tmp_path / "stopped")
    again = Embedder.load(
        train(recipe, tmp_path / "stopped", console=Console(quiet=True))
    ).encoder.state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_fine_tuning_begins_with_the_average(recipe_file: Path, tmp_path: Path) -> None:
    first = Recipe.read(recipe_file, ["optimizer.average=0.9", "schedule.steps=3"])
    averaged = Embedder.load(train(first, tmp_path / "first")).encoder.state_dict()
    second = Recipe.read(
        recipe_file,
        [
            f"start_from={tmp_path / 'first'}",
            "schedule.steps=1",
            "optimizer.lr=1e-30",
            "optimizer.weight_decay=0",
        ],
    )
    tuned = Embedder.load(train(second, tmp_path / "second")).encoder
    for name, value in tuned.named_parameters():
        assert torch.allclose(value, averaged[name], atol=1e-7)
