"""Where a recording is outside of what a model was calibrated on, in words."""

from __future__ import annotations

from pathlib import Path

from voxangle.audio import SAMPLE_RATE, probe
from voxangle.runtime.card import Ranges
from voxangle.runtime.measures import RecordingMeasures

__all__ = ["outside"]

_AUDIBLE_CLIPPING = 1e-3  # a smaller share of samples in flat tops is found in clean recordings too
_MODEL = "the model was calibrated on"


def outside(file: str | Path, one: RecordingMeasures | None, ranges: Ranges | None) -> list[str]:
    """What must be said of a recording that is unlike those the model was calibrated on; nothing of most.

    Where it is not known what those were like, it must be said that a recording lacks frequencies.

    Args:
        file: the recording.
        one: what was measured of it; None where nothing was.
        ranges: what those were like (``Calibration``); None where it was not written down.
    """
    if one is None or ranges is None:
        found = [_at_low_rate(probe(file).sample_rate)]
    else:
        found = [
            _of_speech(one.speech, ranges),
            _clipped(one.clipping, ranges),
            _narrow(one.above_4khz, ranges),
            _of_strange_length(one.magnitude, ranges),
        ]
    return [f"{file} {what}" for what in found if what]


def _at_low_rate(rate: int) -> str:
    if rate >= SAMPLE_RATE:
        return ""
    return (
        f"is sampled at {rate} Hz, the model's recordings at {SAMPLE_RATE} Hz: what lies above {rate // 2} Hz is "
        "missing, and the score says less than its threshold promises"
    )


def _of_speech(seconds: float, ranges: Ranges) -> str:
    low, high = ranges.speech.low, ranges.speech.high
    if low <= seconds <= high:
        return ""
    so = (
        "the answer is less sure than it says; record more"
        if seconds < low
        else "how much surer so much of it makes the answer was not measured"
    )
    return f"has {seconds:.1f} s of sound, {_MODEL} {low:.1f} to {high:.1f} s: {so}"


def _clipped(share: float, ranges: Ranges) -> str:
    if share <= max(ranges.clipping.high, _AUDIBLE_CLIPPING):
        return ""
    return (
        f"is clipped, {100 * share:.2g} % of its samples, {_MODEL} recordings with at most "
        f"{100 * ranges.clipping.high:.2g} %: lower the recording level"
    )


def _narrow(above_4khz: float, ranges: Ranges) -> str:
    if above_4khz >= ranges.above_4khz.low:
        return ""
    return (
        f"has next to nothing above 4 kHz, as what came by telephone or at 8 kHz ({above_4khz:.0f} dB against what "
        f"lies below), {_MODEL} {ranges.above_4khz.low:.0f} dB or more: its score means something else"
    )


def _of_strange_length(magnitude: float, ranges: Ranges) -> str:
    low, high = ranges.magnitude.low, ranges.magnitude.high
    if low <= magnitude <= high:
        return ""
    return (
        f"has an embedding of length {magnitude:.3g}, {_MODEL} {low:.3g} to {high:.3g}: it does not sound as those "
        "recordings did; listen whether it is one voice, without noise"
    )
