"""Whether files are the speech of one voice each: what a recording's embedding and measures cannot tell.

The rule is ``voxangle.runtime.one_voice``, which the service asks of an upload too. Where the extra ``vad`` is not
installed noise is not told from speech, which is said; two voices are told all the same, of whatever sounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from voxangle.audio import Waveform
from voxangle.errors import MissingExtraError, SpeechError
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.runtime.one_voice import SHORTEST, Fault, fault_of_speech, fault_of_voices
from voxangle.runtime.outside import outside
from voxangle.runtime.sources import AudioFile, pieces
from voxangle.runtime.speech import Detector, LevelDetector, SileroDetector, seconds, speech_frames
from voxangle.runtime.voices import voice_windows
from voxangle.runtime.windows import Windows
from voxangle.voiceprints.enrolment import Findings
from voxangle.voiceprints.recordings import take_files
from voxangle.voiceprints.store import Recording

__all__ = ["hear_files", "take_heard"]

_PIECES = Windows()  # a minute each, so that memory does not grow with the file
_MOST_WINDOWS = 400  # of 1.5 s that are parted into voices, evenly taken from a long file


def take_heard(
    embedder: BaseEmbedder, paths: Sequence[str | Path], *, anyway: bool = False
) -> tuple[list[Recording], tuple[str, ...]]:
    """Embed and measure files that something is to be decided by, if they are the speech of one voice each.

    Args:
        embedder: the model.
        paths: N files.
        anyway: say why they would be refused, and take them.

    Returns:
        N recordings without references, and what is to be said of them: also where they are unlike those that the
        model was calibrated on.

    Raises:
        SpeechError: a file is not the speech of one voice, or holds too little of it.
        AudioError: a file cannot be used.
    """
    recordings = take_files(embedder, paths, references=False)
    refusals, warnings = hear_files(embedder, paths, recordings)
    if refusals and not anyway:
        raise SpeechError("; ".join(refusals))
    fit = embedder.card.calibration
    ranges = None if fit is None else fit.ranges
    unlike = [
        note
        for path, one in zip(paths, recordings, strict=True)
        for note in outside(path, one.measures, ranges)
    ]
    return recordings, (*refusals, *warnings, *unlike)


def hear_files(
    embedder: BaseEmbedder,
    paths: Sequence[str | Path],
    recordings: Sequence[Recording],
    shortest: float = SHORTEST,
) -> Findings:
    """Listen whether files are the speech of one voice each.

    Args:
        embedder: the model; without a calibration two voices in a file are not told.
        paths: N files.
        recordings: what ``take_files`` made of them.
        shortest: seconds of speech that each must have.

    Raises:
        AudioError: a file cannot be used.
    """
    warnings = []
    detector: Detector
    try:
        detector = SileroDetector()
    except MissingExtraError as error:
        detector = LevelDetector()
        warnings.append(f"noise and music were not told from speech: {error}")
    faults = (
        (path, _fault(embedder, path, recording, detector, shortest))
        for path, recording in zip(paths, recordings, strict=True)
    )
    return Findings(tuple(fault.of(path) for path, fault in faults if fault), tuple(warnings))


def _fault(
    embedder: BaseEmbedder, path: str | Path, recording: Recording, detector: Detector, shortest: float
) -> Fault | None:
    fit = embedder.card.calibration
    speech = 0.0

    def windows() -> Iterator[Waveform]:
        nonlocal speech
        for piece in pieces([AudioFile(path)], _PIECES, workers=0):
            if piece.error is not None:
                raise piece.error
            if piece.waveform is None:
                continue
            waveform = np.asarray(piece.waveform, dtype=np.float32)
            frames = speech_frames(detector.probabilities(waveform))
            speech += seconds(frames)
            if fit is not None:
                yield from voice_windows(waveform, frames)

    kept = _evenly(windows(), _MOST_WINDOWS)
    if fault := fault_of_speech(speech, shortest):
        return fault
    return fault_of_voices(list(embedder.embed(kept)), recording.measures, fit)


def _evenly(windows: Iterable[Waveform], most: int) -> list[Waveform]:
    """At most so many, evenly taken, of however many come."""
    kept: list[Waveform] = []
    every = 1
    for place, window in enumerate(windows):
        if place % every:
            continue
        kept.append(window.copy())  # not the minute that it is a view of
        if len(kept) > most:
            kept, every = kept[::2], 2 * every
    return kept
