"""What the stores in databases have in common: their tables, and all that is plain SQL.

Every transaction that changes prints begins by raising the store's ``revision``, whose row locks out other writers, and
marks the rows it writes with it. So a process that keeps prints in memory asks for what is newer than what it has, and
for the numbers of those that are gone.
"""

from __future__ import annotations

import json
import uuid
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from threading import RLock
from typing import Any, NamedTuple, Protocol

import numpy as np

from voxangle.errors import (
    NameTakenError,
    OtherModelError,
    StorageError,
    StoreKeyError,
    UnknownVoiceprintError,
    VoiceprintError,
)
from voxangle.runtime.card import Calibration
from voxangle.runtime.measures import RecordingMeasures
from voxangle.voiceprints.exact_index import ExactIndex
from voxangle.voiceprints.names import new_person, person
from voxangle.voiceprints.sealing import KEY_VARIABLE, Sealing, sealing_for
from voxangle.voiceprints.store import (
    AuditEvent,
    Entry,
    Found,
    Model,
    Neighbour,
    Recording,
    Reference,
    Vector,
    Voiceprint,
    VoiceprintStore,
    mean_embedding,
)

__all__ = ["FORMAT", "Sql", "SqlStore", "Types", "tables"]

FORMAT = 1

_MEASURES = "speech, clipping, above_4khz, magnitude"
_ENTRY = """
SELECT p.number, p.id, p.name, m.id, m.name, m.dimension, p.calibration, p.recordings,
       p.speech, p.clipping, p.above_4khz, p.magnitude, p.created, p.updated, p.mean
FROM prints p JOIN models m ON m.number = p.model
"""


_ROWS_AT_ONCE = 4096
# What helps where a name is taken: to who enrols, and to who imports.
_ADD = "add recordings with --add, or delete the voiceprint first"
_REPLACE = (
    "nothing was imported. Let those in the file take the place of those in the store with --replace, or name another "
    "store"
)


class Types(NamedTuple):
    """What a database calls the types of columns.

    Attributes:
        number: a row's own, never given twice.
        blob: bytes.
        real: a double.
        name: text that is ordered by its code points.
    """

    number: str
    blob: str
    real: str
    name: str


def tables(types: Types) -> list[str]:
    """The statements that make the tables of a store, each of which may be there already."""
    measures = ", ".join(f"{name} {types.real} NOT NULL" for name in _MEASURES.split(", "))
    columns = {
        "meta": """
            one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, revision BIGINT NOT NULL, key_id TEXT,
            scrub INTEGER NOT NULL""",
        "models": f"""
            number {types.number}, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, dimension INTEGER NOT NULL,
            enrolled BIGINT NOT NULL""",
        "prints": f"""
            number {types.number}, id TEXT NOT NULL UNIQUE, model BIGINT NOT NULL REFERENCES models (number),
            name {types.name} NOT NULL, calibration TEXT, recordings INTEGER NOT NULL, {measures},
            created TEXT NOT NULL, updated TEXT NOT NULL, revision BIGINT NOT NULL, mean {types.blob} NOT NULL,
            UNIQUE (name, model)""",
        "recordings": f"""
            number {types.number}, print BIGINT NOT NULL REFERENCES prints (number) ON DELETE CASCADE, {measures},
            added TEXT NOT NULL, reference {types.blob} NOT NULL, vector {types.blob} NOT NULL""",
        "gone": "number BIGINT PRIMARY KEY, revision BIGINT NOT NULL",
        "audit": f"""
            number {types.number}, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, print_id TEXT,
            model_id TEXT, detail TEXT NOT NULL""",
    }
    indices = {
        "prints_by_revision": "prints (model, revision)",
        "recordings_by_print": "recordings (print, number)",
        "gone_by_revision": "gone (revision)",
        "audit_by_print": "audit (print_id, number)",
    }
    return [
        *(f"CREATE TABLE IF NOT EXISTS {name} ({what})" for name, what in columns.items()),
        *(f"CREATE INDEX IF NOT EXISTS {name} ON {what}" for name, what in indices.items()),
    ]


