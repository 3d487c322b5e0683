"""Results in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from voxangle.reporting.comparison import Comparison
from voxangle.reporting.wording import common_priors, interval, p_value, per_cent, signed
from voxangle.scoring import Protocol, Result

__all__ = ["calibrated_table", "conditions_table", "differences_table", "results_table"]


def results_table(results: Sequence[Result], *, title: str | None = None) -> Table:
    """Error rates with their intervals below them, two lines a result; fits 80 columns.

    What a score is beside a cosine is marked, and said in the caption.

    Raises:
        ValueError: there are no results, or their priors differ.
    """
    priors = common_priors(results)
    resampling = results[0].intervals
    marks = _marks(results)
    table = Table(
        title=title,
        caption=Text(
            f"Below each figure its {100 * resampling.level:g} % interval, by bootstrap over "
            f"{resampling.unit}s. minDCF: normalised, costs 1, p the prior of a target trial."
            + "".join(
                f" {mark} {protocol.learnt[:1].upper()}{protocol.learnt[1:]}."
                for protocol, mark in marks.items()
            )
        ),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        leading=1,
    )
    table.add_column("list\nsystem", overflow="fold")
    figures = ["target\nnon-target", "speakers", "EER %\n", *(f"minDCF\np {p:g}" for p in priors)]
    for head in figures:
        table.add_column(head, justify="right", no_wrap=True)
    for result in results:
        counts = result.counts
        table.add_row(
            _pair(result.name + marks.get(result.protocol, ""), result.model.name),
            _pair(f"{counts.targets:,}", f"{counts.nontargets:,}"),
            f"{counts.speakers:,}",
            _pair(per_cent(result.eer.value), interval(result.eer, scale=100, places=2)),
            *(_pair(f"{cost.value:.3f}", interval(cost)) for cost in result.min_dcf),
        )
    return table


def calibrated_table(results: Sequence[Result]) -> Table:
    """What calibrated scores cost, against the least that they could, two lines a result; fits 80 columns.

    Raises:
        ValueError: there are no results, or their priors differ.
    """
    table = Table(
        title="believed as log-likelihood ratios",
        caption="Below each cost its interval. Cllr in bits: 1 where nothing is told; minCllr: the least of this "
        "order. actDCF: minDCF's cost, decided by what the ratios say.",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        leading=1,
    )
    table.add_column("list\nsystem", overflow="fold")
    for head in ("Cllr\n", "minCllr", *(f"actDCF\np {p:g}" for p in common_priors(results))):
        table.add_column(head, justify="right", no_wrap=True)
    for result in results:
        if (costs := result.calibrated) is not None:
            table.add_row(
                _pair(result.name, result.model.name),
                _pair(f"{costs.cllr.value:.3f}", interval(costs.cllr)),
                f"{costs.min_cllr:.3f}",
                *(_pair(f"{cost.value:.3f}", interval(cost)) for cost in costs.act_dcf),
            )
    return table


def conditions_table(result: Result) -> Table:
    """Error rates of one result by condition, two lines each; fits 80 columns."""
    table = Table(title=f"{result.name}, by condition", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    if any(condition.whole for condition in result.conditions):
        table.caption = "* the condition has none of its own: those of the whole list"
    table.add_column("condition")
    heads = [
        "target\nnon-target",
        "speakers",
        "EER %\n",
        *(f"minDCF\np {p:g}" for p in common_priors([result])),
    ]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for condition in result.conditions:
        targets = f"{condition.targets:,}{'*' if condition.whole == 'targets' else ''}"
        nontargets = f"{condition.nontargets:,}{'*' if condition.whole == 'nontargets' else ''}"
        table.add_row(
            condition.name,
            _pair(targets, nontargets),
            f"{condition.speakers:,}",
            _pair(per_cent(condition.eer.value), interval(condition.eer, scale=100, places=2)),
            *(_pair(f"{cost.value:.3f}", interval(cost)) for cost in condition.min_dcf),
        )
    return table


def differences_table(comparison: Comparison) -> Table:
    """Differences to the baseline with their intervals below them, two lines a system and list; fits 80 columns."""
    adjusted = comparison.tests > 1
    table = Table(
        title=f"each system minus {escape(comparison.baseline)}",
        caption="Below each difference its 95 % interval, on the same draws of speakers; below 0 the system errs less."
        + (" Below p the p-value after Holm's correction." if adjusted else ""),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        leading=1,
    )
    table.add_column("list\nsystem", overflow="fold")
    priors = common_priors([result for one in comparison.lists for result in one.results.values()])
    for head in ("EER\npoints", "p\nof EER", *(f"minDCF\np {p:g}" for p in priors)):
        table.add_column(head, justify="right", no_wrap=True)
    for one in comparison.lists:
        for system, difference in one.differences.items():
            paired = difference.paired
            table.add_row(
                _pair(one.name, system),
                _pair(*signed(paired.eer, paired.eer_interval, scale=100, places=2).split("\n")),
                _pair(p_value(paired.p_value), p_value(difference.adjusted_p) if adjusted else ""),
                *(
                    _pair(*signed(value, ends).split("\n"))
                    for value, ends in zip(paired.min_dcf, paired.min_dcf_intervals, strict=True)
                ),
            )
    return table


def _marks(results: Sequence[Result]) -> dict[Protocol, str]:
    """``*``, ``**`` ... by the protocol, where scores are more than the cosine of embeddings as they are."""
    marked = [result.protocol for result in results if result.protocol.learnt]
    return {protocol: "*" * number for number, protocol in enumerate(dict.fromkeys(marked), start=1)}


def _pair(above: str, below: str) -> Text:
    # Text, not markup: a name may hold brackets.
    return Text.assemble((above, "bold"), "\n", (below, "dim"))
