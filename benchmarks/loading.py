"""Crops a second from plain files, from the prepared cache and from shards, by number of workers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.ratio import Measurement, in_turns
from voxangle.audio import SAMPLE_RATE, Waveform, load
from voxangle.data import Manifest, Utterance
from voxangle.data.batches import CropBatch, CropReader, Recordings, SpeakerSampler
from voxangle.data.prepare import prepare
from voxangle.data.shard_reader import ShardReader
from voxangle.data.shard_writer import write_shards
from voxangle.data.shards import Shards

__all__ = ["loading"]

_SPEAKERS = {"wav": 32, "flac": 32, "opus": 8}  # opus takes ten times as long as flac
_RECORDINGS, _SECONDS = 8, 8.0  # as long as VoxCeleb's
_P, _K, _CROP = 8, 4, 2.0
_WORKERS = (0, 1, 2)
_NEEDED = 3000  # crops/s that a fast GPU takes


class _Files:
    """Plain files, each crop decoded by seek."""

    def __init__(self, manifest: Manifest) -> None:
        self._files = manifest.files()
        self.samples = np.full(len(manifest), round(_SECONDS * SAMPLE_RATE), np.int64)

    def read(self, row: int, first: int = 0, samples: int | None = None) -> Waveform:
        seconds = None if samples is None else samples / SAMPLE_RATE
        return load(self._files[row], start=first / SAMPLE_RATE, seconds=seconds)


def loading(rounds: int) -> Iterator[Measurement]:
    """Crops/s of wav, flac and opus as files and as shards, and of the prepared cache, workers 0, 1 and 2."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifests = {kind: _corpus(folder / kind, kind) for kind in _SPEAKERS}
        prepared = prepare(manifests["wav"], folder / "prepared")
        sources = [
            *((f"{kind} files", _by_row(_Files(manifest), manifest)) for kind, manifest in manifests.items()),
            ("prepared cache", _by_row(prepared, prepared.manifest)),
        ]
        for kind, manifest in manifests.items():
            shards = write_shards(manifest, folder / f"{kind}-shards", shard_bytes=8_000_000)
            sources.append((f"{kind} shards", partial(_in_order, shards)))
        for what, epoch in sources:
            crops = _count(epoch, 0)
            calls = [partial(_count, epoch, workers) for workers in _WORKERS]
            for workers, seconds in zip(_WORKERS, in_turns(*calls, rounds=rounds, warm_up=0), strict=True):
                yield Measurement.of(
                    f"crops from {what}, {workers} workers",
                    crops / seconds,
                    "crops/s",
                    f"{_CROP:g} s of {_SECONDS:g} s, an epoch of {crops} crops in batches of {_P} x {_K}",
                    least=_NEEDED if what == "prepared cache" else None,
                )


def _count(epoch: Callable[[int], Iterable[CropBatch]], workers: int) -> int:
    return sum(len(batch.rows) for batch in epoch(workers))


def _by_row(recordings: Recordings, manifest: Manifest) -> Callable[[int], Iterable[CropBatch]]:
    labels = manifest.labels()
    sampler = SpeakerSampler(labels, speakers=_P, recordings=_K, seed=0)
    reader = CropReader(recordings, labels, sampler, seconds=_CROP, seed=0)

    def epoch(workers: int) -> Iterable[CropBatch]:
        steps = len(sampler)
        return reader.stream(0, steps, threads=workers) if workers else map(reader.batch, range(steps))

    return epoch


def _in_order(shards: Shards, workers: int) -> Iterable[CropBatch]:
    return ShardReader(
        shards, speakers=_P, recordings=_K, seconds=_CROP, seed=0, buffer=128, workers=workers
    ).stream(0)


def _corpus(folder: Path, kind: str) -> Manifest:
    """Made-up voices; a speaker's recordings have the same content, which no loader can tell."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    time = np.arange(round(_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    settings: dict[str, Any] = {"format": "OGG", "subtype": "OPUS"} if kind == "opus" else {}
    rows = []
    for speaker in range(_SPEAKERS[kind]):
        phase = np.cumsum(random.uniform(90, 260) * (1 + 0.05 * np.sin(3 * time))) * 2 * np.pi / SAMPLE_RATE
        voice = sum(np.sin(n * phase) / n for n in range(1, 9)) * (0.55 + 0.45 * np.sin(20 * time))
        voice = 0.2 * voice + 0.005 * random.standard_normal(len(time))
        first = folder / f"{speaker}-0.{kind}"
        soundfile.write(first, voice, SAMPLE_RATE, **settings)
        for number in range(_RECORDINGS):
            path = folder / f"{speaker}-{number}.{kind}"
            if number:
                path.write_bytes(first.read_bytes())
            rows.append(Utterance(path.name, f"s{speaker}", path.name, seconds=_SECONDS))
    return Manifest.of(rows, folder)
