"""What of a recording is speech: silero-vad's ONNX weights, run by ONNX Runtime.

The weights lie in silero-vad's wheel (extra ``vad``); its Python code, which imports torch, is never run. The graph
takes frames of 512 samples, each after the last 64 samples of the one before, and carries a state from call to call;
its output is the probability of speech in each frame.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from voxangle.audio.measures import FRAME as LEVEL_FRAME
from voxangle.audio.measures import frame_energies, sounding
from voxangle.audio.resampling import SAMPLE_RATE, Waveform
from voxangle.errors import MissingExtraError
from voxangle.runtime.onnx_embedder import import_onnxruntime

__all__ = ["FRAME", "Detector", "Hearing", "LevelDetector", "SileroDetector", "speech_frames"]

Hearing = Literal["silero-vad", "level"]

FRAME = 512
"""Samples of a frame, at 16 kHz: 32 ms."""

_CONTEXT = 64
_BLOCK = 512  # frames a call: 16 s, so that memory does not grow with the recording
_STATE = (1, 1, 128)
_FILE = Path("data", "silero_vad_16k_sequence.onnx")

_ENTER, _LEAVE = 0.5, 0.35  # where speech begins and ends, silero-vad's own
_SHORTEST = 4  # frames: speech of less than 128 ms is a click


class Detector(Protocol):
    """Tells how probable speech is in each frame of a waveform."""

    def probabilities(self, waveform: Waveform) -> NDArray[np.float32]:
        """Of speech, shape (frames,), for a waveform (samples,) at 16 kHz; the last frame is padded."""


class SileroDetector:
    """silero-vad.

    Raises:
        MissingExtraError: its weights or ONNX Runtime are not installed.
    """

    def __init__(self) -> None:
        found = importlib.util.find_spec("silero_vad")
        places = list(found.submodule_search_locations or ()) if found else []
        file = next((one / _FILE for one in map(Path, places) if (one / _FILE).exists()), None)
        if file is None:
            raise MissingExtraError("telling speech from other sound", "vad")
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def probabilities(self, waveform: Waveform) -> NDArray[np.float32]:
        """Of speech in each frame, see ``Detector``."""
        count = -(-len(waveform) // FRAME)
        frames = np.zeros((count, _CONTEXT + FRAME), dtype=np.float32)
        padded = np.zeros(count * FRAME, dtype=np.float32)
        padded[: len(waveform)] = waveform
        frames[:, _CONTEXT:] = padded.reshape(count, FRAME)
        frames[1:, :_CONTEXT] = frames[:-1, -_CONTEXT:]
        hidden, cell = np.zeros((2, *_STATE), dtype=np.float32)
        found = []
        for first in range(0, count, _BLOCK):
            values, hidden, cell = self._session.run(
                ["speech_probs", "hn", "cn"],
                {"input": frames[first : first + _BLOCK], "h": hidden, "c": cell},
            )
            found.append(np.asarray(values, dtype=np.float32).reshape(-1))
        return np.concatenate([*found, np.empty(0, np.float32)])


class LevelDetector:
    """Takes all that sounds for speech: for where silero-vad is not installed; noise is not told from speech."""

    def probabilities(self, waveform: Waveform) -> NDArray[np.float32]:
        """1 where a frame is within 35 dB of the loudest 100 ms, else 0."""
        count = -(-len(waveform) // FRAME)
        heard = sounding(frame_energies(waveform - np.float32(waveform.mean(dtype=np.float64))))
        nearest = ((np.arange(count) + 0.5) * FRAME / LEVEL_FRAME).astype(int)
        found: NDArray[np.float32] = heard[np.minimum(nearest, len(heard) - 1)].astype(np.float32)
        return found


def speech_frames(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which frames are speech, shape (frames,).

    Speech begins where the probability reaches 0.5 and goes on until it falls below 0.35 (silero-vad's rule); what is
    shorter than 128 ms is none.
    """
    entered = probabilities >= _ENTER
    told = entered | (probabilities < _LEAVE)  # in between, what was before goes on
    last = np.maximum.accumulate(np.where(told, np.arange(len(probabilities)), -1))
    heard: NDArray[np.bool_] = np.where(last >= 0, entered[last], False)
    edges = np.flatnonzero(np.diff(heard.astype(np.int8), prepend=0, append=0))
    for first, end in edges.reshape(-1, 2):
        if end - first < _SHORTEST:
            heard[first:end] = False
    return heard


def seconds(frames: NDArray[np.bool_]) -> float:
    """Of speech."""
    return float(frames.sum()) * FRAME / SAMPLE_RATE
