"""What is measured of recordings and trials, and what is said of those a model was not calibrated on."""

from __future__ import annotations

import math
import re
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from voxangle.audio import SAMPLE_RATE
from voxangle.audio.measures import measure
from voxangle.errors import AudioError, SilenceError
from voxangle.runtime.card import Calibration, Range, Ranges
from voxangle.runtime.measures import (
    TRIAL_MEASURES,
    RecordingMeasures,
    measure_file,
    measure_waveform,
    trial_columns,
)
from voxangle.runtime.outside import outside

GOOD = RecordingMeasures(speech=4.0, clipping=0.0, above_4khz=-20.0, magnitude=30.0)
RANGES = Ranges(
    speech=Range(low=1.0, high=12.0),
    clipping=Range(low=0.0, high=0.0),
    above_4khz=Range(low=-40.0, high=-5.0),
    magnitude=Range(low=20.0, high=50.0),
)


def noise(seconds: float, *, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))).astype(
        np.float32
    )


def test_speech_is_what_sounds_and_magnitude_the_norm() -> None:
    waveform = np.concatenate([noise(1.0), np.zeros(3 * SAMPLE_RATE, np.float32), noise(0.5, seed=1)])
    one = measure_waveform(waveform, np.array([3.0, 4.0], np.float32))
    assert one.speech == pytest.approx(1.5)
    assert one.magnitude == 5
    assert one.clipping == 0
    assert one.above_4khz == pytest.approx(0, abs=1)


def test_a_file_has_the_measures_of_its_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(2.0), SAMPLE_RATE, subtype="FLOAT")
    embedding = np.ones(4, np.float32)
    assert measure_file(tmp_path / "a.wav", embedding) == measure_waveform(noise(2.0), embedding)


def test_a_long_recording_is_measured_by_its_windows(tmp_path: Path) -> None:
    loud = np.clip(3 * noise(60), -0.3, 0.3)
    # Two minutes in which nothing sounds, though not all is zero; then a quiet and dull one, of which half sounds.
    silent = (2e-5 * np.sign(noise(121, seed=1))).astype(np.float32)
    dull = 0.01 * np.convolve(noise(60, seed=2), np.hanning(32), "same").astype(np.float32)
    dull[30 * SAMPLE_RATE :] = 0
    waveform = np.concatenate([loud, silent, dull])
    soundfile.write(tmp_path / "a.wav", waveform, SAMPLE_RATE, subtype="FLOAT")
    one = measure_file(tmp_path / "a.wav", np.ones(4, np.float32))
    assert one == measure_waveform(waveform, np.ones(4, np.float32))
    assert one.speech == pytest.approx(90, abs=0.5)
    of_five_windows_four_sound = 4 / 5 * 241
    assert one.clipping == pytest.approx(measure(loud).clipping * 60 / of_five_windows_four_sound, rel=0.02)
    by_speech = (2 * measure(loud).above_4khz + measure(dull).above_4khz) / 3
    assert one.above_4khz == pytest.approx(by_speech, abs=2.0)


def test_a_recording_that_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        measure_file(tmp_path / "none.wav", np.ones(4, np.float32))
    with pytest.raises(SilenceError):
        measure_waveform(np.full(SAMPLE_RATE, 0.2, np.float32), np.ones(4, np.float32))


def test_a_gain_changes_nothing() -> None:
    one, louder = (measure_waveform(gain * noise(2.0), np.ones(4)) for gain in (1, 2))
    assert astuple(one) == pytest.approx(astuple(louder))


def test_a_trial_has_the_measures_of_its_worse_side_whichever_that_is() -> None:
    short, dull = replace(GOOD, speech=0.5, magnitude=40.0), replace(GOOD, above_4khz=-60.0)
    one, other = np.array([0, 1, 2, 1]), np.array([1, 2, 0, 1])
    names = ("speech", "bandwidth", "magnitude")
    columns = trial_columns(names, [GOOD, short, dull], one, other)
    np.testing.assert_allclose(columns[0], np.log([0.5, 0.5, 4.0, 0.5]))
    np.testing.assert_allclose(columns[1], [-20, -60, -60, -20])
    np.testing.assert_allclose(columns[2], np.log([30, 30, 30, 40]))
    np.testing.assert_array_equal(columns, trial_columns(names, [GOOD, short, dull], other, one))


def test_speech_of_an_enrolment_adds_up() -> None:
    joined = RecordingMeasures.joined([GOOD, replace(GOOD, speech=1.0, magnitude=20.0, clipping=0.2)])
    assert joined == RecordingMeasures(speech=5.0, clipping=0.1, above_4khz=-20.0, magnitude=25.0)


