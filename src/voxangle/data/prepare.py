"""Audio decoded once, into flat files that random segments read fast.

A prepared folder holds

- ``shard-PLAN-NNNNN.pcm``: the samples of consecutive utterances, 16 kHz mono, 16-bit little-endian;
- ``shard-PLAN-NNNNN.parquet``: their index (row of the manifest, offset and samples, or why it was left out; the
  file's rate);
- ``left_out.csv``: utterance, path and cause of all that was left out;
- ``manifest.parquet``: the kept utterances with their measured seconds;
- ``index.parquet``: shard, offset and samples of each row of that manifest, how many were of which rate, and the
  plan. Written last: while it is missing the folder is unfinished.

PLAN identifies the manifest, its files' sizes and their times of change, so that the shards of two plans
never mix.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, Waveform, load, probe
from voxangle.audio.media import is_media
from voxangle.data.ahead import worked_ahead
from voxangle.data.manifest import Manifest, Utterance
from voxangle.data.pcm import FULL_SCALE, to_pcm, why_too_short
from voxangle.data.rates import resampling_note
from voxangle.errors import AudioError, CorpusError, MissingExtraError, StorageError
from voxangle.storage import atomic_write

__all__ = ["LeftOut", "Prepared", "already_prepared", "prepare", "require_extras"]

Progress: TypeAlias = Callable[[int, int], None]

_FORMAT = 1
_SHARD_SAMPLES = 32 * 2**20  # 64 MB, about half an hour
_FILES = 64  # whose rate is remembered
_OPEN_SHARDS = 256  # each holds a descriptor, of which a process has about a thousand
_DTYPE = np.dtype("<i2")
_SHARD_INDEX = pa.schema(
    [
        ("row", pa.int64()),
        ("offset", pa.int64()),
        ("samples", pa.int64()),
        ("cause", pa.string()),
        ("rate", pa.int32()),
    ]
)
_INDEX = pa.schema([("shard", pa.int32()), ("offset", pa.int64()), ("samples", pa.int64())])
_PLAN = b"voxangle.plan"
_RATES = b"voxangle.rates"
_LEFT_OUT_COLUMNS = ("utterance", "path", "cause")


class LeftOut(NamedTuple):
    """An utterance that could not be prepared, its file, and why."""

    utterance: str
    path: str
    cause: str


@dataclass(frozen=True, eq=False)
class Prepared:
    """Prepared audio.

    Attributes:
        folder: where it lies.
        manifest: the kept utterances, in the order of the manifest they came from, with measured seconds.
        samples: shape (utterances,), int64; the length of each at 16 kHz.
        left_out: the others.
        rates: how many utterances of all that were prepared come from a file of this rate, in Hz; empty where that
            was not counted when they were prepared.
    """

    folder: Path
    manifest: Manifest
    samples: NDArray[np.int64]
    left_out: tuple[LeftOut, ...]
    _plan: str
    _shards: NDArray[np.int32]
    _offsets: NDArray[np.int64]
    rates: Mapping[int, int] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said of the audio, a line each: how many utterances were resampled, and from which rates."""
        note = resampling_note(self.rates)
        return (note,) if note else ()

    @classmethod
    def open(cls, folder: str | Path) -> Prepared:
        """Open what ``prepare`` finished.

        Raises:
            CorpusError: nothing is prepared there, or not to the end.
        """
        folder = Path(folder)
        try:
            index = pq.read_table(folder / "index.parquet")
            metadata = index.schema.metadata or {}
            plan = metadata[_PLAN].decode()
            rates = json.loads(metadata.get(_RATES, b"{}"))
            with (folder / "left_out.csv").open(encoding="utf-8", newline="") as file:
                left_out = tuple(LeftOut(*row) for row in list(csv.reader(file))[1:])
        except (OSError, pa.ArrowInvalid, KeyError) as error:
            raise CorpusError(
                f"{folder}: no prepared audio here, or not prepared to the end; prepare the corpus (again)"
            ) from error
        return cls(
            folder,
            Manifest.read(folder / "manifest.parquet"),
            index["samples"].to_numpy(),
            left_out,
            plan,
            index["shard"].to_numpy(),
            index["offset"].to_numpy(),
            {int(rate): count for rate, count in rates.items()},
        )

    def read(self, row: int, first: int = 0, samples: int | None = None) -> Waveform:
        """Samples [first, first + samples) of an utterance, to its end where ``samples`` is None.

        Returns:
            Shape (samples,), float32 in [-1, 1): what was decoded, rounded to 1/32768.

        Raises:
            IndexError: the utterance has no such samples.
            CorpusError: the prepared audio is no longer there.
        """
        length = int(self.samples[row])
        last = length if samples is None else first + samples
        if not 0 <= first <= last <= length:
            raise IndexError(f"samples [{first}, {last}) are not within the {length} of row {row}")
        pcm = _opened(_pcm_path(self.folder, self._plan, int(self._shards[row])))
        offset = int(self._offsets[row])
        waveform = pcm.read(offset + first, last - first).astype(np.float32)
        waveform *= np.float32(1 / FULL_SCALE)
        return waveform

    def where(self, keep: NDArray[np.bool_]) -> Prepared:
        """The utterances whose entry in ``keep``, shape (utterances,), is true, in their order."""
        return replace(
            self,
            manifest=self.manifest.where(keep),
            samples=self.samples[keep],
            _shards=self._shards[keep],
            _offsets=self._offsets[keep],
        )


