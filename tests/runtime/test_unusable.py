"""Recordings that have no embedding: the file, the cause and the cure are said, whatever computes."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxangle import cli
from voxangle.audio import load
from voxangle.encoders import Embedder
from voxangle.errors import AudioError, SilenceError
from voxangle.runtime import BaseEmbedder, OnnxEmbedder
from voxangle.runtime.windows import Windows

RATE = 16_000
SILENT = "is silent (below -80 dBFS throughout); record it again, or leave it out"
SHORT = "0.100 s is too short for an embedding; give at least 0.25 s of speech"


@pytest.fixture(scope="module")
def unusable(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Recordings, and what is to be said of them."""
    folder = tmp_path_factory.mktemp("unusable")
    waveform = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    soundfile.write(folder / "short.wav", waveform[: RATE // 10], RATE)
    soundfile.write(folder / "dither.wav", np.sign(waveform) / 2**15, RATE, subtype="PCM_16")
    return {
        folder / "short.wav": SHORT,
        folder / "dither.wav": SILENT,
        hour_of_silence(folder / "hour.wav"): SILENT,
    }


def hour_of_silence(path: Path) -> Path:
    """A header, and a hole in the disk where the samples are."""
    size = 2 * 3600 * RATE
    form = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16
    )
    with path.open("wb") as file:
        file.write(form + struct.pack("<4sI", b"data", size))
        file.truncate(44 + size)
    return path


@pytest.fixture(params=["torch", "onnx"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def embedder(exported: Path, runtime: str) -> BaseEmbedder:
    return Embedder.load(exported, device="cpu") if runtime == "torch" else OnnxEmbedder.load(exported)


@pytest.mark.parametrize("windows", [Windows(), Windows(seconds=10, overlap=5), None])
def test_all_are_told_whether_they_are_cut_or_not(
    embedder: BaseEmbedder, windows: Windows | None, unusable: dict[Path, str]
) -> None:
    embedder.windows = windows
    result = embedder.embed_files(list(unusable), on_error=lambda _: None)
    assert {error.path: error.cause for error in result.left_out} == unusable
    assert [type(error) for error in result.left_out] == [AudioError, SilenceError, SilenceError]
    assert result.embeddings.shape == (0, 10)


def test_silence_in_memory_is_what_it_is_in_a_file(embedder: BaseEmbedder) -> None:
    faint = np.full(4 * RATE, 0.3, np.float32)
    faint[::2] += 1e-4
    for windows in (None, Windows(seconds=1)):
        embedder.windows = windows
        with pytest.raises(SilenceError, match="waveform 0: is silent"):
            embedder.embed([faint])


def test_silence_is_found_where_a_file_is_decoded(unusable: dict[Path, str]) -> None:
    for path in list(unusable)[1:]:
        with pytest.raises(SilenceError) as found:
            load(path, seconds=1.0)
        assert str(found.value) == f"{path}: {SILENT}"


@pytest.mark.parametrize("window", [None, 0])
def test_the_commands_say_it(
    exported: Path,
    runtime: str,
    window: int | None,
    unusable: dict[Path, str],
    voices: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--model", str(exported), "--runtime", runtime]
    options += [] if window is None else ["--window", str(window)]

    def voxangle(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["voxangle", *map(str, words), *options])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return int(left.value.code or 0), capsys.readouterr().err

    good = voices / "s0" / "u0.wav"
    for path, cause in unusable.items():
        assert voxangle("verify", good, path) == (2, f"error: {path}: {cause}\n")
    code, said = voxangle("embed", good, *unusable, "--out", tmp_path / "e.npz")
    assert code == 0
    for path, cause in unusable.items():
        assert f"left out: {path}: {cause}\n" in said
