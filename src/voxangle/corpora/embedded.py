"""Recordings that lie in the rows of tables, written once to files: Parquet and Arrow of Hugging Face ``datasets``."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from voxangle.audio import AUDIO_SUFFIXES
from voxangle.errors import CorpusError, StorageError
from voxangle.storage import cache_folder, writable_folder

__all__ = ["Recording", "extracted", "rows_of", "table_schema"]

_ROWS = 64  # at a time: of recordings, a few tens of MB
_HEADS = ((b"RIFF", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"))
_INDEX = "index.jsonl"


class Recording(NamedTuple):
    """The recording of a row.

    Attributes:
        name: as the table has it: a path, or just a file's name; may be empty.
        file: where its bytes are, None where the table holds none.
    """

    name: str
    file: Path | None


def table_schema(path: Path) -> pa.Schema:
    """The columns of a table.

    Raises:
        CorpusError: the file cannot be read as one.
    """
    try:
        if path.suffix == ".parquet":
            return pq.read_schema(path)
        with pa.OSFile(str(path)) as file:
            return pa.ipc.open_stream(file).schema
    except (OSError, pa.ArrowInvalid) as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error}); fetch it again") from error


def rows_of(path: Path, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    """The rows of a table, of these columns, a few in memory at a time.

    Raises:
        CorpusError: the file cannot be read to its end.
    """
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as table:
                for batch in table.iter_batches(_ROWS, columns=columns):
                    yield from batch.to_pylist()
        else:
            with pa.OSFile(str(path)) as file:
                for batch in pa.ipc.open_stream(file):
                    for first in range(0, batch.num_rows, _ROWS):
                        yield from batch.select(columns).slice(first, _ROWS).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise CorpusError(f"{path}: cannot be read to its end ({error}); fetch it again") from error


def extracted(table: Path, column: str) -> Iterator[Recording]:
    """The recording of each row, in order; those that are bytes in the table are files in the cache from then on.

    The folder of a table's recordings appears when all are written, so that a run that was cut off goes on with the
    table it was at; a table that has changed since (by size or time) is written anew.

    Args:
        table: a Parquet or Arrow file.
        column: of structures ``{bytes, path}``, of which bytes count where there are some.

    Raises:
        CorpusError: the table cannot be read to its end.
        StorageError: the disk is full, or the cache cannot be written.
    """
    status = table.stat()
    identity = f"{table.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{column}"
    folder = cache_folder() / "extracted" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if not folder.is_dir():
        writable_folder(folder.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            _extract(table, column, temporary)
            os.sync()
            temporary.chmod(0o755)
            with suppress(FileExistsError):  # of two processes the first has done it
                temporary.rename(folder)
        except OSError as error:
            raise StorageError(
                f"{folder}: the recordings in {table} cannot be written there ({error.strerror}); free some space, or "
                "set VOXANGLE_CACHE to another folder, and run again"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    with (folder / _INDEX).open(encoding="utf-8") as index:
        for line in index:
            name, file = json.loads(line)
            yield Recording(name, folder / file if file else None)


def _extract(table: Path, column: str, folder: Path) -> None:
    with (folder / _INDEX).open("w", encoding="utf-8") as index:
        for number, row in enumerate(rows_of(table, [column])):
            audio = row[column] or {}
            content, name = audio.get("bytes"), audio.get("path") or ""
            file = None
            if content is not None:
                file = f"{number:07d}{_suffix(name, content)}"
                (folder / file).write_bytes(content)
            index.write(json.dumps([name, file]) + "\n")


def _suffix(name: str, content: bytes) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        return suffix
    return next((suffix for head, suffix in _HEADS if content.startswith(head)), "")
