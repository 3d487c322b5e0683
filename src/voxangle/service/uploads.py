"""What a request brings: recordings, raw or in a form, and the texts beside them; all in memory, nothing on disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Any, NamedTuple

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from voxangle.service.asked import check_text
from voxangle.service.problems import ProblemError

__all__ = ["BodyCounter", "Upload", "read_upload", "request_body"]

RAW_TYPES = (
    "application/octet-stream",
    "audio/wav",
    "audio/flac",
    "audio/ogg",
    "audio/mpeg",
    "audio/mp4",
    "audio/webm",
)
"""Types that the OpenAPI names; every ``audio/...`` is read, and ``video/...`` for browsers that call it so."""

_FORM = "multipart/form-data"
_FIELD_BYTES = 4096


class Upload(NamedTuple):
    """A request's body.

    Attributes:
        recordings: bytes of each, in their order, with the field that each came in (empty of a raw body).
        fields: texts of a form, by name.
    """

    recordings: list[tuple[str, bytes]]
    fields: dict[str, str]


class _InMemory(MultiPartParser):
    """A parser that keeps all in memory; how much there is, ``BodyCounter`` limits."""

    spool_max_size = 2**62

    def on_part_end(self) -> None:
        """Take a part, but for a text that is not what it says it is, which would be read as Latin-1."""
        if self._current_part.file is None:
            check_text("The form", self._current_part.data, self._charset)
        super().on_part_end()


async def read_upload(
    request: Request, *, fields: frozenset[str], files: frozenset[str], most: int
) -> Upload:
    """Read a body.

    Args:
        request: whose.
        fields: names of texts that a form may have.
        files: names of recordings that a form may have.
        most: how many recordings there may be.

    Raises:
        ProblemError: the body is of another type, cannot be read, lacks a recording or has too much.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _FORM:
        upload = await _form(request, most, most + len(fields))  # for who sends a text as a file is told so
    elif kind == "application/octet-stream" or kind.startswith(("audio/", "video/")):
        upload = Upload([("", await request.body())], {})
    else:
        raise ProblemError(
            "unsupported-media-type",
            f"The body is of type '{kind[:80]}'." if kind else "The request says no content type.",
            f"Send the recording as it is with its type, such as audio/wav, or a form as {_FORM}.",
        )
    _check_kinds(upload, fields, files)
    _check_names("field", upload.fields, fields)
    _check_names("recording", [name for name, _ in upload.recordings if name], files)
    if not upload.recordings:
        raise ProblemError(
            "missing-recording",
            "The request holds no recording.",
            f"Send it as the body, or in a form as a file called {_listed(files)}.",
        )
    if len(upload.recordings) > most:
        raise _too_many(most)
    for place, (_, content) in enumerate(upload.recordings, start=1):
        if not content:
            raise ProblemError(
                "missing-recording",
                "The recording is empty: it has 0 bytes.",
                "Look whether the file was written to its end, and send one that holds sound.",
                recording=place if len(upload.recordings) > 1 else None,
            )
    return upload


async def _form(request: Request, most: int, files: int) -> Upload:
    parser = _InMemory(
        request.headers, _chunks(request), max_files=files, max_fields=20, max_part_size=_FIELD_BYTES
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise _too_many(most) from error
        raise ProblemError(
            "bad-request", f"The form cannot be read: {error.message}", "Send a form after RFC 7578."
        ) from error
    except (
        KeyError,
        ValueError,
        LookupError,
    ) as error:  # a boundary that is missing, a charset that does not exist
        raise ProblemError(
            "bad-request", "The form cannot be read.", "Send a form after RFC 7578, with its boundary."
        ) from error
    recordings: list[tuple[str, bytes]] = []
    fields: dict[str, str] = {}
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                recordings.append((name, await value.read()))
            elif name in fields:
                raise ProblemError(
                    "bad-parameter", f"The form has the field '{name[:40]}' twice.", "Give it once."
                )
            else:
                fields[name] = value
    finally:
        await form.close()
    return Upload(recordings, fields)


async def _chunks(request: Request) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        yield chunk


def _check_kinds(upload: Upload, fields: frozenset[str], files: frozenset[str]) -> None:
    """Refuse texts that came as files, and files that came as texts: mostly of an @ that curl wants or does not."""
    for name in files & set(upload.fields):
        raise ProblemError(
            "missing-recording",
            f"The form's field '{name}' holds text, and a file was expected.",
            f"Send the recording itself: with curl, put @ before the file's name (-F {name}=@FILE).",
        )
    for name in fields & {name for name, _ in upload.recordings}:
        raise ProblemError(
            "bad-parameter",
            f"The form's field '{name}' holds a file, and text was expected.",
            f"Send the text itself: with curl, without @ before it (-F {name}=TEXT).",
        )


def _check_names(what: str, found: Iterable[str], known: frozenset[str]) -> None:
    for name in found:
        if name not in known:
            raise ProblemError(
                "bad-parameter",
                f"The form has a {what} called '{name[:40]}', which this route does not know.",
                f"It may have: {_listed(known)}." if known else "Leave it out.",
            )


def _too_many(most: int) -> ProblemError:
    return ProblemError(
        "too-many-recordings", f"At most {most} can be sent at once.", "Send fewer recordings in a request."
    )


def _listed(names: frozenset[str]) -> str:
    return " or ".join(f"'{name}'" for name in sorted(names))


class BodyCounter:
    """Stops reading a body that is larger than allowed, whatever its header says.

    Args:
        headers: of the request.
        most: bytes.

    Attributes:
        read: bytes so far.

    Raises:
        ProblemError: the header says that it is too large.
    """

    def __init__(self, headers: Headers, most: int) -> None:
        self.read = 0
        self._most = most
        said = headers.get("content-length", "")
        if said.isdecimal() and int(said) > most:
            raise self._too_large()

    def count(self, chunk: bytes) -> None:
        """Count what arrived.

        Raises:
            ProblemError: it is too much.
        """
        self.read += len(chunk)
        if self.read > self._most:
            raise self._too_large()

    def _too_large(self) -> ProblemError:
        return ProblemError(
            "too-large",
            f"The body is larger than the {self._most:,} bytes that this service takes.",
            "Send a shorter recording, or a compressed one (flac, opus, m4a).",
        )


def request_body(
    files: dict[str, str], fields: dict[str, dict[str, Any]], *, raw: bool, many: bool = False
) -> dict[str, Any]:
    """The OpenAPI description of a body.

    Args:
        files: what each recording of a form is, by its name.
        fields: JSON schemas of a form's texts, by name.
        raw: whether a recording may also be the body itself.
        many: whether a name may come several times.
    """
    one = {"type": "string", "format": "binary"}
    properties: dict[str, Any] = {
        name: {"description": text, **({"type": "array", "items": one, "minItems": 1} if many else one)}
        for name, text in files.items()
    }
    content: dict[str, Any] = {
        _FORM: {
            "schema": {
                "type": "object",
                "properties": properties | fields,
                "required": sorted(files),
                "additionalProperties": False,
            }
        }
    }
    if raw:
        content |= {kind: {"schema": one} for kind in RAW_TYPES}
    return {"requestBody": {"required": True, "content": content}}
