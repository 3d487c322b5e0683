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
from numpy.typing import NDArray

from voxangle.audio.measures import Measures, measure
from voxangle.data.prepare import Prepared
from voxangle.quality.duplicates import PRINT_SIZE, Print, Prints, take_print
from voxangle.storage import atomic_write

__all__ = ["Survey", "survey"]

_FORMAT = 2
_BLOCK = 1024  # recordings a file of the cache
_NAMES = [field.name for field in fields(Measures)]


@dataclass(frozen=True)
class Survey:
    """What was measured, in the order of the prepared manifest.

    Attributes:
        measures: by the names of ``Measures``, shape (recordings,) each.
        prints: of each recording.
    """

    measures: dict[str, NDArray[np.float64]]
    prints: Prints


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
    known: list[pa.Table] = []
    total = len(prepared.samples)
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0)), thread_name_prefix="measure") as pool:
        for block, first in enumerate(range(0, total, _BLOCK)):
            path = prepared.folder / f"measures-{plan}-{block:05d}.parquet"
            rows = range(first, min(first + _BLOCK, total))
            block_known = _read(path, len(rows))
            if block_known is None:
                block_known = _table(list(pool.map(lambda row: _one(prepared, row), rows)))
                with atomic_write(path) as temporary:
                    pq.write_table(block_known, temporary)
            known.append(block_known)
            if on_progress is not None:
                on_progress(rows.stop, total)
    table = pa.concat_tables(known) if known else _table([])
    del known
    return Survey(
        {name: table[name].to_numpy() for name in _NAMES},
        Prints(
            table["digest"].to_numpy().astype("S16"),
            table["first"].to_numpy(),
            table["length"].to_numpy(),
            _vectors(table["vector"]),
        ),
    )


def _one(prepared: Prepared, row: int) -> tuple[Measures, Print]:
    waveform = prepared.read(row)
    return measure(waveform), take_print(waveform)


def _table(known: list[tuple[Measures, Print]]) -> pa.Table:
    prints = Prints.of([one for _, one in known])
    columns = {name: pa.array([getattr(one, name) for one, _ in known], pa.float64()) for name in _NAMES}
    columns["digest"] = pa.array([one.digest for _, one in known], pa.binary(16))
    columns["first"], columns["length"] = pa.array(prints.first), pa.array(prints.length)
    columns["vector"] = pa.array([vector.tobytes() for vector in prints.vectors], pa.binary(2 * PRINT_SIZE))
    return pa.table(columns)


def _vectors(column: pa.ChunkedArray) -> NDArray[np.float16]:
    parts = [
        np.frombuffer(
            chunk.buffers()[1], np.float16, len(chunk) * PRINT_SIZE, offset=2 * PRINT_SIZE * chunk.offset
        )
        for chunk in column.chunks
    ]
    return np.concatenate([np.zeros(0, np.float16), *parts]).reshape(-1, PRINT_SIZE)


def _read(path: Path, rows: int) -> pa.Table | None:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid):
        return None
    return table if len(table) == rows else None
