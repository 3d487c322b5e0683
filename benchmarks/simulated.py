"""VoxCeleb2's training part as a manifest: its size, the form of its names, lengths like its own; no audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from voxangle.data import Manifest
from voxangle.data.manifest import SCHEMA

__all__ = ["SPEAKERS", "UTTERANCES", "simulated_voxceleb2"]

UTTERANCES, SPEAKERS = 1_092_009, 5_994
_IN_A_VIDEO = 7.5  # utterances, on average
_SHORTEST, _LONGEST, _MEAN = 4.0, 20.0, 7.8  # seconds


def simulated_voxceleb2(root: Path = Path("/data/voxceleb2"), *, share: float = 1.0) -> Manifest:
    """Rows as the ``voxceleb2`` reader makes them, of a prepared corpus: with seconds.

    How many utterances each speaker has is not published; they are drawn log-normally, here 20 to 1,200 with a
    median of 145. Lengths are 4 s and an exponential, 7.8 s on average.

    Args:
        root: the folder that the paths are relative to.
        share: of the speakers, each with as many utterances.
    """
    random = np.random.default_rng(0)
    speakers = round(share * SPEAKERS)
    weights = np.exp(random.normal(0, 0.7, SPEAKERS)).clip(0.14, 8)
    counts = np.maximum(2, np.rint(weights * UTTERANCES / weights.sum())).astype(np.int64)
    counts[np.argmax(counts)] += UTTERANCES - counts.sum()
    counts = counts[:speakers]
    names = np.sort(random.choice(np.arange(12, 9273), SPEAKERS, replace=False))[:speakers]
    letters = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8)
    keys, videos, of_speaker = [], [], []
    for name, count in zip(names.tolist(), counts.tolist(), strict=True):
        folders = min(count, 1 + round(count / _IN_A_VIDEO))
        video = np.sort(random.integers(folders, size=count))
        ids = [letters[row].tobytes().decode() for row in random.integers(64, size=(folders, 11))]
        within = np.arange(count) - np.searchsorted(video, video) + 1
        videos += [ids[v] for v in video.tolist()]
        keys += [
            f"id{name:05d}/{ids[v]}/{w:05d}" for v, w in zip(video.tolist(), within.tolist(), strict=True)
        ]
        of_speaker.append(f"voxceleb2-id{name:05d}")
    total = len(keys)
    seconds = np.minimum(_SHORTEST + random.exponential(_MEAN - _SHORTEST, total), _LONGEST)
    speaker = np.repeat(np.arange(speakers), counts)
    empty = pa.array([""]).take(pa.array(np.zeros(total, np.int64)))
    columns = {
        "utterance": [f"{key}.wav" for key in keys],
        "speaker": pa.array(of_speaker).take(pa.array(speaker)),
        "session": videos,
        "language": empty,
        "gender": pa.array(["m", "f"]).take(
            pa.array((random.random(speakers) < 0.39).astype(np.int64)[speaker])
        ),
        "channel": empty,
        "path": [f"dev/aac/{key}.m4a" for key in keys],
        "start": np.zeros(total),
        "seconds": np.rint(seconds * 16_000) / 16_000,
    }
    return Manifest(pa.table(columns, schema=SCHEMA), root)
