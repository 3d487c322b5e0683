"""Sharded recordings: tar files as WebDataset reads them, read in order from a disk or an object store.

A place (``voxangle.data.places``) holds

- ``shard-RELEASE-NNNNN.tar``: for each utterance ``NUMBER.json`` (the columns of the manifest) and beside it
  ``NUMBER.flac`` (``.wav``, ``.mp3``, ``.ogg``, ``.opus``), the recording as it was coded or coded anew;
- ``utterances-RELEASE.parquet``: the manifest in the order of the shards, and of each utterance its samples at
  16 kHz, group, shard, offset, bytes and CRC-32;
- ``left_out.csv``: utterance, path and cause of all that was left out;
- ``index.json``: version, release, the shards' sizes, counts and SHA-256, and the table's. Written last: while
  it is missing the place is unfinished.

RELEASE identifies the manifest, its files and the writer's settings, so that two releases never mix. Tar and not
Parquet, because any tool unpacks it, WebDataset and DALI train from it, and a recording is one range of bytes
in it, which an object store serves without a library for the format.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from voxangle.data.manifest import SCHEMA, Manifest
from voxangle.data.places import Place, place_of
from voxangle.data.prepare import LeftOut
from voxangle.errors import CorpusError

__all__ = ["Shard", "Shards"]

FORMAT = "voxangle-shards"
VERSION = 1
TABLE = pa.schema(
    [
        *SCHEMA,
        ("samples", pa.int64()),
        ("group", pa.int64()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),
        ("bytes", pa.int64()),
        ("crc32", pa.uint32()),
    ]
)
_VERIFIED_AT_ONCE = 2**24
_ASKED_AT_ONCE = 8


class Shard(NamedTuple):
    """One tar file: its name, size in bytes, SHA-256, and how many utterances and speakers it holds."""

    name: str
    bytes: int
    sha256: str
    utterances: int
    speakers: int


@dataclass(frozen=True, eq=False)
class Shards:
    """Shards that were written to the end.

    Attributes:
        place: where they lie.
        release: what identifies their content.
        source: the corpus and the split that they were written of, ``CORPUS/SPLIT``; empty where that was not said.
        coding: ``keep`` or ``flac``, as they were written.
        together: recordings of a speaker that lie side by side, at most.
        shards: the tar files, in order.
        manifest: the utterances, in the order of the shards, with measured seconds.
        samples: shape (utterances,), int64; the length of each at 16 kHz.
        groups: shape (utterances,), int64, not decreasing; recordings of one group are by one speaker, side by
            side in one shard.
        shard_of: shape (utterances,), int64; indices into ``shards``.
        offsets: shape (utterances,), int64; where the recording begins in its shard, in bytes.
        sizes: shape (utterances,), int64; its bytes.
        left_out: the others.
    """

    place: Place
    release: str
    source: str
    coding: str
    together: int
    shards: tuple[Shard, ...]
    manifest: Manifest
    samples: np.ndarray[Any, np.dtype[np.int64]]
    groups: np.ndarray[Any, np.dtype[np.int64]]
    shard_of: np.ndarray[Any, np.dtype[np.int64]]
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    sizes: np.ndarray[Any, np.dtype[np.int64]]
    left_out: tuple[LeftOut, ...]
    _checksums: np.ndarray[Any, np.dtype[np.uint32]]

    @classmethod
    def open(cls, url: str | Path) -> Shards:
        """Open what ``write_shards`` finished, and see that every shard is there in its full size.

        Raises:
            CorpusError: nothing is there, or not to the end; the index is of another version; index and table are
                of two releases; a shard is missing or truncated.
            MissingExtraError: the place needs fsspec.
        """
        place = place_of(str(url))
        index = read_index(place)
        if index is None:
            raise CorpusError(
                f"{place.address}: no shards here, or not written to the end; `voxangle corpora shard` writes "
                "them (the same command goes on where it was cut off)"
            )
        try:
            shards = tuple(Shard(**shard) for shard in index["shards"])
            content = _whole(place, index["table"]["name"])
            if hashlib.sha256(content).hexdigest() != index["table"]["sha256"]:
                raise CorpusError(
                    f"{place.address}/{index['table']['name']}: is not the table that index.json was written with "
                    "(two releases are mixed, or it is damaged); copy all files of one release again"
                )
            table = pq.read_table(pa.BufferReader(content)).cast(TABLE)
            release, coding, together = index["release"], index["coding"], index["together"]
            source = str(index.get("source", ""))
        except (KeyError, TypeError, ValueError) as error:
            raise CorpusError(
                f"{place.address}/index.json: broken ({error}); copy or write it again"
            ) from error
        text = _whole(place, "left_out.csv").decode()
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            for _ in pool.map(partial(_check_size, place), shards):
                pass
        samples, groups, shard_of, offsets, sizes = (
            table[name].to_numpy().astype(np.int64)
            for name in ("samples", "group", "shard", "offset", "bytes")
        )
        return cls(
            place=place,
            release=release,
            source=source,
            coding=coding,
            together=together,
            shards=shards,
            manifest=Manifest(table.select(SCHEMA.names), Path()),
            samples=samples,
            groups=groups,
            shard_of=shard_of,
            offsets=offsets,
            sizes=sizes,
            left_out=tuple(LeftOut(*row) for row in list(csv.reader(io.StringIO(text)))[1:]),
            _checksums=table["crc32"].to_numpy(),
        )

    def __len__(self) -> int:
        return len(self.manifest)

    def where(self, keep: np.ndarray[Any, np.dtype[np.bool_]]) -> Shards:
        """The utterances whose entry in ``keep``, shape (utterances,), is true, in their order."""
        return replace(
            self,
            manifest=self.manifest.where(keep),
            samples=self.samples[keep],
            groups=self.groups[keep],
            shard_of=self.shard_of[keep],
            offsets=self.offsets[keep],
            sizes=self.sizes[keep],
            _checksums=self._checksums[keep],
        )

    def read(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> list[bytes]:
        """The coded recordings of some utterances of one shard, in one read from the first to the last of them.

        Args:
            rows: shape (n,), int64, increasing.

        Raises:
            CorpusError: the shard is gone or truncated, or a recording has another checksum.
        """
        shard = self.shards[self.shard_of[rows[0]]]
        first, last = int(self.offsets[rows[0]]), int(self.offsets[rows[-1]] + self.sizes[rows[-1]])
        content = memoryview(_range(self.place, shard.name, first, last))
        if len(content) < last - first:
            raise CorpusError(
                f"{self.place.address}/{shard.name}: truncated: it ends before byte {last} of {shard.bytes}; "
                "copy the shard again"
            )
        recordings = []
        for row in rows.tolist():
            begin = int(self.offsets[row]) - first
            recording = bytes(content[begin : begin + int(self.sizes[row])])
            if zlib.crc32(recording) != self._checksums[row]:
                raise CorpusError(
                    f"{self.place.address}/{shard.name}: utterance '{self.manifest.table['utterance'][row]}' has "
                    "another checksum than its index says (damaged, or of another release); copy the shard again"
                )
            recordings.append(recording)
        return recordings

    def verify(self) -> None:
        """Read every shard to its end and compare its SHA-256.

        Raises:
            CorpusError: some differ; all are named.
        """
        wrong = []
        for shard in self.shards:
            _check_size(self.place, shard)
            digest = hashlib.sha256()
            for first in range(0, shard.bytes, _VERIFIED_AT_ONCE):
                last = min(shard.bytes, first + _VERIFIED_AT_ONCE)
                digest.update(_range(self.place, shard.name, first, last))
            if digest.hexdigest() != shard.sha256:
                wrong.append(shard.name)
        if wrong:
            raise CorpusError(
                f"{self.place.address}: {len(wrong)} of {len(self.shards)} shards have another SHA-256 than their "
                f"index says: {', '.join(wrong)}; copy them again"
            )


def read_index(place: Place) -> dict[str, Any] | None:
    """The index of a place, None where it has none.

    Raises:
        CorpusError: it cannot be read, is not of shards, or of another version.
    """
    where = f"{place.address}/index.json"
    try:
        index = json.loads(place.read("index.json"))
        kind, version = index["format"], index["version"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{where}: not an index of shards ({error})") from error
    if kind != FORMAT or version != VERSION:
        raise CorpusError(
            f"{where}: an index of {kind} version {version}, and this voxangle reads {FORMAT} version {VERSION}; "
            "write the shards again, or use the voxangle that wrote them"
        )
    return dict(index)


def _whole(place: Place, name: str) -> bytes:
    try:
        return place.read(name)
    except OSError as error:
        raise CorpusError(f"{place.address}/{name}: cannot be read ({error}); copy it again") from error


def _range(place: Place, name: str, first: int, last: int) -> bytes:
    try:
        return place.read(name, first, last)
    except OSError as error:
        raise CorpusError(f"{place.address}/{name}: cannot be read ({error})") from error


def _check_size(place: Place, shard: Shard) -> None:
    size = place.size(shard.name)
    if size is None:
        raise CorpusError(
            f"{place.address}/{shard.name}: the shard is missing; copy all files of the release again"
        )
    if size != shard.bytes:
        what = "truncated" if size < shard.bytes else "too long"
        raise CorpusError(
            f"{place.address}/{shard.name}: {what}: {size} bytes of {shard.bytes}; copy the shard again"
        )
