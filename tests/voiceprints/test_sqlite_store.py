"""One file, real processes: what is acknowledged stays, and what is deleted is gone."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.voiceprints.toys import DIMENSION, MODEL, recording, vector
from voxangle.errors import StorageError
from voxangle.voiceprints import Recording, Reference, open_store
from voxangle.voiceprints.sqlite_store import SqliteStore

ROOT = Path(__file__).parents[2]

# Enrols person after person, and says of each that it is done only when the store has said so.
WRITER = """
import sys
from tests.voiceprints.toys import MODEL, recording
from voxangle.voiceprints.sqlite_store import SqliteStore
path, prefix, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with SqliteStore(path) as store:
    print("ready", flush=True)
    for person in range(first, first + count):
        store.enrol(f"{prefix} {person}", MODEL, [recording(person), recording(person, 1)], actor=prefix)
        print(f"{prefix} {person}", flush=True)
"""


def writer(path: Path, prefix: str, first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), prefix, str(first), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_two_processes_write_one_store(tmp_path: Path) -> None:
    path = tmp_path / "prints.sqlite"
    both = [writer(path, "left", 0, 40), writer(path, "right", 100, 40)]
    said = [process.communicate(timeout=120)[0].splitlines()[1:] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    with SqliteStore(path) as store:
        assert sorted(one.name for one in store.entries()) == sorted(said[0] + said[1])
        assert store.search(MODEL, vector(117), 1).enrolled == 80
        assert store.search(MODEL, vector(117), 1).neighbours[0].entry.name == "right 117"
        assert len(store.audit()) == 80


@pytest.mark.parametrize("acknowledged", [1, 7, 20])
def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "prints.sqlite"
    process = writer(path, "p", 0, 100_000)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(1 + acknowledged)][1:]
    process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait(timeout=30)
    process.stdout.close()
    whole = {line.strip() for line in said if line.endswith("\n")}
    with SqliteStore(path) as store:
        prints = list(store.everything())
        names = {one.entry.name for one in prints}
        assert whole <= names
        assert len(names - whole) <= 1  # one may have been kept and not yet said
        # No print is half there.
        assert {len(one.recordings) for one in prints} == {2}
        assert len(store.audit()) == len(prints) == store.search(MODEL, vector(0), 1).enrolled
        store.enrol("after", MODEL, [recording(1)], actor="me")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def raw(folder: Path) -> bytes:
    """All bytes of all files of a store."""
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


@pytest.mark.parametrize("people", [3, 400])
def test_what_is_deleted_is_in_no_byte_of_the_store(tmp_path: Path, people: int) -> None:
    path = tmp_path / "store" / "prints.sqlite"
    path.parent.mkdir()
    shuffled = np.random.default_rng(5).permutation(people)
    victims = [f"victim {person}" for person in range(0, people, 3)]
    traces: list[bytes] = []
    with SqliteStore(path) as store:
        # In an order that makes pages split, so that they leave pieces behind.
        for person in shuffled.tolist():
            name = f"victim {person}" if person % 3 == 0 else f"other {person}"
            first = Recording(
                vector(person), recording(person).measures, Reference(f"file of {name}", f"{person:064x}")
            )
            store.enrol(name, MODEL, [first], actor="me")
            store.extend(name, MODEL, [Recording(vector(person, 1), first.measures)], actor="me")
            if person % 3 == 0:
                print_ = store.get(name, MODEL)
                traces += [name.encode() + b"\0", f'file of {name}"'.encode(), print_.mean.tobytes()]
                traces += [one.vector.tobytes() for one in print_.recordings]
                traces += [vector(person).tobytes()]  # the mean that there was before
        with SqliteStore(path) as reader:
            reader.search(MODEL, vector(1), 3)
            before = raw(path.parent)
            # The first 12 bytes of a vector are enough to know it again.
            needles = {trace[:12] if len(trace) == 4 * DIMENSION else trace[:-1] for trace in traces}
            assert all(needle in before for needle in needles if b"file" in needle or b"victim" in needle)
            store.delete(victims, actor="me")
            # While the store is open, with the log and all.
            after = raw(path.parent)
            assert [needle for needle in needles if needle in after] == []
            assert b"victim" not in after
            assert b"other 1" in after
            names = {one.entry.name for one in reader.search(MODEL, vector(0), people).neighbours}
            assert names == {f"other {person}" for person in range(people) if person % 3}
    assert b"victim" not in raw(path.parent)


def test_a_deletion_that_was_cut_off_is_finished_when_the_store_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store" / "prints.sqlite"
    path.parent.mkdir()

    class KilledError(BaseException):
        pass

    def killed(self: SqliteStore) -> None:
        raise KilledError

    store = SqliteStore(path)
    for person in range(30):
        store.enrol(f"victim {person}", MODEL, [recording(person)], actor="me")
    everybody = [one.name for one in store.entries()]
    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "_scrub", killed)
        with pytest.raises(KilledError):
            store.delete(everybody, actor="me")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in path.parent.iterdir():  # as a killed process leaves them
        (copy / file.name).write_bytes(file.read_bytes())
    store.close()
    assert b"victim" in raw(copy)
    with SqliteStore(copy / path.name) as again:
        assert again.entries() == []
        assert b"victim" not in raw(copy)


def test_only_the_owner_reads_the_files(tmp_path: Path) -> None:
    path = tmp_path / "store" / "prints.sqlite"
    path.parent.mkdir()
    with SqliteStore(path) as store:
        store.enrol("ada", MODEL, [recording(1)], actor="me")
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
        assert len(list(path.parent.iterdir())) == 3


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("once upon a time " * 100)
    connection = sqlite3.connect(tmp_path / "theirs.sqlite")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = (tmp_path / "theirs.sqlite").read_bytes()
    for place, message in (
        (tmp_path, "is a folder, no file; name another file with --store"),
        (Path("/dev/null"), "is a device or a pipe, no file; name another file with --store"),
        (tmp_path / "text", "is not a store of voiceprints"),
        (tmp_path / "theirs.sqlite", "an SQLite file, but no voiceprints"),
        (Path("/proc/x"), "cannot be made"),
        (
            tmp_path / "mistyped" / "x",
            f"there is no folder {tmp_path / 'mistyped'}; make it if it is no mistake",
        ),
    ):
        with pytest.raises(StorageError, match=message) as told:
            SqliteStore(place)
        assert str(place) in str(told.value)
    assert (tmp_path / "theirs.sqlite").read_bytes() == before
    with pytest.raises(StorageError, match="no voiceprints here yet"):
        SqliteStore(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "mistyped").exists()


def test_an_address_that_no_store_is_at_is_no_file() -> None:
    with pytest.raises(
        StorageError, match=r"mysql://\.\.\.: voiceprints are kept in a file or at postgresql"
    ) as told:
        open_store("mysql://me:secret@host/x")
    assert "secret" not in str(told.value)


def test_only_the_default_place_gets_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("VOXANGLE_STORE", str(tmp_path / "mistyped" / "prints.sqlite"))
    with pytest.raises(StorageError, match="there is no folder"):
        open_store()
    monkeypatch.delenv("VOXANGLE_STORE")
    with pytest.raises(StorageError, match="no voiceprints here yet"):
        open_store(create=False)
    assert not list(tmp_path.iterdir())
    with open_store() as store:
        assert store.place == str(tmp_path / "data" / "voxangle" / "voiceprints.sqlite")


def test_a_store_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "prints.sqlite").close()
    connection = sqlite3.connect(tmp_path / "prints.sqlite", isolation_level=None)
    connection.execute("UPDATE meta SET format = 2")
    connection.close()
    with pytest.raises(StorageError, match="a store of format 2, this voxangle reads 1"):
        SqliteStore(tmp_path / "prints.sqlite")


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "prints.sqlite") as store:
        store.enrol("ada", MODEL, [recording(1)], actor="me")
        store._connection.execute("PRAGMA max_page_count = 1")  # the least there is: no page more
        with pytest.raises(StorageError, match="the disk is full, and nothing was changed"):
            store.enrol("bob", MODEL, [recording(2)] * 200, actor="me")
        assert [one.name for one in store.entries()] == ["ada"]


def test_another_writer_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxangle.voiceprints.sqlite_store._PATIENCE", 0.2)
    with SqliteStore(tmp_path / "prints.sqlite") as store:
        other = sqlite3.connect(tmp_path / "prints.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another process has been writing"):
            store.enrol("ada", MODEL, [recording(1)], actor="me")
        other.execute("ROLLBACK")
        store.enrol("ada", MODEL, [recording(1)], actor="me")
        other.execute("BEGIN")
        other.execute("SELECT * FROM prints").fetchall()
        with pytest.raises(StorageError, match="deleted, but another process has been reading"):
            store.delete(["ada"], actor="me")
        other.execute("ROLLBACK")
        other.close()
        assert store.entries() == []
    with SqliteStore(tmp_path / "prints.sqlite"):
        assert b"voice-1-0.wav" not in raw(tmp_path)


def test_a_deletion_on_a_full_disk_says_that_it_was_done_and_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prints.sqlite"
    connect = sqlite3.connect

    class Full(sqlite3.Connection):
        """Of a disk with room for a log and none for a second file."""

        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            if statement == "VACUUM":
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(statement, *values)

    with SqliteStore(path) as store:
        store.enrol("ada", MODEL, [recording(1)], actor="me")
        store.enrol("bob", MODEL, [recording(2)] * 50, actor="me")
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", lambda *given, **more: connect(*given, factory=Full, **more))
            with pytest.raises(
                StorageError, match=r"deleted, but the file was not rewritten \(.*full\)"
            ) as told:
                store.delete(["bob"], actor="me")
        assert "nothing was changed" not in str(told.value)
        assert [one.name for one in store.entries()] == ["ada"]
    with SqliteStore(path):
        assert b"voice-2-0.wav" not in raw(tmp_path)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody whom permissions bind."""
    own = os.geteuid()
    if own:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)


