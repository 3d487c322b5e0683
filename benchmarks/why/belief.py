"""Whether class-aware attention finds wrong labels: its belief in recordings under right and wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from numpy.typing import NDArray

from benchmarks.quality import area
from benchmarks.why.learnt import Batch, Learnt, variant_of
from benchmarks.why.resampled import drawn_speakers
from benchmarks.why.style import BLUE, COLOURS, GREY, STYLES, VERMILION, LineStyle, finish, new_figure
from voxangle.metrics import det_curve
from voxangle.objectives import cosine_to_prototypes, own_class_posterior
from voxangle.quality import doubt_labels

__all__ = ["belief_in_words", "detection", "draw_belief", "least_believed", "measure_belief"]

FEWEST = 4  # recordings under a label, from which on it can be told which of them are of somebody else
# Ways to find wrong labels; all but the first of labels that enough recordings have.
_BELIEF, _SEVERAL = "belief, all labels", f"belief, labels of {FEWEST} recordings or more"
_IN_BATCH, _DOUBT = (
    "the same in training batches, normalised",
    "the same by the speaker's other recordings (doubt)",
)
_BLOCK = 1024
_BINS = np.linspace(-8, 2, 201)  # of log10 a
_WIDE = 2  # decades
_POINTS = 400  # of a ROC curve that is kept

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def measure_belief(
    run: Learnt,
    batches: Sequence[Batch],
    *,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any] | None:
    """What the classifier of a run believes of its training recordings.

    Each recording is embedded whole, with the encoder in use, and believed as ``own_class_posterior`` says at the run's
    scale (``raw``); and as training has it, over augmented crops, by the statistics of their batch and normalised in it
    (``in_batch``). Beside it stands ``quality.doubt_labels``, which asks not the classifier but a speaker's other
    recordings: a classifier that has learnt wrong labels by heart believes them, and so does its encoder.

    Args:
        run: with a classifier.
        batches: of its training.
        seed: of the bootstrap over those who speak.
        on_progress: called with (recordings embedded, recordings in all).

    Returns:
        Figures as plain data; None where the run has no classifier. Rates of detection stand there where labels were
        swapped. ``rightly_labelled`` has a row for each recording whose label was left alone (see ``least_believed``);
        its ``standing`` is the share of them that are believed less.
    """
    prototypes = run.prototypes
    if prototypes is None:
        return None
    training, attention = run.material.training, run.attention
    embeddings = run.embed(run.encoder, training, on_progress)
    labels = run.labels
    raw, other, nearest = _posteriors(embeddings, labels, prototypes, attention.scale)
    doubts = doubt_labels(embeddings, training.manifest.labels())
    several = np.bincount(labels)[labels] >= FEWEST
    wrong, speakers = run.wrong, run.speakers
    crops, rows = _in_batches(run, batches)
    often = several[rows]
    found: dict[str, Any] = {
        "step": run.step,
        "steps": run.recipe.schedule.steps,
        "training_seed": run.recipe.seed,
        "swapped_labels": run.recipe.data.swapped_labels,
        "scale": attention.scale,
        "normalise": attention.normalise,
        "recordings": len(wrong),
        "wrong": int(wrong.sum()),
        "raw": _distributions(raw, wrong),
        "in_batch": _distributions(crops, wrong[rows]) | {"crops": len(crops)},
        "given_to_another": {
            kind: float(np.mean(other[mask] > raw[mask])) if mask.any() else None
            for kind, mask in (("right", ~wrong), ("wrong", wrong))
        },
    }
    if np.any(wrong):
        scores = -np.log(raw)
        judged = several & np.isfinite(doubts.doubt)
        found["detection"] = {
            _BELIEF: detection(scores, wrong, speakers, seed=seed),
            _SEVERAL: detection(scores[several], wrong[several], speakers[several], seed=seed),
            _IN_BATCH: detection(-np.log(crops[often]), wrong[rows[often]], speakers[rows[often]], seed=seed),
            _DOUBT: detection(doubts.doubt[judged], wrong[judged], speakers[judged], seed=seed),
        }
    names = run.feed.recordings.speakers
    standing = np.searchsorted(np.sort(raw[~wrong]), raw) / max(1, int((~wrong).sum()))
    rather = [names[k] if given_away else None for k, given_away in zip(nearest, other > raw, strict=True)]
    doubt = [
        value if known else None
        for value, known in zip(doubts.doubt.tolist(), several & np.isfinite(doubts.doubt), strict=True)
    ]
    columns = {
        "utterance": training.manifest.column("utterance").tolist(),
        "speaker": training.manifest.column("speaker").tolist(),
        "standing": standing.tolist(),
        "belief": raw.tolist(),
        "rather": rather,
        "doubt": doubt,
    }
    told = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    found["rightly_labelled"] = [told[row] for row in np.flatnonzero(~wrong)]
    return found


def detection(scores: Floats, wrong: Mask, speakers: NDArray[np.int64], *, seed: int = 0) -> dict[str, Any]:
    """How well scores find wrong labels.

    Args:
        scores: (N,) the higher, the less the label is believed.
        wrong: (N,) whether it is wrong.
        speakers: (N,) who speaks: they are drawn for the interval, each with all her recordings.
        seed: of the draws.

    Returns:
        ``auc`` with its 95 % interval: how often a wrong label scores above a right one, ties half (Mann and Whitney);
        ``found_among_as_many``: of as many recordings with the highest scores as there are wrong ones, the share that
        is wrong; ``roc``: the share of the right ones flagged (x) and of the wrong ones flagged (y). Empty where a kind
        is missing.
    """
    if wrong.all() or not wrong.any():
        return {}
    number = np.unique(speakers, return_inverse=True)[1]
    people = int(number.max()) + 1

    def auc(weights: Floats) -> Floats:
        each = weights[:, number]
        areas = [
            area(scores, wrong, one) if one[wrong].any() and one[~wrong].any() else np.nan for one in each
        ]
        return np.array(areas)[:, None]

    interval = drawn_speakers(("auc",), auc, people, seed=seed, least=0, most=1)
    _, missed, flagged = det_curve(scores[wrong], scores[~wrong])
    kept = np.unique(np.linspace(0, len(missed) - 1, _POINTS).astype(int))
    highest = np.argsort(-scores, kind="stable")[: int(wrong.sum())]
    return interval | {
        "right": int((~wrong).sum()),
        "wrong": int(wrong.sum()),
        "speakers": people,
        "found_among_as_many": float(wrong[highest].mean()),
        "roc": {"x": flagged[kept].tolist(), "y": (1 - missed[kept]).tolist()},
    }


def least_believed(found: Mapping[str, dict[str, Any]], among: str = "") -> list[dict[str, Any]]:
    """The recordings of the corpus itself that the classifiers of all runs believe least, worst first.

    A run counts for a recording that it has learnt under the label it came with.

    Args:
        found: what ``measure_belief`` returned, by run.
        among: how the keys of the recordings begin.

    Returns:
        A row each: ``utterance``, ``speaker``, ``of`` (how many runs learnt it), ``standing`` (mean share of recordings
        believed less), ``belief`` (mean), ``given_away`` (runs that give it to another speaker), ``rather`` (whom most
        of them name, or None) and ``doubt`` (mean ``quality.doubt_labels`` on the runs' embeddings, above 0 where
        another speaker is nearer; None under a label of few recordings).
    """
    said: dict[str, list[dict[str, Any]]] = {}
    for one in found.values():
        for row in one["rightly_labelled"]:
            if row["utterance"].startswith(among):
                said.setdefault(row["utterance"], []).append(row)
    table = []
    for key, rows in said.items():
        rather = [row["rather"] for row in rows if row["rather"] is not None]
        doubt = [row["doubt"] for row in rows if row["doubt"] is not None]
        table.append(
            {
                "utterance": key,
                "speaker": rows[0]["speaker"],
                "of": len(rows),
                "standing": float(np.mean([row["standing"] for row in rows])),
                "belief": float(np.mean([row["belief"] for row in rows])),
                "given_away": len(rather),
                "rather": max(sorted(set(rather)), key=rather.count) if rather else None,
                "doubt": float(np.mean(doubt)) if doubt else None,
            }
        )
    return sorted(table, key=lambda row: (row["standing"], row["belief"]))


def belief_in_words(found: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """How well each run's belief finds swapped labels, a line each way."""
    for name, one in found.items():
        given = one["given_to_another"]
        yield (
            f"{name}: the classifier gives {100 * given['right']:.1f} % of the right labels to another speaker"
            + ("" if given["wrong"] is None else f", {100 * given['wrong']:.1f} % of the swapped ones")
        )
        for how, told in one.get("detection", {}).items():
            if told:
                auc = told["auc"]
                yield (
                    f"    area {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}], found among as many "
                    f"{100 * told['found_among_as_many']:.0f} %: {how}"
                )


