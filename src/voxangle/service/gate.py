"""What every request passes: an id, the limit of its body, a deadline, the log; and every failure becomes a problem."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxangle.errors import VoxangleError
from voxangle.service.asked import check_text
from voxangle.service.logs import event
from voxangle.service.problems import MEDIA_TYPE, ProblemError
from voxangle.service.service import Service
from voxangle.service.stated import problem_of
from voxangle.service.uploads import BodyCounter

__all__ = ["Gate", "as_problem", "log_failure", "route_of"]

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_GONE = 499  # the caller left; nothing was sent
_DRAIN_SECONDS = 2.0
_ABOUT_VALUES = {"DataError", "IntegrityError", "InternalError", "NotSupportedError", "ProgrammingError"}


class Gate:
    """Middleware around all routes.

    Args:
        app: what is inside.
        service: whose limits count.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, or answer it with a problem."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {}).update(request=request, entries={})
        if scope["type"] == "http":
            await _Exchange(self._service, scope, receive, send, headers, request).run(self._app)
        else:
            await self._app(scope, receive, send)


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, service: Service, scope: Scope, receive: Receive, send: Send, headers: Headers, request: str
    ) -> None:
        self._service = service
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = headers
        self._request = request
        self._counter: BodyCounter | None = None
        self._read = False  # all of the body
        self._reading = False  # waits for more of it
        self._gone = False
        self._status = 0

    async def run(self, app: ASGIApp) -> None:
        began = time.perf_counter()
        entries: dict[str, Any] = self._scope["state"]["entries"]
        try:
            self._service.access.check_origin(self._headers)
            check_text("The address", unquote_to_bytes(self._scope["query_string"]))
            self._counter = BodyCounter(self._headers, self._service.settings.body_bytes)
            async with asyncio.timeout(self._service.settings.timeout):
                await app(self._scope, self._receive_counted, self._send_marked)
        except ClientDisconnect:
            self._status = _GONE
        except Exception as error:
            problem = self._told(error)
            await self._answer(problem)
        seconds = time.perf_counter() - began
        route, method = route_of(self._scope), self._scope["method"]
        method = method if method in {"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"} else "other"
        meters = self._service.meters
        meters.requests.labels(route, method, str(self._status)).inc()
        meters.seconds.labels(route).observe(seconds)
        if "code" in entries:
            meters.problems.labels(entries["code"]).inc()
        event(
            "request",
            request=self._request,
            route=route,
            method=method,
            status=self._status,
            seconds=round(seconds, 4),
            bytes=self._counter.read if self._counter else 0,
            **entries,
        )

    def _told(self, error: Exception) -> ProblemError:
        """What the caller is told, and the log of what only this machine's people should know."""
        if isinstance(error, TimeoutError) and self._reading and not self._read:
            return ProblemError(
                "too-slow",
                f"The body did not arrive within {self._service.settings.timeout:g} s.",
                "Send it again over a faster connection, or compressed.",
            )
        problem = as_problem(error, self._service.settings.timeout)
        log_failure(error, problem.code, self._request)
        return problem

    async def _answer(self, problem: ProblemError) -> None:
        self._scope["state"]["entries"]["code"] = problem.code
        if self._status or self._gone:
            return  # too late: an answer has begun, or nobody listens
        content = json.dumps(problem.body(self._request)).encode()
        headers = problem.headers() | {"content-type": MEDIA_TYPE, "content-length": str(len(content))}
        if not self._read:
            # A caller who still sends would not read an answer: the connection would be reset under it.
            await self._drain()
            headers["connection"] = "close"
        start = {
            "type": "http.response.start",
            "status": problem.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
        await self._send_marked(start)
        await self._send_marked({"type": "http.response.body", "body": content})

    async def _drain(self) -> None:
        """Read and forget what still comes, within reason."""
        left = 2 * self._service.settings.body_bytes
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            return

    async def _receive_counted(self) -> Message:
        self._reading = True  # and it stays so where the deadline ends the waiting
        message = await self._receive()
        self._reading = False
        if message["type"] == "http.request":
            self._read = not message.get("more_body", False)
            if self._counter:
                self._counter.count(message.get("body", b""))
        else:
            self._gone = True
        return message

    async def _send_marked(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def as_problem(error: Exception, timeout: float) -> ProblemError:
    """Any failure as what a caller is told of it."""
    match error:
        case ProblemError():
            return error
        case VoxangleError():
            return problem_of(error)
        case TimeoutError():
            return ProblemError(
                "timed-out",
                f"There was no answer within {timeout:g} s; an enrolment or a deletion may have been done anyway.",
                "Come again in a moment; if it happens often, the service needs more machines.",
                retry_after=2,
            )
    return ProblemError(
        "internal",
        "Something went wrong that should not have.",
        "Tell whoever runs the service the id of the request; the log says where.",
    )


def log_failure(error: Exception, code: str, request: str) -> None:
    """Log what only this machine's people can mend: where it happened, and of what the service keeps also why."""
    if code not in {"internal", "storage"}:
        return
    # What the database says of values might quote them (classes of errors: PEP 249).
    kinds = {kind.__name__ for kind in type(error.__cause__).__mro__}
    said = str(error) if code == "storage" and not kinds & _ABOUT_VALUES else None
    event("failure", level=logging.ERROR, error=error, request=request, code=code, reason=said)


def route_of(scope: Scope) -> str:
    """The route's pattern, in which nothing stands that a caller wrote."""
    return getattr(scope.get("route"), "path", "") or "none"
