"""From any recording to 16 kHz mono float32."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxangle.audio.levels import check_finite, check_sounding
from voxangle.audio.media import is_media, open_media
from voxangle.audio.mpeg import is_untagged_vbr
from voxangle.audio.resampling import SAMPLE_RATE, Waveform, resample, window
from voxangle.audio.sndfile import open_sndfile
from voxangle.audio.source import AudioInfo, Source
from voxangle.errors import AudioError

__all__ = ["AUDIO_SUFFIXES", "load", "probe"]

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".sph", ".w64"}
    | {".m4a", ".mp4", ".aac", ".webm", ".mkv", ".g722"}
)
"""Suffixes by which a folder's recordings are told from its other files; ``load`` itself goes by content."""

# Durations in tables are rounded, often to a tenth of a second.
_OVERSHOOT = 0.1
# A header that lies about its rate would make hours, and gigabytes, out of a small file.
_RATES = (4_000, 768_000)


def load(path: str | Path, *, start: float = 0.0, seconds: float | None = None) -> Waveform:
    """Decode a recording, or a segment of it by seek, to 16 kHz mono float32.

    Channels are mixed down to their mean, every rate is resampled (soxr HQ), and integer samples are scaled
    to [-1, 1); float samples beyond +-1 stay as they are. A segment equals the slice
    ``[round(start * 16000) :][: round(seconds * 16000)]`` of the whole: exactly where the file is at
    16 kHz (MP3: to 1e-7), to 1e-5 where it is resampled. Opus is decoded from 20 s before the segment, and
    what PyAV reads from the file's beginning: only so is it the same.

    Args:
        path: wav, flac, ogg, opus, mp3 or what else libsndfile reads; m4a, webm and raw G.722 with the
            ``media`` extra.
        start: of the segment, in seconds, >= 0.
        seconds: length of the segment, > 0; None for all to the end. An end up to 0.1 s beyond the
            recording's (durations in tables are rounded) is cut to it.

    Returns:
        Shape (samples,), float32, finite and not silent.

    Raises:
        AudioError: the file is missing, empty, not audio or truncated; the segment lies outside of it; or
            its samples are not finite.
        SilenceError: they stay below ``SILENCE_FLOOR``.
        MissingExtraError: the ``media`` extra is needed.
    """
    path = Path(path)
    first = round(start * SAMPLE_RATE)
    count = None if seconds is None else round(seconds * SAMPLE_RATE)
    with _opened(path) as source:
        rate, total = source.info.sample_rate, source.info.seconds
        if not total:
            raise AudioError(path, "holds no samples (zero length)")
        if not _RATES[0] <= rate <= _RATES[1]:
            raise AudioError(path, f"its header says {rate} Hz, which no recording of speech has")
        end = start if seconds is None else start + seconds
        if first < 0 or (count is not None and count < 1) or start >= total or end > total + _OVERSHOOT:
            length = "to the end" if seconds is None else f"of {seconds:.2f} s"
            raise AudioError(path, f"the segment {length} from {start:.2f} s is not within its {total:.2f} s")
        source_first, source_count, lead = window(first, count, rate)
        samples = source.read(source_first, source_count)
    check_finite(path, samples)
    waveform = resample(samples, rate)[lead:]
    waveform = waveform if count is None else waveform[:count]
    check_finite(path, waveform)
    # Judged before resampling, which rings where a constant begins and ends.
    inner = samples[lead * rate // SAMPLE_RATE :]
    check_sounding(path, inner if count is None else inner[: count * rate // SAMPLE_RATE])
    return waveform


def probe(path: str | Path) -> AudioInfo:
    """Read the header of a recording; only one without a duration (a browser's webm) is decoded for it.

    Raises:
        AudioError: the file is missing, empty, not audio, or seen to be truncated without decoding it.
        MissingExtraError: the ``media`` extra is needed.
    """
    with _opened(Path(path)) as source:
        return source.info


@contextmanager
def _opened(path: Path) -> Iterator[Source]:
    try:
        kind = path.stat()
        if stat.S_ISDIR(kind.st_mode):
            raise AudioError(path, "is a folder, not a recording")
        if not stat.S_ISREG(kind.st_mode):
            raise AudioError(path, "is not a regular file")
        if not kind.st_size:
            raise AudioError(path, "the file is empty (0 bytes)")
        with path.open("rb") as file:
            head = file.read(12)
            media = is_media(path, head) or is_untagged_vbr(file, head)
            with open_media(path) if media else open_sndfile(path, file, head) as source:
                yield source
    except FileNotFoundError as error:
        raise AudioError(path, "no such file") from error
    except OSError as error:
        raise AudioError(path, f"cannot be read ({error.strerror or error})") from error
