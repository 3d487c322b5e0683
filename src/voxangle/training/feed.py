"""What a run is fed with: batches of prepared recordings, or of shards in their order."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from voxangle.data.batches import CropBatch, CropReader, LabelledRecordings, SpeakerSampler
from voxangle.data.manifest import Manifest
from voxangle.data.sampler import Rows
from voxangle.data.shard_reader import ShardReader, ShardRecordings
from voxangle.data.speeds import SpeedPerturbed
from voxangle.errors import CheckpointError, RecipeError
from voxangle.recipe import Recipe
from voxangle.training.distributed import Ranks

__all__ = ["Feed", "open_feed"]


class Feed(Protocol):
    """This process's share of every batch, step after step."""

    @property
    def recordings(self) -> SpeedPerturbed:
        """What the batches' rows and labels are about."""

    @property
    def first_row(self) -> int:
        """Where this process's rows begin in the global batch."""

    def stream(self, first_step: int, last_step: int) -> Generator[CropBatch, None, None]:
        """The batches of steps [first_step, last_step), read ahead; closing it ends its threads."""

    def epoch_steps(self) -> int:
        """Steps in which every row comes once; of shards those of the first epoch."""

    def position(self) -> dict[str, Any]:
        """What a run needs beside the number of its steps to go on after the batch that was last taken."""

    def go_to(self, position: dict[str, Any], where: Path) -> None:
        """Go on where another feed was, as the checkpoint ``where`` says.

        Raises:
            CheckpointError: it was of other shards, or divided among another number of processes.
        """


def open_feed(recipe: Recipe, training: LabelledRecordings, ranks: Ranks) -> Feed:
    """The feed of a recipe: in the shards' order where the recordings lie in shards.

    Raises:
        CorpusError: there are too few speakers.
        RecipeError: the batch does not fit the speakers or the processes, or shall be alike in what none differ in.
    """
    if isinstance(training, ShardRecordings):
        return _FromShards(recipe, training, ranks)
    return _FromRecordings(recipe, training, ranks)


class _FromRecordings:
    """Any recording at any time: a batch follows from the seed and the number of its step alone."""

    def __init__(self, recipe: Recipe, training: LabelledRecordings, ranks: Ranks) -> None:
        self.recordings = SpeedPerturbed(training, recipe.data.speeds)
        batch = recipe.batch
        sampler = SpeakerSampler(
            self.recordings.labels,
            speakers=batch.speakers,
            recordings=batch.recordings,
            seed=recipe.seed,
            alike=_kinds(training.manifest, batch.alike, len(recipe.data.speeds)),
            rank=ranks.rank,
            world_size=ranks.world_size,
        )
        self._sampler = sampler
        self.first_row = sampler.first_row
        self._threads = _threads(recipe)
        self._reader = CropReader(
            self.recordings, self.recordings.labels, sampler, seconds=batch.seconds, seed=recipe.seed
        )

    def stream(self, first_step: int, last_step: int) -> Generator[CropBatch, None, None]:
        return self._reader.stream(first_step, last_step, threads=self._threads)

    def epoch_steps(self) -> int:
        return len(self._sampler)

    def position(self) -> dict[str, Any]:
        return {}

    def go_to(self, position: dict[str, Any], where: Path) -> None:
        pass


class _FromShards:
    """Shards in their order: an epoch after another, of which no two need have as many steps."""

    def __init__(self, recipe: Recipe, training: ShardRecordings, ranks: Ranks) -> None:
        batch = recipe.batch
        self._reader = ShardReader(
            training.shards,
            speakers=batch.speakers,
            recordings=batch.recordings,
            seconds=batch.seconds,
            seed=recipe.seed,
            speeds=recipe.data.speeds,
            rank=ranks.rank,
            world_size=ranks.world_size,
            buffer=recipe.data.buffer,
            workers=_threads(recipe),
        )
        self.recordings = self._reader.recordings
        self.first_row = ranks.rank * batch.speakers // ranks.world_size * batch.recordings
        self._release, self._processes = training.shards.release, ranks.world_size
        self._epoch = self._step = 0

    def stream(self, first_step: int, last_step: int) -> Generator[CropBatch, None, None]:
        left = last_step - first_step
        while left:
            with closing(self._reader.stream(self._epoch, self._step)) as batches:
                for batch in islice(batches, left):
                    left -= 1
                    self._step += 1
                    yield batch
            if left:
                self._epoch, self._step = self._epoch + 1, 0

    def epoch_steps(self) -> int:
        return self._reader.steps(0)

    def position(self) -> dict[str, Any]:
        return {
            "release": self._release,
            "processes": self._processes,
            "epoch": self._epoch,
            "step": self._step,
        }

    def go_to(self, position: dict[str, Any], where: Path) -> None:
        for name, here in (("release", self._release), ("processes", self._processes)):
            if position[name] != here:
                raise CheckpointError(
                    f"{where}: the run read its shards with {name} {position[name]}, this one would with {here} "
                    "and would meet some recordings twice in the epoch and others not at all; go on as it began, or "
                    "start anew with --fresh"
                )
        self._epoch, self._step = position["epoch"], position["step"]


def _kinds(manifest: Manifest, columns: Sequence[str], speeds: int) -> Rows | None:
    """What kind each row of recordings at several speeds is of, if their speakers shall be alike in something."""
    for column in columns:
        if len(manifest.table[column].unique()) < 2:
            raise RecipeError(
                f"batch.alike: the recordings do not differ in '{column}'; leave it out, or give the corpus's table "
                "that column"
            )
    return np.tile(manifest.kinds(columns), speeds) if columns else None


def _threads(recipe: Recipe) -> int:
    """Threads that read and decode: as the recipe says, or this process's share of the processors."""
    if recipe.training.readers is not None:
        return recipe.training.readers
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
