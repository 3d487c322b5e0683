"""What a recipe would do: its data, its arithmetic, a few steps on made-up sound; trains and writes nothing."""

from __future__ import annotations

import io
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import nn

from voxangle.audio import SAMPLE_RATE, Waveform, load
from voxangle.corpora.prepared import prepared_split, split_of
from voxangle.data import Manifest
from voxangle.data.batches import CropBatch, LabelledRecordings
from voxangle.data.sampler import Rows
from voxangle.data.shard_reader import ShardRecordings
from voxangle.errors import AudioError, CorpusError, MissingExtraError, RecipeError
from voxangle.recipe import Recipe
from voxangle.training.distributed import Ranks
from voxangle.training.feed import open_feed
from voxangle.training.loop import Run
from voxangle.training.material import divide, open_shards, read_corpora

__all__ = ["Plan", "PlanLine", "make_plan", "plan_table"]

Basis = Literal["counted", "computed", "measured", "estimated", "extrapolated"]

_LISTENED = 16  # recordings of a corpus that are decoded
_NOISE_SECONDS = 60


class PlanLine(NamedTuple):
    """A figure of a plan, and what it rests on."""

    what: str
    value: str
    basis: Basis
    remark: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run by a recipe would be.

    Attributes:
        name: the recipe's.
        classes: training speakers, at every speed.
        steps: optimiser steps.
        epochs: times that every row is read.
        encoder_parameters: numbers that the encoder learns.
        objective_parameters: likewise of the losses: prototypes, biases, weights.
        step_seconds: median duration of a measured step.
        hours: of all steps at that rate, on each process.
        peak_bytes: memory at the peak of the measured steps.
        lines: all figures, for a table.
        notes: what a person should know.
    """

    name: str
    classes: int
    steps: int
    epochs: float
    encoder_parameters: int
    objective_parameters: int
    step_seconds: float
    hours: float
    peak_bytes: int
    lines: tuple[PlanLine, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MadeUpRecordings:
    """Recordings of a manifest that nobody has decoded: their speakers and lengths, with noise for sound.

    Attributes:
        manifest: with the seconds of each.
        samples: shape (utterances,), int64; the length of each at 16 kHz.
    """

    manifest: Manifest
    samples: Rows
    _noise: NDArray[np.float32]

    @classmethod
    def of(cls, manifest: Manifest) -> MadeUpRecordings:
        """Noise of the seconds that the manifest says."""
        samples = np.maximum(np.rint(manifest.column("seconds") * SAMPLE_RATE), 400).astype(np.int64)
        noise = np.random.default_rng(0).standard_normal(_NOISE_SECONDS * SAMPLE_RATE)
        return cls(manifest, samples, (0.1 * noise).astype(np.float32))

    def read(self, row: int, first: int = 0, samples: int | None = None) -> Waveform:
        """Noise, the same at every call."""
        count = int(self.samples[row]) - first if samples is None else samples
        begin = (7919 * row + first) % len(self._noise)
        return np.take(self._noise, np.arange(begin, begin + count), mode="wrap")

    def where(self, keep: NDArray[np.bool_]) -> MadeUpRecordings:
        """The recordings whose entry in ``keep``, shape (utterances,), is true, in their order."""
        return replace(self, manifest=self.manifest.where(keep), samples=self.samples[keep])


def make_plan(recipe: Recipe, *, processes: int = 1, measured_steps: int = 3) -> Plan:
    """Look whether a recipe can be trained, and what that would take.

    The corpora are read as they lie. What was prepared is counted exactly; else 16 recordings of each, evenly over
    its split, are decoded, and tell the length of those of which the corpus does not. The steps are real ones, with
    the whole objective, of one process's share of the batch, on noise in place of speech and without reading from
    the disk.

    Args:
        recipe: to be checked.
        processes: how many would share the batch.
        measured_steps: how many steps to time; one more goes before them, for warming up.

    Raises:
        CorpusError: the data is not there, cannot be decoded, or is too little.
        RecipeError: the batch does not fit the speakers, the processes or the memory.
        MissingExtraError: the recipe needs an extra that is not installed.
        CheckpointError: ``start_from`` is not there or does not fit.
    """
    batch = recipe.batch
    if batch.speakers % processes:
        raise RecipeError(
            f"batch.speakers ({batch.speakers}) do not divide evenly over {processes} processes; make it a "
            f"multiple of {processes}"
        )
    if recipe.training.tensorboard:
        _demand_tensorboard()
    lines: list[PlanLine] = []
    sources: list[LabelledRecordings] = []
    notes = []
    if recipe.data.shards:
        shards = open_shards(recipe.data.shards, recipe.data)
        recordings = ShardRecordings(shards)
        for row in _spread(len(shards)):
            recordings.read(row)
        lines.append(_corpus_line(shards.source or recipe.data.shards, shards.manifest, known=True))
        sources.append(recordings)
    sure = True
    for corpus, split in [] if recipe.data.shards else read_corpora(recipe.data):
        broken: list[AudioError] = []
        if ready := prepared_split(corpus, split):
            manifest, known = ready.manifest, True
            if ready.left_out:
                notes.append(
                    f"{len(ready.left_out)} recordings are left out ({ready.folder / 'left_out.csv'})"
                )
        else:
            manifest, known, broken = _listened_to(
                split_of(corpus, split), f"corpus '{corpus.name}', split '{split}'"
            )
        if broken:
            notes.append(
                f"{len(broken)} of {min(_LISTENED, len(manifest))} recordings of {corpus.name} that were tried cannot "
                f"be decoded, and will be left out, such as {broken[0]}"
            )
        lines.append(_corpus_line(f"{corpus.name}/{split}", manifest, known))
        sources.append(MadeUpRecordings.of(manifest))
        if not known and (recipe.data.join_seconds or recipe.data.minimum_seconds):
            sure = False
            notes.append(
                f"{corpus.name} does not say how long each recording is and is not prepared yet: what "
                "data.minimum_seconds leaves out, and data.join_seconds joins, is estimated until it is (voxangle "
                "corpora prepare)"
            )
        notes += corpus.remarks
    material = divide(sources, recipe.data, notes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    an_epoch = open_feed(recipe, material.training, Ranks(0, processes, device)).epoch_steps()
    material = replace(material, training=MadeUpRecordings.of(material.training.manifest))
    share = recipe.model_copy(
        update={"batch": batch.model_copy(update={"speakers": batch.speakers // processes})}
    )
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            share,
            Path(folder) / "run",
            material,
            Ranks(0, 1, device),
            Console(file=said),
            fresh=True,
            cache=Path(folder) / "augment",
        )
        seconds, peak = _measure(run, measured_steps)
    notes = [*material.notes, *(line.removeprefix("note: ") for line in said.getvalue().splitlines())]
    return _plan(recipe, run, processes, an_epoch, sure, seconds, peak, lines, notes)


def plan_table(plan: Plan) -> Table:
    """The plan as a table of figures and what each rests on."""
    table = Table(title=f"plan of '{plan.name}'", title_justify="left", box=None, pad_edge=False)
    table.add_column("what", no_wrap=True)
    table.add_column("figure")
    table.add_column("how", no_wrap=True)
    table.add_column("remark")
    for line in plan.lines:
        table.add_row(*line)
    return table


def _plan(
    recipe: Recipe,
    run: Run,
    processes: int,
    an_epoch: int,
    sure: bool,
    seconds: float,
    peak: int,
    lines: Sequence[PlanLine],
    notes: Sequence[str],
) -> Plan:
    batch, views, steps = recipe.batch, recipe.augment.views, recipe.schedule.steps
    classes, rows = len(run.speakers), len(run.material.training.samples) * len(recipe.data.speeds)
    crops = batch.speakers * batch.recordings
    epochs = steps / an_epoch
    encoder, objective = _count(run.encoder), _count(run.objective)
    # float32 weights and gradients, and the optimiser's moments: two of AdamW, one of SGD with momentum.
    moments = 2 if recipe.optimizer.kind == "adamw" else int(recipe.optimizer.momentum > 0)
    state = 4 * (2 + moments) * (encoder + objective)
    hours = steps * seconds / 3600
    on_gpu = run.ranks.device.type == "cuda"
    where = (
        torch.cuda.get_device_name(run.ranks.device) if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    )
    speeds = len(recipe.data.speeds)
    computed: Basis = "computed" if sure else "estimated"
    figures = [
        *lines,
        PlanLine(
            "classes",
            f"{classes:,}" + (f" = {run.voices:,} speakers x {speeds} speeds" if speeds > 1 else ""),
            "counted" if sure else "estimated",
            "training speakers" + (", without those held out" if run.material.validation else ""),
        ),
        PlanLine(
            "batch",
            f"{batch.speakers} speakers x {batch.recordings} recordings x {views} views = {crops * views:,} crops "
            f"of {batch.seconds:g} s",
            "computed",
            f"{crops * views // processes:,} on each of {processes} processes" if processes > 1 else "",
        ),
        PlanLine("epoch", f"{an_epoch:,} steps, {rows:,} rows", computed, "a row: a recording at a speed"),
        PlanLine("training", f"{steps:,} steps, {epochs:,.2f} epochs", computed),
        PlanLine(
            "audio",
            f"{an_epoch * crops * batch.seconds / 3600:,.2f} h of crops an epoch, x {views} views",
            computed,
        ),
        PlanLine("encoder", f"{encoder:,} parameters", "counted"),
        PlanLine("objective", f"{objective:,} parameters", "counted", "prototypes, and what else it learns"),
        PlanLine("weights", _size(state), "computed", "weights, gradients and moments, float32, a process"),
        PlanLine(
            "step",
            f"{seconds:.4g} s, {crops * views / processes / seconds:,.0f} crops/s a process",
            "measured",
            f"{where}; noise for speech, nothing read from disk",
        ),
        PlanLine("memory", _size(peak), "measured", "peak of the GPU" if on_gpu else "peak of this process"),
        PlanLine(
            "duration",
            f"{hours:,.2f} h"
            + (f" x {processes} = {hours * processes:,.2f} device hours" if processes > 1 else ""),
            "extrapolated",
            "steps x the measured step, contrast and all; without validation"
            + (", and what the processes tell each other and compare" if processes > 1 else ""),
        ),
    ]
    return Plan(
        recipe.name,
        classes,
        steps,
        epochs,
        encoder,
        objective,
        seconds,
        hours,
        peak,
        tuple(figures),
        tuple(notes),
    )


def _listened_to(manifest: Manifest, where: str) -> tuple[Manifest, bool, list[AudioError]]:
    """The manifest with a length for every recording; whether the corpus knew all of them; those that are broken."""
    if not len(manifest):
        raise CorpusError(f"{where}: no recordings")
    chosen = np.zeros(len(manifest), bool)
    chosen[_spread(len(manifest))] = True
    listened, heard, broken = manifest.where(chosen), [], []
    for utterance, path in zip(listened, listened.files(), strict=True):
        try:
            waveform = load(path, start=utterance.start, seconds=utterance.seconds or None)
        except AudioError as error:
            broken.append(error)
        else:
            heard.append(len(waveform) / SAMPLE_RATE)
    if not heard:
        raise CorpusError(
            f"{where}: none of {len(broken)} recordings that were tried can be decoded: {broken[0]}"
        )
    seconds = manifest.column("seconds")
    known = bool((seconds > 0).all())
    place = manifest.table.schema.get_field_index("seconds")
    filled = pa.array(np.where(seconds > 0, seconds, np.mean(heard)), pa.float64())
    return replace(manifest, table=manifest.table.set_column(place, "seconds", filled)), known, broken


def _measure(run: Run, steps: int) -> tuple[float, int]:
    """Median seconds of a step, and bytes at the peak."""
    device = run.ranks.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    run.encoder.train()
    # The last step of the schedule: margin and contrast are whole there.
    run.step = run.recipe.schedule.steps - 1
    durations = []
    try:
        for number in range(1 + steps):
            batch = _made_up_batch(run, number)
            began = time.perf_counter()
            run.take(batch)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            durations.append(time.perf_counter() - began)
    except torch.OutOfMemoryError as error:
        free, total = torch.cuda.mem_get_info(device)
        raise RecipeError(
            f"a step does not fit into {torch.cuda.get_device_name(device)} ({_size(total)}, {_size(free)} free): "
            "lower batch.speakers, batch.seconds or augment.views, or share the batch among more processes"
        ) from error
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return statistics.median(durations[1:]), peak


def _made_up_batch(run: Run, number: int) -> CropBatch:
    """Noise of different speakers."""
    random, batch = np.random.default_rng(number), run.recipe.batch
    labels = random.permutation(len(run.speakers))[: batch.speakers].repeat(batch.recordings)
    noise = 0.1 * random.standard_normal((len(labels), round(batch.seconds * SAMPLE_RATE)), np.float32)
    return CropBatch(torch.from_numpy(noise), torch.from_numpy(labels), torch.from_numpy(labels))


def _spread(count: int) -> list[int]:
    """A few of so many rows, evenly."""
    return sorted({int(row) for row in np.linspace(0, count - 1, min(_LISTENED, count))})


def _corpus_line(name: str, manifest: Manifest, known: bool) -> PlanLine:
    hours = f"{manifest.column('seconds').sum() / 3600:,.2f} h"
    return PlanLine(
        name,
        f"{len(manifest):,} recordings, {len(manifest.speakers()):,} speakers, {hours}",
        "counted" if known else "estimated",
        "" if known else "hours by the mean of the decoded ones",
    )


def _demand_tensorboard() -> None:
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("training.tensorboard", "track") from error


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _size(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
