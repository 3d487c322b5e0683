"""The loop on made-up voices: it learns, it stops and goes on to the bit, it never loses a run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from voxangle.encoders import Embedder
from voxangle.errors import CheckpointError, CorpusError, DivergenceError, RecipeError, StorageError
from voxangle.recipe import Recipe
from voxangle.training.checkpoint import CHECKPOINT, Checkpoint
from voxangle.training.loop import train

COMMAND = [sys.executable, "-m", "voxangle", "train"]
QUIET = os.environ | {"OMP_NUM_THREADS": "1"}


def same(first: Checkpoint | None, second: Checkpoint | None) -> bool:
    assert first is not None
    assert second is not None
    moments = zip(first.optimizer["state"].values(), second.optimizer["state"].values(), strict=True)
    return (
        first.step == second.step
        and all(torch.equal(first.encoder[k], second.encoder[k]) for k in first.encoder)
        and first.objective.keys() == second.objective.keys()
        and all(torch.equal(first.objective[k], second.objective[k]) for k in first.objective)
        and all(torch.equal(a["exp_avg_sq"], b["exp_avg_sq"]) for a, b in moments)
    )


def records(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_recipe_a_log_a_checkpoint_and_a_model(recipe_file: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(recipe_file)
    model = train(recipe, tmp_path / "run")
    assert model == tmp_path / "run" / "model"
    assert Recipe.read(tmp_path / "run" / "recipe.yaml") == recipe
    log = records(tmp_path / "run")
    steps = [row for row in log if "losses" in row]
    assert [row["step"] for row in steps] == [5, 10, 15, 20]
    # Contrast enters at a fifth of the run: step 4, before the first line of the log.
    assert all(set(row["losses"]) == {"classification", "contrastive"} for row in steps)
    assert all(0 <= row["alpha"] <= 1 and row["crops_per_second"] > 0 for row in steps)
    validations = [row for row in log if "validation_eer" in row]
    assert [row["step"] for row in validations] == [10, 20]

    embedder = Embedder.load(model)
    limit = embedder.card.thresholds[0]
    assert limit.name == "eer"
    assert limit.false_acceptance == validations[-1]["validation_eer"]
    assert "validation trials" in limit.source
    assert embedder.card.training is not None
    assert embedder.card.training.steps == 20
    told = embedder.card.training.settings
    assert told["schedule"]["steps"] == 20
    assert not [line for line in json.dumps(told).split('"') if "/" in line]
    assert embedder.card.attributions == ()  # nobody's licence: it learned from a folder of one's own
    assert np.isfinite(embedder.embed([np.sin(np.arange(16_000) / 9).astype(np.float32)])).all()


def test_training_tells_made_up_voices_apart(recipe_file: Path, tmp_path: Path) -> None:
    settings = ["schedule.steps=80", "optimizer.lr=5e-3", "training.validate_every=0"]
    recipe = Recipe.read(recipe_file, settings)
    train(recipe, tmp_path / "run")
    losses = [row["losses"]["classification"] for row in records(tmp_path / "run") if "losses" in row]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("from_shards", [False, True])
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(
    recipe_file: Path, tmp_path: Path, shards: Path, from_shards: bool
) -> None:
    settings = ["--set", f"data.shards={shards}", "--set", "data.speeds=[1.0, 0.9]"] if from_shards else []
    command = [*COMMAND, str(recipe_file), *settings]
    unbroken = tmp_path / "unbroken"
    subprocess.run([*command, "--out", str(unbroken)], env=QUIET, check=True, timeout=300)
    folder = tmp_path / "killed"
    moments = random.Random(5)
    kills = 0
    for _ in range(6):
        process = subprocess.Popen(
            [*command, "--out", str(folder)],
            env=QUIET,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # Wait until this life has made progress of its own, then strike while it steps, logs or saves.
        before = (folder / CHECKPOINT).stat().st_mtime_ns if (folder / CHECKPOINT).exists() else 0
        while process.poll() is None:
            if (folder / CHECKPOINT).exists() and (folder / CHECKPOINT).stat().st_mtime_ns != before:
                break
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.2))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    assert kills >= 2
    assert not (folder / "model").exists() or kills
    subprocess.run([*command, "--out", str(folder)], env=QUIET, check=True, timeout=300)
    assert same(Checkpoint.read(folder), Checkpoint.read(unbroken))
    steps = [row["step"] for row in records(folder) if "losses" in row]
    assert steps == [5, 10, 15, 20]
    weights = "model/model.safetensors"
    assert (folder / weights).read_bytes() == (unbroken / weights).read_bytes()


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_says_how_to_go_on(
    recipe_file: Path, tmp_path: Path, asked: signal.Signals
) -> None:
    folder = tmp_path / "stopped"
    command = [*COMMAND, str(recipe_file), "--out", str(folder), "--set", "schedule.steps=100000"]
    process = subprocess.Popen(command, env=QUIET, stderr=subprocess.PIPE, text=True)
    while not (folder / CHECKPOINT).exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(asked)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "to go on: voxangle train" in said
    assert "Traceback" not in said
    checkpoint = Checkpoint.read(folder)
    assert checkpoint is not None
    assert f"after step {checkpoint.step};" in said


@pytest.mark.parametrize("from_shards", [False, True])
def test_two_ranks_train_one_run(recipe_file: Path, tmp_path: Path, shards: Path, from_shards: bool) -> None:
    folder = tmp_path / "two"
    settings = ["--set", f"data.shards={shards}"] if from_shards else []
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "voxangle", "train", str(recipe_file), "--out", str(folder), *settings]
    done = subprocess.run(command, env=QUIET, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the model is in") == 1
    checkpoint = Checkpoint.read(folder)
    assert checkpoint is not None
    assert checkpoint.step == 20
    assert [row["step"] for row in records(folder) if "losses" in row] == [5, 10, 15, 20]
    Embedder.load(folder)


def test_divergence_stops_with_the_last_good_checkpoint(recipe_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(Recipe.read(recipe_file, ["schedule.steps=10"]), folder)
    good = (folder / CHECKPOINT).read_bytes()
    wild = Recipe.read(
        recipe_file, ["schedule.steps=10", "optimizer.kind=sgd", "optimizer.lr=1e38", "optimizer.clip=null"]
    )
    with pytest.raises(DivergenceError, match=r"diverged at step \d+.*optimizer\.lr"):
        train(wild, tmp_path / "wild", fresh=True)
    assert (folder / CHECKPOINT).read_bytes() == good


def test_a_second_run_is_kept_out_of_the_folder(recipe_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [*COMMAND, str(recipe_file), "--out", str(folder), "--set", "schedule.steps=100000"]
    first = subprocess.Popen(command, env=QUIET, stderr=subprocess.DEVNULL)
    while not (folder / CHECKPOINT).exists():
        assert first.poll() is None
        time.sleep(0.01)
    with pytest.raises(CheckpointError, match="another process is training"):
        train(Recipe.read(recipe_file), folder)
    first.kill()
    first.wait()


def test_a_run_s_folder_is_tried_before_anything_is_prepared(
    recipe_file: Path, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(StorageError, match="choose another folder"):
            train(Recipe.read(recipe_file), out)
    assert not (cache / "prepared").exists()


def test_a_corpus_without_splits_needs_none_named(recipe_file: Path, tmp_path: Path) -> None:
    train(Recipe.read(recipe_file, ["data.split=null", "schedule.steps=2"]), tmp_path / "run")


def test_a_finished_run_is_not_trained_again(recipe_file: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(recipe_file)
    train(recipe, tmp_path / "run")
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    train(recipe, tmp_path / "run")
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before


def test_the_run_of_another_recipe_is_not_overwritten(recipe_file: Path, tmp_path: Path) -> None:
    train(Recipe.read(recipe_file), tmp_path / "run")
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    for change in ("encoder.channels=32", "optimizer.lr=0.5"):
        with pytest.raises(CheckpointError, match="--fresh") as caught:
            train(Recipe.read(recipe_file, [change]), tmp_path / "run")
        assert change.partition("=")[0] in str(caught.value)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before
    # How a run is watched does not change what comes out of it.
    train(Recipe.read(recipe_file, ["training.log_every=1"]), tmp_path / "run")
    train(Recipe.read(recipe_file, ["encoder.channels=32"]), tmp_path / "run", fresh=True)


def test_watching_a_run_does_not_change_it(recipe_file: Path, tmp_path: Path) -> None:
    watched = ["training.validate_every=3", "training.checkpoint_every=2", "training.log_every=1"]
    train(Recipe.read(recipe_file, watched), tmp_path / "watched")
    train(Recipe.read(recipe_file), tmp_path / "plain")
    assert same(Checkpoint.read(tmp_path / "watched"), Checkpoint.read(tmp_path / "plain"))


def test_another_seed_is_another_run(recipe_file: Path, tmp_path: Path) -> None:
    train(Recipe.read(recipe_file), tmp_path / "one")
    train(Recipe.read(recipe_file, ["seed=4"]), tmp_path / "two")
    assert not same(Checkpoint.read(tmp_path / "one"), Checkpoint.read(tmp_path / "two"))


@pytest.mark.parametrize(
    "objective",
    [
        "{contrastive: null}",
        "{classification: null, contrastive: {attention: null}}",
        "{contrastive: {attention: null, margin_form: arcface}, balancing: {kind: fixed}}",
        "{contrastive: {attention: {form: logit, pairs: all}}, balancing: {kind: mgda, normaliser: loss+}}",
        "{classification: {subcentres: 2, inter_topk: 1}, balancing: {at: parameters}}",
        "{classification: {kind: sphereface2}, contrastive: {kind: angular_prototypical}, balancing: {kind: equal}}",
        "{contrastive: {kind: nt_xent_am}, balancing: {kind: uncertainty}}",
    ],
)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_part_of_the_objective_can_be_switched(
    recipe_file: Path, tmp_path: Path, objective: str, optimizer: str
) -> None:
    settings = [f"objective={objective}", f"optimizer.kind={optimizer}", "schedule.steps=5"]
    train(Recipe.read(recipe_file, settings), tmp_path / "run")
    (row,) = (row for row in records(tmp_path / "run") if "losses" in row)
    expected = {"contrastive"} if "classification: null" in objective else {"classification"}
    if "contrastive: null" not in objective:
        expected |= {"contrastive"}
    assert set(row["losses"]) == expected


def test_bf16_trains(recipe_file: Path, tmp_path: Path) -> None:
    train(Recipe.read(recipe_file, ["training.precision=bf16"]), tmp_path / "run")
    assert all(
        np.isfinite(row["total_gradient_norm"]) for row in records(tmp_path / "run") if "losses" in row
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("data.validation_speakers=5", CorpusError, "validation_speakers"),
        ("data.minimum_seconds=99", CorpusError, "minimum_seconds"),
        ("data.split=train", CorpusError, "no split 'train'"),
        ("data.corpus=foldr", CorpusError, "did you mean 'folder'"),
        ("data.root=/nowhere/at/all", CorpusError, "/nowhere/at/all"),
        ("batch.speakers=64", RecipeError, "64"),
    ],
)
def test_material_that_cannot_be_trained_on_is_refused(
    recipe_file: Path, tmp_path: Path, change: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        train(Recipe.read(recipe_file, [change]), tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_tensorboard_events_are_written(recipe_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(Recipe.read(recipe_file, ["training.tensorboard=true"]), tmp_path / "run")
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
