"""The table of an ablation: means over seeds, differences, and what these support."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxangle import __version__
from voxangle.ablation.held_out import HeldOut
from voxangle.ablation.runs import Finished, Run
from voxangle.ablation.statistics import OverSeeds, difference_over_seeds, mean_over_seeds
from voxangle.ablation.variants import Variant
from voxangle.config import Config
from voxangle.errors import TrialError, nearest
from voxangle.metrics import Interval
from voxangle.metrics.bootstrap import resample
from voxangle.metrics.intervals import Replicates
from voxangle.recipe import Recipe
from voxangle.reporting.verdict import FEWEST_SPEAKERS, adjusted_by_holm
from voxangle.reporting.wording import common_priors
from voxangle.scoring import Machine, Protocol, Result, TrialCounts, TrialScores
from voxangle.scoring.trial_scores import with_both_classes
from voxangle.storage import atomic_write

__all__ = ["Ablation", "Comparison", "Figure", "ListTable", "Mean", "RunRecord", "make_table"]

_SIGNIFICANT = 0.05


class Figure(Config):
    """A figure and its interval; a difference may be negative.

    Attributes:
        value: on the list itself.
        low: end of the interval.
        high: the other end.
    """

    value: float
    low: float
    high: float

    @property
    def ends(self) -> Interval:
        """The interval."""
        return Interval(self.low, self.high)


class Mean(Config):
    """A variant's figures on one list, averaged over its seeds.

    Attributes:
        variant: its name.
        seeds: that were trained and measured.
        eer: equal error rate, in [0, 1].
        eer_of_seeds: by seed, in the order of ``seeds``.
        eer_spread: standard deviation of the equal error rate over the seeds; None of one seed.
        min_dcf: normalised minimum costs, one for each prior.
    """

    variant: str
    seeds: tuple[int, ...]
    eer: Figure
    eer_of_seeds: tuple[float, ...]
    eer_spread: float | None
    min_dcf: tuple[Figure, ...]


class Comparison(Config):
    """A variant minus another, on one list, over the seeds that both ran with: below 0 the variant errs less.

    Attributes:
        variant: its name.
        against: the other's.
        seeds: that both were trained and measured with.
        speakers: of the list.
        eer: difference of the mean equal error rates.
        min_dcf: differences of the mean costs, one for each prior.
        p_value: of the equal error rates' difference being 0, two-sided.
        p_holm: the same, adjusted for all comparisons of whole lists; None of a part of a list, which is not tested.
    """

    variant: str
    against: str
    seeds: tuple[int, ...]
    speakers: int
    eer: Figure
    min_dcf: tuple[Figure, ...]
    p_value: float
    p_holm: float | None

    @property
    def verdict(self) -> str:
        """What the difference of the equal error rates supports, and no more."""
        if self.eer.low <= 0 <= self.eer.high:
            return "no difference shown"
        if self.p_holm is None:
            return "not tested"
        if self.p_holm >= _SIGNIFICANT:
            return "no difference shown, among so many comparisons"
        if len(self.seeds) < 2:
            return "no verdict: one seed does not tell recipes apart"
        if self.speakers < FEWEST_SPEAKERS:
            return f"no verdict: {self.speakers} speakers are too few"
        return "errs less" if self.eer.value < 0 else "errs more"


class ListTable(Config):
    """One trial list, or a part of it.

    Attributes:
        name: of the list.
        condition: of the part's trials, such as ``cross language``; empty of the whole list.
        trials_sha256: of the list's content.
        counts: its size.
        means: of each variant that has a seed, in order.
        comparisons: to the baseline, then to the variant before.
        notes: what must be said of figures on this list.
    """

    name: str
    condition: str = ""
    trials_sha256: str
    counts: TrialCounts
    means: tuple[Mean, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """What it is of."""
        return f"{self.name}, {self.condition}" if self.condition else self.name


class RunRecord(Config):
    """One run: ``done``, ``failed`` with the reason, or ``missing`` where it is still to be trained."""

    variant: str
    seed: int
    state: Literal["done", "failed", "missing"]
    reason: str = ""


class Ablation(Config):
    """An ablation as it stands, with everything that is needed to read it or to get it again.

    Attributes:
        recipe: the recipe that is varied, as plain data without places on the disk.
        variants: by name, the entries each changes in it, as ``key=value``.
        baseline: the variant that all others are compared with.
        tested_on: what the figures are of.
        protocol: how trials became scores, and scores figures.
        replicates: draws of the speakers.
        level: of the intervals.
        tests: how many comparisons the p-values are adjusted for.
        lists: a table each.
        runs: all that were planned.
        voxangle: version.
        command: that made the table.
        machine: where it ran.
        date: when, UTC, ISO 8601.
    """

    recipe: dict[str, Any]
    variants: dict[str, tuple[str, ...]]
    baseline: str
    tested_on: str
    protocol: Protocol
    replicates: int
    level: float = 0.95
    tests: int
    lists: tuple[ListTable, ...]
    runs: tuple[RunRecord, ...]
    voxangle: str
    command: str
    machine: Machine
    date: str

    def write(self, path: str | Path) -> None:
        """Write it as JSON, atomically."""
        with atomic_write(path) as temporary:
            temporary.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @property
    def cautions(self) -> tuple[str, ...]:
        """What must be said beside the figures."""
        said = []
        missing = sum(run.state == "missing" for run in self.runs)
        if missing:
            said.append(
                f"{missing} of {len(self.runs)} runs are still to be trained; the same command goes on."
            )
        said += [
            f"{run.variant}, seed {run.seed}, has no figures: {run.reason}"
            for run in self.runs
            if run.state == "failed"
        ]
        if any(len(one.seeds) == 1 for table in self.lists for one in table.means):
            said.append(
                "Where a variant has one seed, its interval is over speakers alone: it speaks of that trained model, "
                "not of the recipe."
            )
        if any(len(one.seeds) == 2 for table in self.lists for one in table.means):
            said.append(
                "Two seeds hardly tell how far seeds scatter, and intervals are wide for it: a third seed makes that "
                "part about a quarter as wide."
            )
        if self.tests >= _SIGNIFICANT * (self.replicates + 1):
            said.append(
                f"{self.replicates} replicates are too few for {self.tests} comparisons: after Holm's correction no "
                f"p-value can be below 0.05. Take --replicates {round(40 * self.tests, -3) + 1000}."
            )
        notes = dict.fromkeys(note for table in self.lists for note in table.notes)
        return (*said, *notes)


def make_table(
    recipe: Recipe,
    runs: Sequence[Run],
    finished: Sequence[Finished],
    held_out: HeldOut,
    *,
    baseline: str | None = None,
    replicates: int = 1000,
    seed: int = 0,
    command: str = "",
) -> Ablation:
    """Average over the seeds, compare, and test.

    Each variant is compared with the baseline, and with the one before it on the first axis; by equal error rate, with
    Holm's correction for all these comparisons on all lists together. The parts of a list, where the results have its
    conditions, are compared without a test.

    Args:
        recipe: the one that is varied.
        runs: all that were planned.
        finished: those that have been measured or have failed.
        held_out: what they were measured on.
        baseline: name of the variant to compare with; by default the first.
        replicates: draws of the speakers.
        seed: of the draws.
        command: that asked for it.

    Raises:
        TrialError: no run has figures, the baseline is none of the variants, or runs were measured differently.
    """
    variants = list(dict.fromkeys(run.variant for run in runs))
    names = [variant.name for variant in variants]
    if baseline is not None and baseline not in names:
        raise TrialError(f"--baseline {baseline}: no such variant{nearest(baseline, names)}")
    results = [result for one in finished for result in one.results]
    if not results:
        reasons = "".join(
            f"\n  {one.run.variant.name}, seed {one.run.seed}: {one.failure}" for one in finished
        )
        raise TrialError(f"no run has figures yet, so there is no table{reasons}")
    if any(result.protocol != results[0].protocol for result in results):
        raise TrialError("the runs were measured by different protocols; remove their folders 'evaluation'")
    chosen = baseline or names[0]
    tables, tests = _adjusted(
        [
            table
            for name in held_out.lists
            for table in _tables(variants, chosen, _on_list(finished, name), replicates, seed)
        ]
    )
    return Ablation(
        recipe=recipe.published(),
        variants={run.variant.name: tuple(run.settings_beside(recipe)) for run in runs[: len(variants)]},
        baseline=chosen,
        tested_on=held_out.description,
        protocol=results[0].protocol,
        replicates=replicates,
        tests=tests,
        lists=tuple(tables),
        runs=tuple(_record(run, finished) for run in runs),
        voxangle=__version__,
        command=command,
        machine=Machine.here(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _on_list(finished: Sequence[Finished], name: str) -> dict[str, dict[int, Result]]:
    """The results on one list, by variant and seed."""
    found: dict[str, dict[int, Result]] = {}
    for one in finished:
        for result in one.results:
            if result.name == name:
                found.setdefault(one.run.variant.name, {})[one.run.seed] = result
    return found


def _tables(
    variants: Sequence[Variant],
    baseline: str,
    results: Mapping[str, Mapping[int, Result]],
    replicates: int,
    seed: int,
) -> Iterator[ListTable]:
    """The table of a list, and of each of its conditions that all the results have with trials of both classes."""
    every = [result for of_seed in results.values() for result in of_seed.values()]
    if not every:
        return
    for condition in ("", *(one.name for one in every[0].conditions)):
        try:
            yield _table(variants, baseline, results, condition, replicates, seed)
        except TrialError:
            if not condition:
                raise  # in a part, hardly a draw of its few speakers held both classes


def _table(
    variants: Sequence[Variant],
    baseline: str,
    results: Mapping[str, Mapping[int, Result]],
    condition: str,
    replicates: int,
    seed: int,
) -> ListTable:
    first = next(result for of_seed in results.values() for result in of_seed.values())
    counts = _counts(first, condition)
    figures = {
        name: {number: _replicates(result, condition, replicates, seed) for number, result in of_seed.items()}
        for name, of_seed in results.items()
    }
    pairs = [(one.name, baseline) for one in variants] + [
        (one.name, one.previous) for one in variants if one.previous is not None
    ]
    comparisons = [
        _comparison(one, other, difference, counts.speakers, tested=not condition)
        for one, other in dict.fromkeys(pairs)
        if one != other and one in figures and other in figures
        if (difference := difference_over_seeds(figures[one], figures[other])) is not None
    ]
    return ListTable(
        name=first.name,
        condition=condition,
        trials_sha256=first.trials_sha256,
        counts=counts,
        means=tuple(
            _mean(one.name, mean_over_seeds(figures[one.name]), figures[one.name])
            for one in variants
            if one.name in figures
        ),
        comparisons=tuple(comparisons),
        notes=tuple(
            dict.fromkeys(
                note for of_seed in results.values() for one in of_seed.values() for note in one.notes
            )
        ),
    )


def _replicates(result: Result, condition: str, replicates: int, seed: int) -> Replicates:
    scores, part = _part(result, condition)
    return resample(
        scores.scores[part],
        scores.target[part],
        scores.enrol_speaker[part],
        scores.test_speaker[part],
        priors=common_priors([result]),
        replicates=replicates,
        seed=seed,
    )


def _counts(result: Result, condition: str) -> TrialCounts:
    if not condition:
        return result.counts
    scores, part = _part(result, condition)
    sides = np.concatenate([scores.enrol[part], scores.test[part]])
    trials, targets = int(np.count_nonzero(part)), int(np.count_nonzero(scores.target[part]))
    return TrialCounts(
        trials=trials,
        targets=targets,
        nontargets=trials - targets,
        speakers=np.unique(scores.speaker[sides]).size,
        utterances=np.unique(sides).size,
    )


def _part(result: Result, condition: str) -> tuple[TrialScores, NDArray[np.bool_]]:
    """The scores of a list, and which of its trials a condition's figures are of."""
    scores = result.scores
    if scores is None:
        raise TrialError(f"{result.name}: the result of '{result.model.name}' has no scores; measure again")
    if not condition:
        return scores, np.ones(len(scores), bool)
    if condition not in scores.conditions:
        raise TrialError(f"{result.name}: the result of '{result.model.name}' has no '{condition}'")
    return scores, with_both_classes(scores.conditions[condition], scores.target)[0]