@pytest.fixture
def shut() -> Iterator[Path]:
    """A store with one print that nobody may write, in a folder that nobody may write."""
    with tempfile.TemporaryDirectory() as folder:  # not pytest's, which are for their owner alone to enter
        path = Path(folder, "prints.sqlite")
        with SqliteStore(path) as store:
            store.enrol("ada", MODEL, [recording(1)], actor="me")
        path.chmod(0o444)
        path.parent.chmod(0o555)
        yield path
        path.parent.chmod(0o755)


def test_a_store_that_cannot_be_written_is_read(shut: Path) -> None:
    before = shut.read_bytes()
    with unprivileged(), SqliteStore(shut, create=False) as store:
        assert [one.name for one in store.entries()] == ["ada"]
        assert [one.entry.name for one in store.everything()] == ["ada"]
        assert store.search(MODEL, vector(1), 1).neighbours[0].entry.name == "ada"
        for write in (
            store.check_writable,
            lambda: store.enrol("bob", MODEL, [recording(2)], actor="me"),
        ):
            with pytest.raises(StorageError, match="cannot be written; see to its permissions"):
                write()
    with unprivileged(), pytest.raises(StorageError, match="permissions"):
        SqliteStore(shut)
    shut.parent.chmod(0o755)  # the folder alone may be written: no log is made beside the file
    with unprivileged(), SqliteStore(shut, create=False) as store:
        assert [one.name for one in store.entries()] == ["ada"]
    assert [file.name for file in shut.parent.iterdir()] == [shut.name]
    assert shut.read_bytes() == before


def test_a_file_that_is_no_store_yet_is_made_one_only_to_enrol(tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite"
    path.touch(mode=0o644)
    with pytest.raises(StorageError, match="no voiceprints here yet"):
        SqliteStore(path, create=False)
    assert (path.stat().st_size, stat.S_IMODE(path.stat().st_mode)) == (0, 0o644)
    SqliteStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with SqliteStore(path, create=False) as store:
        assert store.entries() == []
    bare = tmp_path / "bare.sqlite"
    connection = sqlite3.connect(bare)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(StorageError, match="no voiceprints here yet"):
        SqliteStore(bare, create=False)