class Sql(Protocol):
    """A transaction: statements with ``?`` for values."""

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement; what it gives, whole."""

    def stream(self, statement: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Run a statement; what it gives, a row at a time. No other may run meanwhile."""


class _Cached(NamedTuple):
    """Vectors of a model in memory, as of a revision."""

    vectors: ExactIndex
    revision: int


class SqlStore(VoiceprintStore):
    """A store in a database.

    Args:
        place: of the database, for messages.
        key: of an encrypted store, in base64; None for one in clear.
    """

    def __init__(self, place: str, key: str | None) -> None:
        self.place = place
        self._sealing: Sealing = sealing_for(key)
        self._lock = RLock()
        self._cached: dict[int, _Cached] = {}

    # What a database brings.

    @abstractmethod
    def _transaction(self, *, write: bool) -> AbstractContextManager[Sql]:
        """A transaction: kept where its block ends well, else undone; what it reads is of one moment.

        The lock is held. Errors of the database come out as StorageError.
        """

    @abstractmethod
    def _snapshot(self) -> AbstractContextManager[Sql]:
        """A reading transaction beside all others of this store, for as long as it is needed."""

    @abstractmethod
    def _scrub(self) -> None:
        """Take the bytes of deleted rows out of the database's files, as far as can be."""

    def _columns(self, mean: Vector) -> Mapping[str, object]:  # noqa: ARG002 - of a database that searches by itself
        """What else a database keeps of a print's mean, by column."""
        return {}

    def _nearest(
        self,
        sql: Sql,
        model: int,
        dimension: int,
        vector: Vector,
        count: int,
        *,
        exact: bool,  # noqa: ARG002 - always, but of a database that searches by itself
    ) -> list[tuple[int, float]]:
        """Numbers and cosines of the nearest prints, nearest first."""
        return self._index(sql, model, dimension).nearest(vector, count)

    def _model_added(self, sql: Sql, model: int, dimension: int) -> None:
        """A model has its first print."""

    # What every store does.

    def enrol(
        self,
        name: str,
        model: Model,
        recordings: Sequence[Recording],
        *,
        calibration: Calibration | None = None,
        actor: str,
    ) -> Entry:
        """See ``VoiceprintStore``."""
        name = new_person(name)
        now = datetime.now(UTC)
        entry = _entry(uuid.uuid4().hex, name, model, calibration, recordings, now, now)
        with self._change() as (sql, revision):
            self._insert(
                sql, revision, Voiceprint(entry, mean_embedding(recordings), _dated(recordings, now))
            )
            _audit(sql, "enrol", actor, entry.id, model.id, {"recordings": len(recordings)})
        return entry

    def extend(
        self,
        name: str,
        model: Model,
        recordings: Sequence[Recording],
        *,
        calibration: Calibration | None = None,
        actor: str,
    ) -> Entry:
        """See ``VoiceprintStore``."""
        now = datetime.now(UTC)
        _check_recordings(model, recordings)
        with self._change() as (sql, revision):
            number, before = self._one(sql, name, model)
            every = (*before.recordings, *_dated(recordings, now))
            old = before.entry
            entry = _entry(old.id, old.name, model, calibration, every, old.created, now)
            mean = mean_embedding(every)
            columns = self._print_columns(entry, mean, revision)
            places = ", ".join(f"{column} = ?" for column in columns)
            sql.rows(f"UPDATE prints SET {places} WHERE number = ?", *columns.values(), number)  # noqa: S608
            self._insert_recordings(sql, number, entry.id, every[len(before.recordings) :])
            _audit(sql, "update", actor, entry.id, model.id, {"recordings": len(recordings)})
        return entry

    def get(self, name: str, model: Model) -> Voiceprint:
        """See ``VoiceprintStore``."""
        with self._look() as sql:
            return self._one(sql, name, model)[1]

    def named(self, name: str) -> list[Voiceprint]:
        """See ``VoiceprintStore``."""
        with self._look() as sql:
            rows = sql.rows(f"{_ENTRY} WHERE p.name = ? ORDER BY p.number", person(name))
            if not rows:
                raise self._unknown(name)
            return [self._whole(sql, row) for row in rows]

    def entries(
        self, *, model: Model | None = None, after: str | None = None, limit: int | None = None
    ) -> list[Entry]:
        """See ``VoiceprintStore``."""
        wanted: dict[str, object] = {}
        if model is not None:
            wanted["m.id = ?"] = model.id
        if after is not None:
            wanted["p.name > ?"] = after
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        many = [] if limit is None else [limit]
        order = "ORDER BY p.name, p.number" + (" LIMIT ?" if many else "")
        with self._look() as sql:
            return [_entry_of(row) for row in sql.rows(f"{_ENTRY} {where} {order}", *wanted.values(), *many)]

    def delete(self, names: Iterable[str], *, actor: str) -> list[Entry]:
        """See ``VoiceprintStore``."""
        deleted = []
        with self._change() as (sql, revision):
            for name in dict.fromkeys(map(person, names)):
                rows = sql.rows(f"{_ENTRY} WHERE p.name = ? ORDER BY p.number", name)
                if not rows:
                    raise self._unknown(name)
                for row in rows:
                    entry = _entry_of(row)
                    self._remove(sql, revision, row[0])
                    _audit(sql, "delete", actor, entry.id, entry.model.id, {"recordings": entry.recordings})
                    deleted.append(entry)
            sql.rows("UPDATE meta SET scrub = 1")
        with self._look() as sql:
            # Out of memory too, not only at the next search.
            for model, cached in list(self._cached.items()):
                self._index(sql, model, cached.vectors.dimension)
        self._finish_deletion()
        return deleted

    def search(self, model: Model, vector: Vector, nearest: int, *, exact: bool = False) -> Found:
        """See ``VoiceprintStore``."""
        _check_vector(model, vector)
        with self._look() as sql:
            enrolled = {row[1]: row for row in sql.rows("SELECT number, id, dimension, enrolled FROM models")}
            mine = enrolled.pop(model.id, None)
            others = sum(row[3] for row in enrolled.values())
            if mine is None or not mine[3]:
                return Found((), 0, others)
            near = self._nearest(sql, mine[0], mine[2], vector, nearest, exact=exact)
            places = ", ".join("?" * len(near))
            rows = sql.rows(f"{_ENTRY} WHERE p.number IN ({places})", *(number for number, _ in near))
            entries = {row[0]: _entry_of(row) for row in rows}
            return Found(tuple(Neighbour(entries[number], score) for number, score in near), mine[3], others)

    def everything(self) -> Iterator[Voiceprint]:
        """See ``VoiceprintStore``."""
        with self._snapshot() as sql:
            self._check_key(sql.rows("SELECT key_id FROM meta")[0][0])
            last = -1
            while rows := sql.rows(f"{_ENTRY} WHERE p.number > ? ORDER BY p.number LIMIT 256", last):
                for row in rows:
                    yield self._whole(sql, row)
                last = rows[-1][0]

    def put(self, prints: Iterable[Voiceprint], *, replace: bool = False, actor: str) -> int:
        """See ``VoiceprintStore``."""
        count = replaced = 0
        with self._change() as (sql, revision):
            for one in prints:
                entry = one.entry
                new_person(entry.name)
                there = sql.rows(
                    "SELECT p.number FROM prints p JOIN models m ON m.number = p.model "
                    "WHERE (p.name = ? AND m.id = ?) OR p.id = ?",
                    person(entry.name),
                    entry.model.id,
                    entry.id,
                )
                if there and not replace:
                    raise self._taken(entry.name, _REPLACE)
                for (number,) in there:
                    self._remove(sql, revision, number)
                    replaced += 1
                self._insert(sql, revision, one)
                count += 1
            _audit(sql, "import", actor, None, None, {"prints": count, "replaced": replaced})
            if replaced:
                sql.rows("UPDATE meta SET scrub = 1")
        if replaced:
            self._finish_deletion()
        return count

    def note(
        self,
        action: str,
        *,
        actor: str,
        print_id: str | None = None,
        model: Model | None = None,
        **detail: Any,
    ) -> None:
        """See ``VoiceprintStore``."""
        with self._transaction(write=True) as sql:
            _audit(sql, action, actor, print_id, None if model is None else model.id, detail)

    def check_writable(self) -> None:
        """See ``VoiceprintStore``."""
        with self._transaction(write=True) as sql:
            sql.rows(
                "UPDATE meta SET scrub = scrub WHERE one = 0"
            )  # of no row; what may not write may not even that

    def audit(self, *, print_id: str | None = None, limit: int | None = None) -> list[AuditEvent]:
        """See ``VoiceprintStore``."""
        values: list[object] = [] if print_id is None else [print_id]
        statement = "SELECT at, actor, action, print_id, model_id, detail FROM audit"
        statement += "" if print_id is None else " WHERE print_id = ?"
        statement += " ORDER BY number DESC"
        if limit is not None:
            statement += " LIMIT ?"
            values.append(limit)
        with self._look() as sql:
            return [
                AuditEvent(datetime.fromisoformat(at), actor, action, print_, model, json.loads(detail))
                for at, actor, action, print_, model, detail in sql.rows(statement, *values)
            ]

    def rotate(self, key: str | None, *, actor: str) -> int:
        """See ``VoiceprintStore``."""
        new = sealing_for(key)
        with self._lock:
            old = self._sealing
            try:
                with self._change() as (sql, _):
                    self._sealing = new
                    prints = self._reseal(sql, old)
                    sql.rows("UPDATE meta SET key_id = ?, scrub = 1", new.key_id)
                    _audit(sql, "rotate", actor, None, None, {"prints": prints, "key_id": new.key_id})
            except BaseException:
                self._sealing = old
                raise
        self._finish_deletion()
        return prints

    @property
    def key_id(self) -> str | None:
        """See ``VoiceprintStore``."""
        return self._sealing.key_id

    # How it does so.

    def _prepare(self, statements: Sequence[str]) -> None:
        """Make what tables are missing, and see whether this voxangle and this key can use them."""
        with self._transaction(write=True) as sql:
            for statement in statements:
                sql.rows(statement)
            first = "INSERT INTO meta VALUES (1, ?, 0, ?, 0) ON CONFLICT DO NOTHING"
            sql.rows(first, FORMAT, self._sealing.key_id)
        if self._check_format():
            # A deletion was cut off after it was decided and before its bytes were gone.
            self._finish_deletion()

    def _check_format(self) -> bool:
        """See whether this voxangle and this key can read the store; whether a deletion in it is to be finished."""
        with self._transaction(write=False) as sql:
            ((number, key_id, scrub),) = sql.rows("SELECT format, key_id, scrub FROM meta")
        if number != FORMAT:
            raise StorageError(
                f"{self.place}: a store of format {number}, this voxangle reads {FORMAT}; export it with the voxangle "
                "that wrote it"
            )
        self._check_key(key_id)
        return bool(scrub)

    def _check_key(self, key_id: str | None) -> None:
        if key_id == self._sealing.key_id:
            return
        if key_id is None:
            raise StoreKeyError(
                f"{self.place}: is not encrypted, but ${KEY_VARIABLE} holds a key: unset that variable; to encrypt the "
                "store, run `voxangle voiceprints rotate` then, with the key in $VOXANGLE_NEW_KEY"
            )
        if self._sealing.key_id is None:
            raise StoreKeyError(
                f"{self.place}: is encrypted with the key {key_id}; put it into ${KEY_VARIABLE}"
            )
        raise StoreKeyError(
            f"{self.place}: is encrypted with the key {key_id}, and ${KEY_VARIABLE} is the key {self._sealing.key_id}"
        )

    @contextmanager
    def _look(self) -> Generator[Sql]:
        with self._transaction(write=False) as sql:
            self._check_key(sql.rows("SELECT key_id FROM meta")[0][0])
            yield sql

    @contextmanager
    def _change(self) -> Generator[tuple[Sql, int]]:
        """A transaction that changes prints, and its revision."""
        with self._transaction(write=True) as sql:
            sql.rows("UPDATE meta SET revision = revision + 1")
            ((revision, key_id),) = sql.rows("SELECT revision, key_id FROM meta")
            self._check_key(key_id)
            yield sql, revision

    def _finish_deletion(self) -> None:
        self._scrub()
        with self._transaction(write=True) as sql:
            sql.rows("UPDATE meta SET scrub = 0")

    def _index(self, sql: Sql, model: int, dimension: int) -> ExactIndex:
        """All vectors of a model, brought up to date."""
        ((revision,),) = sql.rows("SELECT revision FROM meta")
        cached = self._cached.get(model) or _Cached(ExactIndex(dimension), -1)
        if cached.revision != revision:
            index = cached.vectors
            index.drop(
                row[0] for row in sql.rows("SELECT number FROM gone WHERE revision > ?", cached.revision)
            )
            ((count,),) = sql.rows("SELECT enrolled FROM models WHERE number = ?", model)
            index.reserve(count)
            changed = "SELECT number, id, mean FROM prints WHERE model = ? AND revision > ?"
            rows = sql.stream(changed, model, cached.revision)
            while some := list(islice(rows, _ROWS_AT_ONCE)):
                index.put(
                    [row[0] for row in some], np.stack([self._opened(row[2], row[1], "mean") for row in some])
                )
            self._cached[model] = _Cached(index, revision)
        return self._cached[model].vectors

    def _insert(self, sql: Sql, revision: int, print_: Voiceprint) -> None:
        entry = print_.entry
        _check_recordings(entry.model, print_.recordings)
        model = self._model(sql, entry.model)
        if sql.rows("SELECT number FROM prints WHERE name = ? AND model = ?", person(entry.name), model):
            raise self._taken(entry.name)
        columns = {
            "id": entry.id,
            "model": model,
            "name": person(entry.name),
            "created": entry.created.isoformat(),
            **self._print_columns(entry, print_.mean, revision),
        }
        places = ", ".join("?" * len(columns))
        ((number,),) = sql.rows(
            f"INSERT INTO prints ({', '.join(columns)}) VALUES ({places}) RETURNING number",  # noqa: S608
            *columns.values(),
        )
        sql.rows(
            "UPDATE models SET enrolled = enrolled + 1, name = ? WHERE number = ?", entry.model.name, model
        )
        self._insert_recordings(sql, number, entry.id, _dated(print_.recordings, entry.updated))

    def _print_columns(self, entry: Entry, mean: Vector, revision: int) -> dict[str, object]:
        """All that changes when recordings are added."""
        return {
            "calibration": None if entry.calibration is None else entry.calibration.model_dump_json(),
            "recordings": entry.recordings,
            **dict(zip(_MEASURES.split(", "), _values(entry.measures), strict=True)),
            "updated": entry.updated.isoformat(),
            "revision": revision,
            "mean": self._sealed(mean, entry.id, "mean"),
            **self._columns(mean),
        }

    def _insert_recordings(
        self, sql: Sql, number: int, print_id: str, recordings: Iterable[Recording]
    ) -> None:
        for one in recordings:
            assert one.added is not None  # noqa: S101 - see _dated
            sql.rows(
                f"INSERT INTO recordings (print, {_MEASURES}, added, reference, vector) "  # noqa: S608
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                number,
                *_values(one.measures),
                one.added.isoformat(),
                self._sealing.seal(
                    json.dumps(astuple(one.reference)).encode(), _where(print_id, "reference")
                ),
                self._sealed(one.vector, print_id, "vector"),
            )

    def _model(self, sql: Sql, model: Model) -> int:
        """Its number; it gets one with its first print."""
        rows = sql.rows("SELECT number, dimension FROM models WHERE id = ?", model.id)
        if not rows:
            rows = sql.rows(
                "INSERT INTO models (id, name, dimension, enrolled) VALUES (?, ?, ?, 0) RETURNING number, dimension",
                model.id,
                model.name,
                model.dimension,
            )
            self._model_added(sql, rows[0][0], model.dimension)
        ((number, dimension),) = rows
        if dimension != model.dimension:
            raise OtherModelError(
                f"{self.place}: prints of the model {model.id[:12]} have {dimension} dimensions, these have "
                f"{model.dimension}"
            )
        return int(number)

    def _remove(self, sql: Sql, revision: int, number: int) -> None:
        sql.rows(
            "UPDATE models SET enrolled = enrolled - 1 WHERE number = (SELECT model FROM prints WHERE number = ?)",
            number,
        )
        sql.rows("DELETE FROM recordings WHERE print = ?", number)
        sql.rows("DELETE FROM prints WHERE number = ?", number)
        sql.rows("INSERT INTO gone VALUES (?, ?)", number, revision)

    def _reseal(self, sql: Sql, old: Sealing) -> int:
        """Write all that was sealed anew; how many prints there are."""
        numbers = [row[0] for row in sql.rows("SELECT number FROM prints ORDER BY number")]
        for number in numbers:
            ((print_id, kept),) = sql.rows("SELECT id, mean FROM prints WHERE number = ?", number)
            mean = np.frombuffer(old.open(bytes(kept), _where(print_id, "mean")), "<f4")
            columns = {"mean": self._sealed(mean, print_id, "mean"), **self._columns(mean)}
            places = ", ".join(f"{column} = ?" for column in columns)
            sql.rows(f"UPDATE prints SET {places} WHERE number = ?", *columns.values(), number)  # noqa: S608
            rows = sql.rows("SELECT number, reference, vector FROM recordings WHERE print = ?", number)
            for recording, *contents in rows:
                sql.rows(
                    "UPDATE recordings SET reference = ?, vector = ? WHERE number = ?",
                    *(
                        self._sealing.seal(old.open(bytes(content), place), place)
                        for content, place in zip(
                            contents, (_where(print_id, "reference"), _where(print_id, "vector")), strict=True
                        )
                    ),
                    recording,
                )
        return len(numbers)

    def _one(self, sql: Sql, name: str, model: Model) -> tuple[int, Voiceprint]:
        rows = sql.rows(f"{_ENTRY} WHERE p.name = ? ORDER BY p.number", person(name))
        if not rows:
            raise self._unknown(name)
        for row in rows:
            if row[3] == model.id:
                return row[0], self._whole(sql, row)
        others = ", ".join(f"'{row[4]}' ({row[3][:12]})" for row in rows)
        raise OtherModelError(
            f"'{person(name)}' is enrolled with {others}, not with '{model.name}' ({model.id[:12]}): voiceprints of "
            "two models cannot be compared; enrol again with this model, or use the other"
        )

    def _whole(self, sql: Sql, row: tuple[Any, ...]) -> Voiceprint:
        entry = _entry_of(row)
        rows = sql.rows(
            f"SELECT reference, vector, added, {_MEASURES} FROM recordings WHERE print = ? ORDER BY number",  # noqa: S608
            row[0],
        )
        recordings = tuple(
            Recording(
                self._opened(vector, entry.id, "vector"),
                RecordingMeasures(*measures),
                Reference(*json.loads(self._sealing.open(bytes(reference), _where(entry.id, "reference")))),
                datetime.fromisoformat(added),
            )
            for reference, vector, added, *measures in rows
        )
        return Voiceprint(entry, self._opened(row[14], entry.id, "mean"), recordings)

    def _sealed(self, vector: Vector, print_id: str, what: str) -> bytes:
        return self._sealing.seal(vector.astype("<f4").tobytes(), _where(print_id, what))

    def _opened(self, kept: bytes, print_id: str, what: str) -> Vector:
        return np.frombuffer(self._sealing.open(bytes(kept), _where(print_id, what)), "<f4")

    def _unknown(self, name: str) -> UnknownVoiceprintError:
        return UnknownVoiceprintError(
            f"nobody is enrolled as '{person(name)}' in {self.place}; `voxangle voiceprints list` names everybody"
        )

    def _taken(self, name: str, cure: str = _ADD) -> NameTakenError:
        return NameTakenError(f"'{person(name)}' is enrolled already with this model in {self.place}; {cure}")


