"""Embeddings of a whole corpus on disk: a folder of Parquet parts that a killed run goes on with."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from voxangle.audio import SAMPLE_RATE
from voxangle.config import Config, first_problem
from voxangle.errors import StorageError
from voxangle.runtime.embedding import Embedding
from voxangle.runtime.windows import Windows
from voxangle.storage import atomic_write, writable_folder

__all__ = ["INDEX", "Index", "PartFolder", "PartWriter", "part_schema"]

INDEX = "index.json"
_CURE = "choose another folder, or remove this one"


class Index(Config):
    """What a folder of embeddings holds, or will when it is complete.

    Attributes:
        format: of the folder.
        model: the model's name.
        weights_sha256: of the model's weights.
        dimension: D, the length of an embedding.
        windows: how long recordings were cut; None for not at all.
        recordings: in all, whether they could be used or not.
        list_sha256: of their keys and paths.
    """

    format: int = Field(default=1, ge=1, le=1)
    model: str
    weights_sha256: str
    dimension: int = Field(ge=1)
    windows: Windows | None
    recordings: int = Field(ge=0)
    list_sha256: str


def part_schema(dimension: int) -> pa.Schema:
    """The columns of a part: a row a recording, in the order of the list.

    ``key``; ``embedding``, D float32, null where there is none; ``seconds`` that were read; ``windows`` that had a
    part in it; ``error``, why there is none, else null.
    """
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            ("embedding", pa.list_(pa.float32(), dimension)),
            ("seconds", pa.float64()),
            ("windows", pa.int32()),
            ("error", pa.string()),
        ]
    )


def part_table(keys: Sequence[str], rows: Sequence[Embedding], dimension: int) -> pa.Table:
    """Rows as a part holds them."""
    zeros = np.zeros(dimension, np.float32)
    flat = np.concatenate([zeros if row.vector is None else row.vector for row in rows] or [zeros[:0]])
    missing = pa.array([row.vector is None for row in rows])
    columns = [
        pa.array(keys, pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), dimension, mask=missing),
        pa.array([row.samples / SAMPLE_RATE for row in rows], pa.float64()),
        pa.array([row.windows for row in rows], pa.int32()),
        pa.array([None if row.error is None else row.error.cause for row in rows], pa.string()),
    ]
    return pa.table(columns, schema=part_schema(dimension))


@dataclass(frozen=True)
class PartFolder:
    """A folder of parts, for reading.

    Attributes:
        folder: where it lies.
        index: what it holds.
        parts: the files, in order.
        begins: the row with which each begins, and at last how many there are.
    """

    folder: Path
    index: Index
    parts: tuple[Path, ...]
    begins: tuple[int, ...]

    @classmethod
    def open(cls, folder: str | Path) -> PartFolder:
        """Look at a folder.

        Raises:
            StorageError: it is no such folder, or one of its parts is missing, broken or of something else.
        """
        folder = Path(folder)
        index = _read_index(folder)
        schema = part_schema(index.dimension)
        parts, begins = [], [0]
        for path in sorted(folder.glob("part-*.parquet")):
            try:
                metadata = pq.read_metadata(path)
            except (OSError, pa.ArrowException) as error:
                raise _broken(path, error) from error
            if not metadata.schema.to_arrow_schema().equals(schema):
                raise StorageError(
                    f"{path}: not a part of this folder: its columns are not those of embeddings of {index.dimension} "
                    "dimensions; remove it and all after it, and run again"
                )
            if path != _part_path(folder, begins[-1]):
                raise StorageError(
                    f"{folder}: the part that begins with row {begins[-1]} is missing before {path.name}; put it "
                    "back, or remove all parts after it and run again"
                )
            parts.append(path)
            begins.append(begins[-1] + metadata.num_rows)
        return cls(folder, index, tuple(parts), tuple(begins))

    @property
    def complete(self) -> bool:
        """Whether every recording of the list has its row."""
        return self.begins[-1] == self.index.recordings

    def require_complete(self) -> None:
        """Raise StorageError where recordings are still to be embedded."""
        if not self.complete:
            raise StorageError(
                f"{self.folder}: {self.begins[-1]:,} of {self.index.recordings:,} recordings are embedded; run the "
                "same `voxangle embed` again, and it goes on from there"
            )

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The parts, one after the other; all columns, or some.

        Raises:
            StorageError: a part is broken.
        """
        for path in self.parts:
            try:
                table = pq.read_table(
                    path, columns=None if columns is None else list(columns), partitioning=None
                )
            except (OSError, pa.ArrowException) as error:
                raise _broken(path, error) from error
            yield table

    def keys(self) -> list[str]:
        """Of the recordings that have an embedding, in the order of ``vectors``."""
        keys: list[str] = []
        for table in self.tables(["key", "error"]):
            keys += table.filter(table["error"].is_null())["key"].to_pylist()
        return keys

    def vectors(self) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Keys and embeddings, (K, D), of the recordings that have one, part after part."""
        for table in self.tables(["key", "embedding"]):
            kept = table.filter(table["embedding"].is_valid())
            column = kept["embedding"].combine_chunks()
            flat = column.flatten().to_numpy(zero_copy_only=False)
            yield kept["key"].to_pylist(), flat.reshape(-1, self.index.dimension)

    def left_out(self) -> dict[str, str]:
        """Why each recording without an embedding has none, by key."""
        causes: dict[str, str] = {}
        for table in self.tables(["key", "error"]):
            failed = table.filter(table["error"].is_valid())
            causes.update(zip(failed["key"].to_pylist(), failed["error"].to_pylist(), strict=True))
        return causes


@dataclass
class PartWriter:
    """Writes the parts of a folder, each whole or not at all.

    Attributes:
        folder: where to.
        index: what it will hold.
        recordings: rows that are written, by this run or one before.
    """

    folder: Path
    index: Index
    recordings: int = field(default=0)

    @classmethod
    @contextmanager
    def open(cls, folder: str | Path, index: Index) -> Generator[PartWriter]:
        """Begin a folder, or go on with one; no other run can write into it meanwhile.

        Raises:
            StorageError: it holds something else, such as another model's embeddings; another run writes into it; or
                it cannot be written.
        """
        folder = writable_folder(folder)
        if not (folder / INDEX).exists():
            if strange := next((path for path in folder.iterdir() if path.suffix != ".tmp"), None):
                raise StorageError(
                    f"{folder}: holds '{strange.name}' and no {INDEX}: not embeddings; {_CURE}"
                )
            with atomic_write(folder / INDEX) as temporary:
                temporary.write_text(index.model_dump_json(indent=2) + "\n")
        with (folder / INDEX).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StorageError(f"{folder}: another run is writing into it; wait for its end") from error
            there = PartFolder.open(folder)
            _require_same(folder, there.index, index)
            for torn in folder.glob(".part-*.tmp"):
                torn.unlink()
            yield cls(folder, index, there.begins[-1])

    def write(self, keys: Sequence[str], rows: Sequence[Embedding]) -> None:
        """Write the next part, and know that it is on disk.

        Raises:
            StorageError: the disk is full, or the folder cannot be written.
        """
        table = part_table(keys, rows, self.index.dimension)
        with atomic_write(_part_path(self.folder, self.recordings)) as temporary:
            # Random mantissas do not compress.
            pq.write_table(
                table, temporary, compression={"key": "zstd", "error": "zstd"}, use_dictionary=["error"]
            )
        self.recordings += len(rows)


def _broken(path: Path, error: Exception) -> StorageError:
    return StorageError(f"{path}: not a whole part ({error}); remove it and all after it, and run again")


def _part_path(folder: Path, first: int) -> Path:
    return folder / f"part-{first:010d}.parquet"


def _read_index(folder: Path) -> Index:
    path = folder / INDEX
    try:
        return Index.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise StorageError(f"{folder}: no folder of `voxangle embed` (it has no {INDEX})") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise StorageError(f"{path}: not an index of embeddings ({first_problem(error)})") from error


def _require_same(folder: Path, there: Index, wanted: Index) -> None:
    before: dict[str, Any] = there.model_dump()
    now = wanted.model_dump()
    # A model may be given another name; its weights are what it is, where they are known.
    ignored = {"model"} if wanted.weights_sha256 else set()
    if differing := [name for name in now if now[name] != before[name] and name not in ignored]:
        said = "; ".join(
            f"{name} {json.dumps(before[name])}, now {json.dumps(now[name])}" for name in differing
        )
        raise StorageError(f"{folder}: holds the embeddings of something else ({said}); {_CURE}")
