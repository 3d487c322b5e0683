"""The demo, on made-up voices in place of the corpus."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from rich.console import Console

from voxangle.corpora import CORPORA, Corpus, folder
from voxangle.data.pairs import trials_of
from voxangle.demo import run_demo
from voxangle.encoders import Embedder
from voxangle.errors import CorpusError
from voxangle.scoring import Result

SMALL = [
    "schedule.steps=4",
    "batch.speakers=2",
    "batch.seconds=0.5",
    "encoder.channels=16",
    "encoder.aggregation=24",
    "data.validation_speakers=0",
    "augment.kinds.reverb=0",
]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch, voices: Path) -> None:
    """Four made-up voices to learn from and two to test on, under a corpus's name."""
    whole = folder.read(voices).splits["all"]
    train = whole.of_speakers([f"s{i}" for i in range(4)])
    held_out = whole.of_speakers(["s4", "s5"])
    corpus = Corpus(
        "mini-librispeech",
        {"train": train, "eval": held_out},
        {"pairs": trials_of(held_out, "pairs")},
        notes=("Made up <for a test>.",),
    )
    reader = dataclasses.replace(
        CORPORA["mini-librispeech"], read=lambda _root: corpus, get=lambda _root, _progress: None
    )
    monkeypatch.setitem(CORPORA, "mini-librispeech", reader)


@pytest.mark.usefixtures("made_up")
def test_it_trains_both_systems_and_reports_on_held_out_voices(tmp_path: Path) -> None:
    console = Console(record=True, width=120)
    page = run_demo(tmp_path, "mini-librispeech", SMALL, console)
    said = console.export_text()
    for system in ("full", "aam"):
        result = Result.read(tmp_path / "results" / f"pairs-{system}.json")
        assert result.counts.speakers == 2
        assert result.model.name == system
        assert result.model.sha256
        assert Embedder.load(tmp_path / system).card.name == system
    assert "the full objective minus AAM-softmax alone" in said
    assert "4 voices and 0.0 h, of which 0 voices only set the threshold" in said.replace("\n", " ")
    assert said.count("Only 2 speakers") == 1  # of both systems
    assert "not an experiment" in said
    html = page.read_text()
    assert html.count('<svg class="drawing" role="img"') == 3
    assert "Only 2 speakers" in html
    assert "Made up &lt;for a test&gt;." in html
    assert "http://" not in html
    recipes = [json.loads(json.dumps((tmp_path / s / "recipe.yaml").read_text())) for s in ("full", "aam")]
    assert "contrastive: null" in recipes[1]
    assert "contrastive: null" not in recipes[0]


def test_where_nothing_can_be_reached_every_obstacle_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_root: Path, _progress: object) -> None:
        raise CorpusError("no network here")

    for name in ("debian-voices", "mini-librispeech"):
        monkeypatch.setitem(CORPORA, name, dataclasses.replace(CORPORA[name], get=unreachable))
    with pytest.raises(CorpusError) as caught:
        run_demo(tmp_path, "auto", [], Console(quiet=True))
    assert "debian-voices: no network here" in str(caught.value)
    assert "mini-librispeech: no network here" in str(caught.value)
