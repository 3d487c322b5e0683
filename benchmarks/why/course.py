"""The course of a training: how the two losses were weighed, and whether their gradients agreed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from benchmarks.why.learnt import variant_of
from benchmarks.why.style import COLOURS, STYLES, finish, new_figure, running_mean
from voxangle.errors import CheckpointError

__all__ = ["course_in_words", "draw_course", "read_course"]

_LOG = "log.jsonl"
_SMOOTHING = 0.06  # share of the training that a mean is taken over


def read_course(folder: Path) -> dict[str, Any]:
    """What ``log.jsonl`` says of both losses, line by line, and summed up over the lines where both were on.

    Returns:
        ``steps``, ``alpha`` (weight of the classification), ``cosine`` (between the two gradients at the embeddings;
        None before contrast enters) and ``norms`` (of each loss's gradient, by its name); ``both`` sums up: lines,
        mean and quartiles of alpha and cosine, the share of lines with a cosine below 0, and the median ratio of the
        norms, classification over contrast.

    Raises:
        CheckpointError: there is no log, or nothing of a training in it.
    """
    rows = []
    try:
        lines = (folder / _LOG).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CheckpointError(
            f"{folder / _LOG}: cannot be read ({error}); name the folder of a run"
        ) from error
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break  # the last one, while a run writes it
    rows = [row for row in rows if "losses" in row]
    if not rows:
        raise CheckpointError(f"{folder / _LOG}: no step was logged yet; wait for training.log_every steps")
    names = sorted({name for row in rows for name in row["losses"]})
    norms = [dict(zip(row["losses"], row["gradient_norms"], strict=True)) for row in rows]
    course: dict[str, Any] = {
        "steps": [row["step"] for row in rows],
        "alpha": [row["alpha"] for row in rows],
        "cosine": [row["gradient_cosine"] for row in rows],
        "norms": {name: [one.get(name) for one in norms] for name in names},
    }
    both = [place for place, row in enumerate(rows) if len(row["losses"]) == 2]
    if both:
        alpha, cosine = (
            np.array([course[key][place] for place in both], np.float64) for key in ("alpha", "cosine")
        )
        ratio = [norms[place]["classification"] / norms[place]["contrastive"] for place in both]
        course["both"] = {
            "lines": len(both),
            "alpha": _summed_up(alpha),
            "cosine": _summed_up(cosine) | {"below_0": float(np.mean(cosine < 0))},
            "norm_ratio_median": float(np.median(ratio)),
        }
    return course


def course_in_words(courses: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """A line a run that had both losses on."""
    for name, course in courses.items():
        if "both" not in course:
            yield f"{name}: one loss, or the other has not entered yet"
            continue
        both = course["both"]
        cosine, alpha = both["cosine"], both["alpha"]
        yield (
            f"{name}: {both['lines']} lines with both losses: cosine {cosine['mean']:+.3f} (quartiles "
            f"{cosine['quartile_1']:+.3f}, {cosine['quartile_3']:+.3f}), below 0 in {100 * cosine['below_0']:.0f} %; "
            f"alpha {alpha['mean']:.3f}; norms, classification over contrast: {both['norm_ratio_median']:.2f}"
        )


def draw_course(courses: Mapping[str, dict[str, Any]], path: Path) -> None:
    """Alpha, cosine and norms over the steps, a colour a variant: bold the smoothed mean of seeds, faint the log."""
    figure = new_figure(9.6, 7.0)
    (weight, agreement), (ours, theirs) = figure.subplots(2, 2, sharex=True)
    axes = weight, agreement, ours, theirs
    variants = list(dict.fromkeys(map(variant_of, courses)))
    compared = [name for name in variants if _both_on(courses, name)] or variants
    keys, names = [], []
    for place, variant in enumerate(compared):
        look: dict[str, Any] = {
            "color": COLOURS[place % len(COLOURS)],
            "linestyle": STYLES[place % len(STYLES)],
        }
        seeds = [course for name, course in courses.items() if variant_of(name) == variant]
        _draw(weight, seeds, _alpha, look)
        _draw(agreement, seeds, lambda course: course["cosine"], look)
        for panel, loss in ((ours, "classification"), (theirs, "contrastive")):
            _draw(panel, seeds, lambda course, loss=loss: course["norms"].get(loss, []), look)
        keys.append(Line2D([], [], linewidth=2.2, **look))
        names.append(f"{variant}, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}")
    weight.set(title="weight of the classification", ylabel="alpha")
    weight.set_ylim(-0.03, max(1.03, weight.get_ylim()[1]))
    agreement.axhline(0, color="black", linewidth=0.9)
    agreement.set(title="do the two gradients agree?", ylabel="cosine of the two")
    ours.set(title="gradient of the classification", ylabel="norm at the embeddings", xlabel="training step")
    theirs.set(title="gradient of the contrast", ylabel="norm at the embeddings", xlabel="training step")
    for panel in (ours, theirs):
        panel.set_ylim(bottom=0)
    figure.legend(keys, names, loc="outside lower center", ncols=min(3, len(names)), frameon=False)
    finish(figure, axes, path)


def _alpha(course: dict[str, Any]) -> list[float | None]:
    """The weights that were chosen: before contrast enters there is nothing to weigh."""
    pairs = zip(course["alpha"], course["cosine"], strict=True)
    return (
        [alpha for alpha, _ in pairs]
        if "both" not in course
        else [None if c is None else a for a, c in pairs]
    )


def _draw(axes: Any, seeds: Sequence[dict[str, Any]], of: Any, look: dict[str, Any]) -> None:
    curves = []
    for course in seeds:
        values = np.array([np.nan if one is None else one for one in of(course)], np.float64)
        known = np.isfinite(values)
        if not known.any():
            continue
        steps = np.array(course["steps"], np.float64)[: len(values)][known]
        axes.plot(steps, values[known], color=look["color"], linewidth=0.6, alpha=0.25)
        width = max(1, round(_SMOOTHING * len(course["steps"])))
        curves.append((steps, running_mean(values[known], width)))
    if not curves:
        return
    # Seeds that have come less far end earlier: the mean is of those that are there at a step.
    steps = np.unique(np.concatenate([curve[0] for curve in curves]))
    smooth = np.array([np.interp(steps, *curve, left=np.nan, right=np.nan) for curve in curves])
    axes.plot(steps, np.nanmean(smooth, axis=0), linewidth=2.2, **look)


def _both_on(courses: Mapping[str, dict[str, Any]], variant: str) -> bool:
    return any("both" in course for name, course in courses.items() if variant_of(name) == variant)


def _summed_up(values: NDArray[np.float64]) -> dict[str, float]:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return {"mean": float(values.mean()), "quartile_1": low, "median": median, "quartile_3": high}
