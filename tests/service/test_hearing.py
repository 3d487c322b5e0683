"""What is speech and whose: frames, silero-vad's weights, and two voices in one recording."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from voxangle.audio import load
from voxangle.runtime.speech import FRAME, LevelDetector, SileroDetector, speech_frames
from voxangle.runtime.voices import between_groups, voice_windows


@given(arrays.arrays(np.float32, st.integers(4, 60), elements=st.floats(0, 1, width=32)))
def test_speech_begins_surely_ends_late_and_is_no_click(probabilities: np.ndarray) -> None:
    heard = speech_frames(probabilities)
    assert heard.shape == probabilities.shape
    assert not heard[probabilities < 0.35].any()
    edges = np.flatnonzero(np.diff(heard.astype(int), prepend=0, append=0)).reshape(-1, 2)
    assert all(end - first >= 4 and probabilities[first] >= 0.5 for first, end in edges)
    long_enough = np.convolve(probabilities >= 0.5, np.ones(4), mode="valid") == 4
    for first in np.flatnonzero(long_enough):
        assert heard[first : first + 4].all()


def test_a_dip_within_speech_is_speech() -> None:
    assert speech_frames(np.float32([0.1, 0.9, 0.4, 0.4, 0.9, 0.2])).tolist() == [False, *[True] * 4, False]


def test_the_level_tells_sound_from_its_pauses() -> None:
    waveform = np.zeros(40 * FRAME, np.float32)
    waveform[10 * FRAME : 30 * FRAME] = 0.1 * np.sin(np.arange(20 * FRAME))
    heard = LevelDetector().probabilities(waveform)
    assert heard.shape == (40,)
    assert heard[11:29].all()
    assert not heard[:9].any()


@pytest.fixture(scope="module")
def silero() -> SileroDetector:
    pytest.importorskip("onnxruntime")
    return SileroDetector()


def test_noise_hum_and_clicks_are_no_speech(silero: SileroDetector) -> None:
    random = np.random.default_rng(0)
    time = np.arange(48_000) / 16_000
    clicks = np.zeros(48_000)
    clicks[::8_000] = 0.9
    for sound in (0.1 * random.standard_normal(48_000), 0.3 * np.sin(2 * np.pi * 50 * time), clicks):
        assert not speech_frames(silero.probabilities(sound.astype(np.float32))).any()


def test_a_long_recording_is_heard_in_blocks_as_if_at_once(silero: SileroDetector) -> None:
    random = np.random.default_rng(0)
    waveform = (0.1 * random.standard_normal(700 * FRAME + 100)).astype(np.float32)
    heard = silero.probabilities(waveform)
    assert heard.shape == (701,)
    # What comes later changes nothing before it.
    np.testing.assert_allclose(silero.probabilities(waveform[: 600 * FRAME]), heard[:600], atol=1e-6)


@pytest.mark.corpus
def test_real_speech_is_heard(silero: SileroDetector, shared_corpora: Path) -> None:
    with (shared_corpora / "utterances.csv").open() as file:
        rows = [
            row for row in csv.DictReader(file) if row["corpus"] == "librispeech" and row["split"] == "eval"
        ]
    for row in rows[::20]:
        waveform = load(shared_corpora / row["path"])
        assert speech_frames(silero.probabilities(waveform)).mean() > 0.5


def test_windows_hold_speech_alone() -> None:
    waveform = np.ones(200 * FRAME, np.float32)
    waveform[::2] = -1
    speech = np.ones(200, bool)
    speech[50:100] = False
    waveform[50 * FRAME : 100 * FRAME] = 9
    windows = voice_windows(waveform, speech)
    assert {len(window) for window in windows} == {24_000}
    assert max(window.max() for window in windows) == 1
    assert len(windows) == (150 * FRAME - 24_000) // 12_000 + 1
    assert voice_windows(waveform[: 93 * FRAME], np.ones(93, bool)) == []


def clouds(apart: float, first: int, second: int) -> np.ndarray:
    """Embeddings around two directions whose cosine is 1 - apart."""
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.standard_normal((32, 2)))[0].T
    other = (1 - apart) * basis[0] + np.sqrt(1 - (1 - apart) ** 2) * basis[1]
    rows = np.concatenate([np.tile(basis[0], (first, 1)), np.tile(other, (second, 1))])
    return (rows + 0.02 * random.standard_normal(rows.shape)).astype(np.float32)


@pytest.mark.parametrize(("first", "second"), [(4, 4), (7, 2), (2, 9), (1, 1)])
def test_two_groups_are_parted_whatever_their_order_and_length(first: int, second: int) -> None:
    embeddings = clouds(0.8, first, second)
    expected = between_groups(embeddings)
    assert expected == pytest.approx(0.2, abs=0.05)
    random = np.random.default_rng(1)
    shuffled = random.permutation(embeddings) * random.uniform(1, 9, (first + second, 1)).astype(np.float32)
    assert between_groups(shuffled) == pytest.approx(expected, abs=1e-6)


def test_one_voice_is_not_parted() -> None:
    assert between_groups(clouds(0.0, 4, 4)) > 0.9
    assert between_groups(np.ones((5, 8), np.float32)) == pytest.approx(1.0)
