"""Decoders at work: a few processes that take one recording at a time and are replaced when they fail."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, Waveform
from voxangle.runtime.measures import RecordingMeasures
from voxangle.runtime.speech import FRAME, Hearing
from voxangle.service.ears import pack, unpack
from voxangle.service.problems import ProblemError

__all__ = ["Audio", "Decoders"]

_MEMORY = 768 * 2**20  # for one recording: eight channels of ten minutes at 48 kHz would need it all
_START_SECONDS = 60.0
_ENDED = "the decoder broke down on it"

_CURES = {
    "too-long": "Send a shorter recording; a few seconds of speech are enough.",
    "silent": "Check that the microphone is on and not muted, and record again.",
    "not-audio": "Send wav, flac, ogg, opus, mp3, webm or m4a, whole as it was recorded.",
}
_CURES_OF_CAUSES = {
    "truncated": "Send all of the file, once the recording has ended and the file is closed; if it was copied or "
    "downloaded, do that again. What was cut off for good has to be recorded anew.",
    "has samples that are not finite": "What wrote the file made a mistake: mend the program, or export the recording "
    "from it as 16-bit wav or flac, which cannot hold such samples.",
}
"""By the beginning of a cause, where what helps is not another format."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A decoded recording.

    Attributes:
        waveform: (samples,) float32 at 16 kHz.
        speech: (frames,) which frames of 512 samples are speech.
        sample_rate: of the upload, in Hz.
        format: of the upload.
        note: what must be said of its format; empty of most.
        measures: of the waveform; the magnitude is 0 until there is an embedding.
    """

    waveform: Waveform
    speech: NDArray[np.bool_]
    sample_rate: int
    format: str
    note: str
    measures: RecordingMeasures

    @property
    def seconds(self) -> float:
        """Its duration."""
        return len(self.waveform) / SAMPLE_RATE

    @property
    def speech_seconds(self) -> float:
        """Of speech."""
        return min(float(self.speech.sum()) * FRAME / SAMPLE_RATE, self.seconds)


class Decoders:
    """Processes that decode.

    Args:
        count: of processes.
        seconds: the longest recording that is decoded.
        timeout: seconds after which a process is taken for stuck.
        hears: what tells speech.
        on_restart: called when a process had to be replaced.
    """

    def __init__(
        self,
        count: int,
        seconds: float,
        timeout: float,
        hears: Hearing,
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        self._asked = json.dumps({"seconds": seconds, "hears": hears, "memory": _MEMORY})
        self._count = count
        self._timeout = timeout
        self._on_restart = on_restart
        self._idle: asyncio.Queue[asyncio.subprocess.Process | None] = asyncio.Queue()
        self._all: set[asyncio.subprocess.Process] = set()

    async def start(self) -> None:
        """Start the processes, and wait until they can work."""
        for process in await asyncio.gather(*(self._begin() for _ in range(self._count))):
            self._idle.put_nowait(process)

    async def stop(self) -> None:
        """End the processes; whoever waits for one has to be done."""
        for process in tuple(self._all):
            self._kill(process)
            await process.wait()

    async def decode(self, content: bytes) -> Audio:
        """Decode a file's bytes.

        Raises:
            ProblemError: it is not audio, silent, too long, or breaks its decoder.
        """
        return await self._ask(pack({}, content))

    async def take(self, samples: bytes, rate: int) -> Audio:
        """Take samples (signed 16 bit, little endian, one channel) at a rate in Hz.

        Raises:
            ProblemError: they are silent.
        """
        return await self._ask(pack({"rate": rate}, samples))

    async def _ask(self, message: bytes) -> Audio:
        process = await self._idle.get()
        usable = False
        try:
            if process is None or process.returncode is not None:
                process = await self._begin()
            header, payload = await asyncio.wait_for(_exchange(process, message), self._timeout)
            usable = True
        except (OSError, asyncio.IncompleteReadError) as error:
            raise _problem("not-audio", _ENDED) from error
        except TimeoutError as error:
            raise _problem("not-audio", f"decoding it takes longer than {self._timeout:g} s") from error
        finally:
            if (
                not usable and process is not None
            ):  # also where the caller is gone: its answer would be the next one's
                self._kill(process)
                self._on_restart()
            self._idle.put_nowait(process if usable else None)
        if "code" in header:
            raise _problem(header["code"], header["cause"])
        waveform, speech = unpack(header["samples"], payload)
        return Audio(
            waveform,
            speech,
            header["sample_rate"],
            header["format"],
            header["note"],
            RecordingMeasures(**header["measures"]),
        )

    async def _begin(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "voxangle.service.ears",
            self._asked,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_bare_environment(),
            limit=2**20,
            start_new_session=True,  # Ctrl-C in a terminal is for the service, which finishes first
        )
        self._all.add(process)
        begun = False
        try:
            await asyncio.wait_for(_answer(process), _START_SECONDS)
            begun = True
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            raise ProblemError(
                "not-ready", "No decoder can be started.", "Come again in a moment.", retry_after=2
            ) from error
        finally:
            if not begun:
                self._kill(process)
        return process

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.kill()
        self._all.discard(process)


def _bare_environment() -> dict[str, str]:
    """No secret of the service's goes where strangers' files are opened; one thread, for memory is counted."""
    kept = {
        name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH", "LANG", "HOME"}
    }
    return kept | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


async def _exchange(process: asyncio.subprocess.Process, message: bytes) -> tuple[dict[str, Any], bytes]:
    assert process.stdin is not None  # noqa: S101 - for the type checker
    process.stdin.write(message)
    await process.stdin.drain()
    return await _answer(process)


async def _answer(process: asyncio.subprocess.Process) -> tuple[dict[str, Any], bytes]:
    assert process.stdout is not None  # noqa: S101 - for the type checker
    (length,) = struct.unpack("<I", await process.stdout.readexactly(4))
    header: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
    return header, await process.stdout.readexactly(header["bytes"])


def _problem(code: str, cause: str) -> ProblemError:
    told = (cure for beginning, cure in _CURES_OF_CAUSES.items() if cause.startswith(beginning))
    return ProblemError(code, f"The recording cannot be used: {cause.rstrip('.')}.", next(told, _CURES[code]))
