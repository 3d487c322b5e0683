"""A long list of recordings, as a table: a million take 100 MB, not 1 GB."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from voxangle.runtime.sources import AudioFile

__all__ = ["RecordingList"]

_SCHEMA = pa.schema(
    [("key", pa.string()), ("path", pa.string()), ("start", pa.float64()), ("seconds", pa.float64())]
)
_AT_ONCE = 4096


@dataclass(frozen=True)
class RecordingList:
    """Recordings in order, each under a key of its own.

    Attributes:
        table: columns ``key``, ``path`` (relative to ``root``, or absolute), ``start`` and ``seconds`` (a segment of
            the file; 0 seconds for all to its end).
        root: what the paths are relative to.
    """

    table: pa.Table
    root: Path

    @classmethod
    def of_files(cls, files: Mapping[str, str | Path], root: str | Path = Path()) -> RecordingList:
        """Whole files by key."""
        nothing = [0.0] * len(files)
        columns = [list(files), [str(path) for path in files.values()], nothing, nothing]
        return cls(pa.table(dict(zip(_SCHEMA.names, columns, strict=True)), schema=_SCHEMA), Path(root))

    @classmethod
    def of_manifest(cls, table: pa.Table, root: Path) -> RecordingList:
        """What a manifest's table (``voxangle.data.Manifest``) lists, under its utterances' names."""
        columns = [table[name] for name in ("utterance", "path", "start", "seconds")]
        return cls(pa.table(columns, schema=_SCHEMA), root)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def absolute(self) -> RecordingList:
        """The same, whatever the folder a process works in."""
        return RecordingList(self.table, self.root.absolute())

    def keys(self, first: int = 0, count: int | None = None) -> list[str]:
        """The keys of ``count`` recordings from ``first`` on."""
        keys: list[str] = self.table["key"].slice(first, count).to_pylist()
        return keys

    def files(self, first: int = 0) -> Iterator[AudioFile]:
        """The recordings from ``first`` on, made as they are asked for."""
        for block in self.table.slice(first).to_batches(max_chunksize=_AT_ONCE):
            for path, start, seconds in zip(
                *(column.to_pylist() for column in block.columns[1:]), strict=True
            ):
                yield AudioFile(self.root / path, start, seconds or None)

    def sha256(self) -> str:
        """A checksum of the rows and the root, whatever the table's chunks."""
        digest = hashlib.sha256(str(self.root).encode() + b"\n")
        for block in self.table.to_batches(max_chunksize=_AT_ONCE):
            for row in zip(*(column.to_pylist() for column in block.columns), strict=True):
                digest.update(repr(row).encode())
        return digest.hexdigest()
