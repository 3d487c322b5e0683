"""An ablation for people: in the terminal, as Markdown, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text as TerminalText

from voxangle.ablation.table import Ablation, Comparison, Figure, ListTable, Mean
from voxangle.metrics import Interval
from voxangle.reporting import Code, Facts, Section, Text, write_page
from voxangle.reporting.forest import Forest, Span
from voxangle.reporting.wording import p_value, per_cent, signed
from voxangle.storage import atomic_write

__all__ = ["print_ablation", "write_ablation_page", "write_markdown"]

_MEANS = (
    "Means over the seeds; below each its 95 % interval over speakers and seeds together. Spread: standard deviation "
    "over the seeds, in percentage points of EER. minDCF: normalised, costs 1, p the prior of a target trial."
)
_COMPARISONS = (
    "Differences: the variant minus the other, over the seeds that both ran with and on the same draws of speakers, in "
    "percentage points of EER. Below 0 it errs less, and an interval that holds 0 shows no difference. p: two-sided, "
    "of the EER; below it the same after Holm's correction for all comparisons here. minDCF is not tested."
)
_WITHOUT_COSTS = 5  # columns of a comparison


def print_ablation(ablation: Ablation, console: Console) -> None:
    """The tables, two for each list, and what must be said beside them; fits 80 columns."""
    console.print(f"\nmeasured on {ablation.tested_on}", highlight=False, markup=False)
    for one in ablation.lists:
        means = _header_of_means(ablation)
        console.print(_terminal(f"{one.title}: {_size(one)}", means, _rows_of_means(ablation, one)))
        if one.comparisons:
            # Without minDCF, for which 80 columns have no room: it is in the files.
            rows = [row[:_WITHOUT_COSTS] for row in _rows_of_comparisons(one)]
            header = _header_of_comparisons(ablation)[:_WITHOUT_COSTS]
            console.print(_terminal(f"{one.title}: differences", header, rows))
    for text in (_MEANS, _COMPARISONS):
        console.print(text, style="dim", highlight=False, markup=False)
    for caution in ablation.cautions:
        console.print(f"note: {caution}", highlight=False, markup=False, soft_wrap=True)


def write_markdown(ablation: Ablation, path: str | Path) -> None:
    """The tables in Markdown, to paste, atomically."""
    parts = [f"Measured on {ablation.tested_on}"]
    for one in ablation.lists:
        parts += [
            f"## {one.title}\n\n{_size(one).capitalize()}.",
            _markdown(_header_of_means(ablation), _rows_of_means(ablation, one)),
            _MEANS,
        ]
        if one.comparisons:
            parts += [_markdown(_header_of_comparisons(ablation), _rows_of_comparisons(one)), _COMPARISONS]
    parts += [f"- {caution}" for caution in ablation.cautions]
    parts.append(f"```\n{ablation.command}\n```")
    with atomic_write(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def write_ablation_page(ablation: Ablation, path: str | Path) -> None:
    """The tables, the variants and how it was done, as one page that needs nothing beside it, atomically."""
    lists = [
        Section(
            f"List {one.title}",
            [
                Forest(
                    f"Means over the seeds; {_size(one)}. The dashed line is {ablation.baseline}.",
                    _header_of_means(ablation),
                    _rows_of_means(ablation, one),
                    [_span(mean.eer) for mean in one.means],
                    _baseline(ablation, one),
                    "EER %",
                ),
                *([_differences(ablation, one)] if one.comparisons else []),
                *map(Text, _verdicts(one)),
            ],
        )
        for one in ablation.lists
    ]
    cautions = [Section("To be said beside it", [Text(caution) for caution in ablation.cautions])]
    variants = {
        name: "\n".join(settings) or "the recipe as it is" for name, settings in ablation.variants.items()
    }
    write_page(
        path,
        f"Ablation of {ablation.recipe['name']}",
        [
            *lists,
            Section("How to read it", [Text(_MEANS), Text(_COMPARISONS)]),
            *(cautions if ablation.cautions else []),
            Section("Variants", [Text("What each changes in the recipe."), Facts(variants)]),
            Section("How it was done", [_facts(ablation)]),
            Section("Do it again", [Code(ablation.command)]),
        ],
        lead=f"Measured on {ablation.tested_on}",
    )


def _differences(ablation: Ablation, one: ListTable) -> Forest:
    return Forest(
        "Differences: the variant minus the other. Left of the dashed line it errs less.",
        _header_of_comparisons(ablation),
        _rows_of_comparisons(one),
        [_span(each.eer) for each in one.comparisons],
        0.0,
        "points of EER",
    )


def _span(figure: Figure) -> Span:
    return Span(100 * figure.value, Interval(100 * figure.low, 100 * figure.high))


def _baseline(ablation: Ablation, one: ListTable) -> float:
    """The baseline's EER in per cent; the first variant's where the baseline has none."""
    return 100 * next((m for m in one.means if m.variant == ablation.baseline), one.means[0]).eer.value


def _size(one: ListTable) -> str:
    counts = one.counts
    return (
        f"{counts.speakers:,} speakers, {counts.targets:,} target and {counts.nontargets:,} non-target trials"
    )


def _header_of_means(ablation: Ablation) -> list[str]:
    costs = [f"minDCF\np {p:g}" for p in ablation.protocol.p_targets]
    return ["variant", "EER %", "spread", "seeds", *costs]


def _rows_of_means(ablation: Ablation, one: ListTable) -> list[list[str]]:
    return [_row_of_mean(ablation, mean) for mean in one.means]


def _row_of_mean(ablation: Ablation, mean: Mean) -> list[str]:
    mine = [run for run in ablation.runs if run.variant == mean.variant]
    absent = {state: sum(run.state == state for run in mine) for state in ("failed", "missing")}
    remark = "".join(f"\n{count} {state}" for state, count in absent.items() if count)
    return [
        mean.variant,
        f"{per_cent(mean.eer.value)}\n{_interval(mean.eer, 100, 2)}",
        "" if mean.eer_spread is None else per_cent(mean.eer_spread),
        f"{len(mean.seeds)}{remark}",
        *(f"{cost.value:.3f}\n{_interval(cost, 1, 3)}" for cost in mean.min_dcf),
    ]


def _header_of_comparisons(ablation: Ablation) -> list[str]:
    costs = [f"minDCF\np {p:g}" for p in ablation.protocol.p_targets]
    return ["variant\nless", "EER\npoints", "p\nHolm", "seeds", "verdict", *costs]


def _rows_of_comparisons(one: ListTable) -> list[list[str]]:
    return [
        [
            f"{each.variant}\n{each.against}",
            signed(each.eer.value, each.eer.ends, scale=100, places=2),
            f"{p_value(each.p_value)}\n{p_value(each.p_holm)}" if each.p_holm is not None else "",
            f"{len(each.seeds)}",
            each.verdict.replace(", ", ",\n").replace(": ", ":\n"),
            *(signed(cost.value, cost.ends) for cost in each.min_dcf),
        ]
        for each in one.comparisons
    ]


def _verdicts(one: ListTable) -> list[str]:
    def told(each: Comparison) -> str:
        return f"{each.variant} {each.verdict} than {each.against}."

    lines = [told(each) for each in one.comparisons if each.verdict.startswith("errs")]
    return ["\n".join(lines)] if lines else []


def _interval(figure: Figure, scale: float, places: int) -> str:
    return f"{scale * figure.low:.{places}f}-{scale * figure.high:.{places}f}"


def _facts(ablation: Ablation) -> Facts:
    seeds = sorted({run.seed for run in ablation.runs})
    machine = ablation.machine
    return Facts(
        {
            "seeds": ", ".join(map(str, seeds)),
            "baseline": ablation.baseline,
            "measured on": ablation.tested_on,
            "lists, SHA-256": "\n".join(
                f"{one.name}: {one.trials_sha256}" for one in ablation.lists if not one.condition
            ),
            "score": f"{ablation.protocol.scoring} of {ablation.protocol.crop} embeddings",
            "intervals": f"{100 * ablation.level:g} %, {ablation.replicates:,} draws of speakers, the same for every "
            "variant and seed; the seeds' part by Student's distribution",
            "comparisons": f"{ablation.tests}, corrected together by Holm's method",
            "voxangle": ablation.voxangle,
            "machine": f"{machine.cpu}, {machine.cores} cores, {machine.system}",
            "libraries": f"Python {machine.python}, numpy {machine.numpy}, torch {machine.torch or 'not loaded'}",
            "date": ablation.date,
        }
    )


def _terminal(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> TerminalTable:
    table = TerminalTable(
        title=TerminalText(title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), leading=1, title_justify="left"
    )
    for place, head in enumerate(header):
        wraps = place == 0 or head == "verdict"
        table.add_column(
            TerminalText(head),
            justify="left" if wraps else "right",
            no_wrap=not wraps,
            overflow="fold" if wraps else "ellipsis",
        )
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(text: str) -> TerminalText:
    # Text, not markup: a name may hold brackets.
    above, line, below = text.partition("\n")
    return TerminalText.assemble((above, "bold"), line, (below, "dim"))


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in line) + " |"
        for line in lines
    )
