"""Results as blocks of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voxangle.metrics import PairedDifference
from voxangle.reporting.page import Block, Facts, Part, Table
from voxangle.reporting.wording import common_priors, interval, per_cent, signed
from voxangle.scoring import Result

__all__ = ["difference_table", "protocol_entries", "protocol_facts", "result_table", "shared_facts"]


def result_table(results: Sequence[Result], caption: str) -> Table:
    """Error rates with their intervals below them, a row a result.

    Raises:
        ValueError: there are no results, or their priors differ.
    """
    costs = [f"minDCF\np {p:g}" for p in common_priors(results)]
    header = ["list\nsystem", "EER %", *costs, "target\nnon-target", "speakers"]
    rows = [
        [
            f"{result.name}\n{result.model.name}",
            f"{per_cent(result.eer.value)}\n{interval(result.eer, scale=100, places=2)}",
            *(f"{cost.value:.3f}\n{interval(cost)}" for cost in result.min_dcf),
            f"{result.counts.targets:,}\n{result.counts.nontargets:,}",
            f"{result.counts.speakers:,}",
        ]
        for result in results
    ]
    return Table(caption, header, rows)


def difference_table(
    differences: Mapping[str, PairedDifference], priors: Sequence[float], caption: str
) -> Table:
    """Differences of two systems, a row a list; say in the caption which system is the first.

    Args:
        differences: by the list's name.
        priors: of the minDCFs.
        caption: what is subtracted from what.
    """
    costs = [f"minDCF\np {p:g}" for p in priors]
    header = ["list", "EER\npercentage points", *costs, "first better\nin draws", "speakers"]
    rows = [
        [
            name,
            signed(difference.eer, difference.eer_interval, scale=100, places=2),
            *map(signed, difference.min_dcf, difference.min_dcf_intervals),
            f"{100 * difference.first_better:.0f} %",
            f"{difference.speakers:,}",
        ]
        for name, difference in differences.items()
    ]
    return Table(caption, header, rows)


def protocol_facts(result: Result) -> Facts:
    """How a result was made, down to the checksums."""
    return Facts(protocol_entries(result))


def protocol_entries(result: Result) -> dict[str, str]:
    """Likewise, as names and values; every field of the protocol is among them."""
    protocol, intervals, machine = result.protocol, result.intervals, result.machine
    return {
        "list": f"{result.name}, {result.counts.trials:,} trials, {result.counts.utterances:,} utterances",
        "list, SHA-256": result.trials_sha256,
        **{
            name.replace("_", " "): _in_words(getattr(protocol, name)) for name in type(protocol).model_fields
        },
        "EER": result.eer.definition,
        "minDCF": f"{result.min_dcf[0].definition}; c_miss {result.min_dcf[0].c_miss:g}, "
        f"c_fa {result.min_dcf[0].c_fa:g}",
        "intervals": f"{100 * intervals.level:g} %, {intervals.method}, {intervals.replicates:,} draws of "
        f"{result.counts.speakers} {intervals.unit}s (known from the {intervals.speakers_from}), "
        f"seed {intervals.seed}, {intervals.discarded} draws left out",
        "model": result.model.name,
        "model, SHA-256": result.model.sha256 or "not stored",
        "voxangle": result.voxangle,
        "command": result.command,
        "machine": f"{machine.cpu}, {machine.cores} cores, {machine.system}",
        "libraries": f"Python {machine.python}, numpy {machine.numpy}, torch {machine.torch or 'not loaded'}",
        "date": result.date,
    }


def shared_facts(entries: Mapping[str, Mapping[str, str]]) -> list[Block]:
    """What all have in common, once, and below the name of each what it has for itself.

    Args:
        entries: ``protocol_entries`` by what to call the result.
    """
    every = list(entries.values())
    common = {
        name: value
        for name, value in every[0].items()
        if all(other.get(name) == value for other in every[1:])
    }
    own = [
        Part(whose, [Facts({name: value for name, value in of_one.items() if name not in common})])
        for whose, of_one in entries.items()
    ]
    return [Facts(common), *(own if len(every) > 1 else [])]


def _in_words(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(_in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
