"""Batches of random crops from shards, read in order and ahead."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import torch

from voxangle.audio import SAMPLE_RATE, Waveform, load
from voxangle.data.batches import CropBatch
from voxangle.data.sampler import Rows
from voxangle.data.shard_plan import Batch, ShardPlanner
from voxangle.data.shards import Shards
from voxangle.errors import AudioError, CorpusError, RecipeError

__all__ = ["ShardReader", "ShardRecordings"]

_READ_BYTES = 8 * 2**20  # one read: large enough for an object store to be fast


class ShardRecordings:
    """Shards as ``voxangle.data.batches.Recordings``: any recording at any time, each by a read of its own.

    For the few that are wanted so (validation); training reads in order with ``ShardReader``.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    @property
    def samples(self) -> Rows:
        """Shape (utterances,), int64; the length of each recording at 16 kHz."""
        return self._shards.samples

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
        (coded,) = self._shards.read(np.asarray([row]))
        return _segment(self._shards, row, coded, first, last - first)


class ShardReader:
    """Random crops of the batches that ``ShardPlanner`` plans, a pure function of (seed, world_size, epoch, step).

    A crop begins anywhere in its recording with equal chance; a recording shorter than the crop is repeated from
    a random phase. A speaker's recordings that are fewer than K are taken in turn until they are K, their
    crops spread around the recording. What is yielded does not depend on the number of workers, and a
    stream that begins at a step equals the rest of an unbroken one exactly: (epoch, step) is all the
    state there is, as long as the shards and the arguments below, ``workers`` aside, stay the same.

    Processes that share the reading of a rank (a ``DataLoader``'s workers) each take
    ``rank * workers + worker`` of ``world_size * workers``, and a share of the speakers that divides so.

    Args:
        shards: the recordings.
        speakers: P, speakers a batch over all ranks.
        recordings: K, recordings a speaker; they are consecutive rows of the batch.
        seconds: length of a crop.
        seed: of every shuffle and crop, >= 0.
        rank: of this process, in [0, world_size).
        world_size: number of processes; divides ``speakers``.
        buffer: coded recordings held to be drawn from.
        workers: threads that read and decode; 0 for none, in the caller's own thread.

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
        self._labels = shards.manifest.labels()
        self._planner = ShardPlanner(
            self._labels,
            shards.groups,
            shards.shard_of,
            speakers=speakers,
            recordings=recordings,
            seed=seed,
            world_size=world_size,
            buffer=buffer,
        )
        self._recordings = recordings
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
                        fetched.append(pool.submit(self._shards.read, rows))
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
                held.update(zip(rows.tolist(), self._shards.read(rows), strict=True))
            taken = max(taken, need)
            coded = {row: held.pop(row) for rows in batch.tuples for row in rows.tolist()}
            yield self._crops(epoch, step, batch, coded)

    def _plan(self, epoch: int, whole: bool) -> list[Batch]:
        if self._planned is None or self._planned[0] != (epoch, whole):
            self._planned = (epoch, whole), self._planner.batches(epoch, self._rank, whole=whole)
        return self._planned[1]

    def _reads(self, epoch: int, batches: list[Batch]) -> tuple[list[Rows], list[int]]:
        """The rows of each read, in order, and how many reads must be done before each batch."""
        wanted = np.zeros(len(self._shards), dtype=bool)
        for batch in batches:
            wanted[np.concatenate(batch.tuples)] = True
        order = self._planner.reading_order(epoch, self._rank)
        order = order[wanted[order]]
        shards, sizes = self._shards.shard_of[order].tolist(), self._shards.sizes[order].tolist()
        reads: list[Rows] = []
        which = np.empty(len(self._shards), np.int64)
        starts: list[int] = []
        last_shard = first = end = -1
        for i, (shard, begin, size) in enumerate(
            zip(shards, self._shards.offsets[order].tolist(), sizes, strict=True)
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

    def _crops(self, epoch: int, step: int, batch: Batch, coded: dict[int, bytes]) -> CropBatch:
        key = (self._seed, epoch, step, self._rank, self._world_size)
        random = np.random.default_rng(np.random.SeedSequence(key, spawn_key=(5,)))
        crops = np.empty((len(batch.tuples) * self._recordings, self._length), np.float32)
        all_rows = np.concatenate([np.resize(rows, self._recordings) for rows in batch.tuples])
        crop = iter(crops)
        for rows in batch.tuples:
            places = random.random(len(rows))
            turns = -(-self._recordings // len(rows))
            for i in range(self._recordings):
                turn, which = divmod(i, len(rows))
                row = int(rows[which])
                self._crop(next(crop), row, coded[row], (places[which] + turn / turns) % 1.0)
        return CropBatch(
            torch.from_numpy(crops), torch.from_numpy(self._labels[all_rows]), torch.from_numpy(all_rows)
        )

    def _crop(self, crop: Waveform, row: int, coded: bytes, place: float) -> None:
        samples = int(self._shards.samples[row])
        length = self._length
        if samples >= length:
            first = int(place * (samples - length + 1))
            crop[:] = _segment(self._shards, row, coded, first, length)
        else:
            phase = int(place * samples)
            whole = _segment(self._shards, row, coded, 0, samples)
            crop[:] = np.take(whole, np.arange(phase, phase + length), mode="wrap")


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
