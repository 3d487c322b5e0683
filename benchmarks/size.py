"""VoxCeleb2 at its real size, without its audio: manifest, labels, prepared cache, and what an epoch draws."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import count, product
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.memory import peak_of
from benchmarks.ratio import Measurement, in_turns
from benchmarks.simulated import simulated_voxceleb2
from voxangle.audio import SAMPLE_RATE, Waveform
from voxangle.corpora import voxceleb2
from voxangle.data import Manifest, shard_writer
from voxangle.data import prepare as cache
from voxangle.data.batches import CropReader, SpeakerSampler
from voxangle.data.sampler import Rows
from voxangle.data.shard_plan import ShardPlanner
from voxangle.data.speeds import SpeedPerturbed

__all__ = ["size"]

_SPEEDS = (1.0, 0.9, 1.1)
_BATCHES = ((32, 2), (128, 2), (64, 4))  # P x K
_RANKS = (1, 4)
_NEEDED = 3000  # crops/s that a fast GPU takes
_DRAWN = 100 * _NEEDED
_TREE = 0.1  # of the speakers
_CROPS = 1024
_SHARD_BYTES = 256 * 2**20  # as write_shards has it
_FLAC_BYTES = 18_000  # a second


def size(rounds: int) -> Iterator[Measurement]:
    """Seconds and megabytes of each step from the manifest to a batch, and crops/s drawn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = folder / "voxceleb2"
        root.mkdir()
        manifest = simulated_voxceleb2(root)
        yield from _of_manifest(manifest, folder / "manifest.parquet", rounds)
        yield from _of_prepared(manifest, folder / "prepared", rounds)
        yield from _of_sampler(manifest, rounds)
        yield from _of_shards(manifest, rounds)
        yield _of_tree(folder / "tree", rounds)


def _of_manifest(manifest: Manifest, path: Path, rounds: int) -> Iterator[Measurement]:
    write, read, labels = in_turns(
        lambda: manifest.write(path), lambda: Manifest.read(path), manifest.labels, rounds=rounds, warm_up=1
    )
    rows = f"{len(manifest):,} utterances, {len(manifest.speakers()):,} speakers"
    yield Measurement.of(
        "manifest: write", write, "s", f"{rows}, {path.stat().st_size / 1e6:.0f} MB of Parquet"
    )
    yield Measurement.of("manifest: read", read, "s", rows, most=2)
    peaks = [
        peak_of("Manifest.read(sys.argv[1])", str(path), before="from voxangle.data import Manifest")
        for _ in range(rounds)
    ]
    yield Measurement.of(
        "manifest: read, memory of the process",
        [peak.at_most for peak in peaks],
        "MB",
        f"{peaks[0].at_first:.0f} MB of it before",
        most=500,
    )
    yield Measurement.of("manifest: labels()", labels, "s", "numbers of the speakers")


def _of_prepared(manifest: Manifest, folder: Path, rounds: int) -> Iterator[Measurement]:
    shards = _simulated_cache(manifest, folder)
    opened, prepared, perturbed = in_turns(
        lambda: cache.Prepared.open(folder),
        lambda: cache.prepare(manifest, folder),
        lambda: SpeedPerturbed(cache.Prepared.open(folder), _SPEEDS),
        rounds=rounds,
        warm_up=0,
    )
    yield Measurement.of("prepared cache: open", opened, "s", "lengths, offsets and the manifest")
    yield Measurement.of(
        "prepared cache: all is prepared already",
        prepared,
        "s",
        "every file asked for its size and time (none there)",
    )
    yield Measurement.of(
        "prepared cache: open, three speeds",
        perturbed,
        "s",
        f"{len(_SPEEDS) * len(manifest):,} rows of 17,982 speakers",
    )
    recordings = cache.Prepared.open(folder)
    labels = recordings.manifest.labels()
    sampler = SpeakerSampler(labels, speakers=128, recordings=2, seed=0)
    reader = CropReader(recordings, labels, sampler, seconds=2.0, seed=0)
    steps = _CROPS // sampler.batch_rows
    begins = count(step=steps)

    def read() -> None:
        first = next(begins)
        for _ in reader.stream(first, first + steps):
            pass

    (seconds,) = in_turns(read, rounds=rounds, warm_up=1)  # which plans the epoch
    yield Measurement.of(
        f"prepared cache: crops out of {shards:,} files",
        _CROPS / seconds,
        "crops/s",
        "2 s each, 2 workers; the files are holes, so that no disk is waited for",
        least=_NEEDED,
    )


