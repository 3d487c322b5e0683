from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxangle.audio import SAMPLE_RATE, load, probe, resample
from voxangle.audio.resampling import window
from voxangle.errors import AudioError

SUFFIXES = [".wav", ".flac", ".ogg", ".opus", ".mp3"]


def correlation(a, b):
    length = min(len(a), len(b))
    return np.corrcoef(a[:length], b[:length])[0, 1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_becomes_the_waveform_that_was_written(suffix, voice, write):
    written = voice(2.0, SAMPLE_RATE)
    waveform = load(write(f"a{suffix}", written))
    assert waveform.dtype == np.float32
    assert len(waveform) == len(written)
    assert correlation(waveform, written) > 0.99


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"])
def test_integer_and_float_samples_agree_to_their_quantisation(subtype, voice, write):
    written = voice(0.5, SAMPLE_RATE)
    step = {"PCM_U8": 2**-7, "PCM_16": 2**-15}.get(subtype, 2**-23)
    assert np.abs(load(write("a.wav", written, subtype=subtype)) - written).max() <= step


def test_floats_beyond_full_scale_stay_as_they_are(voice, write):
    written = 4 * voice(0.5, SAMPLE_RATE)
    np.testing.assert_array_equal(load(write("a.wav", written, subtype="FLOAT")), written)


def test_channels_are_mixed_down_to_their_mean(voice, write):
    left = voice(0.5, SAMPLE_RATE)
    channels = np.stack([left, np.float32(0.5) * left[::-1], np.zeros_like(left)], axis=1)
    mixed = load(write("a.wav", channels, subtype="FLOAT"))
    np.testing.assert_allclose(mixed, channels.astype(np.float64).mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000])
def test_any_rate_becomes_16_khz_with_pitch_and_level_kept(rate, write):
    def tone(at):
        return (0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * at) / at)).astype(np.float32)

    waveform = load(write("a.wav", tone(rate), rate, subtype="FLOAT"))
    assert abs(len(waveform) - 2 * SAMPLE_RATE) <= 1
    inner = slice(800, -800)  # a tone that begins at once rings at its ends
    np.testing.assert_allclose(waveform[inner], tone(SAMPLE_RATE)[: len(waveform)][inner], atol=1e-4)


def test_what_lies_above_8_khz_is_not_folded_back(write):
    tone = (0.5 * np.sin(2 * np.pi * 11_000 * np.arange(48_000) / 48_000)).astype(np.float32)
    assert np.abs(load(write("a.wav", tone, 48_000, subtype="FLOAT"))[800:-800]).max() < 1e-4


@pytest.mark.parametrize(
    ("suffix", "rate"),
    [(s, r) for s in SUFFIXES for r in (16_000, 48_000, 44_100) if (s, r) != (".opus", 44_100)],
)
def test_a_segment_is_the_slice_of_the_whole(suffix, rate, voice, write):
    path = write(f"a{suffix}", voice(6.0, rate), rate)
    whole = load(path)
    bound = 1e-5 if rate != SAMPLE_RATE else 1e-7 if suffix == ".mp3" else 0.0
    for start, seconds in [(0.0, 1.0), (0.01, 0.5), (1.23456, 2.0), (4.9, 1.1), (3.0, None)]:
        first = round(start * SAMPLE_RATE)
        expected = whole[first:] if seconds is None else whole[first : first + round(seconds * SAMPLE_RATE)]
        segment = load(path, start=start, seconds=seconds)
        assert len(segment) == len(expected)
        assert np.abs(segment - expected).max() <= bound


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([4_000, 8_000, 11_025, 16_000, 16_001, 22_050, 44_100, 48_000, 192_000]),
    start=st.floats(0, 1.9),
    seconds=st.floats(0.001, 0.5),
)
def test_windows_resample_to_the_slice_at_any_rate(rate, start, seconds):
    noise = np.random.default_rng(0).uniform(-1, 1, int(2.5 * rate)).astype(np.float32)
    first, count = round(start * SAMPLE_RATE), round(seconds * SAMPLE_RATE)
    source_first, source_count, lead = window(first, count, rate)
    segment = resample(noise[source_first:][:source_count], rate)[lead:][:count]
    whole = resample(noise, rate)[first : first + count]
    assert len(segment) == len(whole)
    np.testing.assert_allclose(segment, whole, atol=1e-5)


def test_an_end_within_a_rounded_duration_is_cut_to_the_recordings_end(voice, write):
    path = write("a.wav", voice(1.004, SAMPLE_RATE))
    assert len(load(path, seconds=1.05)) == round(1.004 * SAMPLE_RATE)


@pytest.mark.parametrize(
    ("start", "seconds"),
    [(0.0, 1.2), (0.9, 0.3), (1.0, None), (5.0, 1.0), (-0.5, 0.2), (0.0, 0.0), (0.2, -1.0)],
)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_segment_outside_of_the_recording_is_refused(start, seconds, rate, voice, write):
    with pytest.raises(AudioError, match=r"a\.wav: the segment .* is not within its 1\.00 s"):
        load(write("a.wav", voice(1.0, rate), rate), start=start, seconds=seconds)


def test_the_header_tells_duration_rate_channels_and_format(voice, write):
    info = probe(write("a.flac", np.stack([voice(1.5, 44_100)] * 2, axis=1), 44_100))
    assert math.isclose(info.seconds, 1.5)
    assert (info.sample_rate, info.channels, info.format) == (44_100, 2, "FLAC PCM_16")


def test_content_decides_not_the_suffix(voice, write, tmp_path):
    path = write("a.flac", voice(0.5, SAMPLE_RATE))
    shutil.copy(path, tmp_path / "b.wav")
    np.testing.assert_array_equal(load(tmp_path / "b.wav"), load(path))


def test_a_segment_far_into_an_opus_file_is_the_slice_of_the_whole(voice, write):
    noise = np.random.default_rng(0).standard_normal(45 * SAMPLE_RATE).astype(np.float32)
    path = write("a.opus", voice(45.0, SAMPLE_RATE) + 0.02 * np.convolve(noise, np.ones(8) / 8, "same"))
    whole = load(path)
    for start in (1.7, 25.0, 33.3, 44.0):
        first = round(start * SAMPLE_RATE)
        np.testing.assert_array_equal(load(path, start=start, seconds=0.5), whole[first : first + 8000])


@pytest.mark.corpus
def test_real_speech_decodes_as_libsndfile_alone_does(shared_corpora):
    paths = sorted((shared_corpora / "an4" / "eval").rglob("*.opus"))[:5]
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == SAMPLE_RATE
        np.testing.assert_array_equal(load(path), samples)
        np.testing.assert_array_equal(load(path, start=0.3, seconds=0.4), samples[4800:11_200])
