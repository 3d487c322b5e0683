"""wav, flac, ogg, opus, mp3 and the like, through libsndfile."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from voxangle.audio.containers import check_ogg, check_wav, data_chunk
from voxangle.audio.resampling import Waveform
from voxangle.audio.source import AudioInfo, Source
from voxangle.errors import AudioError

__all__ = ["mono", "open_sndfile"]

# The length in an MP3's tag may leave out what the encoder added at both ends.
_MP3_PADDING = 2 * 1152
# An Opus decoder entered in the middle differs (by up to 5e-3) until its predictors have met what they met
# on the way: after 5 s at 24 kbit/s, after 10 s at 12 kbit/s.
_OPUS_RUN_IN_SECONDS = 20


@contextmanager
def open_sndfile(path: Path, file: BinaryIO, head: bytes) -> Iterator[Source]:
    """Open what libsndfile reads; ``file`` is the same file in binary, ``head`` its beginning.

    Raises:
        AudioError: not audio, or truncated.
    """
    if head.startswith(b"OggS"):
        check_ogg(path, file)
    check_wav(path, file)
    try:
        sound = soundfile.SoundFile(_complete(file) or path)
    except UnicodeEncodeError as error:
        raise AudioError(path, "has a name that is not in UTF-8; rename it") from error
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a .raw file, which has no header
        raise AudioError(
            path, "not audio, of a format that cannot be read, or with a broken header"
        ) from error
    with sound:
        info = AudioInfo(
            sound.frames / sound.samplerate,
            sound.samplerate,
            sound.channels,
            f"{sound.format} {sound.subtype}",
        )

        run_in = _OPUS_RUN_IN_SECONDS * sound.samplerate if sound.subtype == "OPUS" else 0

        def read(first: int, count: int | None) -> Waveform:
            entry = max(0, first - run_in)
            last = sound.frames if count is None else min(first + count, sound.frames)
            try:
                sound.seek(entry)
                samples = sound.read(last - entry, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise AudioError(path, f"truncated or corrupt: {error.error_string}") from error
            if entry + len(samples) < last - (_MP3_PADDING if sound.format == "MP3" else 0):
                raise AudioError(
                    path,
                    f"truncated: its header promises {sound.frames} samples, decoding ends after "
                    f"{entry + len(samples)}",
                )
            return mono(samples[first - entry :].T)

        yield Source(info, read)


def mono(channels: Waveform) -> Waveform:
    """The mean over channels: shape (channels, samples) -> (samples,)."""
    if len(channels) == 1:
        return np.ascontiguousarray(channels[0])
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is reported by the level checks
        mean: Waveform = channels.mean(axis=0, dtype=np.float32)
    return mean


def _complete(file: BinaryIO) -> BinaryIO | None:
    """A WAV stream whose size was left at 0, with the size that libsndfile takes for "to the end"."""
    chunk = data_chunk(file)
    if chunk is None or not chunk.streamed or chunk.promised:
        return None
    file.seek(0)
    content = bytearray(file.read())
    content[chunk.offset - 4 : chunk.offset] = b"\xff\xff\xff\xff"
    return io.BytesIO(content)
