"""An evaluation as one page: figures, curves, calibration, conditions, the hardest trials, and how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from voxangle.metrics import Interval, SortedScores
from voxangle.reporting.charts import (
    cost_chart,
    det_chart,
    llrs_of,
    reliability_chart,
    score_chart,
)
from voxangle.reporting.forest import Forest, Span
from voxangle.reporting.hard_trials import hardest, trial_players
from voxangle.reporting.page import Block, Gallery, Part, Section, Table, Text, write_page
from voxangle.reporting.players import Clips
from voxangle.reporting.result_blocks import protocol_entries, result_table, shared_facts
from voxangle.reporting.wording import common_priors, interval, per_cent
from voxangle.scoring import Measure, Result, TrialScores
from voxangle.scoring.result import Calibrated, Figure

__all__ = ["condition_forest", "write_evaluation_page"]

_HARDEST = 6  # of each class
_HARDEST_LEADS = (
    "One person, but the lowest scores; at most one trial of a speaker, so that one bad voice does not fill the list.",
    "Two people, but the highest scores; at most one trial of a pair of speakers.",
)
_READING = (
    "EER: the rate at which as many target trials are rejected as non-target trials are accepted. minDCF: the least "
    "detection cost at costs of 1, where p is the prior of a target trial; deciding without listening costs 1. Below "
    "each figure the 95 % interval over draws of speakers: what other people from where these came from might have "
    "given."
)


_LOST = (
    "What calibration loses: the cost of deciding by what the log-likelihood ratios say, against the least that any "
    "increasing map of them would reach. Ratios that say nothing have a Cllr of 1 bit."
)


def write_evaluation_page(
    path: str | Path, results: Sequence[Result], *, clip: Clips | None = None, seed: int = 0
) -> None:
    """Write one page that needs nothing beside it, atomically.

    Args:
        path: the page to write.
        results: of one model, a section a list; with their scores, as ``evaluate`` or ``read_evaluation`` gives them.
        clip: gives the recording of a key as MP3 (``reporting.players``); ``None`` for a page without players.
        seed: of the draws of speakers behind the bands of the curves.

    Raises:
        ValueError: there are no results, or their priors differ.
        TrialError: a result has no scores.
        StorageError: the page cannot be written.
    """
    models = list(dict.fromkeys(result.model.name for result in results))
    common_priors(results)
    shared = [note for note in results[0].notes if all(note in result.notes for result in results)]
    sections = [
        Section("Error rates", [_headline(results), Text(_READING), *map(Text, shared)]),
        *(
            Section(f"List {_name(result, results)}", _of_list(result, shared, clip, seed))
            for result in results
        ),
        Section(
            "How it was made",
            shared_facts({_name(result, results): protocol_entries(result) for result in results}),
        ),
    ]
    lead = "\n".join(
        f"{_name(result, results)}: EER {per_cent(result.eer.value)} % [{100 * result.eer.low:.2f}, "
        f"{100 * result.eer.high:.2f}], {result.counts.trials:,} trials of {result.counts.speakers:,} speakers."
        for result in results
    )
    write_page(path, f"Evaluation of {', '.join(models)}", sections, lead=lead, contents=True)


def _name(result: Result, results: Sequence[Result]) -> str:
    """The list's name; with the model's where the page has results of several."""
    several = len({one.model.name for one in results}) > 1
    return f"{result.name}, {result.model.name}" if several else result.name


def _headline(results: Sequence[Result]) -> Table:
    return result_table(results, "Error rates; 95 % intervals by bootstrap over speakers below them.")


def _of_list(result: Result, shared: Sequence[str], clip: Clips | None, seed: int) -> list[Block]:
    blocks: list[Block] = [
        *(Text(note) for note in result.notes if note not in shared),
        Gallery([det_chart({result.model.name: result}, seed=seed), score_chart(result)]),
    ]
    trials = result.require_scores()
    if result.calibrated is not None:
        drawing, bins = reliability_chart(result, seed=seed)
        blocks.append(
            Part(
                "Calibration",
                [
                    Text(_LOST),
                    _calibration_table(result.calibrated, trials),
                    Gallery([drawing, cost_chart(result)]),
                    bins,
                ],
            )
        )
    if result.conditions:
        blocks.append(Part("By condition", [condition_forest(result)]))
    places = hardest(trials, _HARDEST)
    system = {result.model.name: result}
    blocks.append(
        Part(
            "Hardest trials",
            [
                trial_players(lead, of_class, system, clip)
                for lead, of_class in zip(_HARDEST_LEADS, places, strict=True)
            ],
        )
    )
    return blocks


def condition_forest(result: Result) -> Forest:
    """Error rates by condition, with the intervals side by side; the first row is the whole list."""
    counts = result.counts
    rows = [
        _row("whole list", result.eer, result.min_dcf, counts.targets, counts.nontargets, counts.speakers)
    ]
    rows += [
        _row(one.name, one.eer, one.min_dcf, one.targets, one.nontargets, one.speakers, one.whole)
        for one in result.conditions
    ]
    measures = [result.eer, *(one.eer for one in result.conditions)]
    borrowed = (
        " * The condition has no trials of that class, and those of the whole list stand in."
        if any(one.whole for one in result.conditions)
        else ""
    )
    flat = (
        " An interval without width tells of too few errors to draw from, not of certainty."
        if any(one.low == one.high for one in measures)
        else ""
    )
    return Forest(
        f"EER and minDCF by condition; the dashed line is the whole list.{borrowed}{flat}",
        [
            "condition",
            "EER %",
            *(f"minDCF\np {p:g}" for p in common_priors([result])),
            "target\nnon-target",
            "speakers",
        ],
        rows,
        [
            Span(100 * one.value, Interval(100 * one.low, 100 * one.high)) if one.high - one.low < 1 else None
            for one in measures
        ],
        100 * result.eer.value,
        "EER %",
    )


def _row(
    name: str,
    eer: Measure,
    costs: Sequence[Measure],
    targets: int,
    nontargets: int,
    speakers: int,
    whole: str = "",
) -> list[str]:
    return [
        name,
        f"{per_cent(eer.value)}\n{interval(eer, scale=100, places=2)}",
        *(f"{cost.value:.3f}\n{interval(cost)}" for cost in costs),
        f"{targets:,}{'*' if whole == 'targets' else ''}\n{nontargets:,}{'*' if whole == 'nontargets' else ''}",
        f"{speakers:,}",
    ]


def _calibration_table(calibrated: Calibrated, trials: TrialScores) -> Table:
    llrs = llrs_of(trials)
    ordered = SortedScores.of(llrs[trials.target], llrs[~trials.target])
    figures: list[tuple[str, Figure, float]] = [("Cllr, bits", calibrated.cllr, calibrated.min_cllr)]
    figures += [
        (f"DCF\np {cost.p_target:g}", cost, ordered.min_dcf(p_target=cost.p_target).rate)
        for cost in calibrated.act_dcf
    ]
    return Table(
        f"Cost by calibration; fitted on: {calibrated.source}. 95 % intervals below the actual costs.",
        ["cost", "actual", "least", "lost"],
        [
            [name, f"{actual.value:.3f}\n{interval(actual)}", f"{least:.3f}", f"{actual.value - least:.3f}"]
            for name, actual, least in figures
        ],
    )
