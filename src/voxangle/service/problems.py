"""Problem answers after RFC 9457: a stable code for programs, a sentence and the cure for people.

A code never changes its meaning. Nothing of a request stands in a problem: neither a name nor what a file was called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import Field

from voxangle.config import Config

__all__ = ["CODES", "MEDIA_TYPE", "Kind", "Problem", "ProblemError"]

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        status: of HTTP.
        title: the same for each of its kind.
    """

    status: int
    title: str


CODES = {
    # Who asks.
    "no-key": Kind(401, "An API key is needed"),
    "unknown-key": Kind(401, "The API key is not valid"),
    "out-of-scope": Kind(403, "The API key may not do this"),
    "foreign-origin": Kind(403, "The request comes from a page of another site"),
    "too-many-requests": Kind(429, "Too many requests"),
    # What is asked.
    "no-such-route": Kind(404, "There is no such route"),
    "wrong-method": Kind(405, "The route does not know this method"),
    "bad-request": Kind(400, "The request cannot be read"),
    "bad-parameter": Kind(422, "A parameter is not what it must be"),
    "unsupported-media-type": Kind(415, "The body is of a type that is not read"),
    "missing-recording": Kind(422, "A recording is missing or empty"),
    "too-many-recordings": Kind(422, "There are too many recordings"),
    "too-large": Kind(413, "The body is too large"),
    "too-slow": Kind(408, "The body took too long to arrive"),
    # What is heard.
    "not-audio": Kind(422, "The recording cannot be decoded"),
    "too-long": Kind(422, "The recording is too long"),
    "too-short": Kind(422, "There is too little speech"),
    "silent": Kind(422, "The recording is silent"),
    "no-speech": Kind(422, "There is no speech in the recording"),
    "two-voices": Kind(422, "There is more than one voice in the recording"),
    "enrolment-refused": Kind(422, "The recordings make no voiceprint to rely on"),
    "not-finite": Kind(422, "The recording has no usable embedding"),
    # Whom it is about.
    "no-such-voiceprint": Kind(404, "There is no such voiceprint"),
    "name-taken": Kind(409, "The name is enrolled already"),
    "other-model": Kind(409, "The voiceprint was made with another model"),
    # The service itself.
    "busy": Kind(503, "The service is busy"),
    "not-ready": Kind(503, "The service is not ready"),
    "timed-out": Kind(503, "The request took too long"),
    "storage": Kind(503, "The store cannot be written or read"),
    "internal": Kind(500, "The service made a mistake"),
}
"""Every kind, by its code."""


class Problem(Config):
    """The body of every answer that is not a success (RFC 9457).

    Attributes:
        type: a URI of the kind (a URN: there is nothing to fetch).
        title: of the kind.
        status: of HTTP.
        code: of the kind, for programs.
        detail: what was wrong with this request, for a person to read.
        cure: what to do about it, for a person to read.
        request: id of the request, as in the log.
        recording: which recording of the request it is about, from 1; null where it is about none.
    """

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    code: str
    detail: str
    cure: str
    request: str
    recording: int | None = None


@dataclass
class ProblemError(Exception):
    """A request that ends with a problem.

    Attributes:
        code: one of ``CODES``.
        detail: what was wrong, a sentence.
        cure: what to do, a sentence.
        retry_after: seconds, where it is worth to come again.
        recording: which recording of the request it is about, from 1.
        allow: methods that the route knows, where another was used.
    """

    code: str
    detail: str
    cure: str
    retry_after: int | None = None
    recording: int | None = None
    allow: str | None = None

    @property
    def status(self) -> int:
        """Of HTTP."""
        return CODES[self.code].status

    def body(self, request: str) -> dict[str, Any]:
        """The answer's JSON, for the request of this id."""
        kind = CODES[self.code]
        return Problem(
            type=f"urn:voxangle:problem:{self.code}",
            title=kind.title,
            status=kind.status,
            code=self.code,
            detail=self.detail,
            cure=self.cure,
            request=request,
            recording=self.recording,
        ).model_dump(mode="json")

    def headers(self) -> dict[str, str]:
        """Those that go with it."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.allow is not None:
            found["Allow"] = self.allow
        if self.status == 401:
            found["WWW-Authenticate"] = "Bearer"
        return found
