"""What ``voxangle ablate`` found, list by list: one table for a page of text, one picture of the differences.

    python -m benchmarks.study RUNS/ablation.json [RUNS/ablation.json ...] --lists LIST [LIST ...] [--draw FILE.svg]

Prints a Markdown table for each file: a row a variant, a column a list, in each cell the mean equal error rate over
the seeds in %, and below it the difference to the baseline in points with its 95 % interval over speakers and seeds.
Bold is what the data tells apart after Holm's correction; on parts of lists and on lists of few speakers nothing is.
The picture has a panel for each file and list, with the differences and their intervals.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.why.style import BLUE, GREY, VERMILION, finish, house_style, new_figure
from voxangle.ablation import Ablation, Comparison, ListTable
from voxangle.errors import StorageError, TrialError, VoxangleError, nearest

__all__ = ["draw", "main", "markdown", "read_ablation", "tables_of"]

_ERRS_LESS, _ERRS_MORE = "errs less", "errs more"


def read_ablation(path: Path) -> Ablation:
    """The table of an ablation.

    Raises:
        StorageError: there is none, or it is no such table.
    """
    try:
        return Ablation.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path}: no table of an ablation; name the ablation.json of a folder of runs"
        ) from error


def tables_of(ablation: Ablation, titles: Sequence[str]) -> list[ListTable]:
    """The tables of these lists or parts of lists, in this order.

    Raises:
        TrialError: it was not measured on one of them.
    """
    found = {table.title: table for table in ablation.lists}
    for title in titles:
        if title not in found:
            raise TrialError(f"no list '{title}' in it{nearest(title, found)}")
    return [found[title] for title in titles]


def markdown(ablation: Ablation, tables: Sequence[ListTable]) -> Iterator[str]:
    """The lines of one table."""
    yield " | ".join(("| variant", *(f"{t.title}<br>{t.counts.speakers} speakers" for t in tables))) + " |"
    yield "|---" * (1 + len(tables)) + "|"
    for variant in ablation.variants:
        cells = [_cell(ablation, table, variant) for table in tables]
        yield " | ".join((f"| `{variant}`", *cells)) + " |"


def _cell(ablation: Ablation, table: ListTable, variant: str) -> str:
    mean = next((one for one in table.means if one.variant == variant), None)
    if mean is None:
        return "-"
    error = f"{100 * mean.eer.value:.2f}"
    one = _comparison(ablation, table, variant)
    if one is None:
        return error
    told = f"{100 * one.eer.value:+.2f} [{100 * one.eer.low:+.2f}, {100 * one.eer.high:+.2f}]"
    return f"{error}<br>{f'**{told}**' if one.verdict in {_ERRS_LESS, _ERRS_MORE} else told}"


def _comparison(ablation: Ablation, table: ListTable, variant: str) -> Comparison | None:
    """The variant's difference to the baseline."""
    sides = (variant, ablation.baseline)
    return next((one for one in table.comparisons if (one.variant, one.against) == sides), None)


def draw(panels: Sequence[tuple[str, Ablation, ListTable]], path: Path) -> None:
    """A panel for each, by its heading: the variants' differences to the baseline."""
    variants = list(
        dict.fromkeys(v for _, ablation, _ in panels for v in ablation.variants if v != ablation.baseline)
    )
    figure = new_figure(2.2 + 2.9 * len(panels), 1.3 + 0.27 * len(variants))
    all_axes = np.atleast_1d(figure.subplots(1, len(panels), sharex=True, sharey=True))
    for axes, (heading, ablation, table) in zip(all_axes, panels, strict=True):
        for place, variant in enumerate(variants):
            one = _comparison(ablation, table, variant)
            if one is None:
                continue
            value, low, high = (100 * end for end in (one.eer.value, one.eer.low, one.eer.high))
            colour = {_ERRS_LESS: BLUE, _ERRS_MORE: VERMILION}.get(one.verdict, GREY)
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            axes.plot(value, place, "o", color=colour, markersize=5)
        axes.axvline(0, color="black", linewidth=1)
        axes.set_title(heading)
        axes.set_xlabel(f"EER minus that of {ablation.baseline}, points")
    all_axes[0].set_yticks(range(len(variants)), variants)
    all_axes[0].invert_yaxis()
    finish(figure, list(all_axes), path)


def main(arguments: list[str] | None = None) -> None:
    """Print the tables, and draw where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ablations", type=Path, nargs="+", metavar="ABLATION.json")
    parser.add_argument(
        "--lists", nargs="+", required=True, help="titles, such as `pooled` or `wuw, cross session`"
    )
    parser.add_argument("--headings", nargs="+", help="of the panels, in order; else file and list")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="a picture, .svg or .png")
    options = parser.parse_args(arguments)
    try:
        panels = []
        for path in options.ablations:
            ablation = read_ablation(path)
            tables = tables_of(ablation, options.lists)
            print(*markdown(ablation, tables), "", sep="\n")
            panels += [(f"{path.parent.name}, {table.title}", ablation, table) for table in tables]
        if options.headings:
            if len(options.headings) != len(panels):
                raise TrialError(
                    f"{len(options.headings)} headings for {len(panels)} panels; give one for each"
                )
            panels = [(heading, *rest) for heading, (_, *rest) in zip(options.headings, panels, strict=True)]
        if options.draw:
            with house_style():
                draw(panels, options.draw)
    except VoxangleError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