def _simulated_cache(manifest: Manifest, folder: Path) -> int:
    """What ``prepare`` leaves behind, with holes for the audio; the number of its files."""
    folder.mkdir()
    plan = cache._plan_of(manifest)
    samples = np.rint(manifest.column("seconds") * SAMPLE_RATE).astype(np.int64)
    begins = np.cumsum(samples) - samples
    shard = begins // cache._SHARD_SAMPLES
    first = begins[np.searchsorted(shard, shard)]
    for number, length in enumerate(np.bincount(shard, samples).astype(np.int64).tolist()):
        with cache._pcm_path(folder, plan, number).open("wb") as pcm:
            pcm.truncate(2 * length)
    table = {"shard": shard.astype(np.int32), "offset": begins - first, "samples": samples}
    schema = cache._INDEX.with_metadata({cache._PLAN: plan})
    cache._write_table(pa.table(table, schema=schema), folder / "index.parquet")
    manifest.write(folder / "manifest.parquet")
    (folder / "left_out.csv").write_text("utterance,path,cause\n")
    return int(shard[-1]) + 1


class _Silence:
    """Recordings of the right lengths that take no time to read."""

    def __init__(self, samples: Rows) -> None:
        self.samples = samples
        self._sample = np.zeros(1, np.float32)

    def read(self, row: int, first: int = 0, samples: int | None = None) -> Waveform:
        del row, first, samples
        return self._sample


def _of_sampler(manifest: Manifest, rounds: int) -> Iterator[Measurement]:
    labels, lengths = manifest.labels(), np.rint(manifest.column("seconds") * SAMPLE_RATE).astype(np.int64)
    speakers = int(labels.max()) + 1
    perturbed = np.concatenate([labels + i * speakers for i in range(len(_SPEEDS))])
    recordings = _Silence(np.tile(lengths, len(_SPEEDS)))
    rows = f"{len(perturbed):,} rows of {len(_SPEEDS) * speakers:,} speakers"
    for (p, k), ranks in product(_BATCHES, _RANKS):
        sampler = SpeakerSampler(perturbed, speakers=p, recordings=k, seed=0, world_size=ranks)

        def plan(epoch: int, sampler: SpeakerSampler = sampler) -> int:
            return sum(len(sampler.batch(epoch, step)) for step in range(len(sampler)))

        yield _drawn(f"SpeakerSampler, {p} x {k}", ranks, plan, rounds, f"{rows}: plan and rows")
    p, k = _BATCHES[1]
    for ranks in _RANKS:
        sampler = SpeakerSampler(perturbed, speakers=p, recordings=k, seed=0, world_size=ranks)
        reader = CropReader(recordings, perturbed, sampler, seconds=1 / SAMPLE_RATE, seed=0)

        def read(epoch: int, reader: CropReader = reader, steps: int = len(sampler)) -> int:
            return sum(len(reader.batch(step).rows) for step in range(epoch * steps, (epoch + 1) * steps))

        yield _drawn(f"CropReader, {p} x {k}", ranks, read, rounds, f"{rows}: all but the audio")


def _of_shards(manifest: Manifest, rounds: int) -> Iterator[Measurement]:
    order, groups = map(np.asarray, shard_writer._order(manifest, 8))
    labels = manifest.labels()[order]
    ends = np.cumsum(manifest.column("seconds")[order] * _FLAC_BYTES)
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    # A shard ends with a group.
    shards = np.repeat(ends[begins] // _SHARD_BYTES, np.diff(np.append(begins, len(groups)))).astype(np.int64)
    rows = f"{len(labels):,} rows in {shards[-1] + 1:,} shards"
    for (p, k), ranks in product(_BATCHES, _RANKS):
        planner = ShardPlanner(labels, groups, shards, speakers=p, recordings=k, seed=0, world_size=ranks)

        def plan(epoch: int, planner: ShardPlanner = planner) -> int:
            return sum(len(rows) for batch in planner.batches(epoch, 0) for rows in batch.tuples)

        yield _drawn(f"ShardPlanner, {p} x {k}", ranks, plan, rounds, rows)


def _drawn(name: str, ranks: int, epoch: Callable[[int], int], rounds: int, detail: str) -> Measurement:
    """The rate at which one of several ranks draws its share of an epoch, each round a new one."""
    numbers = count()
    crops: list[int] = []
    (seconds,) = in_turns(lambda: crops.append(epoch(next(numbers))), rounds=rounds, warm_up=0)
    return Measurement.of(
        f"{name}, 1 of {ranks} ranks",
        np.asarray(crops) / seconds,
        "crops/s",
        f"{detail}; an epoch in {np.median(seconds):.2f} s",
        least=_DRAWN,
    )


def _of_tree(root: Path, rounds: int) -> Measurement:
    manifest = simulated_voxceleb2(root, share=_TREE)
    files = manifest.files()
    for folder in {file.parent for file in files}:
        folder.mkdir(parents=True)
    for file in files:
        file.touch()
    (seconds,) = in_turns(lambda: voxceleb2.read(root), rounds=rounds, warm_up=0)
    return Measurement.of(
        "tree: read a tenth of the speakers",
        seconds,
        "s",
        f"{len(files):,} files of {len(manifest.speakers())} speakers as dev/aac/ID/VIDEO/SEGMENT.m4a",
    )
