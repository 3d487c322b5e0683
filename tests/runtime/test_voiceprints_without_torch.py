"""Voiceprints are made and compared by an exported model where torch is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.conftest import voice

WITHOUT = """
import sys
for name in ("torch", "matplotlib", "safetensors", "yaml", "psycopg", "cryptography"):
    sys.modules[name] = None  # importing it now fails as if it were not installed
import voxangle.cli.enrol, voxangle.cli.identify
from voxangle.cli import main
main()
"""


def test_an_exported_model_needs_no_torch(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", WITHOUT, *map(str, words)], capture_output=True, text=True, check=False
        )

    monkeypatch.setenv("VOXANGLE_STORE", str(tmp_path / "prints.sqlite"))
    monkeypatch.delenv("VOXANGLE_KEY", raising=False)
    own = [tmp_path / f"{utterance}.wav" for utterance in range(3)]
    for utterance, file in enumerate(own):
        soundfile.write(file, voice(4, utterance, 3.0), 16_000)
    given = ["--model", exported / "model.onnx", "--json"]
    for words in (
        ("enrol", "ada", *own[:2]),
        ("verify", own[2], "--as", "ada"),
        ("identify", own[2]),
    ):
        done = without(*words, *given, "--anyway")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
    done = without("verify", own[2], "--as", "ada", "--anyway", "--model", exported / "int8.onnx")
    assert done.returncode == 2
    assert "cannot be compared" in done.stderr
    done = without("voiceprints", "list", "--store", "postgresql://nowhere/none")
    assert "needs the 'postgres' extra" in done.stderr
    assert "Traceback" not in done.stderr