def _mean(variant: str, over: OverSeeds, figures: Mapping[int, Replicates]) -> Mean:
    eer, *costs = _figures(over)
    return Mean(
        variant=variant,
        seeds=over.seeds,
        eer=eer,
        eer_of_seeds=tuple(float(figures[seed].figures[0]) for seed in over.seeds),
        eer_spread=float(over.spreads[0]) if len(over.seeds) > 1 else None,
        min_dcf=tuple(costs),
    )


def _comparison(variant: str, against: str, over: OverSeeds, speakers: int, *, tested: bool) -> Comparison:
    eer, *costs = _figures(over)
    return Comparison(
        variant=variant,
        against=against,
        seeds=over.seeds,
        speakers=speakers,
        eer=eer,
        min_dcf=tuple(costs),
        p_value=over.p_values[0],
        p_holm=over.p_values[0] if tested else None,
    )


def _figures(over: OverSeeds) -> list[Figure]:
    return [
        Figure(value=float(value), low=ends.low, high=ends.high)
        for value, ends in zip(over.values, over.intervals, strict=True)
    ]


def _adjusted(tables: Sequence[ListTable]) -> tuple[list[ListTable], int]:
    """The tables with the p-values of all their comparisons adjusted together."""
    values = [one.p_value for table in tables for one in table.comparisons if one.p_holm is not None]
    adjusted = iter(adjusted_by_holm(values).tolist())
    return [
        table.model_copy(
            update={
                "comparisons": tuple(
                    one if one.p_holm is None else one.model_copy(update={"p_holm": next(adjusted)})
                    for one in table.comparisons
                )
            }
        )
        for table in tables
    ], len(values)


def _record(run: Run, finished: Sequence[Finished]) -> RunRecord:
    for one in finished:
        if one.run is run:
            state: Literal["done", "failed"] = "failed" if one.failure else "done"
            return RunRecord(variant=run.variant.name, seed=run.seed, state=state, reason=one.failure)
    return RunRecord(variant=run.variant.name, seed=run.seed, state="missing")