def test_no_speech_at_all_has_a_logarithm() -> None:
    assert math.isfinite(TRIAL_MEASURES["speech"].of(replace(GOOD, speech=0.0)))


def test_a_ratio_counts_the_score_and_each_measure() -> None:
    fit = Calibration(scale=10.0, offset=-3.0, source="x", weights={"bandwidth": 0.1, "speech": -2.0})
    dull = replace(GOOD, above_4khz=-50.0)
    assert fit.formula == "10 x score +0.1 x bandwidth -2 x speech -3"
    expected = 10 * 0.5 + 0.1 * -50 - 2 * math.log(4) - 3
    assert fit.log_likelihood_ratio(0.5, GOOD, dull) == pytest.approx(expected)
    assert fit.log_likelihood_ratio(0.5, dull, GOOD) == pytest.approx(expected)
    assert Calibration(scale=10.0, offset=-3.0, source="x").log_likelihood_ratio(0.5) == pytest.approx(2.0)


def test_a_calibration_of_before_measures_still_reads() -> None:
    old = Calibration.model_validate({"scale": 9.0, "offset": -3.0, "source": "forty trials"})
    assert (old.weights, old.prior, old.ranges, old.asks_measures) == ({}, 0.5, None, False)
    new = Calibration(scale=1.0, offset=0.0, source="x", weights={"speech": -1.0}, ranges=RANGES)
    assert Calibration.model_validate_json(new.model_dump_json()) == new


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"speach": 1.0}}, "'speach' is no measure .* did you mean 'speech'"),
        ({"weights": {"speech": math.inf}}, "finite"),
        ({"prior": 1.0}, "less than 1"),
        ({"scale": -1.0}, "greater than 0"),
    ],
)
def test_a_calibration_that_is_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Calibration.model_validate({"scale": 9.0, "offset": -3.0, "source": "x", **changes})


def test_ranges_leave_out_a_hundredth_at_either_end() -> None:
    recordings = [replace(GOOD, speech=float(n)) for n in range(1001)]
    ranges = Ranges.of(recordings)
    assert (ranges.speech.low, ranges.speech.high) == pytest.approx((10, 990))
    assert (ranges.magnitude.low, ranges.magnitude.high) == (30, 30)
    with pytest.raises(ValidationError, match="from 2 to 1 is no range"):
        Range(low=2.0, high=1.0)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"speech": 0.4}, "has 0.4 s of sound, the model was calibrated on 1.0 to 12.0 s: .* record more"),
        ({"speech": 30.0}, "has 30.0 s of sound, the model was calibrated on 1.0 to 12.0 s: how much surer"),
        (
            {"clipping": 0.02},
            "is clipped, 2 % of its samples, the model .* at most 0 %: lower the recording level",
        ),
        (
            {"above_4khz": -70.0},
            r"nothing above 4 kHz, as .* telephone or at 8 kHz \(-70 dB .* -40 dB or more",
        ),
        ({"magnitude": 3.0}, "an embedding of length 3, the model was calibrated on 20 to 50"),
        ({"magnitude": 90.0}, "an embedding of length 90, "),
    ],
)
def test_a_recording_outside_of_what_was_seen(changes: dict[str, float], note: str) -> None:
    (said,) = outside("me.wav", replace(GOOD, **changes), RANGES)
    assert re.search(f"^me.wav .*{note}", said)


def test_nothing_is_said_of_a_recording_like_those_it_was_calibrated_on() -> None:
    assert outside("me.wav", GOOD, RANGES) == []
    assert outside("me.wav", replace(GOOD, clipping=5e-4, above_4khz=3.0), RANGES) == []


def test_a_model_calibrated_on_the_telephone_does_not_warn_of_it() -> None:
    telephone = RANGES.model_copy(update={"above_4khz": Range(low=-80.0, high=-20.0)})
    assert outside("me.wav", replace(GOOD, above_4khz=-70.0), telephone) == []


def test_where_no_ranges_are_known_the_sampling_rate_tells(tmp_path: Path) -> None:
    for rate in (8000, 16000):
        soundfile.write(tmp_path / f"{rate}.wav", noise(1.0), rate)
    assert outside(tmp_path / "16000.wav", GOOD, None) == []
    for one, ranges in ((GOOD, None), (None, RANGES), (None, None)):
        (said,) = outside(tmp_path / "8000.wav", one, ranges)
        assert "sampled at 8000 Hz" in said
