r"""What is measured of a recording beside its embedding, and what of it may move a trial's log-likelihood ratio.

A cosine of two short recordings says less than the same cosine of two long ones; measures of quality let a calibration
know (Mandasari et al., "Quality measure functions for calibration of speaker recognition systems in various duration
conditions", 2013; Thienpondt et al., "The IDLab VoxSRC-20 submission", 2021). A trial has those of its worse side, so
that it does not matter which of the two was enrolled.

All is computed with numpy, of the 16 kHz mono samples that the model reads: the same in training, in evaluation and in
use, with torch or without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.audio.levels import is_silent
from voxangle.audio.measures import measure
from voxangle.errors import SilenceError
from voxangle.runtime.sources import AudioFile, pieces
from voxangle.runtime.windows import Windows

__all__ = [
    "TRIAL_MEASURES",
    "RecordingMeasures",
    "TrialMeasure",
    "measure_file",
    "measure_waveform",
    "trial_columns",
]

_WINDOWS = Windows()
_FRAME = 0.02  # seconds: the least speech that is told from none

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class RecordingMeasures:
    """What was measured of one recording.

    Attributes:
        speech: seconds in which it sounds: in frames of 20 ms within 35 dB of the loudest 100 ms (see
            ``voxangle.audio.measures``), of each minute where it is longer.
        clipping: the share of samples in flat tops, in [0, 1].
        above_4khz: the power density from 4.3 to 7.5 kHz against that from 0.3 to 3.7 kHz, in dB, at least -120.
        magnitude: the Euclidean norm of its embedding, before this is brought to unit length.
    """

    speech: float
    clipping: float
    above_4khz: float
    magnitude: float

    @classmethod
    def joined(cls, recordings: Sequence[RecordingMeasures]) -> RecordingMeasures:
        """Those of a speaker who was enrolled with several recordings: their speech together, the rest on average."""
        speech, clipping, above_4khz, magnitude = zip(*map(astuple, recordings), strict=True)
        return cls(sum(speech), *(float(np.mean(values)) for values in (clipping, above_4khz, magnitude)))


class TrialMeasure(NamedTuple):
    """A measure of a trial: the lesser of what its two sides have.

    Attributes:
        of: what a recording has.
        meaning: for a person to read.
    """

    of: Callable[[RecordingMeasures], float]
    meaning: str


TRIAL_MEASURES = {
    "speech": TrialMeasure(
        lambda one: math.log(max(one.speech, _FRAME)), "natural logarithm of the fewer seconds of speech"
    ),
    "bandwidth": TrialMeasure(
        lambda one: one.above_4khz, "the lesser power above 4 kHz against that below, in dB"
    ),
    "magnitude": TrialMeasure(
        lambda one: math.log(one.magnitude), "natural logarithm of the smaller norm of the embeddings"
    ),
}
"""By the name that a calibration has a weight for."""


def measure_waveform(waveform: Floats, embedding: Floats) -> RecordingMeasures:
    """Measure samples.

    Args:
        waveform: (samples,) in [-1, 1] at 16 kHz, as they were embedded.
        embedding: (D,), theirs, not of unit length.

    Raises:
        SilenceError: they are silent.
    """
    windows = _WINDOWS.cut(len(waveform))
    parts = (waveform[one.first : one.first + one.samples] for one in windows)
    return _measured("the waveform", parts, embedding)


def measure_file(path: str | Path, embedding: Floats) -> RecordingMeasures:
    """Measure a file, minute by minute, so that memory does not grow with it.

    Args:
        path: in any form that ``voxangle.audio.load`` reads.
        embedding: (D,), its own, not of unit length.

    Raises:
        AudioError: it cannot be used, as for an embedding.
    """

    def waveforms() -> Iterable[Floats]:
        for piece in pieces([AudioFile(path)], _WINDOWS, workers=0):
            if piece.error is not None:
                raise piece.error
            if piece.waveform is not None:
                yield piece.waveform

    return _measured(path, waveforms(), embedding)


def trial_columns(
    names: Sequence[str],
    recordings: Sequence[RecordingMeasures],
    enrol: NDArray[np.int64],
    test: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Measures of trials.

    Args:
        names: M of ``TRIAL_MEASURES``.
        recordings: N measured recordings (or speakers, see ``RecordingMeasures.joined``).
        enrol: shape (T,), places in ``recordings``.
        test: shape (T,), places in ``recordings``.

    Returns:
        Shape (M, T).
    """
    columns = np.empty((len(names), len(enrol)))
    for column, name in zip(columns, names, strict=True):
        values = np.array([TRIAL_MEASURES[name].of(one) for one in recordings])
        np.minimum(values[enrol], values[test], out=column)
    return columns


def _measured(name: str | Path, waveforms: Iterable[Floats], embedding: Floats) -> RecordingMeasures:
    """Those of the windows of a recording; by their seconds, and what is of speech by their seconds of speech."""
    seconds = speech = clipping = above_4khz = 0.0
    for waveform in waveforms:
        if is_silent(waveform):
            continue  # as it has no part in the embedding
        part = measure(waveform)
        sounding = part.seconds * (1 - part.silence)
        seconds += part.seconds
        speech += sounding
        clipping += part.clipping * part.seconds
        above_4khz += part.above_4khz * sounding
    if not speech:
        raise SilenceError(name)
    return RecordingMeasures(
        speech, clipping / seconds, above_4khz / speech, float(np.linalg.norm(embedding.astype(np.float64)))
    )
