"""Recordings written on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxangle.audio import Waveform

Write = Callable[..., Path]


@pytest.fixture
def voice() -> Callable[[float, int], Waveform]:
    """A sweep of harmonics below 3 kHz with a little noise: (seconds, rate) -> float32 within +-0.5."""

    def synthesise(seconds: float, rate: int) -> Waveform:
        time = np.arange(round(seconds * rate)) / rate
        pitch = 2 * np.pi * (120 * time + 8 * np.sin(2 * time))
        waveform = sum(np.sin(k * pitch) / k for k in range(1, 15)) * (0.6 + 0.4 * np.sin(5 * time))
        return (0.2 * waveform + 1e-3 * np.random.default_rng(1).standard_normal(len(time))).astype(
            np.float32
        )

    return synthesise


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write samples: (name, samples, rate, subtype=None, format=None) -> path."""

    def write_samples(name: str, samples: Waveform, rate: int = 16_000, **kind: str) -> Path:
        path = tmp_path / name
        if path.suffix == ".opus":
            kind = {"format": "OGG", "subtype": "OPUS"}
        soundfile.write(path, samples, rate, **kind)
        return path

    return write_samples
