"""Embedding on several machines, by Ray Data (the ``ray`` extra): the same rows in the same order as in one process."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import pyarrow as pa

from voxangle.audio import SAMPLE_RATE
from voxangle.errors import AudioError, MissingExtraError, VoxangleError
from voxangle.runtime.corpus import Engine
from voxangle.runtime.embedding import BaseEmbedder, Embedding, PartSize
from voxangle.runtime.parts import part_table
from voxangle.runtime.recording_list import RecordingList
from voxangle.runtime.windows import Windows

__all__ = ["Portable", "on_ray"]

_BLOCK = 256  # recordings that a worker takes at a time, and does again if it is killed


@runtime_checkable
class Portable(Protocol):
    """An embedder that can be sent to another machine."""

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The embedder that was saved in a folder."""

    def save(self, folder: str | Path) -> None:
        """Write it into a folder."""


def on_ray(
    embedder: BaseEmbedder, *, models: int | None = None, workers: int = 2, block: int = _BLOCK
) -> Engine:
    """The engine that embeds on a Ray cluster: that of ``$RAY_ADDRESS``, else one of this machine alone.

    The model travels with the job; the recordings must lie under the same paths on every machine. A worker that dies
    is replaced and its block is done again; no recording is lost, and none comes twice. Ray is told to keep quiet and
    to report nothing to anybody; its logs are where it keeps them (``/tmp/ray``).

    Args:
        embedder: the model to send, trained or exported.
        models: copies of it that work at once; None for one a GPU, or, where there is none, one a machine.
        workers: threads that decode, of each copy.
        block: recordings that a copy takes at a time at most.

    Raises:
        MissingExtraError: Ray is not installed.
        TypeError: the embedder is not ``Portable``.
        ValueError: ``models`` is less than one.
    """
    if not isinstance(embedder, Portable):
        raise TypeError(f"{type(embedder).__name__} cannot be sent: it has no save and load")
    if models is not None and models < 1:
        raise ValueError(f"models must be at least 1, got {models}")
    ray = _import_ray()
    with tempfile.TemporaryDirectory() as name:
        embedder.save(name)
        model = {file.name: file.read_bytes() for file in Path(name).iterdir()}

    def embed(recordings: RecordingList, first: int, part: PartSize) -> Generator[Embedding]:
        del part  # a block is smaller
        with _connected(ray):
            copies, resources = _share(ray, models)
            rows = min(block, max(1, ceil((len(recordings) - first) / (4 * copies))))
            begins = [{"first": at} for at in range(first, len(recordings), rows)]
            if not begins:
                return
            # Local items make blocks without a task of their own; the list goes once to each machine.
            data = ray.data.from_items(begins, override_num_blocks=len(begins))
            data.context.execution_options.preserve_order = True
            data.context.enable_progress_bars = False
            job = ray.put(_Job(type(embedder), model, embedder.windows, recordings.absolute(), workers, rows))
            data = data.map_batches(
                _Copy,
                fn_constructor_args=(job,),
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=copies),
                **resources,
            )
            done = data.iter_batches(batch_size=None, batch_format="pyarrow")
            yield from _checked(done, recordings, first)

    return embed


class _Job(NamedTuple):
    """What every copy is told."""

    kind: type[Portable]
    model: dict[str, bytes]
    windows: Windows | None
    recordings: RecordingList
    workers: int
    rows: int  # of a block


class _Copy:
    """A copy of the model on some machine."""

    def __init__(self, job: Any) -> None:
        self._job: _Job = _import_ray().get(job)
        with tempfile.TemporaryDirectory() as name:
            for file, content in self._job.model.items():
                (Path(name) / file).write_bytes(content)
            self._embedder: Any = self._job.kind.load(name)
        self._embedder.windows = self._job.windows

    def __call__(self, block: pa.Table) -> pa.Table:
        return pa.concat_tables([self._embed(first) for first in block["first"].to_pylist()])

    def _embed(self, first: int) -> pa.Table:
        embedder: BaseEmbedder = self._embedder
        recordings, count = self._job.recordings, self._job.rows
        some = RecordingList(recordings.table.slice(first, count), recordings.root)
        rows = list(embedder.embed_stream(some.files(), workers=self._job.workers))
        return part_table(some.keys(), rows, embedder.dimension)


def _checked(done: Iterator[pa.Table], recordings: RecordingList, first: int) -> Generator[Embedding]:
    """The rows of the blocks, which must be those of the list."""
    row = first
    for table in done:
        if table["key"].to_pylist() != recordings.keys(row, len(table)):
            raise VoxangleError(
                f"Ray gave other rows than it was asked for from row {row} on; run again to go on from the last part"
            )
        vectors = table["embedding"].combine_chunks()
        for one, seconds, windows, cause, file in zip(
            vectors,
            table["seconds"].to_pylist(),
            table["windows"].to_pylist(),
            table["error"].to_pylist(),
            recordings.files(row),
            strict=False,
        ):
            vector = one.values.to_numpy().astype(np.float32, copy=False) if one.is_valid else None
            error = None if cause is None else AudioError(file.name, cause)
            yield Embedding(vector, round(seconds * SAMPLE_RATE), windows, error)
        row += len(table)
    if row != len(recordings):
        raise VoxangleError(
            f"Ray gave {row - first:,} of {len(recordings) - first:,} rows; run again to go on from the last part"
        )


def _import_ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of what it will change
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else its core writes to the terminal
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("embedding on several machines", "ray") from error
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # the other one writes its log file
            handler.setLevel(logging.ERROR)
    return ray


@contextmanager
def _connected(ray: Any) -> Iterator[None]:
    """A connection for as long as it is needed, or the one that is there."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not os.environ.get("RAY_ADDRESS"):
        quiet |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    with _no_standard_error():
        ray.init(**quiet)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _no_standard_error() -> Iterator[None]:
    """Ray's core says there which level it logs at; what goes wrong is raised."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _share(ray: Any, models: int | None) -> tuple[int, dict[str, float]]:
    """How many copies, and what each takes of its machine."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(node.get("GPU", 0) for node in nodes)
    copies = models or int(gpus) or len(nodes)
    cores = min(node.get("CPU", 1) for node in nodes)
    on_one = ceil(copies / len(nodes))
    share = cores // on_one or cores / on_one
    return copies, {"num_cpus": share, **({"num_gpus": 1} if gpus >= copies else {})}
