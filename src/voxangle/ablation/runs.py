"""The runs of an ablation: planned and checked before the first begins, trained, measured, gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError
from rich.console import Console

from voxangle.ablation.held_out import HeldOut
from voxangle.ablation.variants import Base, Variant, differences
from voxangle.config import Config
from voxangle.encoders import Embedder
from voxangle.errors import CheckpointError, DivergenceError, RecipeError, TrialError, VoxangleError
from voxangle.recipe import Recipe
from voxangle.scoring import Result
from voxangle.scoring.system import model_of
from voxangle.storage import atomic_write, held, writable_folder
from voxangle.training.loop import train

__all__ = ["Finished", "Run", "do_runs", "plan_runs"]

_OUTCOME = "outcome.json"
_IN_HAND = "in-hand.lock"
_WAIT = 2.0  # seconds between two looks at what other processes have in hand


@dataclass(frozen=True)
class Run:
    """One training of an ablation.

    Attributes:
        variant: of the recipe.
        seed: of the training.
        recipe: of this very run.
        folder: the run's.
    """

    variant: Variant
    seed: int
    recipe: Recipe
    folder: Path

    def settings_beside(self, recipe: Recipe) -> list[str]:
        """What ``--set`` would have to say to make this run's recipe of another one; name and seed aside."""
        differing = differences(recipe.plain(), self.recipe.plain())
        return [
            f"{key}={json.dumps(now)}" for key, (_, now) in differing.items() if key not in {"name", "seed"}
        ]


class Outcome(Config):
    """How a training ended; written into the run's folder when it did.

    Attributes:
        state: ``diverged`` where the numbers were no longer finite; the same recipe would do so again.
        message: why it diverged.
        model_sha256: of the weights, empty where it diverged.
    """

    state: Literal["trained", "diverged"]
    message: str = ""
    model_sha256: str = ""


@dataclass(frozen=True)
class Finished:
    """A run that has been trained and measured, or that failed.

    Attributes:
        run: which one.
        results: one for each list; none of a run that failed.
        failure: why there are none, else empty.
    """

    run: Run
    results: tuple[Result, ...] = ()
    failure: str = ""


def plan_runs(base: Base, variants: Sequence[Variant], seeds: int, out: Path) -> list[Run]:
    """All runs, every variant with the first seed, then with the next: stopped early, they still compare.

    The seeds are the recipe's and those that follow it.

    Args:
        base: the recipe that is varied.
        variants: of it.
        seeds: how many each variant is trained with.
        out: folder of the ablation; a run's is ``out/VARIANT/seed-SEED``.

    Raises:
        RecipeError: a recipe does not hold, or two variants have one.
        CheckpointError: the folder of a run holds the run of another recipe.
    """
    first = base.recipe.seed
    runs = [
        Run(variant, seed, base.with_variant(variant, seed), out / variant.slug / f"seed-{seed}")
        for seed in range(first, first + seeds)
        for variant in variants
    ]
    _demand_different(runs[: len(variants)])
    for run in runs:
        _demand_own_folder(run)
    return runs


def do_runs(
    runs: Sequence[Run], held_out: HeldOut, console: Console, *, train_missing: bool = True
) -> list[Finished]:
    """Train and measure what has not been yet; a run that diverges does not end the others.

    Several processes may do the same runs at once: each takes what no other has in hand, and waits for the rest.

    Args:
        runs: as planned.
        held_out: what to measure on.
        console: where to speak.
        train_missing: train what is not trained; else it is left out.

    Returns:
        The runs that are finished or have failed, in order.

    Raises:
        TrainingInterrupted: after SIGINT or SIGTERM; the same call goes on.
    """
    finished: dict[int, Finished] = {}
    spent: list[float] = []
    waiting = list(enumerate(runs, start=1))
    if not train_missing:
        waiting = [(number, run) for number, run in waiting if _outcome(run)]
    while waiting:
        elsewhere = []
        for number, run in waiting:
            heading = f"run {number} of {len(runs)}: {run.variant.name}, seed {run.seed}"
            with held(writable_folder(run.folder) / _IN_HAND) as ours:
                if not ours:
                    elsewhere.append((number, run))
                    continue
                began = time.monotonic()
                outcome = _outcome(run)
                was_missing = outcome is None
                if outcome is None:
                    _say(console, f"\n{heading}")
                    outcome = _train(run, console)
                done = finished[number] = _measured(run, outcome, held_out, console)
            if done.failure:
                _say(console, f"{heading}: failed: {done.failure}")
            if was_missing:
                spent.append(time.monotonic() - began)
                left = sum(_outcome(one) is None for one in runs)
                more = f"; about {_words(left * sum(spent) / len(spent))} for {left} more" if left else ""
                _say(console, f"that took {_words(spent[-1])}{more}")
        if len(elsewhere) == len(waiting):
            time.sleep(_WAIT)
        waiting = elsewhere
    return [done for _, done in sorted(finished.items())]


