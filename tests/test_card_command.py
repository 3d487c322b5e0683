"""``voxangle card`` and ``voxangle export safetensors``: what a model says about itself, and a model in one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.encoders.test_model_files import CARD, model
from voxangle.cli import app
from voxangle.encoders import Embedder
from voxangle.encoders.model_files import read_model
from voxangle.errors import CheckpointError, VoxangleError

pytestmark = pytest.mark.usefixtures("made_up_voices_are_speech")


def voxangle(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)


def told(*words: object) -> dict[str, object]:
    result = voxangle("card", *words, "--json")
    assert result.exit_code == 0, result.output
    card: dict[str, object] = json.loads(result.output)
    return card


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model().save(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def results(folder: Path, voices: Path, tmp_path: Path) -> Path:
    """The result of an evaluation of the model."""
    keys = sorted(str(file.relative_to(voices)) for file in voices.rglob("*.wav"))[:12]
    trials = tmp_path / "few.txt"
    trials.write_text(
        "".join(f"{int(a[:2] == b[:2])} {a} {b}\n" for index, a in enumerate(keys) for b in keys[:index])
    )
    done = voxangle(
        "evaluate",
        "-m",
        folder,
        "--trials",
        trials,
        "--root",
        voices,
        "--out",
        tmp_path / "e",
        "--replicates",
        100,
    )
    assert done.exit_code == 0, done.output
    return tmp_path / "e" / "few.json"


def test_without_options_nothing_changes(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    shown = voxangle("card", "--model", folder)
    assert shown.exit_code == 0
    assert shown.output.startswith("# a small one\n")
    assert f"voxangle verify --model {folder} " in shown.output
    assert told("--model", folder) == CARD.model_dump(mode="json")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_what_is_said_stays_said(folder: Path) -> None:
    voxangle("card", "-m", folder, "--name", "better", "--licence", "cc-by-4.0")
    voxangle("card", "-m", folder, "--attribute", "LibriSpeech: CC BY 4.0", "--attribute", "my friends")
    card = told("-m", folder, "--attribute", "LibriSpeech: CC BY 4.0 (Panayotov et al.)")
    assert (card["name"], card["licence"]) == ("better", "cc-by-4.0")
    assert card["attributions"] == [
        {"name": "LibriSpeech", "licence": "CC BY 4.0 (Panayotov et al.)"},
        {"name": "my friends", "licence": ""},
    ]
    assert read_model(folder).card.name == "better"


def test_the_figures_of_an_evaluation(folder: Path, results: Path) -> None:
    card = told("-m", folder, "--results", results)
    measured = json.loads(results.read_text())
    metrics = card["metrics"]
    assert isinstance(metrics, list)
    assert [one["name"] for one in metrics] == ["EER", "minDCF(0.01)", "minDCF(0.05)"]
    assert metrics[0]["value"] == measured["eer"]["value"]
    assert (metrics[0]["low"], metrics[0]["high"]) == (measured["eer"]["low"], measured["eer"]["high"])
    assert (metrics[0]["targets"], metrics[0]["speakers"]) == (18, 3)
    assert (
        told("-m", folder, "--results", results)["metrics"] == metrics
    )  # once, however often they are given


def test_figures_with_and_without_a_mean_stand_side_by_side(
    folder: Path, results: Path, voices: Path, tmp_path: Path
) -> None:
    others = tmp_path / "others.npz"
    made = voxangle("embed", "-m", folder, voices / "s4", voices / "s5", "--out", others)
    assert made.exit_code == 0, made.output
    again = [
        "evaluate",
        "-m",
        folder,
        "--trials",
        tmp_path / "few.txt",
        "--root",
        voices,
        "--out",
        tmp_path / "less",
    ]
    done = voxangle(*again, "--replicates", 100, "--subtract-mean", others)
    assert done.exit_code == 0, done.output
    both = told("-m", folder, "--results", results, "--results", tmp_path / "less" / "few.json")["metrics"]
    assert isinstance(both, list)
    assert [one["name"] for one in both] == 2 * ["EER", "minDCF(0.01)", "minDCF(0.05)"]
    assert ["; less the mean of" in one["definition"] for one in both] == 3 * [False] + 3 * [True]


def test_the_figures_of_another_model_are_refused(folder: Path, results: Path, tmp_path: Path) -> None:
    model(seed=1).save(tmp_path / "other")
    refused = voxangle("card", "-m", tmp_path / "other", "--results", results)
    assert isinstance(refused.exception, VoxangleError)
    assert "figures of other weights" in str(refused.exception)


def test_lists_of_one_name_are_two(folder: Path, results: Path, tmp_path: Path) -> None:
    told("-m", folder, "--results", results)
    other = json.loads(results.read_text()) | {"trials_sha256": "1" * 64}
    (tmp_path / "other.json").write_text(json.dumps(other))
    metrics = told("-m", folder, "--results", tmp_path / "other.json")["metrics"]
    assert isinstance(metrics, list)
    assert len(metrics) == 6


@pytest.mark.parametrize(
    "words",
    [
        ("--attribute", ": CC BY 4.0"),
        ("--attribute", " "),
        ("--name", ""),
        ("--name", "a\x1b[31mred"),
        ("--licence", "mit\n# and more"),
    ],
)
def test_what_a_card_cannot_say(folder: Path, words: tuple[str, ...]) -> None:
    refused = voxangle("card", "-m", folder, *words)
    assert isinstance(refused.exception, VoxangleError)
    assert "the card cannot say so" in str(refused.exception)
    assert read_model(folder).card == CARD


def test_a_licence_can_be_taken_back_and_an_address_thanked(folder: Path) -> None:
    assert told("-m", folder, "--licence", "mit")["licence"] == "mit"
    card = told("-m", folder, "--licence", "", "--attribute", "https://example.org/12: CC BY 4.0")
    assert card["licence"] is None
    assert card["attributions"] == [{"name": "https://example.org/12", "licence": "CC BY 4.0"}]


@pytest.mark.parametrize("half", [False, True])
def test_a_model_in_one_file_is_used_like_a_folder(
    folder: Path, tmp_path: Path, voices: Path, half: bool
) -> None:
    one = tmp_path / "one.safetensors"
    exported = voxangle("export", "safetensors", "-m", folder, "--out", one, *(["--half"] if half else []))
    assert exported.exit_code == 0, exported.output
    assert told("-m", one) == told("-m", folder)
    pair = (voices / "s0" / "u0.wav", voices / "s0" / "u1.wav")
    scores = [
        json.loads(voxangle("verify", *pair, "-m", place, "--json").output)["score"]
        for place in (folder, one)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3 if half else 1e-7)
    assert voxangle("card", "-m", one, "--licence", "mit").exit_code == 0
    assert read_model(one).card.licence == "mit"
    assert read_model(folder).card.licence is None
    copied = voxangle("export", "safetensors", "-m", one, "--out", tmp_path / "again.safetensors")
    assert copied.exit_code == 0, copied.output
    assert read_model(tmp_path / "again.safetensors").weights_sha256 == read_model(one).weights_sha256


def test_one_file_is_known_by_its_suffix(folder: Path, tmp_path: Path) -> None:
    refused = voxangle("export", "safetensors", "-m", folder, "--out", tmp_path / "one.pt")
    assert isinstance(refused.exception, VoxangleError)
    assert "suffix .safetensors" in str(refused.exception)


def test_an_exported_model_has_no_card_to_change(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a")
    with pytest.raises(CheckpointError, match="an exported model"):
        Embedder.load(tmp_path / "m.onnx")
