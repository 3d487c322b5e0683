"""What a person sees while a run trains, and what the run's folder keeps of it."""

from __future__ import annotations

import json
import math
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from voxangle.errors import MissingExtraError
from voxangle.storage import append_line, atomic_write

__all__ = ["Log", "StepRecord", "TrainingProgress", "say"]


def say(console: Console, note: str) -> None:
    """Print a note, whole, whatever is in it."""
    console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class StepRecord:
    """One line of ``log.jsonl``.

    Attributes:
        step: optimiser steps taken.
        losses: each loss by name.
        alpha: weight of the classification in the balance; 1 where it is alone.
        gradient_norms: of each loss at the embeddings, before weighing.
        gradient_cosine: between the two losses' gradients; None for one loss.
        total_gradient_norm: of all parameters, after weighing, before clipping.
        lr: learning rate of the step.
        crops_per_second: throughput since the record before, over all ranks and views.
    """

    step: int
    losses: dict[str, float]
    alpha: float
    gradient_norms: tuple[float, ...]
    gradient_cosine: float | None
    total_gradient_norm: float
    lr: float
    crops_per_second: float


class Log:
    """``log.jsonl`` in the run's folder, and TensorBoard events if asked for."""

    def __init__(self, folder: Path, first_step: int, *, tensorboard: bool) -> None:
        self._path = folder / "log.jsonl"
        self._forget_after(first_step)
        self._events: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise MissingExtraError("training.tensorboard", "track") from error
            self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)

    def write(self, record: StepRecord) -> None:
        """Append a training step."""
        row = asdict(record)
        self._append(row)
        scalars = {f"loss/{name}": value for name, value in record.losses.items()}
        scalars |= {name: row[name] for name in ("alpha", "total_gradient_norm", "lr", "crops_per_second")}
        self._show(record.step, scalars)

    def write_validation(self, step: int, eer: float) -> None:
        """Append a validation error rate, as a fraction."""
        self._append({"step": step, "validation_eer": eer})
        self._show(step, {"validation_eer": eer})

    def close(self) -> None:
        """Flush what TensorBoard holds."""
        if self._events is not None:
            self._events.close()

    def _append(self, row: dict[str, Any]) -> None:
        append_line(self._path, json.dumps(row))

    def _show(self, step: int, scalars: dict[str, float]) -> None:
        if self._events is not None:
            for name, value in scalars.items():
                self._events.add_scalar(name, value, step)

    def _forget_after(self, step: int) -> None:
        # A run that was killed logged steps past its checkpoint, the last line maybe half; it takes them again.
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except json.JSONDecodeError:
                break
        with atomic_write(self._path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


class TrainingProgress(AbstractContextManager["TrainingProgress"]):
    """A live line in a terminal; elsewhere a plain line now and then."""

    def __init__(self, console: Console, *, first_step: int, steps: int) -> None:
        self._console = console
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("training"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._live.add_task("training", total=steps, completed=first_step, facts="")
        self._steps, self._first_step = steps, first_step
        self._began = self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def advance(self, step: int) -> None:
        """Move the bar to ``step`` steps taken."""
        self._live.update(self._task, completed=step)

    def show(self, record: StepRecord) -> None:
        """Show losses, alpha and throughput."""
        short = {"classification": "class", "contrastive": "contrast"}
        losses = " ".join(f"{short[name]} {value:.3f}" for name, value in record.losses.items())
        facts = f"loss {losses}  alpha {record.alpha:.2f}  {record.crops_per_second:.0f} crops/s"
        self._live.update(self._task, completed=record.step, facts=facts)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._spoke > 15 or record.step == self._steps):
            self._spoke = now
            left = (now - self._began) / (record.step - self._first_step) * (self._steps - record.step)
            eta = f"ETA {math.floor(left / 60)}:{int(left % 60):02d}"
            self._console.print(f"step {record.step}/{self._steps}  {facts}  {eta}", highlight=False)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False)
