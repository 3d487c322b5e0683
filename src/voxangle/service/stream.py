"""Verification while somebody speaks: samples in, a growing log-likelihood ratio out, over a WebSocket.

The first message is JSON (``Opening``); then binary messages bring samples, signed 16 bit, little endian, one channel.
``{"end": true}`` asks for the last answer. All that was received is embedded again whenever it has grown by a second
and by a fifth, so that a stream costs no more than about six times what its whole recording does. A place is lent: it
goes back when no samples come, when the time for the longest recording is over, and when the key is revoked.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, WebSocket
from pydantic import Field, ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from voxangle.config import Config
from voxangle.runtime.card import choose_threshold
from voxangle.service.answers import Streamed
from voxangle.service.asked import Name, Rule
from voxangle.service.gate import as_problem, log_failure
from voxangle.service.keys import Scope
from voxangle.service.logs import event
from voxangle.service.misfits import misfit_of
from voxangle.service.problems import ProblemError
from voxangle.service.service import Service
from voxangle.service.stated import verified
from voxangle.voiceprints.verification import verify

__all__ = ["Opening", "router"]

_STEP_SECONDS, _STEP_SHARE = 1.0, 0.2
_IDLE_SECONDS = 10.0
_SAMPLE_BYTES = 2
_CLOSED = (
    4000  # and the problem's status: codes from 4000 on are an application's own (RFC 6455, section 7.4.2)
)
_DONE = 1000

router = APIRouter(prefix="/v1")


class Opening(Rule):
    """The first message of a stream.

    Attributes:
        key: the API key, for browsers, which can send no header with a WebSocket; else ``Authorization`` does.
        name: of whom the voice claims to be.
        sample_rate: of the samples, in Hz.
    """

    key: Annotated[str | None, Field(max_length=200)] = None
    name: Name
    sample_rate: Annotated[int, Field(ge=8_000, le=48_000)] = 16_000


class _End(Config):
    end: Literal[True]


@router.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Verify a voice while it speaks."""
    service: Service = socket.app.state.service
    state = socket.scope["state"]
    began = time.perf_counter()
    await socket.accept(headers=[(b"x-request-id", state["request"].encode())])
    entries: dict[str, Any] = {}
    try:
        await _Conversation(socket, service, entries).run()
        await socket.close(_DONE)
    except WebSocketDisconnect:
        entries["code"] = "gone"
    except Exception as error:
        problem = as_problem(error, service.settings.timeout)
        entries["code"] = problem.code
        service.meters.problems.labels(problem.code).inc()
        log_failure(error, problem.code, state["request"])
        await _tell(socket, problem, state["request"])
    event(
        "stream",
        request=state["request"],
        route="/v1/stream",
        seconds=round(time.perf_counter() - began, 3),
        **entries,
    )


