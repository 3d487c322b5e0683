"""A comparison of systems as one page: what the data supports, by how much they differ, and where they disagree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from voxangle.metrics import Interval, PairedDifference
from voxangle.reporting.charts import det_chart
from voxangle.reporting.comparison import Comparison, ListComparison
from voxangle.reporting.forest import Forest, Span
from voxangle.reporting.hard_trials import contradictions, trial_players
from voxangle.reporting.page import Block, Gallery, Part, Section, Text, write_page
from voxangle.reporting.players import Clips
from voxangle.reporting.result_blocks import protocol_entries, result_table, shared_facts
from voxangle.reporting.verdict import FEWEST_SPEAKERS
from voxangle.reporting.wording import common_priors, p_value, signed

__all__ = ["how_it_was_tested", "write_comparison_page"]

_TRIALS = 4  # of each kind


def write_comparison_page(
    path: str | Path, comparison: Comparison, *, clip: Clips | None = None, command: str = ""
) -> None:
    """Write one page that needs nothing beside it, atomically.

    Args:
        path: the page to write.
        comparison: as ``compare_systems`` gives it.
        clip: gives the recording of a key as MP3 (``reporting.players``); ``None`` for a page without players.
        command: that made the comparison.

    Raises:
        StorageError: the page cannot be written.
    """
    systems = comparison.systems
    sections = [
        Section(
            "What the data supports",
            [
                *map(Text, comparison.verdicts),
                Text(how_it_was_tested(comparison)),
                *map(Text, comparison.left_out),
            ],
        ),
        *(Section(f"List {one.name}", _of_list(one, comparison, clip)) for one in comparison.lists),
        Section(
            "How it was made",
            [
                *([Text(f"This page: {command}")] if command else []),
                *shared_facts(
                    {
                        f"{one.name}, {name}": protocol_entries(result)
                        for one in comparison.lists
                        for name, result in one.results.items()
                    }
                ),
            ],
        ),
    ]
    write_page(
        path,
        f"{', '.join(systems[:-1])} and {systems[-1]} compared",
        sections,
        lead=f"Differences are a system minus {comparison.baseline}, on the same draws of speakers; below 0 the system "
        "errs less.",
        contents=True,
    )


def how_it_was_tested(comparison: Comparison) -> str:
    """The test in words."""
    several = (
        f" The {comparison.tests} differences of EER are tested together: their p-values are adjusted by Holm's "
        "method, which keeps the chance of even one false winner below 5 %."
        if comparison.tests > 1
        else ""
    )
    enough = f"where at least {FEWEST_SPEAKERS} speakers, who are known by name, were drawn from"
    conditions = (
        f"{enough}, and where the adjusted p-value is below 0.05" if comparison.tests > 1 else f"and {enough}"
    )
    return (
        f"A winner is named only where the 95 % interval of the difference of EER leaves out 0, {conditions}. "
        f"Intervals and two-sided p-values: {comparison.replicates:,} draws of speakers (seed {comparison.seed}), the "
        f"same for all systems.{several} Differences of minDCF, and those by condition, are shown as they are: no "
        "correction, no winner."
    )


def _of_list(one: ListComparison, comparison: Comparison, clip: Clips | None) -> list[Block]:
    baseline = comparison.baseline
    results = list(one.results.values())
    notes = dict.fromkeys(
        note if all(note in other.notes for other in results) else f"{name}: {note}"
        for name, result in one.results.items()
        for note in result.notes
    )
    blocks: list[Block] = [
        *(Text(f"The protocols differ: {line}.") for line in one.protocols),
        result_table(
            results, "Each system by itself; 95 % intervals by bootstrap over speakers below the figures."
        ),
        _difference_forest(one, comparison),
        Gallery([det_chart(one.results, seed=comparison.seed)]),
        Text(
            "Bands and intervals of single systems may overlap where the difference is clear: systems meet the same "
            "trials, and what is hard for one is mostly hard for the other."
        ),
        *map(Text, notes),
    ]
    if one.conditions:
        blocks.append(
            Part(
                "By condition",
                [_condition_forest(one, name, baseline) for name in comparison.systems[1:]],
            )
        )
    for name in comparison.systems[1:]:
        pair = {baseline: one.results[baseline], name: one.results[name]}
        groups = contradictions(pair[baseline], pair[name], _TRIALS)
        players: list[Block] = [
            trial_players(f"{right} is right and {wrong} wrong, the surest first.", places, pair, clip)
            if len(places)
            else Text(f"There is no trial on which {right} is right and {wrong} wrong.")
            for places, right, wrong in zip(groups, (baseline, name), (name, baseline), strict=True)
        ]
        blocks.append(
            Part(
                f"Where {name} and {baseline} disagree",
                [
                    Text("Each decides at its own EER threshold; at most one trial of a pair of speakers."),
                    *players,
                ],
            )
        )
    return blocks


def _difference_forest(one: ListComparison, comparison: Comparison) -> Forest:
    adjusted = comparison.tests > 1
    differences = {name: difference.paired for name, difference in one.differences.items()}
    rows = _rows(differences)
    for row, difference in zip(rows, one.differences.values(), strict=True):
        p_values = [p_value(difference.paired.p_value)]
        if adjusted:
            p_values.append(f"{p_value(difference.adjusted_p)} adjusted")
        row.insert(2, "\n".join(p_values))
    priors = common_priors(list(one.results.values()))
    return Forest(
        f"Differences: each system minus {comparison.baseline}. Left of the dashed line it errs less.",
        ["system", "EER\npoints", "p-value\nof the EER", *(f"minDCF\np {p:g}" for p in priors), "speakers"],
        rows,
        _spans(differences),
        0.0,
        "points of EER",
    )


def _condition_forest(one: ListComparison, system: str, baseline: str) -> Forest:
    differences = {condition: by_system[system] for condition, by_system in one.conditions.items()}
    priors = common_priors(list(one.results.values()))
    return Forest(
        f"{system} minus {baseline} by condition; left of the dashed line {system} errs less.",
        ["condition", "EER\npoints", *(f"minDCF\np {p:g}" for p in priors), "speakers"],
        _rows(differences),
        _spans(differences),
        0.0,
        "points of EER",
    )


def _rows(differences: Mapping[str, PairedDifference]) -> list[list[str]]:
    return [
        [
            name,
            signed(one.eer, one.eer_interval, scale=100, places=2),
            *map(signed, one.min_dcf, one.min_dcf_intervals),
            f"{one.speakers:,}",
        ]
        for name, one in differences.items()
    ]


def _spans(differences: Mapping[str, PairedDifference]) -> list[Span]:
    return [
        Span(100 * one.eer, Interval(100 * one.eer_interval.low, 100 * one.eer_interval.high))
        for one in differences.values()
    ]
