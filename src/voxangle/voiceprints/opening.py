"""Which store is meant: a file, or a PostgreSQL database."""

from __future__ import annotations

import os
from pathlib import Path

from voxangle.errors import StorageError
from voxangle.voiceprints.sealing import KEY_VARIABLE
from voxangle.voiceprints.store import VoiceprintStore

__all__ = ["STORE_VARIABLE", "default_place", "open_store"]

STORE_VARIABLE = "VOXANGLE_STORE"
"""The environment variable that holds the place of the store."""

_SCHEMES = ("postgresql://", "postgres://")


def default_place() -> str:
    """``voxangle/voiceprints.sqlite`` in ``$XDG_DATA_HOME`` (``~/.local/share``)."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return str(data / "voxangle" / "voiceprints.sqlite")


def open_store(place: str | Path | None = None, *, create: bool = True) -> VoiceprintStore:
    """The store at a place, with the key in ``$VOXANGLE_KEY``, if any.

    Args:
        place: a file's path, or ``postgresql://USER:PASSWORD@HOST/DATABASE``; None for that in ``$VOXANGLE_STORE``, or
            else ``default_place()``.
        create: make it where there is none; the folder of a file only at the default place, for elsewhere one that
            is missing is mistyped.

    Raises:
        StorageError: there is no store, or it cannot be reached, read or written.
        StoreKeyError: the key is missing, malformed, or another one.
        MissingExtraError: the place or the key needs an extra that is not installed.
    """
    named = os.environ.get(STORE_VARIABLE) if place is None else str(place)
    where = named or default_place()
    key = os.environ.get(KEY_VARIABLE) or None
    if where.startswith(_SCHEMES):
        from voxangle.voiceprints.postgres_store import PostgresStore

        return PostgresStore(where, key=key, create=create)
    if "://" in where:
        raise StorageError(
            f"{where.partition('://')[0]}://...: voiceprints are kept in a file or at postgresql://...; name one"
        )
    from voxangle.voiceprints.sqlite_store import SqliteStore

    if create and not named:
        try:
            Path(where).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StorageError(
                f"{where}: cannot be made ({error.strerror}); name another place with --store or ${STORE_VARIABLE}"
            ) from error
    return SqliteStore(where, key=key, create=create)
