"""An exported model is used where torch is not installed; what needs torch names the extra that brings it."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import voxangle
from voxangle.encoders import Embedder
from voxangle.encoders.model_files import read_model

ROOT = Path(__file__).parents[2]
SOURCE = Path(voxangle.__file__).parent
NOT_NEEDED = ("torch", "matplotlib", "safetensors", "yaml", "onnx", "onnxscript")

WITHOUT = f"""
import sys
for name in {NOT_NEEDED!r}:
    sys.modules[name] = None  # importing it now fails as if it were not installed
from voxangle.cli import main
main()
"""

Command = Callable[..., subprocess.CompletedProcess[str]]


def blocked(*words: object) -> subprocess.CompletedProcess[str]:
    """``voxangle`` in a process that cannot import what only training needs."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, words)], capture_output=True, text=True, check=False
    )


def uses(voxangle: Command, exported: Path, voices: Path, tmp_path: Path) -> None:
    """Both commands give what they give with torch."""
    paths = [voices / "s0" / "u0.wav", voices / "s0" / "u1.wav", voices / "s1" / "u0.wav"]
    expected = Embedder.load(exported).embed_files(paths).embeddings
    norm = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    given = [
        *paths[1:],
        "--model",
        exported / "model.onnx",
        "--json",
        "--anyway",
    ]  # silero-vad hears no speech
    done = voxangle("verify", *given)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["score"] == pytest.approx(float(norm[1] @ norm[2]), abs=1e-4)
    assert answer["log_likelihood_ratio"] == pytest.approx(9 * answer["score"] - 3)
    assert answer["same_voice"] is (answer["log_likelihood_ratio"] >= 0)
    assert answer["calibration"] == "forty trials"
    done = voxangle("verify", *given, "--threshold", "eer")
    answer = json.loads(done.stdout)
    assert answer["same_voice"] is (answer["score"] >= 0.4)
    assert answer["threshold_source"].startswith("forty trials")
    done = voxangle("embed", *paths, "--model", exported, "--runtime", "onnx", "--out", tmp_path / "e.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "e.npz") as archive:
        found = np.stack([archive[str(path)] for path in paths])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_an_exported_model_verifies_and_embeds(exported: Path, voices: Path, tmp_path: Path) -> None:
    uses(blocked, exported, voices, tmp_path)


def test_an_exported_model_says_what_it_is(exported: Path) -> None:
    done = blocked("card", "--model", exported / "int8.onnx")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# tiny\n")
    assert "`architecture: ecapa_tdnn`" in done.stdout
    assert f"pip install 'voxangle[onnx]'\nvoxangle verify --model {exported / 'int8.onnx'} " in done.stdout
    done = blocked("card", "--model", exported / "int8.onnx", "--json")
    assert json.loads(done.stdout) == read_model(exported).card.model_dump(mode="json")


@pytest.mark.parametrize(
    "words",
    [
        ["train", ROOT / "recipes" / "shared.yaml"],
        ["evaluate", "--model", "{exported}", "--trials", "x"],
        ["embed", "a.wav", "--model", "{exported}"],
        ["card", "--model", "{exported}"],
        ["verify", "a.wav", "b.wav", "--model", "{exported}"],
        ["verify", "a.wav", "b.wav", "--model", "{exported}", "--runtime", "torch"],
        ["export", "onnx", "--model", "{exported}", "--out", "x.onnx"],
        ["demo"],
    ],
    ids=lambda words: "-".join(map(str, words[:2])).replace("/", ""),
)
def test_what_needs_torch_names_the_extra(exported: Path, tmp_path: Path, words: list[str]) -> None:
    done = blocked(*(exported if word == "{exported}" else word for word in words))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "needs the 'train' extra: pip install 'voxangle[train]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["verify", "--help"], ["corpora", "list"]])
def test_help_needs_nothing(words: list[str]) -> None:
    done = blocked(*words)
    assert done.returncode == 0, done.stderr


def test_a_corpus_is_prepared_and_embedded_into_parts(exported: Path, voices: Path, tmp_path: Path) -> None:
    done = blocked("corpora", "prepare", "folder", "--root", voices)
    assert done.returncode == 0, done.stderr
    words = [
        "--corpus",
        "folder",
        "--root",
        voices,
        "--model",
        exported / "int8.onnx",
        "--out",
        tmp_path / "e",
    ]
    done = blocked("embed", *words)
    assert done.returncode == 0, done.stderr
    assert "24 embeddings of 10 dimensions" in done.stdout


def test_the_room_does_not_name_torch() -> None:
    for path in (SOURCE / "runtime").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in named if name.partition(".")[0] == "torch"], path


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has voxangle with the extra ``onnx``, and nothing that it does not need."""
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    if not Path(uv).exists():
        pytest.skip("no uv, which `make` fetches")
    environment = tmp_path_factory.mktemp("light") / "env"
    install = [
        uv,
        "pip",
        "install",
        "--python",
        str(environment),
        "--constraint",
        str(ROOT / "requirements.lock"),
    ]
    subprocess.run(
        [uv, "venv", "--python", sys.executable, str(environment)], capture_output=True, check=True
    )
    reached = subprocess.run([*install, "numpy", "onnxruntime"], capture_output=True, text=True, check=False)
    if reached.returncode:
        pytest.skip(f"no package registry can be reached: {reached.stderr.strip()[-200:]}")
    done = subprocess.run([*install, f"{ROOT}[onnx]"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return environment / "bin"


@pytest.mark.registry
def test_installed_with_the_onnx_extra_alone(
    light: Path, exported: Path, voices: Path, tmp_path: Path
) -> None:
    def installed(*words: object) -> subprocess.CompletedProcess[str]:
        command = [light / "voxangle", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    for name in NOT_NEEDED:
        missing = subprocess.run([light / "python", "-c", f"import {name}"], capture_output=True, text=True)
        assert f"No module named '{name}'" in missing.stderr
    uses(installed, exported, voices, tmp_path)
    done = installed("train", ROOT / "recipes" / "shared.yaml")
    assert done.returncode == 2
    assert "needs the 'train' extra: pip install 'voxangle[train]'" in done.stderr
    assert "Traceback" not in done.stderr
