"""A recording opened for reading, whatever reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voxangle.audio.resampling import Waveform

__all__ = ["AudioInfo", "Source"]


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header of a recording says.

    Attributes:
        seconds: duration.
        sample_rate: in Hz, of the file.
        channels: how many.
        format: container and coding, such as ``WAV PCM_16``.
    """

    seconds: float
    sample_rate: int
    channels: int
    format: str


@dataclass(frozen=True, slots=True)
class Source:
    """An open recording.

    Attributes:
        info: its header.
        read: (first, count) -> samples from ``first`` at the file's rate, mixed down to mono; ``count`` of
            them (None: all to the end), or fewer where the file ends.
    """

    info: AudioInfo
    read: Callable[[int, int | None], Waveform]
