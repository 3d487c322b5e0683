"""The loop: batches in, a trained speaker encoder out, nothing lost on the way."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from voxangle.augment import Augmenter, build_banks
from voxangle.console import counting
from voxangle.corpora import CORPORA
from voxangle.data.batches import CropBatch
from voxangle.encoders import Encoder, build_encoder
from voxangle.encoders.card import Attribution, ModelCard, TrainingSummary
from voxangle.encoders.embedder import Embedder
from voxangle.encoders.model_files import read_model
from voxangle.errors import CheckpointError, DivergenceError
from voxangle.features import build_filterbank
from voxangle.metrics import SortedScores
from voxangle.objectives import Objective, backward_balanced
from voxangle.objectives.gathering import gather_embeddings, gather_labels
from voxangle.recipe import Recipe
from voxangle.runtime.measures import RecordingMeasures, measure_waveform
from voxangle.scoring import cosine_scores
from voxangle.storage import cache_folder, held, writable_folder
from voxangle.training.averaging import MovingAverage
from voxangle.training.checkpoint import CHECKPOINT, Checkpoint
from voxangle.training.config import OptimizerConfig
from voxangle.training.decision import Decision, decide_by
from voxangle.training.distributed import Ranks, agree, joined_ranks
from voxangle.training.feed import open_feed
from voxangle.training.material import Material, gather_material
from voxangle.training.progress import Log, StepRecord, TrainingProgress, say
from voxangle.training.schedule import contrast_is_on, lr_factor, margin_ramp
from voxangle.training.start import card_of, start_from

__all__ = ["Run", "TrainingInterrupted", "train"]


class TrainingInterrupted(Exception):  # noqa: N818 - not an error: the run was asked to stop, and did
    """The run was asked to stop; its state is in the checkpoint."""

    def __init__(self, step: int, folder: Path) -> None:
        self.step, self.folder = step, folder
        super().__init__(f"stopped after step {step}; the checkpoint is {folder / CHECKPOINT}")


def train(recipe: Recipe, folder: Path, *, fresh: bool = False, console: Console | None = None) -> Path:
    """Train by a recipe, or go on with the run that is in ``folder``.

    Args:
        recipe: what to do.
        folder: the run's: gets ``recipe.yaml``, ``checkpoint.pt``, ``log.jsonl`` and ``model/``.
        fresh: begin anew even where the folder holds a checkpoint.
        console: where to speak; None for silence.

    Returns:
        The folder of the trained model.

    Raises:
        TrainingInterrupted: after SIGINT or SIGTERM, with the checkpoint saved.
        DivergenceError: a loss or gradient is not finite; the last good checkpoint stays.
        CheckpointError: the folder holds the run of another recipe.
    """
    writable_folder(folder)
    with joined_ranks() as ranks, _alone_in(folder, ranks):
        speak = console if console and ranks.leads else Console(quiet=True)
        with counting(speak, "preparing") as on_progress:
            material = gather_material(recipe.data, on_progress)
        for note in material.notes:
            say(speak, note)
        return Run(recipe, folder, material, ranks, speak, fresh=fresh).train()


class Run:
    """One process of a run: its modules, its place in the data, its checkpoint."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        material: Material,
        ranks: Ranks,
        console: Console,
        *,
        fresh: bool,
        cache: Path | None = None,
    ) -> None:
        self.recipe, self.folder, self.material = recipe, folder, material
        self.ranks, self.console = ranks, console
        torch.manual_seed(recipe.seed)
        self.feed = open_feed(recipe, material.training, ranks)
        self.speakers, self.voices = self.feed.recordings.speakers, self.feed.recordings.voices
        if len(recipe.data.speeds) > 1:
            speeds = ", ".join(f"{speed:g}" for speed in recipe.data.speeds)
            say(console, f"{self.voices} speakers at the speeds {speeds} make {len(self.speakers)} classes")
        banks = build_banks(
            recipe.augment, material.training, seed=recipe.seed, cache=cache or cache_folder() / "augment"
        )
        for note in banks.notes:
            say(console, note)
        self.augmenter = Augmenter(recipe.augment, banks)
        self.filterbank = build_filterbank(recipe.features).to(ranks.device)
        self.encoder = build_encoder(recipe.encoder).to(ranks.device)
        self.objective = Objective(
            recipe.objective, speakers=len(self.speakers), dimension=self.encoder.dimension
        ).to(ranks.device)
        self.optimizer = _build_optimizer(recipe.optimizer, self.encoder, self.objective)
        self.balancer = self.objective.balancer(self.encoder)
        self.bf16 = _use_bf16(recipe.training.precision, ranks.device)
        decay = recipe.optimizer.average
        self.average = None if decay is None else MovingAverage(self.encoder, decay)
        self.ancestor: ModelCard | None = None
        self.step = 0 if fresh else self._restore()
        if recipe.start_from and not self.step:
            for note in start_from(recipe, self.speakers, self.encoder, self.objective):
                say(console, note)
            if self.average:
                self.average.load_state_dict(self.encoder.state_dict())
            self.ancestor = card_of(recipe.start_from)
        self.parallel: nn.Module = self.encoder
        if ranks.world_size > 1:
            self.parallel = DistributedDataParallel(self.encoder)

    def train(self) -> Path:
        """All steps that are left, then the model."""
        recipe, watch = self.recipe, self.recipe.training
        if self.ranks.leads:
            recipe.write(self.folder / "recipe.yaml")
        if self.step:
            self.console.print(f"going on after step {self.step}", highlight=False)
        steps = recipe.schedule.steps
        log = Log(self.folder, self.step, tensorboard=watch.tensorboard) if self.ranks.leads else None
        was_done, validation = self.step == steps, None
        with (
            TrainingProgress(self.console, first_step=self.step, steps=steps) as progress,
            _asked_to_stop() as stop,
            closing(self.feed.stream(self.step, steps)) as batches,
        ):
            self.encoder.train()
            since, crops = time.perf_counter(), 0
            for batch in batches:
                taken = self.take(batch)
                self.step += 1
                crops += len(batch.labels) * recipe.augment.views * self.ranks.world_size
                progress.advance(self.step)
                if self.step % watch.log_every == 0 or self.step == steps:
                    now = time.perf_counter()
                    record = StepRecord(step=self.step, crops_per_second=crops / (now - since), **taken)
                    since, crops = now, 0
                    progress.show(record)
                    if log:
                        log.write(record)
                last = self.step == steps
                if last or (watch.validate_every and self.step % watch.validate_every == 0):
                    began = time.perf_counter()
                    validation = self._validate()
                    if validation and log:
                        rate = validation.scores.eer().rate
                        log.write_validation(self.step, rate)
                        progress.say(f"step {self.step}: validation EER {100 * rate:.2f} %")
                    since += time.perf_counter() - began
                stopping = agree(stop.is_set, self.ranks)
                if stopping or last or self.step % watch.checkpoint_every == 0:
                    self._save()
                if stopping and not last:
                    raise TrainingInterrupted(self.step, self.folder)
        if log:
            log.close()
        model = self.folder / "model"
        if was_done:
            if self._is_saved(model):  # what people have said on its card since stays said
                return model
            validation = self._validate()
        if self.ranks.leads:
            self._embedder(validation).save(model)
        return model

    def take(self, batch: CropBatch) -> dict[str, Any]:
        """One optimiser step; what it saw."""
        recipe, device = self.recipe, self.ranks.device
        labels = batch.labels.to(device)
        # Draws belong to the step and the row of the global batch: resuming needs no generator state, and a rank
        # makes the views that a single process would make of its crops.
        entropy = np.random.SeedSequence((recipe.seed, self.step), spawn_key=(2,))
        draws = torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
        with torch.no_grad():
            views = self.augmenter(
                batch.waveforms.to(device), draws, labels % self.voices, first_row=self.feed.first_row
            )
            features, _ = self.filterbank(views.flatten(0, 1))
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            local = self.parallel(features)
        # One utterance's views are neighbours in the flattened batch: labels repeat, they do not tile.
        embeddings = gather_embeddings(local.float())
        joint_labels = gather_labels(labels.repeat_interleave(views.shape[1]))
        losses = self.objective(
            embeddings,
            joint_labels,
            margin_ramp=margin_ramp(recipe.schedule, self.step),
            contrast=contrast_is_on(recipe.objective.contrast_begins, recipe.schedule, self.step),
        )
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        self._demand_finite(values)

        lr = recipe.optimizer.lr * lr_factor(recipe.schedule, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        balance = backward_balanced(list(losses.values()), embeddings, self.balancer)
        parameters = [*self.encoder.parameters(), *self.objective.parameters()]
        norm = float(nn.utils.clip_grad_norm_(parameters, recipe.optimizer.clip or math.inf))
        self._demand_finite({"gradient norm": norm})
        self.optimizer.step()
        if self.average:
            self.average.take(self.encoder, self.step)
        return {
            "losses": values,
            "alpha": balance.weights[0] if "classification" in losses else 0.0,
            "gradient_norms": balance.gradient_norms,
            "gradient_cosine": None if math.isnan(balance.gradient_cosine) else balance.gradient_cosine,
            "total_gradient_norm": norm,
            "lr": lr,
        }

    def _demand_finite(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                kept = self.folder / CHECKPOINT
                rescue = f"the last good checkpoint is kept: {kept}" if kept.exists() else "no checkpoint yet"
                raise DivergenceError(
                    f"training diverged at step {self.step + 1}: {name} is {value} ({rescue}). Lower optimizer.lr, "
                    "lengthen schedule.warm_up, bound optimizer.clip, or set training.precision to fp32"
                )

    def _validate(self) -> _Validation | None:
        """How the model does on the validation trials, on the leading rank."""
        validation, trials = self.material.validation, self.material.validation_trials
        if validation is None or trials is None or not self.ranks.leads:
            return None
        waveforms = [validation.read(row) for row in range(len(validation.samples))]
        embeddings = self._embedder(None).embed(waveforms)
        scores = cosine_scores(embeddings, trials)
        return _Validation(
            SortedScores.of(scores[trials.target], scores[~trials.target]),
            list(map(measure_waveform, waveforms, embeddings)),
        )

    def _embedder(self, validation: _Validation | None) -> Embedder:
        """The model as it stands, which decides and is calibrated by its validation, where there was one."""
        recipe, before = self.recipe, self.ancestor
        decision = Decision()
        if validation is not None:
            trials = f"validation trials of recipe '{recipe.name}', seed {recipe.seed}"
            decision = decide_by(validation.scores, trials, validation.recordings)
        corpora = tuple(source.corpus for source in recipe.data.sources)
        owed = [
            Attribution(name=name, licence=CORPORA[name].licence)
            for name in corpora
            if CORPORA[name].is_published
        ]
        card = ModelCard(
            name=recipe.name,
            encoder=recipe.encoder,
            filterbank=recipe.features,
            training=TrainingSummary(
                recipe=recipe.name,
                corpora=corpora,
                steps=self.step,
                seed=recipe.seed,
                settings=recipe.published(),
            ),
            origin=before.origin if before else None,
            attributions=tuple(dict.fromkeys([*(before.attributions if before else ()), *owed])),
            thresholds=decision.thresholds,
            calibration=decision.calibration,
            licence=before.licence if before else None,
        )
        return Embedder(self.filterbank, self._model, card)

    @property
    def _model(self) -> Encoder:
        """The encoder as it would be saved now."""
        return self.average.encoder if self.average else self.encoder

    def _is_saved(self, model: Path) -> bool:
        """Whether the model that is there has this run's weights."""
        try:
            saved = read_model(model).encoder.state_dict()
        except CheckpointError:
            return False
        ours = self._model.state_dict()
        return saved.keys() == ours.keys() and all(
            torch.equal(saved[name], ours[name].cpu()) for name in saved
        )

    def _save(self) -> None:
        if not self.ranks.leads:
            return
        random = {"cpu": torch.get_rng_state()}
        if self.ranks.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.ranks.device)
        Checkpoint(
            step=self.step,
            recipe=self.recipe.plain(),
            speakers=self.speakers,
            encoder=self.encoder.state_dict(),
            objective=self.objective.state_dict(),
            optimizer=self.optimizer.state_dict(),
            random=random,
            position=self.feed.position(),
            ancestor=self.ancestor.model_dump(mode="json") if self.ancestor else None,
            average=self.average.state_dict() if self.average else None,
        ).write(self.folder)

    def _restore(self) -> int:
        """Take over the state of the folder's checkpoint; the steps it had taken."""
        checkpoint = Checkpoint.read(self.folder)
        if checkpoint is None:
            return 0
        where = self.folder / CHECKPOINT
        differences = [
            line
            for line in _differences(checkpoint.recipe, self.recipe.plain())
            if not line.startswith(("training.", "name:"))
        ]
        if differences:
            raise CheckpointError(
                f"{where} belongs to another recipe:\n  "
                + "\n  ".join(differences)
                + "\nGive the new recipe a folder of its own with --out, or start this one anew with --fresh"
            )
        if checkpoint.speakers != self.speakers:
            raise CheckpointError(
                f"{where}: the corpus has changed: {len(checkpoint.speakers)} speakers then, {len(self.speakers)} now "
                "(or other ones). Restore the corpus, or start anew with --fresh"
            )
        try:
            self.encoder.load_state_dict(checkpoint.encoder)
            self.objective.load_state_dict(checkpoint.objective)
            self.optimizer.load_state_dict(checkpoint.optimizer)
            if self.average and checkpoint.average:
                self.average.load_state_dict(checkpoint.average)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{where} does not fit the encoder '{self.recipe.encoder.architecture}' of this recipe; start anew "
                f"with --fresh ({error})"
            ) from error
        if checkpoint.ancestor is not None:
            self.ancestor = ModelCard.model_validate(checkpoint.ancestor)
        self.feed.go_to(checkpoint.position, where)
        torch.set_rng_state(checkpoint.random["cpu"])
        if self.ranks.device.type == "cuda" and "cuda" in checkpoint.random:
            torch.cuda.set_rng_state(checkpoint.random["cuda"], self.ranks.device)
        return checkpoint.step


