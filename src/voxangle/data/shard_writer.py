"""Writing shards: what lies beside what, and how each recording is coded.

A speaker's recordings are dealt into groups of ``together`` that lie side by side, each of as many different sessions
as can be; the groups of a speaker lie evenly spaced over all shards. So a short stretch of any shard holds K
recordings each of many speakers, and every shard is as mixed as the corpus: a small buffer is enough for
batches of P speakers x K recordings.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from voxangle.audio import SAMPLE_RATE, Waveform, load, probe
from voxangle.data.ahead import worked_ahead
from voxangle.data.manifest import SCHEMA, Manifest, Utterance
from voxangle.data.pcm import to_pcm, why_too_short
from voxangle.data.places import Place, place_of
from voxangle.data.prepare import require_extras
from voxangle.data.shards import FORMAT, TABLE, VERSION, Shard, Shards, read_index
from voxangle.errors import AudioError, CorpusError

__all__ = ["Coding", "rates_of", "write_shards"]

Coding: TypeAlias = Literal["keep", "flac"]

_BLOCK = 512  # of a tar file
_KEPT = {  # by what the header says, not by the name
    "WAV": ".wav",
    "WAVEX": ".wav",
    "FLAC": ".flac",
    "OGG OPUS": ".opus",
    "OGG VORBIS": ".ogg",
    "MP3 MPEG_LAYER_III": ".mp3",
}
_PART = pa.schema([*TABLE, ("cause", pa.string()), ("rate", pa.int32())])


class _Coded(NamedTuple):
    content: bytes
    suffix: str
    samples: int
    rate: int  # of the file, in Hz


def write_shards(
    manifest: Manifest,
    url: str | Path,
    *,
    source: str = "",
    coding: Coding = "keep",
    together: int = 8,
    shard_bytes: int = 256 * 2**20,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Shards:
    """Write every utterance once into shards, or open them where that is done already.

    Every recording is decoded to see that it can be; what cannot is left out and named. A run that was cut off
    goes on after its last finished shard and ends with the same bytes as one that was not. One process writes to a
    place at a time.

    Args:
        manifest: what to write; an utterance with ``seconds`` 0 goes to the end of its file.
        url: a folder, or a URL that fsspec can write.
        source: what it is, ``CORPUS/SPLIT``, for those who will read it.
        coding: ``keep`` leaves whole wav, flac, mp3, ogg and opus files as they are and codes the rest (segments of
            files, m4a ...) as FLAC, 16 kHz mono 16 bits; ``flac`` codes all so.
        together: recordings of a speaker side by side, >= 1: a multiple of every K that will be drawn.
        shard_bytes: a shard ends with the group that reaches this size.
        workers: decoding threads; None for one a processor.
        on_progress: called with (utterances done, utterances).

    Raises:
        CorpusError: the corpus is not there, is empty, or none of it could be decoded; another release lies
            at ``url``.
        MissingExtraError: its files, or the URL, need an extra that is not installed.
        StorageError: the place is full, or cannot be written; run again to go on.
        ValueError: ``coding``, ``together`` or ``shard_bytes`` is out of range.
    """
    if coding not in ("keep", "flac") or together < 1 or shard_bytes < 1:
        raise ValueError(
            f"coding must be keep or flac, together and shard_bytes at least 1; got {coding!r}, {together}, "
            f"{shard_bytes}"
        )
    if not len(manifest):
        raise CorpusError(f"the manifest of {manifest.root} is empty: there is nothing to write")
    if not manifest.root.is_dir():
        raise CorpusError(f"{manifest.root}: no such folder; the corpus has to be there to be written")
    place = place_of(str(url))
    release = manifest.fingerprint(VERSION, coding, together, shard_bytes)
    index = read_index(place)
    if index is None or index["release"] != release:
        _check_release(place, release)
        require_extras(manifest)
        for name in place.names():
            if name.startswith(f".shard-{release}-"):  # a killed run's, half written
                place.remove(name)
        rows, groups = _order(manifest, together)
        parts = _write_parts(
            manifest, rows, groups, place, release, coding, shard_bytes, workers, on_progress
        )
        _finish(manifest, parts, place, release, source, coding, together)
    return Shards.open(url)


def rates_of(shards: Shards) -> dict[int, int]:
    """How many recordings come from a file of which rate, in Hz; empty where an earlier version wrote them.

    Raises:
        CorpusError: the shards are no longer there.
    """
    index = read_index(shards.place) or {}
    return {int(rate): count for rate, count in index.get("rates", {}).items()}


def _check_release(place: Place, release: str) -> None:
    others = {name.split("-")[1] for name in place.names() if name.startswith("shard-")} - {release}
    if others:
        raise CorpusError(
            f"{place.address}: holds shards of another release ({', '.join(sorted(others))}): the corpus or the "
            "settings have changed since; choose another place, or remove what lies there"
        )


def _order(manifest: Manifest, together: int) -> tuple[list[int], list[int]]:
    """The rows in the order of the shards, and the number of the group of each."""
    random = np.random.default_rng(0)
    _, speaker = np.unique(manifest.column("speaker").astype(str), return_inverse=True)
    _, session = np.unique(manifest.column("session").astype(str), return_inverse=True)
    _, occasion = np.unique(speaker * (session.max() + 1) + session, return_inverse=True)
    rows = np.lexsort((_spaced(random, occasion), speaker))
    counts = np.bincount(speaker)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = place % together == 0
    group = np.cumsum(begins) - 1
    where = np.empty(begins.sum(), np.int64)
    where[np.argsort(_spaced(random, speaker[rows[begins]]), kind="stable")] = np.arange(len(where))
    order = np.argsort(where[group], kind="stable")
    return rows[order].tolist(), where[group][order].tolist()


def _spaced(random: np.random.Generator, classes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Places in [0, 1), shape (n,), at which the members of each class, shuffled, lie evenly spaced."""
    counts = np.bincount(classes)
    shuffled = np.lexsort((random.random(len(classes)), classes))
    turn = np.empty(len(classes))
    turn[shuffled] = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray((turn + random.random(len(counts))[classes]) / counts[classes])


