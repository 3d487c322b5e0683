"""Voiceprints in PostgreSQL, searched by pgvector's HNSW index.

The tables lie in the schema ``voxangle`` of the database. Each model has an index of its own over its prints'
directions, for embeddings of two models have two dimensions (Malkov and Yashunin, "Efficient and robust approximate
nearest neighbor search using hierarchical navigable small world graphs", 2018). Vectors that are sealed, and a server
without pgvector, cannot be searched there: then this process keeps them in memory, as with SQLite.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from voxangle.errors import MissingExtraError, StorageError
from voxangle.voiceprints.sql_store import Sql, SqlStore, Types, tables
from voxangle.voiceprints.store import Vector

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresStore"]

_TYPES = Types(
    number="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    blob="BYTEA",
    real="DOUBLE PRECISION",
    name='TEXT COLLATE "C"',
)
_OLDEST_PGVECTOR = (0, 5)  # that knows HNSW
_ROWS_AT_ONCE = 4096
_MOST_DIMENSIONS = 2000  # that an HNSW index takes
_BREADTH = 200  # hnsw.ef_search: recall for time
_LOCK = 0x564F5850


class PostgresStore(SqlStore):
    """A store in a database.

    Args:
        address: ``postgresql://USER:PASSWORD@HOST/DATABASE``.
        key: of an encrypted store, in base64; None for one in clear.
        create: make the tables where there are none.

    Raises:
        StorageError: the database cannot be reached, has no tables, or they cannot be made.
        StoreKeyError: the key is missing, malformed, or another one.
        MissingExtraError: ``psycopg`` is not installed; or a key is given, and ``cryptography`` is not.
    """

    def __init__(self, address: str, *, key: str | None = None, create: bool = True) -> None:
        try:
            import pgvector.psycopg  # noqa: F401
            import psycopg.conninfo
        except ModuleNotFoundError as error:
            raise MissingExtraError("a store in PostgreSQL", "postgres") from error
        try:
            parts = psycopg.conninfo.conninfo_to_dict(address)
        except psycopg.Error as error:
            raise StorageError(
                f"the store's address is none of a PostgreSQL database: {_line(error)}"
            ) from error
        host, database = (parts.get(part) or "local" for part in ("host", "dbname"))
        super().__init__(f"postgresql://{host}/{database}", key)
        self._address = address
        self._connection = self._connect()
        try:
            self._make_tables(create)
            self._prepare([])
            self._has_directions = self._asked(
                "SELECT 1 FROM information_schema.columns WHERE table_schema = 'voxangle' "
                "AND table_name = 'prints' AND column_name = 'direction'"
            )
        except BaseException:
            self._connection.close()
            raise

    @property
    def indexed(self) -> bool:
        """Whether the server searches, by its index; else this process does, exactly."""
        return self._has_directions and self.key_id is None

    def close(self) -> None:
        """See ``VoiceprintStore``."""
        with self._lock:
            self._cached.clear()
            self._connection.close()

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        import psycopg

        try:
            # A statement prepared after a few uses keeps its plan: an exact search would go on by the index.
            connection = psycopg.connect(self._address, autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            raise StorageError(
                f"{self.place}: cannot be reached ({_line(error)}); see that the server runs, and that the address has "
                "its host, port, database, user and password: postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            ) from error
        with self._telling():
            # What the address says of it stays, for pgvector may lie anywhere.
            path = "'voxangle, ' || current_setting('search_path')"
            connection.execute(f"SELECT set_config('search_path', {path}, false)".encode())
            _tell_of_vectors(connection)
        return connection

    def _make_tables(self, create: bool) -> None:
        if self._asked("SELECT 1 WHERE to_regclass('voxangle.meta') IS NOT NULL"):
            return
        if not create:
            raise StorageError(
                f"{self.place}: no voiceprints here yet; `voxangle enrol NAME FILES` makes the first, or name another "
                "store with --store or $VOXANGLE_STORE"
            )
        with self._transaction(write=True) as sql:
            # Two that begin at once would make the schema twice.
            sql.rows("SELECT pg_advisory_xact_lock(?)", _LOCK)
            sql.rows("CREATE SCHEMA IF NOT EXISTS voxangle")
            for statement in tables(_TYPES):
                sql.rows(statement)
            if self._has_pgvector(sql):
                sql.rows("ALTER TABLE prints ADD COLUMN IF NOT EXISTS direction vector")
        _tell_of_vectors(self._connection)

    def _has_pgvector(self, sql: Sql) -> bool:
        """Whether the database has pgvector with HNSW, or can have it."""
        import psycopg

        found = sql.rows(
            "SELECT installed_version, coalesce(installed_version, default_version) FROM pg_available_extensions "
            "WHERE name = 'vector'"
        )
        if not found or tuple(map(int, found[0][1].split(".")[:2])) < _OLDEST_PGVECTOR:
            return False
        if found[0][0] is None:
            try:
                sql.rows("CREATE EXTENSION IF NOT EXISTS vector")
            except psycopg.errors.InsufficientPrivilege as error:
                raise StorageError(
                    f"{self.place}: pgvector is on the server but not in this database; have its administrator run "
                    "CREATE EXTENSION vector in it"
                ) from error
        return True

    def _asked(self, question: str) -> bool:
        with self._transaction(write=False) as sql:
            return bool(sql.rows(question))

    @contextmanager
    def _transaction(self, *, write: bool) -> Generator[Sql]:
        with self._lock, self._telling():
            if self._connection.closed:
                self._connection = self._connect()
            with _begun(self._connection, write=write) as sql:
                yield sql

    @contextmanager
    def _snapshot(self) -> Generator[Sql]:
        with closing(self._connect()) as connection, self._telling(), _begun(connection, write=False) as sql:
            yield sql

    def _scrub(self) -> None:
        """Have the server take deleted rows out of its tables and indices.

        Their bytes may stay in free space of a page until that is used again, and in its write-ahead log, replicas
        and backups: those are its administrator's.
        """
        with self._lock, self._telling():
            self._connection.execute("VACUUM prints, recordings")

    def _columns(self, mean: Vector) -> Mapping[str, object]:
        if not self._has_directions:
            return {}
        clear = self._sealing.key_id is None
        return {
            "direction": (mean / np.linalg.norm(mean.astype(np.float64))).astype("<f4") if clear else None
        }

    def _model_added(self, sql: Sql, model: int, dimension: int) -> None:
        if self._has_directions and dimension <= _MOST_DIMENSIONS:
            sql.rows(
                f"CREATE INDEX prints_near_{model} ON prints USING hnsw "
                f"((direction::vector({dimension})) vector_cosine_ops) WHERE model = {model}"
            )

    def _nearest(
        self, sql: Sql, model: int, dimension: int, vector: Vector, count: int, *, exact: bool
    ) -> list[tuple[int, float]]:
        if not self.indexed:
            return super()._nearest(sql, model, dimension, vector, count, exact=exact)
        scan, breadth = ("off" if exact else "on"), max(_BREADTH, count)
        sql.rows(f"SET LOCAL hnsw.ef_search = {breadth}")
        sql.rows(f"SET LOCAL enable_indexscan = {scan}")
        # The planner takes the model's own index only where it reads the model's number in the statement.
        distance = f"direction::vector({dimension}) <=> ?::vector({dimension})"
        near = sql.rows(
            f"SELECT number, 1 - ({distance}) FROM prints WHERE model = {model} ORDER BY {distance} LIMIT {count}",  # noqa: S608
            vector,
            vector,
        )
        sql.rows("SET LOCAL enable_indexscan = on")
        return [(number, float(score)) for number, score in near]

    @contextmanager
    def _telling(self) -> Generator[None]:
        """Errors of the database as ours."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise StorageError(f"{self.place}: the database says: {_line(error)}") from error


class _Statements:
    """``Sql`` over a connection."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(_placed(statement), values or None)
        return cursor.fetchall() if cursor.description else []

    def stream(self, statement: str, *values: object) -> Iterator[tuple[Any, ...]]:
        # A cursor of the server's: the client's would hold all rows at once.
        with self._connection.cursor(name="stream") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            yield from cursor.execute(_placed(statement), values or None)


@contextmanager
def _begun(connection: psycopg.Connection[tuple[Any, ...]], *, write: bool) -> Generator[Sql]:
    with connection.transaction():
        if not write:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield _Statements(connection)


def _placed(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()


def _tell_of_vectors(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Have a connection take arrays for pgvector's type, if the database has that."""
    import psycopg
    from pgvector.psycopg import register_vector

    # Without it there is nothing to tell.
    with suppress(psycopg.ProgrammingError):
        register_vector(connection)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
