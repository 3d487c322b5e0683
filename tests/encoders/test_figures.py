"""The table of the encoders: counted, not typed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from voxangle.cli import app
from voxangle.encoders import ENCODERS, figures


@pytest.fixture(scope="module")
def counted() -> list[figures.Figures]:
    return figures.figures()


def test_every_encoder_and_every_size_is_there(counted: list[figures.Figures]) -> None:
    assert {row.architecture for row in counted} == set(ENCODERS)
    assert [row.settings for row in counted if row.architecture == "simam_resnet"] == [
        "depth: 34",
        "depth: 100",
    ]
    assert sum(row.architecture == "redimnet" for row in counted) == 7


def test_figures_are_the_published_ones(counted: list[figures.Figures]) -> None:
    rows = {(row.architecture, row.settings): row for row in counted}
    ecapa, resnet = rows["ecapa_tdnn", "channels: 512"], rows["resnet", "depth: 34"]
    assert ecapa.parameters == pytest.approx(6.2e6, rel=0.01)  # table 1 of the paper
    assert resnet.parameters == pytest.approx(6.63e6, rel=0.01)
    assert resnet.multiply_adds == pytest.approx(4.55e9, rel=0.01)  # WeSpeaker's table
    assert (ecapa.dimension, resnet.dimension) == (192, 256)
    assert ecapa.paper == "arxiv.org/abs/2005.07143"
    assert all(row.paper for row in counted)


def test_the_command_prints_them(monkeypatch: pytest.MonkeyPatch, counted: list[figures.Figures]) -> None:
    monkeypatch.setattr(figures, "figures", lambda: counted)
    table = CliRunner().invoke(app, ["models"]).output
    assert "6.19 M" in table
    rows = json.loads(CliRunner().invoke(app, ["models", "--json"]).output)
    assert rows[0] == counted[0]._asdict()
