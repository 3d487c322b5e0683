"""A run that begins with the weights of another: speakers by name, nothing silently random."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from voxangle.encoders import Embedder, ResNetConfig, build_encoder
from voxangle.encoders.card import Attribution
from voxangle.encoders.foreign import TOOLKITS, import_model
from voxangle.encoders.model_files import copy_model, rewrite_card
from voxangle.errors import CheckpointError
from voxangle.features import FilterbankConfig
from voxangle.objectives import Objective
from voxangle.recipe import Recipe
from voxangle.training.checkpoint import CHECKPOINT, Checkpoint
from voxangle.training.loop import train
from voxangle.training.plan import make_plan
from voxangle.training.start import card_of, sections_of, start_from

RESNET = ResNetConfig(depth=18, channels=4, dimension=8)
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
        (
            "start_from=/nowhere/at/all",
            "nor a model that can be read: /nowhere/at/all: no model here; name a folder",
        ),
        ("features.definition=speechbrain", "features.definition 'kaldi', this recipe has 'speechbrain'"),
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


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """The folder of a model that was imported from WeSpeaker, with Hamming's window in its features."""
    layout = next(layout for layout in TOOLKITS["wespeaker"].layouts if layout.title == "ResNet")
    torch.manual_seed(5)
    ours = build_encoder(RESNET).state_dict()
    torch.save({key.theirs: ours[key.ours] for key in layout.keys(RESNET)}, tmp_path / "avg_model.pt")
    import_model("wespeaker", tmp_path / "avg_model.pt", tmp_path / "imported")
    return tmp_path / "imported"


def test_an_imported_model_is_fine_tuned_by_the_sections_that_the_error_names(
    recipe_file: Path, imported: Path, tmp_path: Path
) -> None:
    settings = [*BRIEF, f"start_from={imported}", "optimizer.lr=1e-8"]
    with pytest.raises(CheckpointError) as caught:
        train(Recipe.read(recipe_file, settings), tmp_path / "run")
    message, _, sections = str(caught.value).partition("Its sections are:\n")
    assert f"{imported} has encoder.architecture 'resnet', this recipe has 'ecapa_tdnn'" in message
    lines = [line for line in recipe_file.read_text().splitlines() if not line.startswith("encoder:")]
    recipe_file.write_text("\n".join([*lines, sections]))

    recipe, said = Recipe.read(recipe_file, settings), Console(record=True, width=400)
    with said.capture() as capture:
        model = train(recipe, tmp_path / "run", console=said)
    note = (
        f"start_from: encoder of {imported}, a model, which has no prototypes: those of 6 speakers begin anew"
    )
    assert note in capture.get()
    begun, ended = Embedder.load(imported, device="cpu"), Embedder.load(model, device="cpu")
    assert recipe.features == ended.card.filterbank == FilterbankConfig(window="hamming")
    for start, end in zip(begun.encoder.parameters(), ended.encoder.parameters(), strict=True):
        torch.testing.assert_close(end, start, rtol=0, atol=1e-6)
    assert ended.card.origin == begun.card.origin
    assert ended.card.training is not None
    # Whoever begins with this run's model begins with theirs.
    again = card_of(tmp_path / "run")
    assert again is not None
    assert again.origin == begun.card.origin


def test_the_licence_of_the_weights_goes_on_though_their_folder_goes(
    recipe_file: Path, first: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    copy_model(first, base)
    thanks = (Attribution(name="somebody", licence="cc-by-nc-4.0"),)
    said = {"licence": "cc-by-nc-4.0", "attributions": thanks}
    rewrite_card(base, Embedder.load(base, device="cpu").card.model_copy(update=said))
    settings = [*BRIEF, f"start_from={base}", "training.checkpoint_every=1"]
    train(Recipe.read(recipe_file, settings), tmp_path / "run")
    shutil.rmtree(base)
    shutil.rmtree(tmp_path / "run" / "model")
    model = train(Recipe.read(recipe_file, settings), tmp_path / "run")
    card = Embedder.load(model, device="cpu").card
    assert (card.licence, card.attributions) == ("cc-by-nc-4.0", thanks)


def test_training_a_finished_run_leaves_what_was_said_on_its_card(recipe_file: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(recipe_file, BRIEF)
    model = train(recipe, tmp_path / "run")
    said = Embedder.load(model, device="cpu").card.model_copy(update={"licence": "mit"})
    rewrite_card(model, said)
    train(recipe, tmp_path / "run")
    assert Embedder.load(model, device="cpu").card == said
    train(recipe, tmp_path / "run", fresh=True)
    assert Embedder.load(model, device="cpu").card.licence is None


def test_the_model_of_a_run_is_a_model_too(recipe_file: Path, first: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(recipe_file, [*BRIEF, f"start_from={first / 'model'}"])
    encoder, objective = modules(recipe, 2)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    (note,) = start_from(recipe, ["nobody", "of them"], encoder, objective)
    assert "2 speakers begin anew" in note
    checkpoint = Checkpoint.read(first)
    assert checkpoint is not None
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, checkpoint.encoder[name])
    for name, value in objective.state_dict().items():
        assert torch.equal(value, before[name])
    assert (card_of(first), card_of(tmp_path)) == (Embedder.load(first, device="cpu").card, None)


def test_a_model_with_other_features_is_refused(recipe_file: Path, first: Path) -> None:
    changed = [*BRIEF, f"start_from={first / 'model'}", "features.window=hamming"]
    recipe = Recipe.read(recipe_file, changed)
    with pytest.raises(CheckpointError) as caught:
        start_from(recipe, ["s0", "s1"], *modules(recipe, 2))
    assert "features.window 'povey', this recipe has 'hamming'" in str(caught.value)
    assert sections_of(Embedder.load(first, device="cpu").card)["features"] == FilterbankConfig().model_dump()


def test_a_broken_model_says_what_is_broken(recipe_file: Path, imported: Path) -> None:
    weights = imported / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(
        CheckpointError, match=r"nor a model that can be read: .*model\.safetensors: .*truncated"
    ):
        make_plan(Recipe.read(recipe_file, [*BRIEF, f"start_from={imported}"]), measured_steps=1)


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
