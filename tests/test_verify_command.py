"""``voxangle calibrate`` and ``verify`` with what it wrote: ratio, probability, decision, and what is unlike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import Result
from typer.testing import CliRunner

from tests.conftest import write_voices
from tests.encoders.test_model_files import model
from voxangle.cli import app
from voxangle.encoders.card import TrainingSummary
from voxangle.encoders.model_files import read_model, rewrite_card
from voxangle.errors import VoxangleError
from voxangle.runtime.card import Calibration, Range, Ranges

pytestmark = pytest.mark.usefixtures("made_up_voices_are_speech")

RANGES = Ranges(
    speech=Range(low=1.0, high=4.0),
    clipping=Range(low=0.0, high=0.0),
    above_4khz=Range(low=-60.0, high=0.0),
    magnitude=Range(low=0.0, high=1e6),
)
FIT = Calibration(scale=10.0, offset=-7.0, source="forty trials", weights={"speech": -1.0}, ranges=RANGES)


def voxangle(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)


def answer(*words: object) -> dict[str, Any]:
    result = voxangle("verify", *words, "--json")
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.output)
    return told


def refused(*words: object) -> str:
    result = voxangle(*words)
    assert isinstance(result.exception, VoxangleError), result.output
    return str(result.exception)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model without a calibration."""
    model().save(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def calibrated(folder: Path) -> Path:
    """A model whose calibration counts speech."""
    rewrite_card(folder, read_model(folder).card.model_copy(update={"calibration": FIT}))
    return folder


@pytest.fixture
def pair(voices: Path) -> tuple[Path, Path]:
    return voices / "s0" / "u0.wav", voices / "s0" / "u1.wav"


def test_verify_answers_with_a_ratio_a_probability_and_a_decision(
    calibrated: Path, pair: tuple[Path, Path]
) -> None:
    told = answer(*pair, "--model", calibrated)
    speech = min(one["speech"] for one in told["measures"])
    assert told["log_likelihood_ratio"] == pytest.approx(10 * told["score"] - 7 - np.log(speech))
    assert told["probability"] == pytest.approx(1 / (1 + np.exp(-told["log_likelihood_ratio"])))
    assert (told["prior"], told["c_miss"], told["c_fa"]) == (0.5, 1, 1)
    assert (told["decided_by"], told["threshold"]) == ("log_likelihood_ratio", 0)
    assert told["same_voice"] is (told["log_likelihood_ratio"] >= 0)
    assert (told["calibration"], told["notes"]) == ("forty trials", [])
    said = voxangle("verify", *pair, "--model", calibrated).output
    assert f"LLR         {told['log_likelihood_ratio']:+.2f}" in said
    assert "of one voice, at prior 0.5, which is assumed; say yours with --prior" in said
    assert "threshold   LLR +0.00 (prior 0.5, a miss costs 1, a false acceptance 1)" in said


def test_verify_decides_for_the_prior_and_the_costs_that_are_stated(
    calibrated: Path, pair: tuple[Path, Path]
) -> None:
    rare = answer(*pair, "--model", calibrated, "--prior", 0.01, "--c-miss", 1, "--c-fa", 10)
    often = answer(*pair, "--model", calibrated, "--prior", 0.99)
    assert rare["log_likelihood_ratio"] == often["log_likelihood_ratio"]
    assert rare["threshold"] == pytest.approx(np.log(990))
    assert (rare["same_voice"], often["same_voice"]) == (False, True)
    assert rare["probability"] < often["probability"]
    assert rare["threshold_source"] == "prior 0.01, a miss costs 1, a false acceptance 10"
    assert "at prior 0.99\n" in voxangle("verify", *pair, "--model", calibrated, "--prior", 0.99).output


def test_verify_decides_by_the_score_where_that_is_asked_for(
    calibrated: Path, pair: tuple[Path, Path]
) -> None:
    told = answer(*pair, "--model", calibrated, "--threshold", -1)
    assert (told["same_voice"], told["decided_by"], told["threshold_name"]) == (True, "score", "given")
    assert told["probability"] is not None


@pytest.mark.parametrize(
    ("prior", "share"),
    [(1e-9, "less than 0.1 %"), (0.5, "{:.1f} %"), (1 - 1e-9, "more than 99.9 %")],
)
def test_verify_claims_no_more_certainty_than_there_is(
    calibrated: Path, pair: tuple[Path, Path], prior: float, share: str
) -> None:
    told = 100 * answer(*pair, "--model", calibrated, "--prior", prior)["probability"]
    said = voxangle("verify", *pair, "--model", calibrated, "--prior", prior).output
    assert f"probability {share.format(told)} of one voice" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prior", "2"], "--prior 2: input should be less than 1"),
        (["--c-fa", "0"], "--c-fa 0: input should be greater than 0"),
        (["--prior", "0.1", "--threshold", "0.3"], "give one or the others"),
        (["--threshold", "near"], "threshold near: expected a number"),
    ],
)
def test_verify_refuses_what_cannot_decide(
    calibrated: Path, pair: tuple[Path, Path], words: list[str], message: str
) -> None:
    assert message in refused("verify", *pair, "--model", calibrated, *words)