@contextmanager
def _alone_in(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Keep a second run out of the folder; the lock goes with the process."""
    if not ranks.leads:
        yield
        return
    with held(folder / "lock") as alone:
        if not alone:
            raise CheckpointError(
                f"{folder}: another process is training in this folder; wait for it, or choose another with --out"
            )
        yield


class _Validation(NamedTuple):
    """How a model does on the validation trials, and what their recordings are like."""

    scores: SortedScores
    recordings: list[RecordingMeasures]


class _Stop:
    """Set by the first SIGINT or SIGTERM; the second one is as deadly as ever."""

    is_set = False


@contextmanager
def _asked_to_stop() -> Iterator[_Stop]:
    stop = _Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        stop.is_set = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _build_optimizer(
    config: OptimizerConfig, encoder: nn.Module, objective: nn.Module
) -> torch.optim.Optimizer:
    parameters = [*encoder.parameters(), *objective.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.kind == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def _use_bf16(precision: str, device: torch.device) -> bool:
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _differences(then: Any, now: Any, key: str = "") -> list[str]:
    """The entries in which two plain recipes differ, a line each."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [
            line
            for name in {**then, **now}
            for line in _differences(then.get(name), now.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if then == now else [f"{key}: {then!r} in the checkpoint, {now!r} now"]
