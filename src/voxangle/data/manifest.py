"""The manifest: one typed row an utterance, stored as Parquet."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from voxangle.errors import CorpusError
from voxangle.storage import atomic_write

__all__ = ["SCHEMA", "Manifest", "Utterance"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording, or one segment of it, by one speaker.

    Attributes:
        utterance: the key, unique in a manifest; trial lists name it.
        speaker: who speaks, unique over every corpus of the manifest.
        path: the file, relative to the manifest's root, or absolute.
        start: where the utterance begins in the file, in seconds.
        seconds: its duration, in seconds; 0 where the corpus does not say (preparing measures it).
        session: the occasion of the recording, empty where unknown.
        language: BCP 47 tag as the corpus gives it, empty where unknown.
        gender: ``f``, ``m`` or empty.
        channel: what it was recorded through, empty where unknown.
    """

    utterance: str
    speaker: str
    path: str
    start: float = 0.0
    seconds: float = 0.0
    session: str = ""
    language: str = ""
    gender: str = ""
    channel: str = ""


SCHEMA = pa.schema(
    [
        ("utterance", pa.string()),
        ("speaker", pa.string()),
        ("session", pa.string()),
        ("language", pa.string()),
        ("gender", pa.string()),
        ("channel", pa.string()),
        ("path", pa.string()),
        ("start", pa.float64()),
        ("seconds", pa.float64()),
    ]
)
_ROOT = b"voxangle.root"
_KEYS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Manifest:
    """A table of utterances (columns of ``SCHEMA``) and the folder its paths are relative to."""

    table: pa.Table
    root: Path

    @classmethod
    def of(cls, utterances: Iterable[Utterance], root: str | Path) -> Manifest:
        """A manifest of these utterances, in their order.

        Raises:
            CorpusError: two utterances share a key.
        """
        rows = list(utterances)
        columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
        return cls(pa.table(columns, schema=SCHEMA), Path(root))._checked()

    @classmethod
    def joined(cls, manifests: Sequence[Manifest]) -> Manifest:
        """One manifest of several, in their order; paths become absolute where the roots differ.

        Raises:
            CorpusError: two of them share a key.
            ValueError: there is none.
        """
        roots = {manifest.root for manifest in manifests}
        if len(roots) == 1:
            return cls(pa.concat_tables([manifest.table for manifest in manifests]), roots.pop())._checked()
        if not roots:
            raise ValueError("manifests must hold at least one, got none")
        place = SCHEMA.get_field_index("path")
        tables = [
            one.table.set_column(place, "path", pa.array(one._places(one.root.absolute()), pa.string()))
            for one in manifests
        ]
        return cls(pa.concat_tables(tables), Path("/"))._checked()

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read a manifest that ``write`` wrote.

        Raises:
            CorpusError: the file is missing, is not Parquet, lacks a column or a value, or has one of another type.
        """
        try:
            table = pq.read_table(path)
        except FileNotFoundError as error:
            raise CorpusError(f"{path}: no such manifest") from error
        except (OSError, pa.ArrowInvalid) as error:
            raise CorpusError(f"{path}: not a Parquet manifest ({error})") from error
        missing = [name for name in SCHEMA.names if name not in table.column_names]
        if missing:
            raise CorpusError(f"{path}: the manifest lacks the column(s) {', '.join(missing)}")
        root = (table.schema.metadata or {}).get(_ROOT, b".").decode()
        try:
            table = table.select(SCHEMA.names).cast(SCHEMA)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise CorpusError(f"{path}: a column of the manifest has another type ({error})") from error
        for name in SCHEMA.names:
            if table[name].null_count:
                row = pc.index(pc.is_null(table[name]), True).as_py()
                raise CorpusError(f"{path}, row {row}: the column '{name}' has no value")
        return cls(table, Path(root))._checked()

    def write(self, path: str | Path) -> None:
        """Write the manifest as Parquet, atomically."""
        table = self.table.replace_schema_metadata({_ROOT: str(self.root).encode()})
        with atomic_write(path) as temporary:
            pq.write_table(table, temporary)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Utterance]:
        return map(Utterance, *(self.table[field.name].to_pylist() for field in fields(Utterance)))

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """One column, shape (utterances,): objects (strings) or float64."""
        return np.asarray(self.table[name].to_numpy(zero_copy_only=False))

    def files(self) -> list[Path]:
        """The file of each utterance, resolved against the root."""
        return [self.root / path for path in self.table["path"].to_pylist()]

    def speakers(self) -> list[str]:
        """The speakers, sorted, each once."""
        return sorted(pc.unique(self.table["speaker"]).to_pylist())

    def fingerprint(self, *settings: object) -> str:
        """16 hexadecimal digits of the rows, of the files' sizes and times of change, and of settings (plain data)."""
        digest = hashlib.sha256(json.dumps(settings).encode())
        for name in SCHEMA.names:
            digest.update(json.dumps(self.table[name].to_pylist()).encode())
        for path in dict.fromkeys(self._places(self.root)):
            try:
                status = os.stat(path)  # noqa: PTH116 - a million times
                digest.update(f"{status.st_size} {status.st_mtime_ns},".encode())
            except OSError:
                digest.update(b"missing,")
        return digest.hexdigest()[:16]

    def speaker_of(self) -> dict[str, str]:
        """The speaker of each utterance, by key."""
        return dict(zip(self.table["utterance"].to_pylist(), self.table["speaker"].to_pylist(), strict=True))

    def labels(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Speaker numbers, shape (utterances,), indices into ``speakers()``."""
        number = {speaker: i for i, speaker in enumerate(self.speakers())}
        return np.fromiter((number[s] for s in self.table["speaker"].to_pylist()), np.int64, len(self))

    def kinds(self, columns: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Numbers from 0 on, shape (utterances,): two utterances have one where they agree in all of the columns."""
        codes = [pc.rank(self.table[name], tiebreaker="dense").to_numpy() for name in columns]
        _, kinds = np.unique(np.stack(codes), axis=1, return_inverse=True)
        return kinds.reshape(-1).astype(np.int64)

    def where(self, keep: Sequence[bool] | np.ndarray[Any, np.dtype[np.bool_]]) -> Manifest:
        """The utterances whose entry in ``keep`` is true, in their order."""
        return Manifest(self.table.filter(pa.array(np.asarray(keep, dtype=bool))), self.root)

    def of_speakers(self, speakers: Iterable[str]) -> Manifest:
        """The utterances of these speakers."""
        return self.where(pc.is_in(self.table["speaker"], pa.array(list(speakers), pa.string())))

    def _places(self, root: Path) -> list[str]:
        """``files()`` as text, which is a tenth of the time."""
        return [os.path.join(root, path) for path in self.table["path"].to_pylist()]  # noqa: PTH118

    def _checked(self) -> Manifest:
        blocks = self.table.select(["utterance"]).to_batches(max_chunksize=_KEYS_AT_ONCE)
        # Keys of different hashes are different; a table of the keys takes more memory than the manifest itself.
        hashes = np.fromiter(
            (hash(key) for block in blocks for key in block[0].to_pylist()), np.int64, len(self)
        )
        hashes.sort()
        if (hashes[1:] == hashes[:-1]).any():
            for count in pc.value_counts(self.table["utterance"]).to_pylist():
                if count["counts"] > 1:
                    raise CorpusError(
                        f"utterance '{count['values']}' occurs more than once in the manifest; keys must be unique"
                    )
        return self
