"""What a recipe says of its data: one corpus or several, speeds, and the run that it begins with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from voxangle.errors import RecipeError
from voxangle.recipe import Recipe

TWO = """
start_from: ../runs/before
data:
  corpora: {cnceleb1: {root: one}, cnceleb2: {split: train}}
  root: both
encoder: {architecture: ecapa_tdnn, channels: 64}
schedule: {steps: 10}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    file = tmp_path / "recipes" / "two.yaml"
    file.write_text(TWO)
    return file


def test_each_corpus_has_its_place_or_the_common_one(path: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(path)
    here = tmp_path / "recipes"
    assert recipe.data.sources == (
        ("cnceleb1", here / "one", None),
        ("cnceleb2", here / "both", "train"),
    )
    assert recipe.start_from == tmp_path / "runs" / "before"
    recipe.write(tmp_path / "run" / "recipe.yaml")
    assert Recipe.read(tmp_path / "run" / "recipe.yaml") == recipe


def test_a_place_on_the_command_line_is_relative_to_where_one_stands(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.read(path, ["data.corpora.cnceleb2.root=here", "start_from=there"])
    assert recipe.data.sources[1].root == tmp_path / "here"
    assert recipe.start_from == tmp_path / "there"


def test_one_corpus_is_one_source(path: Path) -> None:
    recipe = Recipe.read(path, ["data={corpus: folder, split: all}", "start_from=null"])
    assert recipe.data.sources == (("folder", None, "all"),)
    assert recipe.data.speeds == (1.0,)
    assert recipe.start_from is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.corpus=folder", "by corpus, or by corpora"),
        ("data.corpora=null", "by corpus, or by corpora"),
        ("data.corpora={}", "'data.corpora'"),
        ("data.speeds=[0.9, 1.1]", "'data.speeds': 1.0"),
        ("data.speeds=[1.0, 0.9, 0.9]", "twice"),
        ("data.speeds=[1.0, 0.955]", "multiples of 0.01"),
        ("data.speeds=[1.0, 3.0]", "'data.speeds"),
        ("data.corpora.cnceleb1.rot=here", "'data.corpora.cnceleb1.rot'; did you mean 'root'"),
        ("data.join_seconds=0", "'data.join_seconds'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_cure(path: Path, change: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.read(path, [change])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "wrong", "message"),
    [
        ("data.swapped_labels=0.1", "data.swapped_labels=1.5", "shards hold their labels"),
        ("batch.alike=[language]", "batch.alike=[accent]", "shards are read in their order"),
    ],
)
def test_what_shards_cannot_be_asked_for(path: Path, entry: str, wrong: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.read(path, ["data.corpora=null", "data.corpus=cnceleb1", "data.shards=there", entry])
    with pytest.raises(RecipeError, match=re.escape(entry.partition("=")[0])):
        Recipe.read(path, [wrong])
