"""What is decided by files is listened to: noise, tones, two people and half a second decide nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import voice
from tests.voiceprints.test_commands import (
    fitted,  # noqa: F401 - fixtures
    long_voices,  # noqa: F401
    people,  # noqa: F401
    refused,
    run,
    told,
)
from voxangle.errors import EnrolmentError, MissingExtraError, SpeechError
from voxangle.runtime.speech import FRAME, SileroDetector
from voxangle.voiceprints.hearing import _evenly


@pytest.fixture
def mine(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("VOXANGLE_MODEL", str(fitted))


@pytest.fixture
def silero(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        SileroDetector()
    except MissingExtraError:
        pytest.skip("the extra 'vad' is not installed")
    monkeypatch.setattr("voxangle.voiceprints.hearing.SileroDetector", SileroDetector)


def noise(seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16_000))


def joined(folder: Path, place: Path, *names: str) -> Path:
    """Recordings one after another."""
    sound = np.concatenate([soundfile.read(folder / f"{name}.wav")[0] for name in names])
    soundfile.write(place / "after.wav", sound, 16_000)
    return place / "after.wav"


@pytest.mark.usefixtures("mine", "silero")
def test_noise_and_a_tone_are_nobody(tmp_path: Path) -> None:
    time = np.arange(12 * 16_000) / 16_000
    for name, sound in (("noise.wav", noise(12.0)), ("tone.wav", 0.3 * np.sin(2 * np.pi * 440 * time))):
        soundfile.write(tmp_path / name, sound, 16_000)
        message = refused(EnrolmentError, "enrol", "nobody", tmp_path / name)
        assert f"{name} holds no speech" in message
        assert not (tmp_path / "prints.sqlite").exists() or told("voiceprints", "list") == []
    warnings = told("enrol", "nobody", tmp_path / "tone.wav", "--anyway")["warnings"]
    assert any("holds no speech" in warning for warning in warnings)


def test_noise_decides_nothing(people: Path, silero: None, tmp_path: Path) -> None:  # noqa: F811
    first, second = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(first, noise(3.0), 16_000)
    soundfile.write(second, noise(4.0), 16_000)
    before = told("voiceprints", "audit")
    for words in (("verify", first, second), ("verify", first, "--as", "ada"), ("identify", first)):
        message = refused(SpeechError, *words)
        assert f"{first} holds no speech, only noise, music or hum; speak a sentence or two" in message
        assert (f"{second} holds no speech" in message) == (second in words)
        notes = [one for one in told(*words, "--anyway")["notes"] if "holds no speech" in one]
        assert len(notes) == 1 + (second in words)
        assert all(f"note: {note}\n" in run(*words, "--anyway").output for note in notes)
    # What was forced is recorded as any other; what was refused decided nothing.
    assert len(told("voiceprints", "audit")) == len(before) + 4


@pytest.mark.usefixtures("mine")
def test_one_after_another_is_not_one_voice(long_voices: Path, tmp_path: Path) -> None:  # noqa: F811
    both = joined(long_voices, tmp_path, "s0u0", "s0u1", "s1u0", "s1u1")
    message = refused(EnrolmentError, "enrol", "both", both)
    assert "after.wav has parts that sound like different voices; record one person alone" in message
    one = joined(long_voices, tmp_path, "s0u0", "s0u1")
    assert told("enrol", "one", one)["recordings"] == 1


def test_by_two_who_speak_in_turn_nothing_is_decided(people: Path, tmp_path: Path) -> None:  # noqa: F811
    both = joined(people, tmp_path, "s0u0", "s0u1", "s1u0", "s1u1")
    own = people / "s0u2.wav"
    for words in (("verify", own, both), ("verify", both, "--as", "ada"), ("identify", both)):
        assert f"{both} has parts that sound like different voices" in refused(SpeechError, *words)
        (note,) = told(*words, "--anyway")["notes"]
        assert note.startswith(f"{both} has parts that sound like different voices")
    one = joined(people, tmp_path, "s0u0", "s0u1")
    assert told("verify", own, one)["notes"] == []


def test_short_speech_among_other_sound_is_short(
    people: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Brief:
        def probabilities(self, waveform: np.ndarray) -> np.ndarray:
            return np.arange(-(-len(waveform) // FRAME)) < 20

    monkeypatch.setattr("voxangle.voiceprints.hearing.SileroDetector", Brief)
    soundfile.write(tmp_path / "long.wav", voice(4, 0, 4.0), 16_000)
    for kind, *words in ((EnrolmentError, "enrol", "eve"), (SpeechError, "identify")):
        message = refused(kind, *words, tmp_path / "long.wav")
        assert message.count("long.wav has 0.6 s of speech, and at least 1 s are needed") == 1


def test_what_was_not_heard_is_told(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def missing() -> None:
        raise MissingExtraError("telling speech from other sound", "vad")

    monkeypatch.setattr("voxangle.voiceprints.hearing.SileroDetector", missing)
    own = people / "s0u2.wav"
    for said in (
        told("enrol", "eve", own)["warnings"],
        told("verify", own, people / "s0u0.wav")["notes"],
        told("verify", own, "--as", "ada")["notes"],
        told("identify", own)["notes"],
    ):
        assert any("noise and music were not told from speech" in one and "[vad]" in one for one in said)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 9, 100])
def test_of_many_windows_some_are_taken_evenly(count: int) -> None:
    kept = [int(one[0]) for one in _evenly((np.full(3, place, np.float32) for place in range(count)), 4)]
    assert kept[:1] == ([0] if count else [])
    assert len(kept) == count if count <= 4 else 2 < len(kept) <= 4
    assert len(set(np.diff(kept))) <= 1
    assert not kept or count - kept[-1] <= max(np.diff(kept), default=1)
