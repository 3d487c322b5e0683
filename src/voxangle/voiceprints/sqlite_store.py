"""Voiceprints in one SQLite file: no server, exact search, safe for several processes."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from voxangle.errors import StorageError
from voxangle.voiceprints.sql_store import Sql, SqlStore, Types, tables

__all__ = ["SqliteStore"]

_TYPES = Types(number="INTEGER PRIMARY KEY AUTOINCREMENT", blob="BLOB", real="REAL", name="TEXT")
_APPLICATION = 0x564F5850  # "VOXP", by which `file` and we tell these files from other SQLite files
_PATIENCE = 30.0  # seconds for another process's transaction to end
_ANOTHER = "name another file with --store or $VOXANGLE_STORE"
_OLDEST = (3, 35)  # that knows RETURNING


class SqliteStore(SqlStore):
    """A store in one file, with its write-ahead log beside it while it is open.

    A committed transaction is on disk (``synchronous=FULL``). Only the owner may read the file. One that this process
    may not write, or whose folder it may not, is read as it is where ``create`` is false; then all that writes fails.

    Args:
        path: of the file.
        key: of an encrypted store, in base64; None for one in clear.
        create: make the store where there is none, and have it writable.

    Raises:
        StorageError: there is no store, it cannot be read, or, with ``create``, not written.
        StoreKeyError: the key is missing, malformed, or another one.
        MissingExtraError: a key is given, and ``cryptography`` is not installed.
    """

    def __init__(self, path: str | Path, *, key: str | None = None, create: bool = True) -> None:
        super().__init__(str(path), key)
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StorageError(
                f"this Python has SQLite {sqlite3.sqlite_version}; voiceprints need 3.35 or newer: use a newer Python"
            )
        self._path = Path(path)
        self._make_file(create)
        self._writes = create or self._writable()
        self._connection = self._connect()
        try:
            self._check_file(create)
            if self._writes:
                self._prepare(tables(_TYPES))
            else:
                self._check_format()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """See ``VoiceprintStore``."""
        with self._lock:
            self._cached.clear()
            self._connection.close()

    def _make_file(self, create: bool) -> None:
        if self._path.exists():
            if not self._path.is_file():
                what = "a folder" if self._path.is_dir() else "a device or a pipe"
                raise StorageError(f"{self.place}: is {what}, no file; {_ANOTHER}")
            if self._path.stat().st_size:
                return
        if not create:
            raise self._nothing_yet()
        if not self._path.parent.exists():
            raise StorageError(
                f"{self.place}: there is no folder {self._path.parent}; make it if it is no mistake, or {_ANOTHER}"
            )
        try:
            # SQLite gives its log the permissions of the file, which may be there, empty, and for all to read.
            file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                os.fchmod(file, 0o600)
            finally:
                os.close(file)
        except OSError as error:
            raise StorageError(f"{self.place}: cannot be made ({error.strerror}); {_ANOTHER}") from error

    def _nothing_yet(self) -> StorageError:
        return StorageError(
            f"{self.place}: no voiceprints here yet; `voxangle enrol NAME FILES` makes the first, or {_ANOTHER}"
        )

    def _writable(self) -> bool:
        """Whether this process may write the file, and its log beside it."""
        effective = os.access in os.supports_effective_ids
        places = (self._path, self._path.absolute().parent)
        return all(os.access(place, os.W_OK, effective_ids=effective) for place in places)

    def _connect_to_read(self) -> sqlite3.Connection:
        # Where there is a log somebody has the store open, and SQLite reads both. Where there is none the file is
        # whole; but SQLite makes a log even to read, which it cannot here, unless told that nobody writes.
        log = self._path.with_name(f"{self._path.name}-wal")
        asked = "mode=ro" if log.exists() else "mode=ro&immutable=1"
        with self._telling():
            return sqlite3.connect(
                f"{self._path.absolute().as_uri()}?{asked}",
                uri=True,
                timeout=_PATIENCE,
                isolation_level=None,
                check_same_thread=False,
            )

    def _connect(self) -> sqlite3.Connection:
        if not self._writes:
            return self._connect_to_read()
        with self._telling():
            connection = sqlite3.connect(
                self._path.absolute(), timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                self._refuse_foreign(lambda text: connection.execute(text).fetchall())
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                for pragma in ("synchronous = FULL", "secure_delete = ON", "foreign_keys = ON"):
                    connection.execute(f"PRAGMA {pragma}").fetchall()
            except BaseException:
                connection.close()
                raise
        if mode != "wal":
            connection.close()
            raise StorageError(
                f"{self.place}: this file system cannot share a write-ahead log between processes (a network's, "
                "perhaps); name a place on a local disk"
            )
        return connection

    def _check_file(self, create: bool) -> None:
        with self._transaction(write=self._writes) as sql:
            if self._refuse_foreign(sql.rows):
                return
            if not create:
                raise self._nothing_yet()
            sql.rows(f"PRAGMA application_id = {_APPLICATION}")

    def _refuse_foreign(self, rows: Callable[[str], list[Any]]) -> bool:
        """Whether there is anything in the file, which then is ours; asked before anything in it is changed."""
        ((application,),) = rows("PRAGMA application_id")
        ((content,),) = rows("SELECT count(*) FROM sqlite_master")
        if content and application != _APPLICATION:
            raise StorageError(f"{self.place}: an SQLite file, but no voiceprints; {_ANOTHER}")
        return bool(content)

    @contextmanager
    def _transaction(self, *, write: bool) -> Generator[Sql]:
        with self._lock, self._telling(), _begun(self._connection, write=write) as sql:
            yield sql

    @contextmanager
    def _snapshot(self) -> Generator[Sql]:
        with closing(self._connect()) as connection, self._telling(), _begun(connection, write=False) as sql:
            yield sql

    def _scrub(self) -> None:
        """Rewrite the file from its living rows, and empty the log. Others go on reading meanwhile.

        ``secure_delete`` overwrites a row where it last was. But where SQLite fills a page anew (``rebuildPage`` in its
        ``btree.c``) what cells were there before stays in the free space, and of that nothing is promised.
        """
        until = time.monotonic() + _PATIENCE
        connection = self._connect()
        try:
            with self._telling():
                try:
                    connection.execute("VACUUM")
                except sqlite3.Error as error:
                    raise StorageError(
                        f"{self.place}: deleted, but the file was not rewritten ({error}), and until it is bytes of "
                        "the deleted stay in it; free as much of the disk as the store takes, and open the "
                        "store once more"
                    ) from error
                while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    if time.monotonic() > until:
                        raise StorageError(
                            f"{self.place}: deleted, but another process has been reading for {_PATIENCE:g} s, and "
                            "until it ends bytes of the deleted stay in the log; end it, and open the store once more"
                        )
                    time.sleep(0.02)
        finally:
            connection.close()

    @contextmanager
    def _telling(self) -> Generator[None]:
        """Errors of the database as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"{self.place}: {_in_words(error)}") from error


class _Statements:
    """``Sql`` over a connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def stream(self, statement: str, *values: object) -> Iterator[tuple[Any, ...]]:
        return iter(self._connection.execute(statement, values))


@contextmanager
def _begun(connection: sqlite3.Connection, *, write: bool) -> Generator[Sql]:
    # A transaction that began to read and then writes fails where another has written meanwhile.
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield _Statements(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _in_words(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    words = {
        sqlite3.SQLITE_NOTADB: "is not a store of voiceprints; " + _ANOTHER,
        sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup or an export",
        sqlite3.SQLITE_FULL: "the disk is full, and nothing was changed; free some space and try again",
        sqlite3.SQLITE_BUSY: f"another process has been writing for {_PATIENCE:g} s; try again",
        sqlite3.SQLITE_READONLY: "cannot be written; see to its permissions and those of its folder",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened; see to its permissions and those of its folder",
        sqlite3.SQLITE_IOERR: "the disk fails, and nothing was changed",
    }
    return words.get(primary, f"the database says: {error}") if primary is not None else f"{error}"
