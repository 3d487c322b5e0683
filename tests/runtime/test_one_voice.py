"""One rule and its words: enough speech, of one voice."""

from __future__ import annotations

import numpy as np
import pytest

from voxangle.runtime.card import Calibration
from voxangle.runtime.measures import RecordingMeasures
from voxangle.runtime.one_voice import SHORTEST, Fault, fault_of_speech, fault_of_voices

MEASURES = RecordingMeasures(6.0, 0.0, -20.0, 1.0)
FIT = Calibration(scale=20.0, offset=-10.0, source="made up")
ONE, OTHER = np.eye(2, dtype=np.float32)


@pytest.mark.parametrize(
    ("speech", "shortest", "code"),
    [
        (0.0, SHORTEST, "no-speech"),
        (0.0, 0.0, "no-speech"),
        (0.99, SHORTEST, "too-short"),
        (1.0, SHORTEST, None),
        (1.0, 2.5, "too-short"),
    ],
)
def test_enough_speech(speech: float, shortest: float, code: str | None) -> None:
    found = fault_of_speech(speech, shortest)
    assert (found and found.code) == code


def test_two_who_speak_in_turn() -> None:
    found = fault_of_voices([ONE, ONE, OTHER, OTHER], MEASURES, FIT)
    assert found is not None
    assert found.code == "two-voices"
    assert fault_of_voices([ONE, ONE, ONE, ONE], MEASURES, FIT) is None


def test_without_a_calibration_or_windows_voices_are_not_told() -> None:
    assert fault_of_voices([ONE, OTHER], MEASURES, None) is None
    assert fault_of_voices([ONE], MEASURES, FIT) is None
    assert fault_of_voices([], MEASURES, FIT) is None


def test_a_fault_names_the_recording_the_cause_and_the_cure() -> None:
    assert Fault("too-short", "is short", "go on").of("a.wav") == "a.wav is short; go on"
    short = fault_of_speech(0.25)
    assert short is not None
    assert short.of("a.wav").startswith(
        "a.wav has 0.2 s of speech, and at least 1 s are needed; speak a little"
    )
