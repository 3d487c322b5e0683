"""Logs: a line of JSON an event, for machines; no audio, no vectors, no names, no texts that a caller sent.

A traceback tells where a mistake was made, and of which type it was; the text of the error is left out, for it may
quote what somebody sent.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

__all__ = ["configure", "event"]

_LOGGER = logging.getLogger("voxangle.service")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "entries", {})
        if record.name != _LOGGER.name:
            line["logger"] = record.name
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["where"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return json.dumps(line)


def configure(stream: TextIO | None = None) -> None:
    """Let everything that this process logs go to a stream (standard error) as JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _LOGGER.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def event(
    name: str, *, level: int = logging.INFO, error: BaseException | None = None, **entries: Any
) -> None:
    """Log an event.

    Args:
        name: of the event.
        level: of ``logging``.
        error: whose place is told.
        entries: what else there is to know; None is left out.
    """
    kept = {key: value for key, value in entries.items() if value is not None}
    info = None if error is None else (type(error), error, error.__traceback__)
    _LOGGER.log(level, name, extra={"entries": kept}, exc_info=info)
