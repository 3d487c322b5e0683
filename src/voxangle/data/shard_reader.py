"""Batches of random crops from shards, read in order and ahead."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from voxangle.audio import SAMPLE_RATE, Waveform, load
from voxangle.data.batches import CropBatch, cut
from voxangle.data.manifest import Manifest
from voxangle.data.sampler import Rows
from voxangle.data.shard_plan import Batch, ShardPlanner
from voxangle.data.shards import Shards
from voxangle.data.speeds import SpeedPerturbed
from voxangle.errors import AudioError, CorpusError, RecipeError

__all__ = ["ShardReader", "ShardRecordings"]

_READ_BYTES = 8 * 2**20  # one read: large enough for an object store to be fast


class ShardRecordings:
    """Shards as ``voxangle.data.batches.LabelledRecordings``: any recording at any time, each by a read of its own.

    For the few that are wanted so (validation, babble); training reads in order with ``ShardReader``.

    Args:
        shards: where they lie.
        fetched: coded recordings, by row, that need no reading any more.

    Attributes:
        shards: the same.
    """

    def __init__(self, shards: Shards, fetched: Mapping[int, bytes] | None = None) -> None:
        self.shards = shards
        self._fetched = fetched or {}

    @property
    def manifest(self) -> Manifest:
        """What is known of each, with measured seconds."""
        return self.shards.manifest

    @property
    def samples(self) -> Rows:
        """Shape (utterances,), int64; the length of each recording at 16 kHz."""
        return self.shards.samples

    def where(self, keep: np.ndarray[Any, np.dtype[np.bool_]]) -> ShardRecordings:
        """The recordings whose entry in ``keep``, shape (utterances,), is true, in their order."""
        return ShardRecordings(self.shards.where(keep))

    def read(self, row: int, first: int = 0, samples: int | None = None) -> Waveform:
        """Samples [first, first + samples) of a recording, to its end where ``samples`` is None.

        Raises:
            IndexError: the recording has no such samples.
            CorpusError: its shard is gone or damaged, or it cannot be decoded.
        """
        length = int(self.samples[row])
        last = length if samples is None else first + samples
        if not 0 <= first <= last <= length:
            raise IndexError(f"samples [{first}, {last}) are not within the {length} of row {row}")
        coded = self._fetched.get(row) or self.shards.read(np.asarray([row]))[0]
        return _segment(self.shards, row, coded, first, last - first)


class ShardReader:
    """Random crops of the batches that ``ShardPlanner`` plans, a pure function of (seed, world_size, epoch, step).

    A crop begins anywhere in its recording with equal chance; a recording shorter than the crop is repeated from
    a random phase. A speaker's recordings that are fewer than K are taken in turn until they are K, their
    crops spread around the recording. What is yielded does not depend on the number of workers, and a
    stream that begins at a step equals the rest of an unbroken one exactly: (epoch, step) is all the
    state there is, as long as the shards and the arguments below, ``workers`` aside, stay the same.

    At S speeds an epoch reads every shard S times, each time at one speed, the S times all shards shuffled
    together; labels and rows are those of ``SpeedPerturbed``.

    Processes that share the reading of a rank (a ``DataLoader``'s workers) each take
    ``rank * workers + worker`` of ``world_size * workers``, and a share of the speakers that divides so.

    Args:
        shards: the recordings.
        speakers: P, speakers a batch over all ranks.
        recordings: K, recordings a speaker; they are consecutive rows of the batch.
        seconds: length of a crop.
        seed: of every shuffle and crop, >= 0.
        speeds: as in ``SpeedPerturbed``.
        rank: of this process, in [0, world_size).
        world_size: number of processes; divides ``speakers``.
        buffer: coded recordings held to be drawn from.
        workers: threads that read and decode; 0 for none, in the caller's own thread.

    Attributes:
        recordings: the shards' at every speed: the classes' names, the speakers behind them.

    Raises:
        RecipeError: the crop holds no sample, or what ``ShardPlanner`` raises.
    """

    def __init__(
        self,
        shards: Shards,
        *,
        speakers: int,
        recordings: int,
        seconds: float,
        seed: int,
        speeds: Sequence[float] = (1.0,),
        rank: int = 0,
        world_size: int = 1,
        buffer: int = 4096,
        workers: int = 2,
    ) -> None:
        self._length = round(seconds * SAMPLE_RATE)
        if self._length < 1:
            raise RecipeError(f"a crop of {seconds} s holds no sample; set its seconds to 2 or so")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not in [0, {world_size})")
        self._shards = shards
        self.recordings = SpeedPerturbed(ShardRecordings(shards), speeds)
        # Each speed stands in shards of its own, which lie where the shards lie.
        turn = np.repeat(np.arange(len(speeds)), len(shards))
        self._shard = np.tile(shards.shard_of, len(speeds)) + turn * len(shards.shards)
        self._planner = ShardPlanner(
            self.recordings.labels,
            np.tile(shards.groups, len(speeds)) + turn * (1 + int(shards.groups.max(initial=0))),
            self._shard,
            speakers=speakers,
            recordings=recordings,
            seed=seed,
            world_size=world_size,
            buffer=buffer,
        )
        self._each = recordings
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._workers = workers
        self._planned: tuple[tuple[int, bool], list[Batch]] | None = None

    def steps(self, epoch: int, *, whole: bool = True) -> int:
        """Batches of an epoch: the same on every rank where ``whole``; epochs may differ by a few."""
        return len(self._plan(epoch, whole))

    def stream(
        self, epoch: int, first_step: int = 0, *, whole: bool = True
    ) -> Generator[CropBatch, None, None]:
        """The batches of an epoch from a step on, in order.

        Reading begins with what that step and those after it need: nothing that was drawn before is read
        again. An error while reading is raised in place of its batch. Closing the iterator ends the threads.

        Args:
            epoch: counted from 0.
            first_step: in the epoch.
            whole: as in ``ShardPlanner.batches``.

        Raises:
            CorpusError: a shard is gone or damaged, or a recording cannot be decoded.
        """
        batches = self._plan(epoch, whole)[first_step:]
        reads, needed = self._reads(epoch, batches)
        if not self._workers:
            yield from self._stream(epoch, first_step, batches, reads, needed)
            return
        with ThreadPoolExecutor(self._workers, thread_name_prefix="shards") as pool:
            fetched: deque[Future[list[bytes]]] = deque()
            ready: deque[Future[CropBatch]] = deque()
            held: dict[int, bytes] = {}
            asked = taken = 0
            try:
                for step, (batch, need) in enumerate(zip(batches, needed, strict=True), first_step):
                    for rows in reads[asked : need + self._workers]:
                        fetched.append(pool.submit(self._fetch, rows))
                        asked += 1
                    while taken < need:
                        held.update(zip(reads[taken].tolist(), fetched.popleft().result(), strict=True))
                        taken += 1
                    coded = {row: held.pop(row) for rows in batch.tuples for row in rows.tolist()}
                    ready.append(pool.submit(self._crops, epoch, step, batch, coded))
                    if len(ready) > 2 * self._workers:
                        yield ready.popleft().result()
                while ready:
                    yield ready.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _stream(
        self, epoch: int, first_step: int, batches: list[Batch], reads: list[Rows], needed: list[int]
    ) -> Generator[CropBatch, None, None]:
        held: dict[int, bytes] = {}
        taken = 0
        for step, (batch, need) in enumerate(zip(batches, needed, strict=True), first_step):
            for rows in reads[taken:need]:
                held.update(zip(rows.tolist(), self._fetch(rows), strict=True))
            taken = max(taken, need)
            coded = {row: held.pop(row) for rows in batch.tuples for row in rows.tolist()}
            yield self._crops(epoch, step, batch, coded)

    def _plan(self, epoch: int, whole: bool) -> list[Batch]:
        if self._planned is None or self._planned[0] != (epoch, whole):
            self._planned = (epoch, whole), self._planner.batches(epoch, self._rank, whole=whole)
        return self._planned[1]

    def _reads(self, epoch: int, batches: list[Batch]) -> tuple[list[Rows], list[int]]:
        """The rows of each read, in order, and how many reads must be done before each batch."""
        wanted = np.zeros(len(self._shard), dtype=bool)
        for batch in batches:
            wanted[np.concatenate(batch.tuples)] = True
        order = self._planner.reading_order(epoch, self._rank)
        order = order[wanted[order]]
        lying = order % len(self._shards)
        shards, sizes = self._shard[order].tolist(), self._shards.sizes[lying].tolist()
        reads: list[Rows] = []
        which = np.empty(len(self._shard), np.int64)
        starts: list[int] = []
        last_shard = first = end = -1
        for i, (shard, begin, size) in enumerate(
            zip(shards, self._shards.offsets[lying].tolist(), sizes, strict=True)
        ):
            # A new read at a new shard, after a gap, and where the one before is large enough.
            if shard != last_shard or begin - end > _READ_BYTES // 8 or begin + size - first > _READ_BYTES:
                starts.append(i)
                last_shard, first = shard, begin
            end = begin + size
        for a, b in pairwise([*starts, len(order)]):
            which[order[a:b]] = len(reads)
            reads.append(order[a:b])
        needed = [1 + int(which[np.concatenate(batch.tuples)].max()) for batch in batches]
        return reads, np.maximum.accumulate(np.asarray(needed, np.int64)).tolist()

    def _fetch(self, rows: Rows) -> list[bytes]:
        """The coded recordings of some rows of one speed and one shard."""
        return self._shards.read(rows % len(self._shards))

    def _crops(self, epoch: int, step: int, batch: Batch, coded: dict[int, bytes]) -> CropBatch:
        key = (self._seed, epoch, step, self._rank, self._world_size)
        random = np.random.default_rng(np.random.SeedSequence(key, spawn_key=(5,)))
        fetched = {row % len(self._shards): content for row, content in coded.items()}
        recordings = self.recordings.over(ShardRecordings(self._shards, fetched))
        all_rows = np.concatenate([np.resize(rows, self._each) for rows in batch.tuples])
        crops = np.empty((len(all_rows), self._length), np.float32)
        crop = iter(crops)
        for rows in batch.tuples:
            places = random.random(len(rows))
            turns = -(-self._each // len(rows))
            for i in range(self._each):
                turn, which = divmod(i, len(rows))
                place = (places[which] + turn / turns) % 1.0
                next(crop)[:] = cut(recordings, int(rows[which]), place, self._length)
        return CropBatch(
            torch.from_numpy(crops),
            torch.from_numpy(self.recordings.labels[all_rows]),
            torch.from_numpy(all_rows),
        )


def _segment(shards: Shards, row: int, coded: bytes, first: int, count: int) -> Waveform:
    """``_decoded``, with errors that name the utterance."""
    try:
        return _decoded(coded, int(shards.samples[row]), first, count)
    except (AudioError, soundfile.LibsndfileError) as error:
        cause = error.cause if isinstance(error, AudioError) else error.error_string
        raise CorpusError(
            f"{shards.place.address}/{shards.shards[shards.shard_of[row]].name}: utterance "
            f"'{shards.manifest.table['utterance'][row]}' cannot be decoded ({cause}); write the shards again"
        ) from error


def _decoded(coded: bytes, samples: int, first: int, count: int) -> Waveform:
    """Samples [first, first + count) at 16 kHz of a coded recording that has ``samples``."""
    if coded[:4] in (b"fLaC", b"RIFF"):
        with soundfile.SoundFile(io.BytesIO(coded)) as sound:
            if (sound.samplerate, sound.channels, sound.frames) == (SAMPLE_RATE, 1, samples):
                sound.seek(first)
                waveform: Waveform = sound.read(count, dtype="float32")
                return waveform
    # Decoders want a file: one in memory, which no other process sees and no crash leaves behind.
    handle = os.memfd_create("recording")
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(coded)
        path, last = Path(f"/proc/self/fd/{handle}"), first + count
        if last < samples:
            try:
                return load(path, seconds=last / SAMPLE_RATE)[first:]
            except AudioError:
                pass  # the recording begins with silence, which is no fault in all of it
        return load(path)[first:last]
    finally:
        os.close(handle)
