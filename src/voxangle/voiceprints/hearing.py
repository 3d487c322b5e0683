"""Whether files hold speech, and of one voice: what a recording's embedding and measures cannot tell.

The service asks the same of an upload. Where the extra ``vad`` is not installed noise is not told from speech, which is
said; two voices are told all the same, of whatever sounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voxangle.errors import MissingExtraError
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.runtime.sources import AudioFile, pieces
from voxangle.runtime.speech import Detector, LevelDetector, SileroDetector, seconds, speech_frames
from voxangle.runtime.voices import two_voices, voice_windows
from voxangle.runtime.windows import Windows
from voxangle.voiceprints.enrolment import EnrolmentRules, Findings
from voxangle.voiceprints.store import Recording

__all__ = ["hear_files"]

_PIECES = Windows()  # a minute each, so that memory does not grow with the file
_MOST_WINDOWS = 400  # of 1.5 s that are parted into voices, evenly taken from a long file


def hear_files(
    embedder: BaseEmbedder,
    paths: Sequence[str | Path],
    recordings: Sequence[Recording],
    rules: EnrolmentRules | None = None,
) -> Findings:
    """Listen whether files are the speech of one voice each.

    Args:
        embedder: the model; without a calibration two voices in a file are not told.
        paths: N files.
        recordings: what ``take_files`` made of them.
        rules: what is asked of them; None for the defaults.

    Raises:
        AudioError: a file cannot be used.
    """
    rules = rules or EnrolmentRules()
    warnings = []
    detector: Detector
    try:
        detector = SileroDetector()
    except MissingExtraError as error:
        detector = LevelDetector()
        warnings.append(f"noise and music were not told from speech: {error}")
    refusals = []
    for path, recording in zip(paths, recordings, strict=True):
        if refusal := _refusal(embedder, Path(path), recording, detector, rules):
            refusals.append(refusal)
    return Findings(tuple(refusals), tuple(warnings))


def _refusal(
    embedder: BaseEmbedder, path: Path, recording: Recording, detector: Detector, rules: EnrolmentRules
) -> str | None:
    fit = embedder.card.calibration
    speech = 0.0
    vectors = []
    for piece in pieces([AudioFile(path)], _PIECES, workers=0):
        if piece.error is not None:
            raise piece.error
        if piece.waveform is None:
            continue
        waveform = np.asarray(piece.waveform, dtype=np.float32)
        frames = speech_frames(detector.probabilities(waveform))
        speech += seconds(frames)
        windows = voice_windows(waveform, frames) if fit is not None else []
        if windows:
            vectors.append(embedder.embed(windows))
    if not speech:
        return f"{path.name} holds no speech: only noise, music or hum; record somebody who speaks"
    if speech < rules.shortest <= recording.measures.speech:  # else its measures have told it
        return (
            f"{path.name} has {speech:.1f} s of speech among other sound, at least {rules.shortest:g} s are needed; "
            "record more"
        )
    if fit is None or not vectors:
        return None
    every = np.concatenate(vectors)
    some = every[np.unique(np.linspace(0, len(every) - 1, _MOST_WINDOWS).astype(int))]
    if len(some) > 1 and two_voices(some, recording.measures, fit):
        return f"parts of {path.name} sound like different voices; record one person alone"
    return None