def test_without_a_calibration_a_prior_says_nothing(folder: Path, pair: tuple[Path, Path]) -> None:
    rewrite_card(folder, read_model(folder).card.model_copy(update={"calibration": None}))
    said = refused("verify", *pair, "--model", folder, "--prior", 0.1)
    assert "has no calibration" in said
    assert "voxangle calibrate" in said
    told = answer(*pair, "--model", folder)
    assert (told["log_likelihood_ratio"], told["probability"], told["measures"]) == (None, None, [])
    assert told["decided_by"] == "score"


def test_verify_says_where_a_recording_is_unlike_those_it_was_calibrated_on(
    calibrated: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    samples, rate = soundfile.read(pair[0])
    broken = {
        "short": (samples[: rate // 2], rate),
        "long": (np.tile(samples, 4), rate),
        "loud": (np.clip(20 * samples, -0.99, 0.99), rate),
        "telephone": (samples[::2], rate // 2),
    }
    for name, (changed, at) in broken.items():
        soundfile.write(tmp_path / f"{name}.wav", changed, at)
    expected = {
        "short": "s of sound, the model was calibrated on 1.0 to 4.0 s: the answer is less sure",
        "long": "s of sound, the model was calibrated on 1.0 to 4.0 s: how much surer",
        "loud": "is clipped",
        "telephone": "next to nothing above 4 kHz",
    }
    for name, what in expected.items():
        file = tmp_path / f"{name}.wav"
        *forced, note = answer(pair[0], file, "--model", calibrated, "--anyway")["notes"]
        assert (len(forced), note.startswith(f"{file} ")) == (name == "short", True)
        assert what in note
        assert (
            f"note: {note}\n" in voxangle("verify", file, pair[0], "--model", calibrated, "--anyway").output
        )
    soundfile.write(tmp_path / "silent.wav", np.zeros(rate), rate)
    said = refused("verify", tmp_path / "silent.wav", pair[0], "--model", calibrated)
    assert "silent.wav: is silent" in said


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten made-up voices of four lengths."""
    folder = write_voices(tmp_path_factory.mktemp("many") / "many", speakers=10, utterances=5, seconds=1.0)
    for number, file in enumerate(sorted(folder.rglob("*.wav"))):
        samples, rate = soundfile.read(file)
        soundfile.write(file, samples[: int(rate * (0.6 + 0.1 * (number % 5)))], rate)
    return folder


def test_calibrate_writes_the_card_and_leaves_the_rest(folder: Path, many: Path) -> None:
    before = read_model(folder)
    words = ["calibrate", "--model", folder, "--corpus", "folder", "--root", many]
    result = voxangle(*words, "--measures", "speech", "--prior", 0.1, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    after = read_model(folder)
    fit = after.card.calibration
    assert fit is not None
    assert told["calibration"] == fit.model_dump(mode="json")
    assert (list(fit.weights), fit.prior, fit.ranges) == (["speech"], 0.1, None)  # 50 recordings are too few
    assert fit.source == (
        "logistic regression at prior 0.1 on 100 target and 300 non-target trials of 10 speakers of folder/all"
    )
    assert after.weights_sha256 == before.weights_sha256
    assert after.card.model_copy(update={"calibration": None}) == before.card.model_copy(
        update={"calibration": None}
    )
    assert list(told["cross_validated"]) == ["score", "score + speech"]
    for figures in told["cross_validated"].values():
        assert figures["min_cllr"] <= figures["cllr"]
        assert list(figures["act_dcf"]) == ["0.01", "0.05", "0.1"]
    again = voxangle(*words, "--measures", "none")
    assert again.exit_code == 0, again.output
    assert "judged by a fit that knew neither of its speakers" in " ".join(again.output.split())
    fit = read_model(folder).card.calibration
    assert fit is not None
    assert fit.weights == {}
    pair = [many / "s0" / "u0.wav", many / "s0" / "u1.wav"]
    told = answer(*pair, "--model", folder, "--anyway")  # each is shorter than a second
    assert told["log_likelihood_ratio"] == pytest.approx(fit.scale * told["score"] + fit.offset)


def test_calibrate_reads_a_list(folder: Path, many: Path, tmp_path: Path) -> None:
    keys = sorted(str(file.relative_to(many)) for file in many.rglob("*.wav"))
    lines = [f"{int(a[:2] == b[:2])} {a} {b}\n" for i, a in enumerate(keys) for b in keys[:i]]
    (tmp_path / "mine.txt").write_text("".join(lines))
    words = ["calibrate", "--model", folder, "--trials", tmp_path / "mine.txt", "--root", many]
    result = voxangle(*words, "--measures", "none")
    assert result.exit_code == 0, result.output
    assert "for you to see to" in result.output
    fit = read_model(folder).card.calibration
    assert fit is not None
    assert fit.source.endswith("of 10 groups of utterances of the list 'mine'")
    (tmp_path / "three.txt").write_text("".join(lines[:3]))
    words[4] = tmp_path / "three.txt"
    assert "too few to calibrate by" in refused(*words, "--measures", "none")
    assert read_model(folder).card.calibration == fit


def trained(folder: Path, root: Path, **changes: Any) -> None:
    """Say on the card that four of the voices were held out of the training."""
    settings = {
        "name": "tiny",
        "data": {"corpus": "folder", "root": root.name, "validation_speakers": 6},
        "encoder": {"architecture": "ecapa_tdnn"},
        "schedule": {"steps": 1},
    }
    summary = {"recipe": "tiny", "corpora": ("folder",), "steps": 1, "seed": 1, "settings": settings}
    card = read_model(folder).card
    rewrite_card(
        folder, card.model_copy(update={"training": TrainingSummary.model_validate(summary | changes)})
    )


def test_calibrate_leaves_out_whom_the_model_was_trained_on(folder: Path, many: Path, tmp_path: Path) -> None:
    root = shutil.copytree(many, tmp_path / "many")
    for speaker in root.iterdir():  # too short for an embedding
        soundfile.write(speaker / "short.wav", soundfile.read(speaker / "u0.wav")[0][:3200], 16_000)
    trained(folder, root)
    result = voxangle("calibrate", "--model", folder, "--corpus", "folder", "--root", root, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert "60 target and 180 non-target trials of 6 speakers of folder/all" in told["calibration"]["source"]
    assert "4 speakers are left out, because the model was trained on them" in told["notes"]


def test_calibrate_refuses_a_corpus_of_which_nothing_is_held_out(
    folder: Path, many: Path, tmp_path: Path
) -> None:
    words = ["calibrate", "--model", folder, "--corpus", "folder", "--root", many, "--measures", "none"]
    trained(folder, many, settings={})
    assert "does not say on whom of it; give the recipe of its run with --recipe" in refused(*words)
    recipe = tmp_path / "all.yaml"
    rest = "encoder: {architecture: ecapa_tdnn}\nschedule: {steps: 1}\n"
    recipe.write_text(f"data: {{corpus: folder, root: {many}}}\n{rest}")
    assert "trained on all 10 speakers of this split" in refused(*words, "--recipe", recipe)
    recipe.write_text(f"data: {{corpus: folder, root: {tmp_path}}}\n{rest}")
    result = voxangle(*words, "--recipe", recipe, "--json")  # another folder: others spoke there
    assert "of 10 speakers" in json.loads(result.output)["calibration"]["source"]
    rewrite_card(folder, read_model(folder).card.model_copy(update={"training": None}))
    assert "does not say on whom it was trained" in voxangle(*words).output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a corpus to draw trials from"),
        (["--corpus", "folder", "--trials", "x"], "give a corpus to draw trials from"),
        (["--trials", "x", "--split", "all"], "belong to --corpus"),
        (["--corpus", "folder", "--measures", "speach"], "no measure 'speach' to calibrate by; did you mean"),
        (["--corpus", "folder", "--prior", "0"], "--prior 0: input should be greater than 0"),
        (["--trials", "/no/such/list"], "/no/such/list"),
        (["--corpus", "folder", "--root", "{many}", "--split", "half"], "has no split 'half'"),
        (["--corpus", "folder", "--root", "{many}", "--measures", "clipping"], "no measure 'clipping'"),
        (["--corpus", "folder", "--root", "{many}", "--recordings", "2"], "too few to calibrate by"),
    ],
)
def test_calibrate_says_what_is_missing(folder: Path, many: Path, words: list[str], message: str) -> None:
    given = [str(many) if word == "{many}" else word for word in words]
    assert message in refused("calibrate", "--model", folder, *given)


def test_an_exported_model_is_calibrated_before_its_export(folder: Path) -> None:
    (folder / "mine.onnx").touch()
    said = refused("calibrate", "--model", folder / "mine.onnx", "--corpus", "folder")
    assert "name the one it was made from" in said
