"""Enrolment from files listens: noise, tones and two people make no voiceprint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.voiceprints.test_commands import fitted, long_voices, refused, told  # noqa: F401 - fixtures
from voxangle.errors import EnrolmentError, MissingExtraError
from voxangle.runtime.speech import SileroDetector


@pytest.fixture
def mine(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("VOXANGLE_MODEL", str(fitted))


@pytest.mark.usefixtures("mine")
def test_noise_and_a_tone_are_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        SileroDetector()
    except MissingExtraError:
        pytest.skip("the extra 'vad' is not installed")
    monkeypatch.setattr("voxangle.voiceprints.hearing.SileroDetector", SileroDetector)
    time = np.arange(12 * 16_000) / 16_000
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(time))
    for name, sound in (("noise.wav", noise), ("tone.wav", 0.3 * np.sin(2 * np.pi * 440 * time))):
        soundfile.write(tmp_path / name, sound, 16_000)
        message = refused(EnrolmentError, "enrol", "nobody", tmp_path / name)
        assert f"{name} holds no speech" in message
        assert not (tmp_path / "prints.sqlite").exists() or told("voiceprints", "list") == []
    warnings = told("enrol", "nobody", tmp_path / "tone.wav", "--anyway")["warnings"]
    assert any("holds no speech" in warning for warning in warnings)


@pytest.mark.usefixtures("mine")
def test_one_after_another_is_not_one_voice(long_voices: Path, tmp_path: Path) -> None:  # noqa: F811
    def joined(*names: str) -> Path:
        sound = np.concatenate([soundfile.read(long_voices / f"{name}.wav")[0] for name in names])
        soundfile.write(tmp_path / "after.wav", sound, 16_000)
        return tmp_path / "after.wav"

    message = refused(EnrolmentError, "enrol", "both", joined("s0u0", "s0u1", "s1u0", "s1u1"))
    assert "parts of after.wav sound like different voices" in message
    assert told("enrol", "one", joined("s0u0", "s0u1"))["recordings"] == 1


@pytest.mark.usefixtures("mine")
def test_what_was_not_heard_is_told(long_voices: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def missing() -> None:
        raise MissingExtraError("telling speech from other sound", "vad")

    monkeypatch.setattr("voxangle.voiceprints.hearing.SileroDetector", missing)
    warnings = told("enrol", "ada", long_voices / "s0u0.wav")["warnings"]
    assert any("noise and music were not told from speech" in one and "[vad]" in one for one in warnings)