def _values(measures: RecordingMeasures) -> tuple[float, ...]:
    """For the columns of ``_MEASURES``."""
    return measures.speech, measures.clipping, measures.above_4khz, measures.magnitude


def _where(print_id: str, what: str) -> str:
    """What a sealed content is bound to."""
    return f"{what} of voiceprint {print_id}"


def _audit(
    sql: Sql,
    action: str,
    actor: str,
    print_id: str | None,
    model_id: str | None,
    detail: Mapping[str, object],
) -> None:
    sql.rows(
        "INSERT INTO audit (at, actor, action, print_id, model_id, detail) VALUES (?, ?, ?, ?, ?, ?)",
        datetime.now(UTC).isoformat(),
        actor,
        action,
        print_id,
        model_id,
        json.dumps(detail),
    )


def _entry(
    print_id: str,
    name: str,
    model: Model,
    calibration: Calibration | None,
    recordings: Sequence[Recording],
    created: datetime,
    updated: datetime,
) -> Entry:
    _check_recordings(model, recordings)
    measures = RecordingMeasures.joined([one.measures for one in recordings])
    return Entry(print_id, name, model, calibration, len(recordings), measures, created, updated)


def _entry_of(row: tuple[Any, ...]) -> Entry:
    """Of a row of ``_ENTRY``."""
    _, print_id, name, model_id, model_name, dimension, calibration, recordings, *rest = row
    return Entry(
        print_id,
        name,
        Model(model_id, model_name, dimension),
        None if calibration is None else _calibration(calibration),
        recordings,
        RecordingMeasures(*rest[:4]),
        datetime.fromisoformat(rest[4]),
        datetime.fromisoformat(rest[5]),
    )


@lru_cache(maxsize=64)
def _calibration(text: str) -> Calibration:
    # The prints of a model have a few different ones, and a list of prints would read each again.
    return Calibration.model_validate_json(text)


def _dated(recordings: Sequence[Recording], now: datetime) -> tuple[Recording, ...]:
    return tuple(Recording(one.vector, one.measures, one.reference, one.added or now) for one in recordings)


def _check_recordings(model: Model, recordings: Sequence[Recording]) -> None:
    if not recordings:
        raise VoiceprintError("no recording is given; a voiceprint is made of one or more")
    for one in recordings:
        _check_vector(model, one.vector)
    if not np.linalg.norm(mean_embedding(recordings)):
        raise VoiceprintError("the recordings' embeddings cancel each other out; they cannot be of one voice")


def _check_vector(model: Model, vector: Vector) -> None:
    if vector.shape != (model.dimension,):
        raise VoiceprintError(
            f"an embedding of shape {vector.shape} is not one of '{model.name}', whose are ({model.dimension},)"
        )
    if not np.isfinite(vector).all() or not np.linalg.norm(vector):
        raise VoiceprintError("an embedding is 0 or not finite; the model or the recording is broken")