def _posteriors(
    embeddings: NDArray[np.float32], labels: NDArray[np.int64], prototypes: torch.Tensor, scale: float
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """The posterior of each recording's own class, the greatest of the others, and whose that is; shape (N,) each."""
    parts = []
    for first in range(0, len(labels), _BLOCK):
        part = torch.from_numpy(embeddings[first : first + _BLOCK]).double()
        mine = torch.from_numpy(labels[first : first + _BLOCK])
        own = own_class_posterior(part, mine, prototypes, scale=scale, normalise=None)
        others = cosine_to_prototypes(part, prototypes, scale=scale).softmax(dim=1)
        best = others.scatter(1, mine[:, None], -1.0).max(dim=1)
        parts.append((own.numpy(), best.values.numpy(), best.indices.numpy()))
    beliefs, others_best, nearest = (np.concatenate(column) for column in zip(*parts, strict=True))
    return beliefs, others_best, nearest


def _in_batches(run: Learnt, batches: Sequence[Batch]) -> tuple[Floats, NDArray[np.int64]]:
    """The belief in each crop as the loss is told it, and the crop's recording; shape (crops,) each."""
    prototypes = run.prototypes
    assert prototypes is not None
    beliefs = [
        own_class_posterior(
            batch.embeddings,
            batch.labels,
            prototypes,
            scale=run.attention.scale,
            normalise=run.attention.normalise,
        )
        for batch in batches
    ]
    return (
        torch.cat(beliefs).double().numpy(),
        torch.cat([batch.rows for batch in batches]).numpy(),
    )


def _distributions(values: Floats, wrong: Mask) -> dict[str, Any]:
    """Quantiles of right and wrong ones, and histograms of their decimal logarithms, of density."""
    told: dict[str, Any] = {"log10_edges": _BINS.tolist()}
    for kind, mask in (("right", ~wrong), ("wrong", wrong)):
        if not mask.any():
            continue
        logs = np.clip(np.log10(values[mask]), _BINS[0], None)
        low, quartile, median, above, high = np.quantile(values[mask], (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
        told[kind] = {
            "mean": float(values[mask].mean()),
            "median": median,
            "quartiles": [quartile, above],
            "ends_of_90_per_cent": [low, high],
            "density": (np.histogram(logs, _BINS)[0] / len(logs) / np.diff(_BINS)).tolist(),
        }
    return told


# Drawing


def draw_belief(found: Mapping[str, dict[str, Any]], path: Path) -> None:
    """Beliefs in right and wrong labels, as they are and as normalised in a batch, and how well they find wrong ones.

    Several seeds of a variant are shown as their mean; of runs without swapped labels only the distribution.
    """
    variants: dict[str, list[dict[str, Any]]] = {}
    for name, one in found.items():
        variants.setdefault(variant_of(name), []).append(one)
    swapped = any("detection" in one for one in found.values())
    figure = new_figure(11.4 if swapped else 7.8, 1.3 + 2.5 * len(variants))
    panels = figure.subplots(
        len(variants),
        3 if swapped else 2,
        squeeze=False,
        sharex="col",
        width_ratios=(1, 1, 0.9)[: 2 + swapped],
    )
    for (variant, seeds), row in zip(variants.items(), panels, strict=True):
        several = f", {len(seeds)} seeds" if len(seeds) > 1 else ""
        _histograms(row[0], [seed["raw"] for seed in seeds])
        _histograms(row[1], [seed["in_batch"] for seed in seeds])
        row[0].set(title=f"{variant}{several}: whole recordings", ylabel="density by decades")
        by = {"mean": ", over their batch's mean", "max": ", over their batch's maximum"}
        row[1].set_title(f"crops in training{by.get(seeds[0]['normalise'], '')}")
        if "detection" in seeds[0]:
            _rocs(row[2], [seed["detection"] for seed in seeds])
            row[2].set_xlabel("right labels flagged")
        elif swapped:
            row[2].set_axis_off()
    _decades([row[0] for row in panels])
    _decades([row[1] for row in panels])
    panels[-1][0].set_xlabel("belief in the label (posterior)")
    panels[-1][1].set_xlabel("belief in the label, normalised")
    keys = {
        label: key
        for axes in panels.ravel().tolist()
        for key, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(keys.values(), keys.keys(), loc="outside lower center", ncols=2, frameon=False)
    finish(figure, [axes for axes in panels.ravel().tolist() if axes.axison], path)


def _histograms(axes: Axes, of: Sequence[dict[str, Any]]) -> None:
    edges = np.array(of[0]["log10_edges"])
    kinds = (
        ("right", BLUE, None, "label right"),
        ("wrong", VERMILION, "///", "label swapped"),
    )
    for kind, colour, hatch, name in kinds:
        if kind not in of[0]:
            continue
        density = np.mean([one[kind]["density"] for one in of], axis=0)
        axes.stairs(
            density,
            edges,
            fill=True,
            facecolor=(colour, 0.3),
            edgecolor=colour,
            linewidth=1.2,
            hatch=hatch,
            label=name,
        )
        median = np.log10(np.mean([one[kind]["median"] for one in of]))
        axes.axvline(median, color=colour, linewidth=1.6, linestyle="--" if hatch else "-")


def _decades(panels: Sequence[Axes]) -> None:
    """Powers of ten under histograms of logarithms, as far as there is something to see in one of them."""
    steps = [patch.get_data() for axes in panels for patch in axes.patches if isinstance(patch, StepPatch)]
    seen = [edges[:-1][values > 0.01 * np.max(values)] for values, edges, _ in steps]
    low, high = (float(end(np.concatenate(seen))) for end in (np.min, np.max))
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    # Few decades have more than their ends marked.
    factors = (1, 2, 5) if high - low < _WIDE else (1,)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    names = [f"{tick:g}" if factors != (1,) else f"$10^{{{np.log10(tick):.0f}}}$" for tick in ticks]
    for axes in panels:
        axes.set_xticks(np.log10(ticks).tolist(), names)
        axes.set_xlim(low - 0.1, high + 0.2)


def _rocs(axes: Axes, of: Sequence[dict[str, Any]]) -> None:
    flagged = np.linspace(0, 1, 401)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9)
    areas: list[tuple[float, str, LineStyle]] = []
    for place, name in enumerate(of[0]):
        curves = [one[name] for one in of if one[name]]
        if not curves:
            continue
        # The curve begins where all is flagged.
        rates = [np.interp(flagged, one["roc"]["x"][::-1], one["roc"]["y"][::-1]) for one in curves]
        auc = float(np.mean([one["auc"]["value"] for one in curves]))
        colour, style = COLOURS[(place + 2) % len(COLOURS)], STYLES[place % len(STYLES)]
        axes.plot(flagged, np.mean(rates, axis=0), color=colour, linestyle=style, linewidth=2, label=name)
        areas.append((auc, colour, style))
    axes.set(title="finding swapped labels", ylabel="swapped labels flagged")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    keys = [Line2D([], [], color=colour, linestyle=style, linewidth=2) for _, colour, style in areas]
    axes.legend(keys, [f"{auc:.3f}" for auc, *_ in areas], title="area", loc="lower right", frameon=False)
