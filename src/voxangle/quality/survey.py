"""Every recording of a prepared corpus measured, in parallel, and kept so that a run that was cut off goes on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from voxangle.data.prepare import Prepared
from voxangle.quality.duplicates import Print, take_print
from voxangle.quality.measures import Measures, measure
from voxangle.storage import atomic_write

__all__ = ["Survey", "survey"]

_FORMAT = 1
_BLOCK = 1024  # recordings a file of the cache
_NAMES = [field.name for field in fields(Measures)]


@dataclass(frozen=True)
class Survey:
    """What was measured, in the order of the prepared manifest.

    Attributes:
        measures: of each recording.
        prints: of each recording.
    """

    measures: list[Measures]
    prints: list[Print]


def survey(
    prepared: Prepared, *, workers: int | None = None, on_progress: Callable[[int, int], None] | None = None
) -> Survey:
    """Measure all recordings, or read what was measured before.

    The measures are kept beside the prepared audio, a file for 1024 recordings; those of other audio are removed.

    Args:
        prepared: the audio.
        workers: threads; None for one a processor.
        on_progress: called with (recordings done, recordings).

    Raises:
        CorpusError: the prepared audio is no longer there.
        StorageError: the disk is full, or the folder cannot be written; run again to go on.
    """
    index = (prepared.folder / "index.parquet").read_bytes()
    plan = hashlib.sha256(index + bytes([_FORMAT])).hexdigest()[:16]
    for path in prepared.folder.glob("measures-*.parquet"):
        if not path.name.startswith(f"measures-{plan}-"):
            path.unlink()
    measures: list[Measures] = []
    prints: list[Print] = []
    total = len(prepared.samples)
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0)), thread_name_prefix="measure") as pool:
        for block, first in enumerate(range(0, total, _BLOCK)):
            path = prepared.folder / f"measures-{plan}-{block:05d}.parquet"
            rows = range(first, min(first + _BLOCK, total))
            known = _read(path, len(rows))
            if known is None:
                known = list(pool.map(lambda row: _one(prepared, row), rows))
                _write(path, known)
            measures += [one for one, _ in known]
            prints += [one for _, one in known]
            if on_progress is not None:
                on_progress(rows.stop, total)
    return Survey(measures, prints)


def _one(prepared: Prepared, row: int) -> tuple[Measures, Print]:
    waveform = prepared.read(row)
    return measure(waveform), take_print(waveform)


def _write(path: Path, known: list[tuple[Measures, Print]]) -> None:
    columns: dict[str, list[object]] = {
        name: [getattr(measures, name) for measures, _ in known] for name in _NAMES
    }
    columns["digest"] = [one.digest for _, one in known]
    columns["first"] = [one.first for _, one in known]
    columns["length"] = [one.length for _, one in known]
    columns["vector"] = [one.vector.tobytes() for _, one in known]
    with atomic_write(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _read(path: Path, rows: int) -> list[tuple[Measures, Print]] | None:
    try:
        table = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowInvalid):
        return None
    if len(table) != rows:
        return None
    return [
        (
            Measures(**{name: row[name] for name in _NAMES}),
            Print(row["digest"], row["first"], row["length"], np.frombuffer(row["vector"], np.float32)),
        )
        for row in table
    ]
