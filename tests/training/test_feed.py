"""What a run is fed with: shards in their order, epoch after epoch, from where the run before had come to."""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from voxangle.corpora import folder as folder_corpus
from voxangle.data.shard_writer import write_shards
from voxangle.errors import CheckpointError, CorpusError, RecipeError
from voxangle.recipe import Recipe
from voxangle.training.distributed import Ranks
from voxangle.training.feed import Feed, open_feed
from voxangle.training.loop import train
from voxangle.training.material import gather_material
from voxangle.training.plan import make_plan


def feed_of(recipe: Recipe, rank: int = 0, world_size: int = 1) -> Feed:
    material = gather_material(recipe.data)
    return open_feed(recipe, material.training, Ranks(rank, world_size, torch.device("cpu")))


@pytest.fixture
def recipe(recipe_file: Path, shards: Path) -> Recipe:
    return Recipe.read(
        recipe_file,
        [f"data.shards={shards}", "batch.speakers=2", "data.buffer=8", "data.validation_recordings=4"],
    )


def test_shards_train_on_whom_the_recordings_would(recipe_file: Path, recipe: Recipe) -> None:
    plainly = Recipe.read(recipe_file, ["data.validation_recordings=4"])
    mine, plain = (gather_material(one.data) for one in (recipe, plainly))
    assert mine.training.manifest.speakers() == plain.training.manifest.speakers()
    assert mine.validation is not None
    assert plain.validation is not None
    keys = plain.validation.manifest.table["utterance"].to_pylist()
    assert set(mine.validation.manifest.table["utterance"].to_pylist()) == set(keys)
    for row, key in enumerate(mine.validation.manifest.table["utterance"].to_pylist()):
        there = plain.validation.read(keys.index(key))
        np.testing.assert_allclose(mine.validation.read(row), there, atol=2**-15)


def test_an_epoch_follows_another_and_each_has_every_recording(recipe: Recipe) -> None:
    feed = feed_of(recipe)
    steps = feed.epoch_steps()
    assert steps == 4  # 4 training speakers with 4 recordings, 2 x 2 a batch
    with closing(feed.stream(0, 3 * steps)) as batches:
        rows = [batch.rows.tolist() for batch in batches]
    assert len(rows) == 3 * steps
    for epoch in range(3):
        assert sorted(chain.from_iterable(rows[epoch * steps : (epoch + 1) * steps])) == list(range(16))
    assert rows[:steps] != rows[steps : 2 * steps]


@pytest.mark.parametrize("taken", range(10))
def test_it_goes_on_from_any_step_of_any_epoch(recipe: Recipe, taken: int) -> None:
    unbroken = feed_of(recipe)
    expected = list(unbroken.stream(0, 10))
    first = feed_of(recipe)
    with closing(first.stream(0, 10)) as batches:
        for _ in range(taken):
            next(batches)
        position = first.position()  # read ahead or not: what was taken counts
    second = feed_of(recipe)
    second.go_to(position, Path("x"))
    for batch, other in zip(second.stream(taken, 10), expected[taken:], strict=True):
        assert torch.equal(batch.rows, other.rows)
        assert torch.equal(batch.waveforms, other.waveforms)


def test_processes_share_a_batch_and_know_their_rows(recipe: Recipe) -> None:
    feeds = [feed_of(recipe, rank, 2) for rank in range(2)]
    assert [feed.first_row for feed in feeds] == [0, 2]
    rows = [batch.rows.tolist() for feed in feeds for batch in feed.stream(0, feed.epoch_steps())]
    assert all(len(mine) == 2 for mine in rows)
    drawn = list(chain.from_iterable(rows))
    assert len(set(drawn)) == len(drawn)


