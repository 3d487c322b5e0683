"""The measures on signals whose answer is known, and on real speech."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from voxangle.audio import load
from voxangle.quality import Limits, measure

LIMITS = Limits()


def speech(seconds: float = 2.0) -> np.ndarray:
    """Noise in bursts: as wide as the band, a quarter of it silent."""
    random = np.random.default_rng(4)
    wave = random.standard_normal(round(seconds * 16_000)) * 0.1
    wave[np.arange(len(wave)) % 8_000 >= 6_000] = 0
    return wave.astype(np.float32)


def upsampled(wave: np.ndarray) -> np.ndarray:
    return soxr.resample(soxr.resample(wave, 16_000, 8_000), 8_000, 16_000).astype(np.float32)


def through_mp3(wave: np.ndarray) -> np.ndarray:
    coded = io.BytesIO()
    soundfile.write(coded, wave, 16_000, format="MP3", subtype="MPEG_LAYER_III")
    coded.seek(0)
    return soundfile.read(coded, dtype="float32")[0]


def test_silence_is_the_share_of_frames_that_do_not_sound() -> None:
    assert measure(speech()).silence == pytest.approx(0.25, abs=0.03)
    assert measure(np.zeros(8_000, np.float32)).silence == 1


def test_level_is_that_of_what_sounds() -> None:
    assert measure(speech()).level == pytest.approx(-20, abs=0.5)


def test_gain_changes_the_level_alone() -> None:
    loud, quiet = measure(speech()), measure(speech() * np.float32(0.1))
    assert quiet.level == pytest.approx(loud.level - 20, abs=1e-3)
    assert quiet.silence == loud.silence
    assert quiet.clipping == loud.clipping
    assert quiet.above_4khz == pytest.approx(loud.above_4khz, abs=1e-2)


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_clipping_is_seen_whatever_the_gain_after_it(gain: float) -> None:
    time = np.arange(16_000) / 16_000
    clipped = gain * np.clip(2 * np.sin(2 * np.pi * 200 * time), -1, 1)
    assert measure(clipped.astype(np.float32)).clipping == pytest.approx(2 / 3, abs=0.05)


def test_speech_is_not_clipped() -> None:
    assert measure(speech()).clipping == 0


def test_offset_is_the_mean_and_hides_no_silence() -> None:
    shifted = measure(speech() + np.float32(0.02))
    assert shifted.offset == pytest.approx(0.02, abs=1e-3)
    assert shifted.silence == pytest.approx(0.25, abs=0.03)


def test_upsampled_material_has_nothing_above_4_khz() -> None:
    assert measure(speech()).above_4khz > LIMITS.above_4khz
    assert measure(upsampled(speech())).above_4khz < LIMITS.above_4khz


def test_one_sample_can_be_measured_and_none_cannot() -> None:
    assert measure(np.ones(1, np.float32)).seconds == pytest.approx(1 / 16_000)
    with pytest.raises(ValueError, match="no samples"):
        measure(np.empty(0, np.float32))


@pytest.mark.corpus
def test_fakes_are_told_from_real_wide_band_speech(shared_corpora: Path) -> None:
    files = sorted((shared_corpora / "librispeech" / "train").rglob("*.opus"))[:12]
    assert files
    waves = [load(path)[: 5 * 16_000] for path in files]
    clean = [measure(wave).above_4khz for wave in waves]
    coded = [measure(through_mp3(wave)).above_4khz for wave in waves]
    fake = [measure(through_mp3(upsampled(wave))).above_4khz for wave in waves]
    assert max(fake) < LIMITS.above_4khz < min(clean + coded)


@pytest.mark.corpus
def test_telephone_speech_is_known_by_it(shared_corpora: Path) -> None:
    files = sorted((shared_corpora / "wuw" / "train").rglob("*.opus"))[::60]
    narrow = [measure(load(path)).above_4khz < LIMITS.above_4khz for path in files]
    assert np.mean(narrow) > 0.8
