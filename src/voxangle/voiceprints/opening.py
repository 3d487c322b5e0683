"""Which store is meant: a file, or a PostgreSQL database."""

from __future__ import annotations

import os
from pathlib import Path

from voxangle.voiceprints.sealing import KEY_VARIABLE
from voxangle.voiceprints.store import VoiceprintStore

__all__ = ["STORE_VARIABLE", "default_place", "open_store"]

STORE_VARIABLE = "VOXANGLE_STORE"
"""The environment variable that holds the place of the store."""

_SCHEMES = ("postgresql://", "postgres://")


def default_place() -> str:
    """``$VOXANGLE_STORE``, else ``voxangle/voiceprints.sqlite`` in ``$XDG_DATA_HOME`` (``~/.local/share``)."""
    if explicit := os.environ.get(STORE_VARIABLE):
        return explicit
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return str(data / "voxangle" / "voiceprints.sqlite")


def open_store(place: str | Path | None = None, *, create: bool = True) -> VoiceprintStore:
    """The store at a place, with the key in ``$VOXANGLE_KEY``, if any.

    Args:
        place: a file's path, or ``postgresql://USER:PASSWORD@HOST/DATABASE``; None for ``default_place()``.
        create: make it where there is none.

    Raises:
        StorageError: there is no store, or it cannot be reached, read or written.
        StoreKeyError: the key is missing, malformed, or another one.
        MissingExtraError: the place or the key needs an extra that is not installed.
    """
    where = default_place() if place is None else str(place)
    key = os.environ.get(KEY_VARIABLE) or None
    if where.startswith(_SCHEMES):
        from voxangle.voiceprints.postgres_store import PostgresStore

        return PostgresStore(where, key=key, create=create)
    from voxangle.voiceprints.sqlite_store import SqliteStore

    return SqliteStore(where, key=key, create=create)