def test_other_processes_or_shards_cannot_go_on(
    recipe: Recipe, tmp_path: Path, voices: Path, recipe_file: Path
) -> None:
    position = feed_of(recipe).position()
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt.*processes 1, this one would with 2.*--fresh"):
        feed_of(recipe, 0, 2).go_to(position, tmp_path / "checkpoint.pt")
    train(recipe, tmp_path / "run")
    (place := Path(recipe.data.shards or "")).rename(tmp_path / "away")
    try:
        write_shards(folder_corpus.read(voices).splits["all"], place, source="folder/all", together=4)
        with pytest.raises(CheckpointError, match=r"with release .*--fresh"):
            train(recipe.model_copy(update={"name": "again"}), tmp_path / "run")
    finally:
        place.rename(tmp_path / "other")
        (tmp_path / "away").rename(place)


def test_shards_of_something_else_are_refused(recipe_file: Path, shards: Path) -> None:
    for change in ("data.corpus=voxceleb2", "data.split=train"):
        recipe = Recipe.read(recipe_file, [f"data.shards={shards}", change])
        with pytest.raises(CorpusError, match="shards of corpus 'folder', split 'all'; the recipe wants"):
            gather_material(recipe.data)


@pytest.mark.parametrize("change", ["data.join_seconds=5", "data={corpora: {folder: {}}, shards: x}"])
def test_what_shards_cannot_do_is_refused_before_anything_runs(recipe_file: Path, change: str) -> None:
    with pytest.raises(RecipeError, match="shards are read in their order"):
        Recipe.read(recipe_file, ["data.shards=x", change])


def test_a_place_is_relative_to_where_one_stands_and_an_address_stays(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Recipe.read(recipe_file, ["data.shards=here/train"]).data.shards == str(
        tmp_path / "here" / "train"
    )
    assert Recipe.read(recipe_file, ["data.shards=s3://b/train"]).data.shards == "s3://b/train"


def test_the_plan_is_of_the_shards(recipe: Recipe) -> None:
    plan = make_plan(recipe, measured_steps=1)
    assert plan.epochs == recipe.schedule.steps / 4
    assert plan.lines[0].what == "folder/all"
    assert "24 recordings, 6 speakers" in plan.lines[0].value
    with pytest.raises(RecipeError, match="64 different speakers"):
        make_plan(recipe.model_copy(update={"batch": recipe.batch.model_copy(update={"speakers": 64})}))


@pytest.mark.parametrize("speeds", ["[1.0]", "[1.0, 0.9]"])
def test_the_speakers_of_a_batch_are_alike_where_asked_for(voices: Path, tmp_path: Path, speeds: str) -> None:
    lines = [
        f"{path.relative_to(voices)},{path.parent.name},{'en' if int(path.parent.name[1:]) % 2 else 'zh'}"
        for path in sorted(voices.rglob("*.wav"))
    ]
    (tmp_path / "voices.csv").write_text("\n".join(["path,speaker,language", *lines]) + "\n")
    for path in voices.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "recipe.yaml").write_text(
        f"""
        data: {{corpus: table, root: {tmp_path}, speeds: {speeds}}}
        batch: {{speakers: 3, recordings: 2, seconds: 0.5, alike: [language]}}
        encoder: {{architecture: ecapa_tdnn, channels: 16}}
        schedule: {{steps: 10}}
        """
    )
    recipe = Recipe.read(tmp_path / "recipe.yaml")
    feed = feed_of(recipe)
    languages = np.array([int(name.removeprefix("sp0.9-")[1:]) % 2 for name in feed.recordings.speakers])
    with closing(feed.stream(0, feed.epoch_steps())) as batches:
        heard = [set(languages[batch.labels].tolist()) for batch in batches]
    assert len(heard) >= 4
    assert all(len(one) == 1 for one in heard)  # 3 or 6 speakers of each language fill whole batches of 3
    with pytest.raises(RecipeError, match="do not differ in 'channel'"):
        feed_of(Recipe.read(tmp_path / "recipe.yaml", ["batch.alike=[channel]"]))
