"""DET curves and score histograms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import TrialError
from voxangle.metrics import det_curve
from voxangle.scoring import Result, TrialScores
from voxangle.storage import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_det", "plot_scores"]

# Okabe & Ito (2008): told apart by the colour-blind; line styles tell them apart in print, too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")
_TARGET, _NONTARGET = "#0072B2", "#D55E00"
_TICKS = (0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
_DOTS_PER_INCH = 160

_NORMAL = NormalDist()
_DEVIATES = np.linspace(-5, 5, 4001)
_PROBABILITIES = np.array([_NORMAL.cdf(z) for z in _DEVIATES])


def plot_det(results: Sequence[Result], path: str | Path, *, title: str | None = None) -> None:
    """DET curves of one or several systems or lists: FNR over FPR on probit axes, EER points marked.

    Source: Martin et al. 1997, "The DET curve in assessment of detection task performance".

    Args:
        results: with their scores, as ``evaluate`` returns them.
        path: the picture to write; ``.png`` or ``.svg``.
        title: above the curves; by default what the results have in common.

    Raises:
        TrialError: a result has no scores because it was read from a file.
    """
    from matplotlib.figure import Figure

    legend_rows = -(-len(results) // 2)
    figure = Figure(figsize=(6, 6 + 0.25 * legend_rows), layout="constrained")
    axes = figure.subplots()
    rates = [result.eer.value for result in results]
    low = 0.001 if min(rates) > 0.01 else 0.0001
    high = 0.6 if max(rates) < 0.3 else 0.99
    limits = _probit(np.array([low, high]))
    axes.plot(limits, limits, color="0.75", linewidth=1, zorder=1)
    labels, common = _labels(results)
    for i, (result, label) in enumerate(zip(results, labels, strict=True)):
        colour = _COLOURS[i % len(_COLOURS)]
        scores = _scores(result)
        _, fnr, fpr = det_curve(scores.of_targets, scores.of_nontargets)
        curve = _thinned(np.stack([_probit(fpr), _probit(fnr)]))
        style = _STYLES[i % len(_STYLES)]
        axes.plot(*curve, color=colour, linestyle=style, linewidth=1.8, label=label, zorder=2)
        point = _probit(np.array([result.eer.value]))
        axes.plot(point, point, "o", color=colour, markeredgecolor="white", markersize=8, zorder=3)
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    names = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xticks(_probit(np.array(ticks)), names)
    axes.set_yticks(_probit(np.array(ticks)), names)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set_xlabel("non-target trials accepted (FPR), %")
    axes.set_ylabel("target trials rejected (FNR), %")
    axes.set_title(common if title is None else title)
    # Below the axes: wherever it stood inside, some curve would run behind it.
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    _finish(figure, axes, path)


def plot_scores(result: Result, path: str | Path, *, title: str | None = None) -> None:
    """Histogram of the target and of the non-target scores, each of area 1, and the threshold at the EER.

    Args:
        result: with its scores, as ``evaluate`` returns it.
        path: the picture to write; ``.png`` or ``.svg``.
        title: above the histogram; by default the list and the system.

    Raises:
        TrialError: the result has no scores because it was read from a file.
    """
    from matplotlib.figure import Figure

    scores = _scores(result)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    bins = np.histogram_bin_edges(scores.scores, bins=60)
    classes = (
        ("non-target", scores.of_nontargets, _NONTARGET, "//"),
        ("target", scores.of_targets, _TARGET, None),
    )
    for name, values, colour, hatch in classes:
        axes.hist(
            values,
            bins=bins.tolist(),
            density=True,
            histtype="stepfilled",
            facecolor=(colour, 0.35),
            edgecolor=colour,
            linewidth=1.4,
            hatch=hatch,
            label=f"{name} ({values.size:,})",
        )
    axes.axvline(
        result.eer.threshold,
        color="black",
        linestyle="--",
        linewidth=1.4,
        label=f"threshold {result.eer.threshold:.3f}: EER {100 * result.eer.value:.2f} %",
    )
    axes.set_xlabel("cosine of the two embeddings")
    axes.set_ylabel("density, each class by itself")
    axes.set_title(f"{result.model.name}, {result.name}" if title is None else title)
    axes.set_ylim(top=1.28 * axes.get_ylim()[1])
    axes.legend(loc="upper center", ncols=3, framealpha=0.95, fontsize="small")
    _finish(figure, axes, path)


def _finish(figure: Figure, axes: Axes, path: str | Path) -> None:
    axes.grid(visible=True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:] or "png", dpi=_DOTS_PER_INCH)


def _scores(result: Result) -> TrialScores:
    if result.scores is None:
        raise TrialError(
            f"{result.name}: a result that was read from a file has no scores to plot; evaluate again"
        )
    return result.scores


def _labels(results: Sequence[Result]) -> tuple[list[str], str]:
    lists, systems = ({result.name for result in results}, {result.model.name for result in results})
    parts = [
        [name for name, names in ((r.model.name, systems), (r.name, lists)) if len(names) > 1]
        for r in results
    ]
    common = ", ".join(names.pop() for names in (systems, lists) if len(names) == 1)
    rates = [f"EER {100 * result.eer.value:.2f} %" for result in results]
    return [", ".join([*part, rate]) for part, rate in zip(parts, rates, strict=True)], common


def _probit(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    # Rates of 0 and 1 land at -5 and 5 deviates, outside every plot.
    return np.asarray(np.interp(probabilities, _PROBABILITIES, _DEVIATES))


def _thinned(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    # Millions of vertices make no finer a line than a thousand to the unit.
    cells = np.round(curve * 1000).astype(np.int64)
    moved = np.any(np.diff(cells, axis=1) != 0, axis=0)
    return curve[:, np.concatenate([[True], moved])]