class _Conversation:
    """A stream from its first message to its last."""

    def __init__(self, socket: WebSocket, service: Service, entries: dict[str, Any]) -> None:
        self._socket = socket
        self._service = service
        self._entries = entries
        self._samples = bytearray()
        self._token: str | None = None
        self._patience = _IDLE_SECONDS  # left, of waiting for samples
        self._life = service.settings.seconds + service.settings.timeout
        self._end = asyncio.get_running_loop().time() + self._life

    async def run(self) -> None:
        service = self._service
        service.access.check_origin(self._socket.headers)
        opening = await self._opening()
        self._token = opening.key or _bearer(self._socket)
        caller = service.access.check(self._token, Scope.VERIFY)
        self._entries["key"] = caller.key
        most = int(service.settings.seconds * opening.sample_rate) * _SAMPLE_BYTES
        async with service.stream():
            # Before anybody speaks in vain.
            choose_threshold(service.embedder.card, opening.threshold)
            await asyncio.to_thread(service.store.get, opening.name, service.model)
            due = _STEP_SECONDS
            while await self._receive(most):
                seconds = self._seconds(opening)
                if seconds >= due:
                    await self._answer(opening, caller.key, final=False)
                    due = seconds + max(_STEP_SECONDS, _STEP_SHARE * seconds)
            self._entries["audio_seconds"] = round(self._seconds(opening), 2)
            await self._answer(opening, caller.key, final=True)

    async def _opening(self) -> Opening:
        message = await self._next()
        try:
            return Opening.model_validate_json(message.get("text") or "")
        except ValidationError as error:
            problem = misfit_of(error, "first message")
            example = 'The first message is JSON such as {"name": "ann", "sample_rate": 16000}.'
            raise replace(problem, cure=f"{problem.cure} {example}") from error

    async def _receive(self, most: int) -> bool:
        """Take a message; whether more may come."""
        message = await self._next()
        if (text := message.get("text")) is not None:
            try:
                _End.model_validate_json(text)
            except ValidationError as error:
                raise ProblemError(
                    "bad-parameter",
                    "The stream holds a text that is not known.",
                    'Send samples in binary messages, and {"end": true} after the last.',
                ) from error
            return False
        chunk = message.get("bytes") or b""
        if len(chunk) % _SAMPLE_BYTES:
            raise ProblemError(
                "bad-request", "A message ends within a sample.", "Send whole samples of two bytes."
            )
        if chunk:
            self._patience = _IDLE_SECONDS
        self._samples += chunk[: most - len(self._samples)]
        return len(self._samples) < most

    async def _next(self) -> dict[str, Any]:
        clock = asyncio.get_running_loop().time
        began = clock()
        left = self._end - began
        try:
            message = await asyncio.wait_for(self._socket.receive(), min(self._patience, left))
        except TimeoutError as error:
            if left <= self._patience:
                raise ProblemError(
                    "too-slow",
                    f"The stream was open for {self._life:g} s, which is the most.",
                    'Send samples as they are recorded, {"end": true} after the last; a new stream takes more.',
                ) from error
            raise ProblemError(
                "too-slow", f"Nothing came for {_IDLE_SECONDS:g} s.", "Send samples as they are recorded."
            ) from error
        # Only the waiting counts, not what an answer took; and an empty message brings none of it back.
        self._patience -= clock() - began
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return dict(message)

    def _seconds(self, opening: Opening) -> float:
        return len(self._samples) / _SAMPLE_BYTES / opening.sample_rate

    async def _answer(self, opening: Opening, key: str, *, final: bool) -> None:
        service, seconds, speech = self._service, self._seconds(opening), 0.0
        service.access.find(self._token, Scope.VERIFY)  # it may have been revoked since the stream was opened
        update: Streamed | None = None
        try:
            async with service.room(), asyncio.timeout(service.settings.timeout):
                if not self._samples:
                    raise ProblemError(
                        "missing-recording", "The stream brought no samples.", "Send some before its end."
                    )
                audio = await service.ear.listen(bytes(self._samples), opening.sample_rate)
                speech = audio.speech_seconds
                heard = await service.ear.take(audio, "the stream")
                found = await asyncio.to_thread(
                    verify,
                    service.store,
                    service.embedder,
                    opening.name,
                    heard.recording,
                    actor=f"key:{key}",
                    rule=opening.bayes,
                    threshold=opening.threshold,
                )
            update = Streamed(
                seconds=seconds, speech=speech, verdict=verified(found, heard), waiting_for=None, final=final
            )
        except ProblemError as problem:
            # More speech may come; a second voice will not go away, and a busy service is no reason to end.
            if final or problem.code not in {"silent", "no-speech", "too-short", "busy"}:
                raise
            update = Streamed(
                seconds=seconds, speech=speech, verdict=None, waiting_for=problem.detail, final=False
            )
        await self._socket.send_text(json.dumps({"update": update.model_dump(mode="json")}))


async def _tell(socket: WebSocket, problem: ProblemError, request: str) -> None:
    if socket.application_state is not WebSocketState.CONNECTED:
        return
    try:
        await socket.send_text(json.dumps({"problem": problem.body(request)}))
        await socket.close(_CLOSED + problem.status)
    except (WebSocketDisconnect, RuntimeError):
        return  # whom it was for is gone


def _bearer(socket: WebSocket) -> str | None:
    scheme, _, key = socket.headers.get("authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" else None
