"""The files of the page, read once and answered from memory: no name that is asked for ever reaches a disk.

The content security policy allows what the page is made of and nothing else: its own scripts and styles (none inline),
requests and WebSockets to the service it came from, and recordings that are played back out of memory. Text of the
service becomes text of the page only: with trusted types there is no way to turn a string into markup.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Path, Request, Response
from starlette.exceptions import HTTPException

__all__ = ["POLICY", "router"]

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked for again each time, and answered by 304: no page of an older version
}

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _File(NamedTuple):
    content: bytes
    headers: dict[str, str]


def _read() -> dict[str, _File]:
    found = {}
    for entry in files(__package__).joinpath("static").iterdir():
        content = entry.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        kind = _TYPES[f".{entry.name.rpartition('.')[2]}"]
        found[entry.name] = _File(content, {**_HEADERS, "Content-Type": kind, "ETag": tag})
    return found


_FILES = _read()
_INDEX = "index.html"

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """The page."""
    return _answer(request, _FILES[_INDEX])


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def part(request: Request, name: Annotated[str, Path()]) -> Response:
    """A script, style or picture of the page."""
    if name not in _FILES or name == _INDEX:
        raise HTTPException(404)
    return _answer(request, _FILES[name])


def _answer(request: Request, file: _File) -> Response:
    if file.headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=file.headers)
    return Response(file.content, headers=file.headers)