def _train(run: Run, console: Console) -> Outcome:
    try:
        model = train(run.recipe, run.folder, console=console)
    except DivergenceError as error:
        outcome = Outcome(state="diverged", message=str(error))
    else:
        sha256 = model_of(Embedder.load(model)).sha256
        outcome = Outcome(state="trained", model_sha256=sha256)
    with atomic_write(run.folder / _OUTCOME) as temporary:
        temporary.write_text(outcome.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return outcome


def _outcome(run: Run) -> Outcome | None:
    try:
        return Outcome.model_validate_json((run.folder / _OUTCOME).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise CheckpointError(
            f"{run.folder / _OUTCOME}: damaged; remove this file, and the run is looked at again"
        ) from error


def _measured(run: Run, outcome: Outcome, held_out: HeldOut, console: Console) -> Finished:
    if outcome.state == "diverged":
        return Finished(run, failure=f"{outcome.message} (to try again, remove {run.folder})")
    folder = run.folder / "evaluation" / held_out.name
    known = [_read(folder / f"{name}.json", digest, outcome) for name, digest in held_out.lists.items()]
    there = tuple(result for result in known if result is not None)
    if len(there) == len(known):
        return Finished(run, there)
    embedder = Embedder.load(run.folder / "model")
    try:
        results = tuple(held_out.measure(embedder, console))
    except TrialError as error:  # such as embeddings that are not finite: this model's fault, not the list's
        return Finished(run, failure=f"cannot be scored: {error}")
    for result in results:
        result.write(folder / f"{result.name}.json")
    return Finished(run, results)


def _read(path: Path, digest: str, outcome: Outcome) -> Result | None:
    """A result that was written before, if it is of this list and this model."""
    try:
        result = Result.read(path)
    except VoxangleError:
        return None
    same = result.trials_sha256 == digest and result.model.sha256 == outcome.model_sha256
    return result if same and result.scores is not None else None


def _demand_different(runs: Sequence[Run]) -> None:
    seen: list[Run] = []
    for run in runs:
        for other in seen:
            if differences(other.recipe.plain(), run.recipe.plain()).keys() <= {"name"}:
                raise RecipeError(
                    f"the variants '{other.variant.name}' and '{run.variant.name}' are one and the same recipe; leave "
                    "one of them out, or give the recipe what tells them apart"
                )
        seen.append(run)


def _demand_own_folder(run: Run) -> None:
    path = run.folder / "recipe.yaml"
    try:
        there = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); remove {run.folder}") from error
    differing = {
        key: values
        for key, values in differences(there, run.recipe.plain()).items()
        if _decides_the_weights(key)
    }
    if differing:
        lines = [f"  {key}: {then!r} there, {now!r} now" for key, (then, now) in differing.items()]
        raise CheckpointError(
            f"{run.folder} holds a run of another recipe:\n"
            + "\n".join(lines)
            + "\nGive this ablation a folder of its own with --out, or remove that run"
        )


def _decides_the_weights(key: str) -> bool:
    # Of how a run is watched, the precision alone does.
    return key == "training.precision" or not (key == "name" or key.startswith("training."))


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
