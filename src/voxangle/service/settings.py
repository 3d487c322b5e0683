"""What a service allows and how it shares its machine."""

from __future__ import annotations

from pydantic import Field

from voxangle.config import Config
from voxangle.runtime.one_voice import SHORTEST

__all__ = ["Settings"]


class Settings(Config):
    """Limits and sizes of a service.

    Attributes:
        body_bytes: the most that a request may bring.
        seconds: the longest recording, decoded.
        speech_seconds: the least speech that a recording must have.
        recordings: the most in one enrolment.
        requests_per_minute: of one key, in the long run.
        burst: of one key, at once.
        timeout: seconds after which a request is given up.
        waiting: requests that may be under way at once; more are told to come again.
        streams: WebSockets that may be open at once.
        decoders: processes that decode and look for speech.
        batch_seconds: of audio, padding counted, that the model computes at once; 0 for one recording at a time. On a
            CPU more does not make it faster, and everybody waits for the whole batch; on a GPU more may.
        check_voices: whether a recording with two voices is refused.
    """

    body_bytes: int = Field(default=16 * 2**20, ge=1024)
    seconds: float = Field(default=60.0, ge=1.0, le=600.0)
    speech_seconds: float = Field(default=SHORTEST, ge=0.25)
    recordings: int = Field(default=10, ge=1, le=100)
    requests_per_minute: float = Field(default=120.0, gt=0.0)
    burst: int = Field(default=30, ge=1)
    timeout: float = Field(default=30.0, gt=0.0)
    waiting: int = Field(default=64, ge=1)
    streams: int = Field(default=16, ge=1)
    decoders: int = Field(default=2, ge=1)
    batch_seconds: float = Field(default=8.0, ge=0.0)
    check_voices: bool = True
