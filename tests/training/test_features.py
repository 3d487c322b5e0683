"""Training under any definition of the features, and the model that comes out reads the same ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.conftest import voice
from voxangle.encoders import Embedder
from voxangle.features import FILTERBANKS, build_filterbank
from voxangle.recipe import Recipe
from voxangle.training.distributed import Ranks
from voxangle.training.loop import Run
from voxangle.training.material import gather_material
from voxangle.training.plan import make_plan

FRAMES = {"kaldi": 58, "speechbrain": 61, "redimnet": 41}  # of a crop of 0.6 s
BRIEF = ["schedule.steps=2", "training.log_every=1", "training.validate_every=1", "training.readers=1"]


def under(recipe_file: Path, definition: str) -> Recipe:
    named = [f"features.definition={definition}", "features.bins=40", "encoder.bins=40"]
    return Recipe.read(recipe_file, [*BRIEF, *named])


@pytest.mark.parametrize("definition", FILTERBANKS)
def test_the_model_embeds_with_the_features_it_was_trained_on(
    recipe_file: Path, tmp_path: Path, definition: str
) -> None:
    recipe = under(recipe_file, definition)
    folder = tmp_path / "run"
    folder.mkdir()
    ranks = Ranks(0, 1, torch.device("cpu"))
    run = Run(recipe, folder, gather_material(recipe.data), ranks, Console(quiet=True), fresh=True)
    read: list[torch.Size] = []
    run.encoder.register_forward_pre_hook(lambda _, given: read.append(given[0].shape))
    model = run.train()
    crops = recipe.batch.speakers * recipe.batch.recordings * recipe.augment.views
    assert read[0] == (crops, FRAMES[definition], 40)

    embedder = Embedder.load(model, device="cpu")
    assert embedder.card.filterbank == recipe.features
    assert embedder.card.thresholds
    waveform = voice(0, 9)
    features, _ = build_filterbank(recipe.features)(torch.from_numpy(waveform)[None])
    with torch.inference_mode():
        expected = run.encoder.eval()(features)
    torch.testing.assert_close(torch.from_numpy(embedder.embed([waveform])), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("definition", FILTERBANKS)
def test_a_plan_is_made_under_any_definition(recipe_file: Path, definition: str) -> None:
    assert make_plan(under(recipe_file, definition), measured_steps=1).step_seconds > 0