def _write_parts(
    manifest: Manifest,
    rows: list[int],
    groups: list[int],
    place: Place,
    release: str,
    coding: Coding,
    shard_bytes: int,
    workers: int | None,
    on_progress: Callable[[int, int], None] | None,
) -> list[tuple[pa.Table, Shard | None]]:
    """Write the shards that are not there yet; of each, the table of its utterances and of what was left out."""
    parts = _finished_parts(place, release)
    done = sum(len(part) for part, _ in parts)
    if on_progress is not None:
        on_progress(done, len(rows))
    utterances, files = list(manifest), manifest.files()

    def coded(row: int) -> _Coded | str:
        return _code(utterances[row], files[row], coding)

    threads = workers or len(os.sched_getaffinity(0))
    with worked_ahead(coded, rows[done:], threads) as stream:
        while done < len(rows):
            name = f"shard-{release}-{len(parts):05d}.tar"
            number = sum(shard is not None for _, shard in parts)
            table: list[dict[str, Any]] = []
            with place.writing(name) as path, path.open("wb") as file:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                    for item in stream:
                        entry = asdict(utterances[rows[done]]) | {"group": groups[done], "shard": number}
                        if isinstance(item, str):
                            entry |= {"samples": 0, "offset": 0, "bytes": 0, "crc32": 0, "cause": item}
                        else:
                            entry |= {"seconds": item.samples / SAMPLE_RATE, "samples": item.samples}
                            entry["rate"] = item.rate
                            entry |= {"cause": "", **_add(tar, file, done, entry, item)}
                        table.append(entry)
                        done += 1
                        if on_progress is not None:
                            on_progress(done, len(rows))
                        ends = done == len(rows) or groups[done] != groups[done - 1]
                        if ends and file.tell() >= shard_bytes:
                            break
                file.flush()
                size, sha256 = path.stat().st_size, _sha256(path)
            kept = [entry for entry in table if not entry["cause"]]
            shard = Shard(name, size, sha256, len(kept), len({entry["speaker"] for entry in kept}))
            # A part without a single good recording is no shard of the release.
            if not kept:
                place.remove(name)
            part = pa.Table.from_pylist(table, schema=_PART)
            _write_table(place, _part_name(name), part, {"shard": json.dumps(shard._asdict())})
            parts.append((part, shard if kept else None))
    return parts