def prepare(
    manifest: Manifest, folder: Path, *, workers: int | None = None, on_progress: Progress | None = None
) -> Prepared:
    """Decode every utterance once into ``folder``, or open it where that is done already.

    Samples are rounded to 16 bits (to the nearest; beyond full scale they saturate). A run that was cut off
    goes on after its last finished shard and ends with the same bytes as one that was not. Where the manifest or a
    file of it has changed since, everything is prepared anew. Of several processes that prepare one folder, the first
    does the work while the others wait for it.

    Args:
        manifest: what to prepare; an utterance with ``seconds`` 0 goes to the end of its file.
        folder: where to; created where it is missing.
        workers: decoding threads (the decoders release Python's lock); None for one a processor.
        on_progress: called with (utterances done, utterances).

    Raises:
        CorpusError: the corpus is not there, is empty, or has no utterance that could be decoded.
        MissingExtraError: its files need an extra that is not installed.
        StorageError: the disk is full, or the folder cannot be written; run again to go on.
    """
    folder = Path(folder)
    if not len(manifest):
        raise CorpusError(f"the manifest of {manifest.root} is empty: there is nothing to prepare")
    if not manifest.root.is_dir():
        raise CorpusError(f"{manifest.root}: no such folder; the corpus has to be there to be prepared")
    try:
        str(manifest.root.resolve()).encode()
    except UnicodeEncodeError as error:  # the manifest that is written last could not hold it
        raise CorpusError(
            f"{os.fsencode(manifest.root)!r}: the name is not UTF-8; rename the folder"
        ) from error
    plan = _plan_of(manifest)
    if _finished(folder, plan):
        return Prepared.open(folder)
    with _locked(folder):
        if not _finished(folder, plan):
            require_extras(manifest)
            _remove_others(folder, plan)
            _decode_shards(manifest, folder, plan, workers or len(os.sched_getaffinity(0)), on_progress)
            _finish(manifest, folder, plan)
    return Prepared.open(folder)


def _plan_of(manifest: Manifest) -> str:
    return manifest.fingerprint(_FORMAT, _SHARD_SAMPLES, str(manifest.root.resolve()))


def _finished(folder: Path, plan: str) -> bool:
    try:
        metadata = pq.read_schema(folder / "index.parquet").metadata or {}
    except (OSError, pa.ArrowInvalid):
        return False
    return bool(metadata.get(_PLAN) == plan.encode())


def already_prepared(manifest: Manifest, folder: str | Path) -> Prepared | None:
    """What ``prepare`` left in the folder, if it came to its end with this manifest."""
    folder = Path(folder)
    return Prepared.open(folder) if _finished(folder, _plan_of(manifest)) else None


