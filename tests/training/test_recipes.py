"""The recipes of the house run, on corpora in miniature: every one of them, and its fine-tuning after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.corpora import miniature
from voxangle.encoders import Embedder
from voxangle.recipe import Recipe
from voxangle.training.checkpoint import Checkpoint
from voxangle.training.loop import train
from voxangle.training.material import gather_material
from voxangle.training.plan import make_plan

RECIPES = Path(__file__).parents[2] / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*_ecapa*.yaml") if not path.stem.endswith("_lm"))
SMALL = [
    "schedule.steps=2",
    "data.validation_speakers=0",
    "batch.speakers=2",
    "batch.seconds=0.5",
    "augment.rooms=2",
    "augment.bank_seconds=8",
    "augment.views=2",
    "encoder.channels=16",
    "encoder.aggregation=24",
    "encoder.squeeze=8",
    "encoder.attention=8",
    "training.precision=fp32",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``data`` of the recipes: VoxCeleb2, both CN-Celebs, MUSAN and RIRS_NOISES, a few files of each."""
    folder = tmp_path_factory.mktemp("data")
    two_seconds = lambda speaker, number: miniature.voice(speaker, number, 2.0)  # noqa: E731
    for part, speakers in miniature.VOXCELEB2.items():
        miniature.voxceleb(folder / "VoxCeleb2" / part / "aac", speakers, voice=two_seconds)
    miniature.vox2_meta(folder / "VoxCeleb2" / "vox2_meta.csv")
    miniature.cnceleb1(folder / "CN-Celeb" / "CN-Celeb_flac", voice=two_seconds)
    miniature.cnceleb2(folder / "CN-Celeb" / "CN-Celeb2_flac", voice=two_seconds)
    random = np.random.default_rng(0)
    for kind in ("noise", "music"):
        wave = 0.1 * random.standard_normal(32_000)
        miniature.write(folder / "musan" / kind / "free" / f"{kind}-0000.wav", wave)
    room = np.exp(-np.arange(1600) / 200) * random.standard_normal(1600)
    room /= 2 * np.abs(room).max()
    miniature.write(folder / "RIRS_NOISES" / "simulated_rirs" / "smallroom" / "Room001" / "R1-1.wav", room)
    return folder


def small(name: str, data: Path, *settings: str) -> Recipe:
    """A recipe of the house, its size cut down and its paths those of the miniature."""
    whole = Recipe.read(RECIPES / f"{name}.yaml")
    assert whole.data.root is not None
    assert whole.augment.musan is not None
    assert whole.augment.rirs is not None
    return Recipe.read(
        RECIPES / f"{name}.yaml",
        [
            *SMALL,
            f"data.root={data / whole.data.root.name}",
            f"augment.musan={data / whole.augment.musan.name}",
            f"augment.rirs={data / whole.augment.rirs.name}",
            *settings,
        ],
    )


def test_there_is_one_for_each_system_and_each_has_its_fine_tuning() -> None:
    assert len(NAMES) == 6
    for name in NAMES:
        tuned = Recipe.read(RECIPES / f"{name}_lm.yaml")
        assert tuned.start_from is not None
        assert tuned.start_from.name == name
        assert tuned.objective.classification.margin == 0.5
        assert tuned.data.speeds == (1.0,)


@pytest.mark.parametrize("system", sorted({name.rpartition("_")[0] for name in NAMES}))
def test_control_and_objective_differ_in_the_objective_only(system: str) -> None:
    for stage in ("", "_lm"):
        aam, full = (
            Recipe.read(RECIPES / f"{system}_{kind}{stage}.yaml").plain() for kind in ("aam", "full")
        )
        differ = {key for key in aam if aam[key] != full[key]} - {"name", "start_from"}
        assert differ == {"objective"}
        assert aam["objective"]["classification"] == full["objective"]["classification"]
        assert aam["objective"]["contrastive"] is None


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_states_its_source_and_what_is_ours(name: str) -> None:
    for stage in ("", "_lm"):
        text = (RECIPES / f"{name}{stage}.yaml").read_text()
        assert "# Of the field:" in text
        assert "# Ours:" in text
        assert f"recipes/{name}{stage}.yaml --check" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_and_its_fine_tuning_run_on_a_miniature(name: str, data: Path, tmp_path: Path) -> None:
    train(small(name, data), tmp_path / name)
    first = Checkpoint.read(tmp_path / name)
    assert first is not None
    voices = {"voxceleb2": 2, "cnceleb": 4}[name.partition("_")[0]]
    assert len(first.speakers) == 3 * voices
    assert sum(speaker.startswith("sp0.9-") for speaker in first.speakers) == voices

    tuned = small(f"{name}_lm", data, f"start_from={tmp_path / name}")
    model = train(tuned, tmp_path / "tuned")
    second = Checkpoint.read(tmp_path / "tuned")
    assert second is not None
    assert second.speakers == first.speakers[:voices]
    card = Embedder.load(model).card
    assert card.training is not None
    assert (
        card.training.corpora
        == {"voxceleb2": ("voxceleb2",), "cnceleb": ("cnceleb1", "cnceleb2")}[name.partition("_")[0]]
    )


@pytest.mark.parametrize("name", ["voxceleb2_ecapa512_full", "cnceleb_ecapa1024_full"])
def test_the_plan_of_a_recipe_on_a_miniature(name: str, data: Path) -> None:
    plan = make_plan(small(name, data), measured_steps=1)
    assert plan.classes == {"v": 6, "c": 12}[name[0]]
    hours = [line for line in plan.lines if line.what.endswith("/train")]
    assert len(hours) == {"v": 1, "c": 2}[name[0]]
    assert all(line.basis == "estimated" and " h" in line.value for line in hours)
    if name.startswith("c"):
        assert any("were joined" in note for note in plan.notes)
        assert any("data.join_seconds" in note for note in plan.notes)


def test_the_plan_of_what_was_prepared_is_what_the_run_will_find(data: Path) -> None:
    recipe = small("cnceleb_ecapa1024_full", data)
    guess = {line.what: line for line in make_plan(recipe, measured_steps=1).lines}
    assert guess["epoch"].basis == guess["classes"].basis == "estimated"
    material = gather_material(recipe.data)  # prepares
    plan = make_plan(recipe, measured_steps=1)
    known = {line.what: line for line in plan.lines}
    assert known["epoch"].basis == "computed"
    assert (
        known["cnceleb1/train"].basis == known["cnceleb2/train"].basis == known["classes"].basis == "counted"
    )
    rows = len(material.training.samples) * len(recipe.data.speeds)
    assert f"{rows:,} rows" in known["epoch"].value
    assert not any("is estimated until" in note for note in plan.notes)
