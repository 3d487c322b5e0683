"""The model that comes with voxangle, as it lies in the package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.conftest import voice
from tests.runtime.test_without_torch import blocked
from voxangle.cli import app
from voxangle.encoders import Embedder
from voxangle.errors import CheckpointError
from voxangle.runtime import OnnxEmbedder
from voxangle.runtime.shipped import SHIPPED, SHIPPED_TORCH
from voxangle.scoring.result import Result as Evaluation

pytestmark = pytest.mark.usefixtures("made_up_voices_are_speech")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nobody has named a model, and nothing is lost that is written."""
    monkeypatch.delenv("VOXANGLE_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def told(*words: object) -> dict[str, object]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output or result.exception
    content = json.loads(result.output)
    assert isinstance(content, dict)
    return content


def test_it_is_small_and_both_runtimes_have_the_same_weights() -> None:
    assert SHIPPED_TORCH.stat().st_size < 10e6
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 25e6
    torch, onnx = Embedder.load(), OnnxEmbedder.load()
    assert torch.weights_sha256 == onnx.weights_sha256
    recordings = [voice(speaker, 0, seconds) for speaker, seconds in ((0, 1.0), (1, 2.5), (2, 4.0))]
    ours, theirs = torch.embed(recordings), onnx.embed(recordings)
    np.testing.assert_allclose(ours, theirs, atol=1e-3 * np.abs(ours).max())


def test_its_card_says_what_people_need_to_know() -> None:
    card = Embedder.load().card
    assert card.model_dump(exclude={"voxangle"}) == Embedder.load(SHIPPED_TORCH).card.model_dump(
        exclude={"voxangle"}
    )
    assert card.calibration is not None
    assert card.calibration.ranges is not None
    assert {limit.name for limit in card.thresholds} >= {"eer", "far-1%"}
    assert card.licence
    assert card.training is not None
    assert card.training.settings
    owed = " ".join(one.name for one in card.attributions)
    for corpus in ("speechocean762", "LibriSpeech", "WUW", "AN4", "DSPSpeech", "Arabic"):
        assert corpus in owed
    assert all(one.licence for one in card.attributions)
    lists = {one.trials for one in card.metrics}
    assert lists == {
        *("speechocean762", "librispeech", "wuw", "an4", "dspspeech", "arabic", "pooled"),
        *("same-language", "cross-language"),
    }
    page = run("card").output
    assert "verify one.wav other.wav" in page
    assert "not detected" in page


@pytest.mark.parametrize("runtime", [(), ("--runtime", "onnx")])
def test_verify_needs_no_model_to_be_named(voices: Path, runtime: tuple[str, ...]) -> None:
    files = sorted(voices.rglob("*.wav"))
    found = told("verify", files[0], files[0], *runtime)
    assert found["score"] == pytest.approx(1, abs=1e-5)
    assert found["same_voice"] is True
    assert found["model"] == Embedder.load().card.name


def test_without_torch_it_is_run_by_onnx_runtime(voices: Path) -> None:
    files = sorted(voices.rglob("*.wav"))[:2]
    done = blocked("verify", *files, "--json", "--anyway")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["score"] == pytest.approx(
        told("verify", *files, "--anyway")["score"], abs=1e-3
    )


def test_it_stays_as_it_is(voices: Path) -> None:
    before = {file: file.read_bytes() for file in SHIPPED.iterdir()}
    for words in (
        ("card", "--name", "mine"),
        ("card", "--name", "mine", "--model", SHIPPED_TORCH),
        ("calibrate", "--corpus", "folder", "--root", voices),
    ):
        result = run(*words)
        assert isinstance(result.exception, CheckpointError), result.output
        assert "stays as it is" in str(result.exception)
    assert {file: file.read_bytes() for file in SHIPPED.iterdir()} == before
    assert run("export", "safetensors", "--out", "mine.safetensors").exit_code == 0
    assert run("card", "--name", "mine", "--model", "mine.safetensors").exit_code == 0
    assert Embedder.load("mine.safetensors").card.name == "mine"


def test_what_it_is_measured_on_is_written_where_one_is(voices: Path, tmp_path: Path) -> None:
    first, second = (str(file.relative_to(voices)) for file in sorted(voices.rglob("*.wav"))[:2])
    third, fourth = (str(file.relative_to(voices)) for file in sorted(voices.rglob("*.wav"))[-2:])
    lines = [f"1 {first} {second}", f"1 {third} {fourth}", f"0 {first} {third}", f"0 {second} {fourth}"]
    (tmp_path / "trials.txt").write_text("\n".join(lines) + "\n")
    result = run("evaluate", "--trials", "trials.txt", "--root", voices)
    assert result.exit_code == 0, result.output or result.exception
    assert (tmp_path / "evaluation" / "report.html").exists()


@pytest.mark.corpus
def test_the_card_s_figure_is_measured_again(shared_corpora: Path, tmp_path: Path) -> None:
    trials = shared_corpora / "trials" / "librispeech.txt"
    result = run("evaluate", "--trials", trials, "--root", shared_corpora, "--replicates", 100)
    assert result.exit_code == 0, result.output or result.exception
    again = Evaluation.read(tmp_path / "evaluation" / "librispeech.json")
    metrics = Embedder.load().card.metrics
    (said,) = (one for one in metrics if (one.trials, one.name) == ("librispeech", "EER"))
    assert said.targets + said.nontargets == again.counts.trials
    assert said.value == pytest.approx(again.eer.value, abs=1e-3)
