"""``--check`` tells the truth about a run, and trains and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxangle.cli import app
from voxangle.encoders import build_encoder
from voxangle.errors import CheckpointError, CorpusError, RecipeError
from voxangle.recipe import Recipe
from voxangle.training.plan import make_plan


def everything_in(*folders: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
    }


def test_the_plan_counts_what_the_run_will_do(
    recipe_file: Path, tmp_path: Path, voices: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.read(recipe_file, ["data.speeds=[1.0, 0.9, 1.1]", "schedule.steps=60"])
    before = everything_in(tmp_path, cache, voices)
    plan = make_plan(recipe, measured_steps=1)
    assert everything_in(tmp_path, cache, voices) == before
    # Four of six speakers train, with four recordings each, at three speeds; a batch has 4 x 2 rows.
    assert plan.classes == 12
    assert plan.steps == 60
    assert plan.epochs == 60 / (4 * 4 * 3 // 8)
    encoder = build_encoder(recipe.encoder)
    assert plan.encoder_parameters == sum(p.numel() for p in encoder.parameters())
    assert plan.objective_parameters == 12 * recipe.encoder.dimension
    assert plan.step_seconds > 0
    assert plan.hours == pytest.approx(60 * plan.step_seconds / 3600)
    assert plan.peak_bytes > 1e6
    basis = {line.what: line.basis for line in plan.lines}
    assert basis["step"] == basis["memory"] == "measured"
    assert basis["duration"] == "extrapolated"
    hours = next(line for line in plan.lines if line.what.endswith("/all"))
    assert hours.basis == "counted"
    assert "24 recordings, 6 speakers, 0.01 h" in hours.value


def test_processes_share_the_batch(recipe_file: Path) -> None:
    recipe = Recipe.read(recipe_file)
    plan = make_plan(recipe, processes=2, measured_steps=1)
    assert plan.epochs == make_plan(recipe, measured_steps=1).epochs
    assert any("8 on each of 2 processes" in line.remark for line in plan.lines)
    with pytest.raises(RecipeError, match="multiple of 3"):
        make_plan(recipe, processes=3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("data.root=/nowhere/at/all", CorpusError, "/nowhere/at/all"),
        ("batch.speakers=64", RecipeError, "64"),
        ("data.validation_speakers=5", CorpusError, "validation_speakers"),
        ("augment.musan=/nowhere/at/all", CorpusError, "/nowhere/at/all"),
        ("start_from=/nowhere/at/all", CheckpointError, "/nowhere/at/all"),
    ],
)
def test_what_would_stop_the_run_is_said_now(
    recipe_file: Path, change: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_plan(Recipe.read(recipe_file, [change]), measured_steps=1)


def test_recordings_that_cannot_be_decoded_are_named(recipe_file: Path, tmp_path: Path, voices: Path) -> None:
    for path in voices.glob("s*/*"):
        target = tmp_path / "mine" / path.relative_to(voices)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / "mine" / "s0" / "u0.wav").write_text("this is not audio")
    root = f"data.root={tmp_path / 'mine'}"
    plan = make_plan(Recipe.read(recipe_file, [root]), measured_steps=1)
    assert any("1 of 16 recordings" in note and "s0/u0.wav" in note for note in plan.notes)
    for path in (tmp_path / "mine").glob("s*/*"):
        path.write_text("this is not audio")
    with pytest.raises(CorpusError, match="none of 16 recordings"):
        make_plan(Recipe.read(recipe_file, [root]), measured_steps=1)


def test_the_command_prints_it(recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("voxangle.training.allocator.keep_freed_memory", lambda: False)
    done = CliRunner().invoke(app, ["train", str(recipe_file), "--check"])
    assert done.exit_code == 0, done.output
    for word in ("classes", "epoch", "parameters", "measured", "extrapolated", "note: babble"):
        assert word in done.output
    assert not (tmp_path / "runs").exists()
    refused = CliRunner().invoke(app, ["train", str(recipe_file), "--processes", "2"])
    assert "--check" in str(refused.exception)
