"""m4a, webm and raw G.722, which libsndfile cannot read, through PyAV (FFmpeg)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from voxangle.audio.resampling import Waveform
from voxangle.audio.sndfile import mono
from voxangle.audio.source import AudioInfo, Source
from voxangle.errors import AudioError, MissingExtraError

__all__ = ["is_media", "open_media"]

_SUFFIXES = {".m4a", ".mp4", ".aac", ".webm", ".mkv", ".g722", ".gsm"}
# A container's duration may count what the encoder added at both ends.
_PADDING_SECONDS = 0.2


def is_media(path: Path, head: bytes) -> bool:
    """Whether PyAV is to read the file: an MP4 or Matroska beginning, or a suffix of theirs."""
    return head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3" or path.suffix.lower() in _SUFFIXES


@contextmanager
def open_media(path: Path) -> Iterator[Source]:
    """Open what PyAV reads.

    Segments are exact because decoding begins at the file's beginning: containers with millisecond
    time stamps cannot be entered at a sample.

    Raises:
        MissingExtraError: PyAV is not installed.
        AudioError: not audio, or truncated.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(f"reading {path.suffix} files ({path})", "media") from error
    # G.722 has no header that FFmpeg could know it by.
    container_format = "g722" if path.suffix.lower() == ".g722" else None
    try:
        with av.open(str(path), format=container_format) as container:
            if not container.streams.audio:
                raise AudioError(path, "has no audio stream")
            stream = container.streams.audio[0]
            promised = _seconds(container, stream)
            form = f"{container.format.name.split(',')[0].upper()} {stream.codec_context.name.upper()}"

            def read(first: int, count: int | None) -> Waveform:
                last = None if count is None else first + count
                blocks, decoded = [], 0
                for block in _blocks(av, container, stream):
                    blocks.append(block)
                    decoded += len(block)
                    if last is not None and decoded >= last:
                        break
                else:
                    if promised is not None and decoded / stream.rate < promised - _PADDING_SECONDS:
                        raise AudioError(
                            path,
                            f"truncated: its header promises {promised:.2f} s, decoding ends after "
                            f"{decoded / stream.rate:.2f} s",
                        )
                return np.concatenate([*blocks, np.empty(0, np.float32)])[first:last]

            seconds = _measured(av, path, container_format) if promised is None else promised
            yield Source(AudioInfo(seconds, stream.rate, stream.channels, form), read)
    except av.FFmpegError as error:
        raise AudioError(path, f"not audio, truncated or corrupt ({error.strerror})") from error


def _seconds(container: Any, stream: Any) -> float | None:
    """The duration that the header states, None where it states none (a recording by a browser)."""
    if container.format.name in {"aac", "mp3"}:  # guessed from the bit rate
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / 1e6


def _measured(av: Any, path: Path, container_format: str | None) -> float:
    """The duration by decoding, in a container of its own: after a seek FFmpeg no longer skips the padding."""
    with av.open(str(path), format=container_format) as container:
        stream = container.streams.audio[0]
        return sum(len(block) for block in _blocks(av, container, stream)) / int(stream.rate)


def _blocks(av: Any, container: Any, stream: Any) -> Iterator[Waveform]:
    """The stream from where the container stands, decoded block by block to mono at its own rate."""
    # Converts the sample format only: the rate and the channels stay.
    convert = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
    for frame in container.decode(stream):
        frame.pts = None
        for converted in convert.resample(frame):
            yield mono(converted.to_ndarray())
    for converted in convert.resample(None):
        yield mono(converted.to_ndarray())
