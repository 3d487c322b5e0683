"""A long recording is cut into windows without a loss, read window by window, and embedded as their weighted mean."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from voxangle.audio import load
from voxangle.errors import AudioError, SilenceError
from voxangle.runtime import BaseEmbedder
from voxangle.runtime.card import Calibration, Threshold
from voxangle.runtime.sources import AudioFile
from voxangle.runtime.windows import Windows

RATE = 16_000
SHORT = Windows(seconds=2.0)


class Card:
    name = "sums"
    thresholds: tuple[Threshold, ...] = ()
    calibration: Calibration | None = None


class Sums(BaseEmbedder):
    """A model whose embedding is the mean, the mean square and one, and that notes what it is asked."""

    card = Card()

    def __init__(self, windows: Windows | None = SHORT) -> None:
        self.windows = windows
        self.asked: list[list[int]] = []

    @property
    def dimension(self) -> int:
        return 3

    def _embed_padded(
        self, waveforms: NDArray[np.float32], samples: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        self.asked.append(samples.tolist())
        wide = waveforms.astype(np.float64)
        return np.stack([wide.sum(1) / samples, (wide**2).sum(1) / samples, np.ones(len(wide))], 1).astype(
            "f"
        )


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@given(
    samples=st.integers(4_000, 3_000_000),
    seconds=st.floats(1.0, 90.0),
    overlap=st.floats(0.0, 0.5),
)
def test_windows_cover_every_frame_in_equal_lengths(samples: int, seconds: float, overlap: float) -> None:
    windows = Windows(seconds=seconds, overlap=overlap * seconds)
    cut = windows.cut(samples)
    if samples <= seconds * RATE:
        assert cut == [(0, samples)]
        return
    frames = 1 + (samples - 400) // 160
    counted = np.zeros(frames, int)
    for first, length in cut:
        assert first % 160 == 0
        assert length <= seconds * RATE + 400
        counted[first // 160 : first // 160 + 1 + (length - 400) // 160] += 1
    assert cut[0].first == 0
    assert cut[-1].first + cut[-1].samples == samples
    assert counted.min() == 1
    assert counted.max() <= (1 if not windows.overlap else 3)
    lengths = [length for _, length in cut]
    assert max(lengths) - min(lengths) <= 2 * 160
    # The fewest: one window less would have to be longer than allowed.
    if len(cut) > 1 and not windows.overlap:
        assert frames > (len(cut) - 1) * (round(seconds * RATE) // 160)


def test_overlap_is_what_neighbours_share() -> None:
    cut = Windows(seconds=10.0, overlap=2.0).cut(60 * RATE)
    for (first, length), (following, _) in pairwise(cut):
        assert abs(first + length - following - 2 * RATE) <= 240


@pytest.mark.parametrize("settings", [{"seconds": 0.5}, {"overlap": -1.0}, {"seconds": 10, "overlap": 5.1}])
def test_settings_that_cannot_be(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Windows(**settings)


def test_the_embedding_is_the_mean_weighted_by_length(tmp_path: Path) -> None:
    waveform = noise(round(7.3 * RATE)) + np.linspace(0, 0.5, round(7.3 * RATE), dtype=np.float32)
    model = Sums(Windows(seconds=2.0, overlap=0.5))
    cut = [waveform[first : first + samples] for first, samples in model.windows.cut(len(waveform))]
    weights = np.array([len(part) for part in cut])
    expected = np.average([[p.mean(), (p**2).mean(), 1] for p in cut], axis=0, weights=weights)
    np.testing.assert_allclose(model.embed([waveform])[0], expected, rtol=1e-5)
    soundfile.write(tmp_path / "long.wav", waveform, RATE, subtype="FLOAT")
    of_file = model.embed_files([tmp_path / "long.wav"]).embeddings[0]
    np.testing.assert_array_equal(of_file, model.embed([waveform])[0])


def test_a_short_recording_and_a_model_without_windows_are_embedded_whole() -> None:
    model = Sums()
    model.embed([noise(2 * RATE)])
    assert model.asked == [[2 * RATE]]
    model = Sums(None)
    model.embed([noise(9 * RATE)])
    assert model.asked == [[9 * RATE]]


@pytest.mark.parametrize(("name", "rate"), [("a.flac", 16_000), ("a.wav", 44_100), ("a.ogg", 48_000)])
def test_a_file_read_by_windows_is_the_file(tmp_path: Path, name: str, rate: int) -> None:
    soundfile.write(tmp_path / name, noise(5 * rate), rate)
    whole = load(tmp_path / name)
    np.testing.assert_allclose(
        Sums().embed_files([tmp_path / name]).embeddings[0], Sums().embed([whole])[0], atol=1e-6
    )


def test_a_segment_of_a_file_is_cut_too(tmp_path: Path) -> None:
    waveform = noise(9 * RATE)
    soundfile.write(tmp_path / "a.wav", waveform, RATE, subtype="FLOAT")
    (one,) = Sums().embed_stream([AudioFile(tmp_path / "a.wav", 1.0, 5.0)])
    np.testing.assert_array_equal(one.vector, Sums().embed([waveform[RATE : 6 * RATE]])[0])
    assert (one.samples, one.windows) == (5 * RATE, 3)


def test_silent_windows_have_no_weight(tmp_path: Path) -> None:
    waveform = noise(12 * RATE)
    waveform[2 * RATE - 800 : 8 * RATE + 800] = 0
    soundfile.write(tmp_path / "a.wav", waveform, RATE, subtype="FLOAT")
    (one,) = Sums().embed_stream([AudioFile(tmp_path / "a.wav")])
    assert one.windows == 6 - 3
    assert one.samples == 12 * RATE
    np.testing.assert_array_equal(one.vector, Sums().embed([waveform])[0])
    sounding = np.concatenate([waveform[: 2 * RATE], waveform[8 * RATE :]])
    np.testing.assert_allclose(one.vector[1], (sounding**2).mean(), rtol=1e-2)


def test_long_recordings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    silent, broken, torn = noise(9 * RATE), noise(9 * RATE), noise(9 * RATE)
    silent[:] = 0
    broken[5 * RATE] = np.nan
    for name, waveform in {"silent": silent, "broken": broken, "torn": torn, "fine": torn}.items():
        soundfile.write(tmp_path / f"{name}.flac.wav", waveform, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "torn.flac", torn, RATE)
    whole = (tmp_path / "torn.flac").read_bytes()
    (tmp_path / "torn.flac").write_bytes(whole[: len(whole) // 2])
    soundfile.write(tmp_path / "short.wav", noise(RATE // 10), RATE)
    names = ["silent.flac.wav", "broken.flac.wav", "torn.flac", "short.wav", "fine.flac.wav"]
    result = Sums().embed_files([tmp_path / name for name in names], on_error=lambda _: None)
    causes = {error.path.name: error.cause for error in result.left_out}
    assert isinstance(result.left_out[0], SilenceError)
    assert result.left_out[0].path.name == "silent.flac.wav"
    assert "not finite" in causes["broken.flac.wav"]
    assert "truncated" in causes["torn.flac"]
    assert "too short" in causes["short.wav"]
    assert result.kept.tolist() == [4]
    with pytest.raises(AudioError, match="waveform 0: has samples that are not finite"):
        Sums().embed([broken])
    with pytest.raises(SilenceError, match="waveform 0: is silent"):
        Sums().embed([silent])


HOUR = """
import sys
import numpy as np, soundfile
sys.path.insert(0, {tests!r})
from test_windows import Sums
from voxangle.runtime.windows import Windows
path = sys.argv[1]
def peak():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
result = Sums(Windows()).embed_files([path], on_error=lambda error: print("error:", error.cause))
print(len(result.kept), peak() - before)
"""


@pytest.mark.parametrize(("name", "sounding"), [("speech.wav", True), ("silence.flac", False)])
def test_an_hour_is_read_in_little_memory(tmp_path: Path, name: str, sounding: bool) -> None:
    """Decoded at once it would be 230 MB, not counting what is read ahead."""
    minute = (32_000 * noise(60 * RATE) * sounding).astype(np.int16)
    with soundfile.SoundFile(tmp_path / name, "w", RATE, 1) as file:
        for _ in range(60):
            file.write(minute)
    script = HOUR.format(tests=str(Path(__file__).parent))
    said = subprocess.run(
        [sys.executable, "-c", script, tmp_path / name], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    kept, megabytes = said[-1].split()
    assert int(kept) == sounding
    assert float(megabytes) < 90
    assert sounding or said[0].startswith("error: is silent")