def require_extras(manifest: Manifest) -> None:
    """Say before the first file is decoded, and not in hour three, that one needs an extra that is not installed.

    Raises:
        MissingExtraError: by their names some of the files need the extra ``media``.
    """
    if find_spec("av") is not None:
        return
    files = [path for path in dict.fromkeys(manifest.table["path"].to_pylist()) if is_media(Path(path), b"")]
    if files:
        suffixes = ", ".join(sorted({Path(path).suffix for path in files}))
        raise MissingExtraError(
            f"reading {suffixes} files ({len(files):,} of {manifest.root}, the first: {files[0]})", "media"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; waits while another one does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a")
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_others(folder: Path, plan: str) -> None:
    """Remove what another plan left, and what a killed run had not finished writing."""
    (folder / "index.parquet").unlink(missing_ok=True)
    for path in [*folder.glob("shard-*"), *folder.glob(".*.tmp")]:
        if not path.name.startswith(f"shard-{plan}-"):
            path.unlink()


def _decode_shards(
    manifest: Manifest, folder: Path, plan: str, workers: int, on_progress: Progress | None
) -> None:
    shards = _shard_indices(folder, plan)
    row = 1 + shards[-1]["row"][-1].as_py() if shards else 0
    if on_progress is not None:
        on_progress(row, len(manifest))
    sources = ((utterance, manifest.root / utterance.path) for utterance in islice(manifest, row, None))
    # The segments of a file follow each other: its header is read once for all.
    rate_of = lru_cache(maxsize=_FILES)(lambda path: probe(path).sample_rate)
    with worked_ahead(partial(_decode, rate_of), sources, workers) as stream:
        shard = len(shards)
        while row < len(manifest):
            index: list[tuple[int, int, int, str, int]] = []
            offset = 0
            pcm_path = _pcm_path(folder, plan, shard)
            with atomic_write(pcm_path) as temporary, temporary.open("wb") as pcm:
                for decoded in stream:
                    if isinstance(decoded, str):
                        index.append((row, offset, 0, decoded, 0))
                    else:
                        pcm.write(decoded.samples.data)
                        index.append((row, offset, len(decoded.samples), "", decoded.rate))
                    offset += index[-1][2]
                    row += 1
                    if on_progress is not None:
                        on_progress(row, len(manifest))
                    if offset >= _SHARD_SAMPLES:
                        break
            columns = dict(zip(_SHARD_INDEX.names, zip(*index, strict=True), strict=True))
            _write_table(pa.table(columns, schema=_SHARD_INDEX), pcm_path.with_suffix(".parquet"))
            shard += 1


class _Decoded(NamedTuple):
    samples: NDArray[np.int16]
    rate: int  # of the file, in Hz


def _decode(rate_of: Callable[[Path], int], source: tuple[Utterance, Path]) -> _Decoded | str:
    """The utterance's samples and its file's rate, or the cause why it is left out."""
    utterance, path = source
    try:
        waveform = load(path, start=utterance.start, seconds=utterance.seconds or None)
        rate = rate_of(path)
    except AudioError as error:
        return error.cause
    return why_too_short(waveform) or _Decoded(to_pcm(waveform).astype(_DTYPE, copy=False), rate)


def _shard_indices(folder: Path, plan: str) -> list[pa.Table]:
    """The indices of the finished shards of a plan, from the first on without a gap; rate is null where not said."""
    indices: list[pa.Table] = []
    while True:
        pcm = _pcm_path(folder, plan, len(indices))
        try:
            index = pq.read_table(pcm.with_suffix(".parquet"))
            complete = pcm.stat().st_size == _DTYPE.itemsize * sum(index["samples"].to_pylist())
        except (OSError, pa.ArrowInvalid):
            return indices
        if not complete:
            return indices
        if "rate" not in index.column_names:
            index = index.append_column(_SHARD_INDEX.field("rate"), pa.nulls(len(index), pa.int32()))
        indices.append(index)


def _finish(manifest: Manifest, folder: Path, plan: str) -> None:
    indices = _shard_indices(folder, plan)
    table = pa.concat_tables(indices)
    shards = np.repeat(np.arange(len(indices)), [len(index) for index in indices])
    kept = np.asarray(table["cause"].to_pylist(), dtype=object) == ""
    causes = [cause for cause in table["cause"].to_pylist() if cause]
    left_out = [
        LeftOut(utterance.utterance, utterance.path, cause)
        for utterance, cause in zip(manifest.where(~kept), causes, strict=True)
    ]
    with (
        atomic_write(folder / "left_out.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows([_LEFT_OUT_COLUMNS, *left_out])
    if not kept.any():
        first = "".join(f"\n  {item.path}: {item.cause}" for item in left_out[:3])
        raise CorpusError(
            f"none of the {len(manifest)} utterances of {manifest.root} could be prepared; the first:{first}\n"
            f"All are listed in {folder / 'left_out.csv'}"
        )
    samples = table["samples"].to_numpy()[kept]
    rows = manifest.where(kept).table
    seconds = pa.array(samples / SAMPLE_RATE)
    rows = rows.set_column(rows.column_names.index("seconds"), "seconds", seconds)
    Manifest(rows, manifest.root.resolve()).write(folder / "manifest.parquet")
    rates = Counter(table["rate"].filter(pa.array(kept)).to_pylist())
    counted = {} if None in rates else {str(rate): rates[rate] for rate in sorted(rates)}
    metadata = {_PLAN: plan.encode(), _RATES: json.dumps(counted).encode()}
    columns = {"shard": shards[kept], "offset": table["offset"].to_numpy()[kept], "samples": samples}
    _write_table(pa.table(columns, schema=_INDEX.with_metadata(metadata)), folder / "index.parquet")


def _write_table(table: pa.Table, path: Path) -> None:
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary)


def _pcm_path(folder: Path, plan: str, shard: int) -> Path:
    return folder / f"shard-{plan}-{shard:05d}.pcm"


class _Pcm:
    """An open file of samples.

    It is not mapped into memory: for a mapped crop the system reads as much around it as it reads ahead, which is
    many times the crop.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, first: int, samples: int) -> NDArray[np.int16]:
        content = os.pread(self._descriptor, _DTYPE.itemsize * samples, _DTYPE.itemsize * first)
        if len(content) < _DTYPE.itemsize * samples:
            raise CorpusError(f"{self._path}: the prepared audio is truncated; prepare it again")
        return np.frombuffer(content, _DTYPE)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it was never opened
            os.close(self._descriptor)


@lru_cache(maxsize=_OPEN_SHARDS)
def _opened(path: Path) -> _Pcm:
    try:
        return _Pcm(path)
    except OSError as error:
        raise CorpusError(
            f"{path}: the prepared audio cannot be read ({error.strerror}); prepare it again"
        ) from error
