"""From an upload to what can be compared: decoded, found to be the speech of one voice, embedded, measured."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from voxangle.errors import AudioError
from voxangle.runtime.one_voice import Fault, fault_of_speech, fault_of_voices
from voxangle.runtime.outside import outside
from voxangle.runtime.voices import voice_windows
from voxangle.service.answers import Heard
from voxangle.service.decoding import Audio, Decoders
from voxangle.service.engine import Engine
from voxangle.service.meters import Meters
from voxangle.service.problems import ProblemError
from voxangle.service.settings import Settings
from voxangle.voiceprints.store import Recording, Reference

__all__ = ["Ear", "HeardRecording"]


@dataclass(frozen=True, slots=True, eq=False)
class HeardRecording:
    """A recording that can be compared.

    Attributes:
        recording: with its embedding and measures.
        heard: what is told to the caller.
        notes: where it is unlike those that the model was calibrated on.
    """

    recording: Recording
    heard: Heard
    notes: tuple[str, ...]


class Ear:
    """Hears recordings.

    Args:
        settings: the limits.
        decoders: that decode.
        engine: that embeds.
        meters: that count.
    """

    def __init__(self, settings: Settings, decoders: Decoders, engine: Engine, meters: Meters) -> None:
        self._settings = settings
        self._decoders = decoders
        self._engine = engine
        self._meters = meters

    async def hear(self, contents: Sequence[bytes]) -> list[HeardRecording]:
        """Hear recordings of one request, all at the same time.

        Args:
            contents: the files' bytes.

        Raises:
            ProblemError: one cannot be used; it says which.
        """
        several = len(contents) > 1
        jobs = (self._hear_file(content, place, several) for place, content in enumerate(contents, start=1))
        return await _all(jobs)

    async def listen(self, samples: bytes, rate: int) -> Audio:
        """Find the speech in raw samples: signed 16 bit, little endian, one channel, at a rate in Hz.

        Raises:
            ProblemError: they are silent.
        """
        return await self._decoders.take(samples, rate)

    async def _hear_file(self, content: bytes, place: int, several: bool) -> HeardRecording:
        began = time.perf_counter()
        try:
            audio = await self._decoders.decode(content)
            self._meters.audio.inc(audio.seconds)
            self._meters.decoding.observe(time.perf_counter() - began)
            checksum = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
            name = f"recording {place}" if several else "the recording"
            return await self.take(audio, name, Reference(None, checksum))
        except ProblemError as problem:
            if several:
                raise dataclasses.replace(problem, recording=place) from problem
            raise

    async def take(
        self,
        audio: Audio,
        name: str = "the recording",
        reference: Reference = Reference(),  # noqa: B008 - frozen
    ) -> HeardRecording:
        """Check that decoded audio is the speech of one voice, and embed it.

        Raises:
            ProblemError: it is not.
        """
        _refuse(fault_of_speech(audio.speech_seconds, self._settings.speech_seconds))
        fit = self._engine.embedder.card.calibration
        checked = self._settings.check_voices and fit is not None
        windows = voice_windows(audio.waveform, audio.speech) if checked else []
        vector, *parts = await self._engine.embed([audio.waveform, *windows])
        if isinstance(vector, AudioError):
            raise ProblemError(
                "not-finite",
                f"There is no embedding of the recording: {vector.cause}.",
                "Record it again, closer to the microphone.",
            )
        measures = dataclasses.replace(
            audio.measures, magnitude=float(np.linalg.norm(vector.astype(np.float64)))
        )
        vectors = [one for one in parts if not isinstance(one, AudioError)]
        _refuse(fault_of_voices(vectors, measures, fit))
        if fit is not None and fit.ranges is not None:
            notes = tuple(outside(name, measures, fit.ranges))
        else:
            notes = (f"{name} {audio.note}",) if audio.note else ()
        heard = Heard(
            seconds=audio.seconds,
            speech=audio.speech_seconds,
            clipping=measures.clipping,
            above_4khz=measures.above_4khz,
            magnitude=measures.magnitude,
            sample_rate=audio.sample_rate,
            format=audio.format,
        )
        return HeardRecording(Recording(vector, measures, reference), heard, notes)


def _refuse(fault: Fault | None) -> None:
    if fault is not None:
        cure = f"{fault.cure[0].upper()}{fault.cure[1:]}."
        raise ProblemError(fault.code, f"The recording {fault.finding}.", cure)


async def _all(jobs: Iterable[Awaitable[HeardRecording]]) -> list[HeardRecording]:
    """All of them, or the first problem after all have ended: no work goes on for a request that is answered."""
    found = await asyncio.gather(*jobs, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if isinstance(one, HeardRecording)]
