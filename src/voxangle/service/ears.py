"""The process that decodes: what strangers send is opened here, apart from keys, voiceprints and other requests.

Decoders are large programs in C that read hostile input. In a process of its own a crash is the end of one recording,
memory has a limit, and a file is never written: the upload lies in anonymous memory (``memfd_create``), which decoders
open by its name below ``/proc``.

Spoken on standard input and output: a length (4 bytes, little endian), that much JSON, and as many bytes behind it as
the JSON says under ``bytes``.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, Waveform, load, probe, resample
from voxangle.audio.levels import check_finite, check_sounding
from voxangle.errors import AudioError, MissingExtraError, SilenceError
from voxangle.runtime.measures import measure_waveform
from voxangle.runtime.outside import outside
from voxangle.runtime.speech import Detector, LevelDetector, SileroDetector, speech_frames

__all__ = ["main", "pack", "read_message", "unpack"]

_CHANNELS = 8
_SLACK = 0.25  # seconds by which a recording may exceed the limit: containers count their padding
_NO_EMBEDDING = np.zeros(1, np.float32)  # the service measures that one itself


class _Decoded(NamedTuple):
    waveform: Waveform
    sample_rate: int
    format: str
    note: str


class _Refused(Exception):  # noqa: N818 - an answer, not a mistake
    def __init__(self, code: str, cause: str) -> None:
        self.code, self.cause = code, cause


def pack(header: dict[str, Any], payload: bytes | memoryview = b"") -> bytes:
    """A message."""
    text = json.dumps(header | {"bytes": len(payload)}).encode()
    return struct.pack("<I", len(text)) + text + payload


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next message; None at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    header: dict[str, Any] = json.loads(stream.read(struct.unpack("<I", head)[0]))
    payload = stream.read(header["bytes"])
    return None if len(payload) < header["bytes"] else (header, payload)


def main() -> None:
    """Answer until the service that started this process is gone."""
    asked = json.loads(sys.argv[1])
    detector: Detector = SileroDetector() if asked["hears"] == "silero-vad" else LevelDetector()
    detector.probabilities(np.zeros(SAMPLE_RATE, dtype=np.float32))
    _restrict(asked["memory"])
    # What a library prints must not come between the messages.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    output.write(pack({"ready": True}))
    output.flush()
    while (message := read_message(sys.stdin.buffer)) is not None:
        header, payload = message
        output.write(_answer(header, payload, detector, asked["seconds"]))
        output.flush()


def _restrict(memory: int) -> None:
    """Take away what a decoder has no use for."""
    import av  # noqa: F401 - loaded before memory is counted

    pages = int(open("/proc/self/statm").read().split()[0])  # noqa: SIM115, PTH123
    for what, limit in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + memory),
        (resource.RLIMIT_CORE, 0),  # a core would hold voices
        (resource.RLIMIT_NOFILE, 64),
    ):
        _, most = resource.getrlimit(what)
        resource.setrlimit(what, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def _answer(header: dict[str, Any], payload: bytes, detector: Detector, longest: float) -> bytes:
    try:
        if "rate" in header:
            decoded = _of_samples(payload, header["rate"])
        else:
            with _in_memory(payload) as path:
                decoded = _decoded(path, longest)
        heard = speech_frames(detector.probabilities(decoded.waveform))
        measures = measure_waveform(decoded.waveform, _NO_EMBEDDING)
    except SilenceError:
        return pack({"code": "silent", "cause": "nothing in it is louder than -80 dBFS"})
    except AudioError as error:
        return pack({"code": "not-audio", "cause": error.cause})
    except _Refused as refused:
        return pack({"code": refused.code, "cause": refused.cause})
    except MissingExtraError as error:
        return pack({"code": "not-audio", "cause": f"this service cannot read its format: {error}"})
    except MemoryError:
        return pack(
            {"code": "not-audio", "cause": "decoding it takes more memory than any recording of speech"}
        )
    except Exception as error:
        # A decoder's own surprise at a broken file; no text of it, which might quote the file.
        return pack({"code": "not-audio", "cause": f"the decoder failed ({type(error).__name__})"})
    return pack(
        {
            "samples": len(decoded.waveform),
            "sample_rate": decoded.sample_rate,
            "format": decoded.format,
            "note": decoded.note,
            "measures": asdict(measures),
        },
        decoded.waveform.tobytes() + heard.tobytes(),
    )


def _decoded(path: str, longest: float) -> _Decoded:
    info = probe(path)
    if info.seconds > longest + _SLACK:
        raise _Refused("too-long", f"it is {info.seconds:.1f} s long, and {longest:g} s is the most")
    if info.channels > _CHANNELS:
        raise _Refused("not-audio", f"it has {info.channels} channels, and {_CHANNELS} is the most")
    # Not beyond what the header promised, however much there is.
    waveform = load(path, seconds=max(info.seconds, 1 / SAMPLE_RATE))
    note = "".join(outside(path, None, None)).removeprefix(f"{path} ")
    return _Decoded(waveform, info.sample_rate, info.format, note)


def _of_samples(payload: bytes, rate: int) -> _Decoded:
    """Raw samples, signed 16 bit, little endian, one channel."""
    samples = np.frombuffer(payload, dtype="<i2").astype(np.float32) / np.float32(32768)
    check_finite("the stream", samples)
    check_sounding("the stream", samples)
    return _Decoded(resample(samples, rate), rate, "PCM_16", "")


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path to content that is on no disk."""
    handle = os.memfd_create("upload")
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def unpack(samples: int, payload: bytes) -> tuple[Waveform, NDArray[np.bool_]]:
    """Waveform, (samples,), and which of its frames are speech, from an answer's bytes."""
    end = 4 * samples
    return np.frombuffer(payload[:end], np.float32), np.frombuffer(payload[end:], np.bool_)


if __name__ == "__main__":
    main()
