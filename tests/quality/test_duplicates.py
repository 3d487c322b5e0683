"""Copies are found through container, gain and leading silence; two recordings are never one."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from voxangle.quality import Duplicate, find_duplicates, take_print
from voxangle.quality.duplicates import Prints, correlation


def found(waves: list[np.ndarray], **asked: float) -> list[Duplicate]:
    def read(row: int, first: int, samples: int) -> np.ndarray:
        return waves[row][first : first + samples]

    return find_duplicates(Prints.of([take_print(wave) for wave in waves]), read, **asked)


def spoken(utterance: int) -> np.ndarray:
    """Sounds of random pitch and loudness, 0.1 s each."""
    random = np.random.default_rng(utterance)
    pitch, loudness = (np.repeat(random.uniform(low, high, 20), 1_600) for low, high in ((90, 300), (0.1, 1)))
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    wave = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 12))
    return (0.1 * loudness * wave + 0.001 * random.standard_normal(len(wave))).astype(np.float32)


def coded(wave: np.ndarray, container: str, subtype: str) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, wave, 16_000, format=container, subtype=subtype)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def test_a_copy_is_found_to_the_sample() -> None:
    assert found([spoken(0), spoken(1), spoken(0)]) == [Duplicate(0, 2, 1.0, exact=True)]


def test_many_copies_are_named_once_each() -> None:
    assert [(one.first, one.other) for one in found([spoken(0)] * 5)] == [(0, 1), (0, 2), (0, 3), (0, 4)]


def changed(wave: np.ndarray, how: str) -> np.ndarray:
    if how == "gain":
        return wave * np.float32(0.3)
    if how == "turned over":
        return -wave
    if how == "leading silence":
        return np.concatenate([np.zeros(5_003, np.float32), wave])
    if how == "mp3":
        return coded(wave, "MP3", "MPEG_LAYER_III")
    return coded(np.concatenate([np.zeros(3_001, np.float32), wave * np.float32(0.5)]), "OGG", "OPUS")


@pytest.mark.parametrize("how", ["gain", "turned over", "leading silence", "mp3", "all of it, in Opus"])
def test_a_copy_is_found_through(how: str) -> None:
    duplicates = found([spoken(1), spoken(0), changed(spoken(0), how)])
    assert [(one.first, one.other, one.exact) for one in duplicates] == [(1, 2, False)]


def test_of_many_versions_each_is_named_once() -> None:
    versions = [spoken(0) * np.float32(factor) for factor in (1, 0.9, 0.7, 0.5, 0.4)]
    assert sorted(one.other for one in found(versions)) == [1, 2, 3, 4]


def test_the_correlation_that_is_asked_for_decides() -> None:
    random = np.random.default_rng(0)
    waves = [spoken(0), spoken(0) + 0.02 * random.standard_normal(32_000).astype(np.float32)]
    (pair,) = found(waves, same=0.5)
    assert 0.5 <= pair.correlation < 0.99
    assert found(waves, same=0.99) == []


def test_other_utterances_of_a_speaker_are_no_copies() -> None:
    assert found([spoken(utterance) for utterance in range(12)]) == []


def test_silence_is_nobodys_copy_but_its_own() -> None:
    assert found([np.zeros(9_000, np.float32), np.zeros(9_001, np.float32), spoken(0)]) == []


def test_correlation_is_that_of_the_best_shift() -> None:
    random = np.random.default_rng(0).standard_normal(4_000)
    assert correlation(random, np.roll(np.pad(random, 500), 100) * 0.1) == pytest.approx(1)
    assert correlation(random, np.zeros(100)) == 0


def test_no_recordings_have_no_duplicates() -> None:
    assert found([]) == []