def _add(
    tar: tarfile.TarFile, file: io.BufferedWriter, number: int, entry: dict[str, Any], item: _Coded
) -> dict[str, int]:
    described = {name: entry[name] for name in (*SCHEMA.names, "samples")}
    for suffix, content in (
        (".json", json.dumps(described, ensure_ascii=False).encode()),
        (item.suffix, item.content),
    ):
        header = tarfile.TarInfo(f"{number:09d}{suffix}")
        header.size = len(content)
        offset = file.tell() + _BLOCK
        tar.addfile(header, io.BytesIO(content))
    return {"offset": offset, "bytes": len(item.content), "crc32": zlib.crc32(item.content)}


def _code(utterance: Utterance, path: Path, coding: Coding) -> _Coded | str:
    """The recording as it is to be stored, or why it is left out."""
    try:
        info = probe(path)
        # A duration in a table is rounded; it is a segment where it leaves out more than that.
        whole = not utterance.start and (not utterance.seconds or utterance.seconds > info.seconds - 0.1)
        waveform = (
            load(path) if whole else load(path, start=utterance.start, seconds=utterance.seconds or None)
        )
        if short := why_too_short(waveform):
            return short
        suffix = _KEPT.get(info.format) or _KEPT.get(info.format.split()[0])
        if coding == "keep" and suffix and whole:
            return _Coded(path.read_bytes(), suffix, len(waveform), info.sample_rate)
    except AudioError as error:
        return error.cause
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return _Coded(_flac(waveform), ".flac", len(waveform), info.sample_rate)


def _flac(waveform: Waveform) -> bytes:
    coded = io.BytesIO()
    soundfile.write(coded, to_pcm(waveform), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return coded.getvalue()


def _finished_parts(place: Place, release: str) -> list[tuple[pa.Table, Shard | None]]:
    """The parts that a run before this one finished, from the first on without a gap."""
    parts: list[tuple[pa.Table, Shard | None]] = []
    while True:
        name = f"shard-{release}-{len(parts):05d}.tar"
        try:
            part = pq.read_table(pa.BufferReader(place.read(_part_name(name))))
            shard = Shard(**json.loads((part.schema.metadata or {})[b"shard"]))
        except (OSError, pa.ArrowInvalid, KeyError):
            return parts
        if shard.utterances and place.size(name) != shard.bytes:
            return parts
        if "rate" not in part.column_names:  # of an earlier version
            part = part.append_column(_PART.field("rate"), pa.nulls(len(part), pa.int32()))
        parts.append((part.replace_schema_metadata(None), shard if shard.utterances else None))


def _finish(
    manifest: Manifest,
    parts: list[tuple[pa.Table, Shard | None]],
    place: Place,
    release: str,
    source: str,
    coding: Coding,
    together: int,
) -> None:
    table = pa.concat_tables([part for part, _ in parts])
    kept = np.asarray([not cause for cause in table["cause"].to_pylist()])
    left_out = table.filter(pa.array(~kept)).select(["utterance", "path", "cause"])
    rows = list(zip(*(column.to_pylist() for column in left_out.columns), strict=True))
    with place.writing("left_out.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([left_out.column_names, *rows])
    if not kept.any():
        first = "".join(f"\n  {where}: {cause}" for _, where, cause in rows[:3])
        raise CorpusError(
            f"none of the {len(manifest)} utterances of {manifest.root} could be written; the first:{first}\n"
            f"All are listed in {place.address}/left_out.csv"
        )
    name = f"utterances-{release}.parquet"
    table = table.filter(pa.array(kept))
    rates = Counter(table["rate"].to_pylist())
    table = table.select(TABLE.names)
    sha256 = _write_table(place, name, table, {})
    index = {
        "format": FORMAT,
        "version": VERSION,
        "release": release,
        "source": source,
        "coding": coding,
        "together": together,
        "utterances": len(table),
        "speakers": len(table["speaker"].unique()),
        "hours": round(sum(table["seconds"].to_pylist()) / 3600, 4),
        "left_out": len(rows),
        "rates": {} if None in rates else {str(rate): rates[rate] for rate in sorted(rates)},
        "table": {"name": name, "sha256": sha256},
        "shards": [shard._asdict() for _, shard in parts if shard is not None],
    }
    with place.writing("index.json") as path:
        path.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    for number in range(len(parts)):
        place.remove(_part_name(f"shard-{release}-{number:05d}.tar"))


def _part_name(shard: str) -> str:
    return shard.removesuffix(".tar") + ".part.parquet"


def _write_table(place: Place, name: str, table: pa.Table, metadata: dict[str, str]) -> str:
    with place.writing(name) as path:
        pq.write_table(table.replace_schema_metadata(metadata), path)
        return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
