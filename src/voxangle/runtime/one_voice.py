"""What is asked of a recording before anything is decided by it: the speech of one voice, and enough of it.

Enrolment, verification and identification ask the same, on the command line as in the service; here are the rule and
its words. How a recording is heard, whole or in pieces, and what becomes of one that is refused, is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.runtime.card import Calibration
from voxangle.runtime.measures import RecordingMeasures
from voxangle.runtime.voices import two_voices

__all__ = ["SHORTEST", "Fault", "fault_of_speech", "fault_of_voices"]

SHORTEST = 1.0
"""Seconds of speech below which nothing is decided."""


class Fault(NamedTuple):
    """Why nothing should be decided by a recording.

    Attributes:
        code: for programs.
        finding: what is wrong, to stand behind the recording's name.
        cure: what to do about it, to be begun as the place asks.
    """

    code: Literal["no-speech", "too-short", "two-voices"]
    finding: str
    cure: str

    def of(self, name: object) -> str:
        """A sentence that names the recording, the cause and the cure."""
        return f"{name} {self.finding}; {self.cure}"


def fault_of_speech(speech: float, shortest: float = SHORTEST) -> Fault | None:
    """What is wrong where there is too little speech.

    Args:
        speech: seconds of it in the recording.
        shortest: how many are needed.
    """
    if not speech:
        return Fault(
            "no-speech",
            "holds no speech, only noise, music or hum",
            "speak a sentence or two, close to the microphone",
        )
    if speech < shortest:
        return Fault(
            "too-short",
            f"has {speech:.1f} s of speech, and at least {shortest:g} s are needed",
            "speak a little longer: five seconds make a surer answer",
        )
    return None


def fault_of_voices(
    embeddings: Sequence[NDArray[np.float32]], measures: RecordingMeasures, fit: Calibration | None
) -> Fault | None:
    """What is wrong where two people speak in turn.

    Args:
        embeddings: N of (D,), of windows of the recording (``voice_windows``); fewer than two tell nothing.
        measures: of the recording.
        fit: the model's calibration; without one nothing is told.
    """
    if fit is None or len(embeddings) < 2 or not two_voices(np.stack(embeddings), measures, fit):
        return None
    return Fault(
        "two-voices",
        "has parts that sound like different voices",
        "record one person alone, without talk in the background",
    )
