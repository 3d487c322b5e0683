"""Angles between recordings of one speaker and of two, for speakers whom a run has not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.why.learnt import Learnt, variant_of
from benchmarks.why.resampled import Weights, drawn_speakers
from benchmarks.why.style import BLUE, PURPLE, VERMILION, finish, new_figure
from voxangle.data import Manifest

__all__ = ["Pairs", "angles_in_words", "draw_angles", "measure_angles"]

_EDGES = np.arange(0.0, 181.0, 1.0)  # degrees
_SAME, _OTHERS = "same speaker", "two speakers"
_SETS = (
    _SAME,
    f"{_SAME}, same language",
    f"{_SAME}, two languages",
    _OTHERS,
    f"{_OTHERS}, same language",
    f"{_OTHERS}, same language and channel",
    f"{_OTHERS}, two languages",
)
_FAIR, _APART = _SETS[-2:]
_TOGETHER = 3  # degrees, in a figure
_MOMENTS = ("mean", "deviation")
_COMPARED = ("overlap", "sensitivity")


class Pairs:
    """All pairs of recordings, summed up by pairs of speakers, so that speakers can be drawn anew.

    Args:
        embeddings: (N, D), none of them zero.
        manifest: of the recordings.

    Attributes:
        speakers: how many.
        counts: pairs of recordings in each set that has some.
    """

    def __init__(self, embeddings: NDArray[Any], manifest: Manifest) -> None:
        vectors = embeddings.astype(np.float64)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        first, second = np.triu_indices(len(unit), k=1)
        degrees = np.degrees(np.arccos(np.clip((unit @ unit.T)[first, second], -1, 1)))
        speaker = manifest.labels()
        language, channel = (manifest.column(name).astype(str) for name in ("language", "channel"))
        same = speaker[first] == speaker[second]
        known = (language[first] != "") & (language[second] != "")
        alike = known & (language[first] == language[second])
        fair = alike & (channel[first] == channel[second])
        masks = (
            same,
            same & alike,
            same & known & ~alike,
            ~same,
            ~same & alike,
            ~same & fair,
            ~same & known & ~alike,
        )
        self.speakers = int(speaker.max()) + 1
        self.counts = {name: int(mask.sum()) for name, mask in zip(_SETS, masks, strict=True) if mask.any()}
        self._tables = {
            name: _Table.of(speaker[first][mask], speaker[second][mask], degrees[mask])
            for name, mask in zip(_SETS, masks, strict=True)
            if mask.any()
        }

    def density(self, name: str) -> NDArray[np.float64]:
        """The share of a set's pairs in each degree, shape (180,)."""
        densities, _ = self._tables[name].weighed(self._weights(name, np.ones((1, self.speakers))))
        return np.asarray(densities[0])

    def moments(self, name: str, weights: Weights) -> NDArray[np.float64]:
        """Mean and standard deviation of a set in degrees, shape (draws, 2), for weights (draws, speakers)."""
        return self._tables[name].weighed(self._weights(name, weights))[1]

    def compared(self, name: str, weights: Weights) -> NDArray[np.float64]:
        """How a set of two speakers lies beside that of one: overlap and sensitivity index, shape (draws, 2)."""
        own, ours = self._tables[_SAME].weighed(self._weights(_SAME, weights))
        other, theirs = self._tables[name].weighed(self._weights(name, weights))
        spread = np.sqrt((ours[:, 1] ** 2 + theirs[:, 1] ** 2) / 2)
        apart = np.divide(
            theirs[:, 0] - ours[:, 0], spread, out=np.full(len(spread), np.nan), where=spread > 0
        )
        return np.stack([np.minimum(own, other).sum(axis=1), apart], axis=1)

    def _weights(self, name: str, weights: Weights) -> Weights:
        # A speaker who was drawn twice stands for two people: each has pairs of her own, and pairs with others'.
        table = self._tables[name]
        one = weights[:, table.one]
        return one if name.startswith(_SAME) else one * weights[:, table.other]


@dataclass(frozen=True, eq=False)
class _Table:
    """Pairs of recordings by their two speakers.

    Attributes:
        one: (R,) a speaker,
        other: (R,) and the other one, or the same.
        sums: (R, 182): how many of their pairs lie in each degree, the sum of the angles, and that of their squares.
    """

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    sums: NDArray[np.float64]

    @classmethod
    def of(cls, one: NDArray[np.int64], other: NDArray[np.int64], degrees: NDArray[np.float64]) -> _Table:
        both, row = np.unique(np.stack([one, other]), axis=1, return_inverse=True)
        row = row.ravel()
        rows, cells = both.shape[1], len(_EDGES) - 1
        cell = np.digitize(degrees, _EDGES[1:-1])
        counts = np.bincount(row * cells + cell, minlength=rows * cells).reshape(rows, cells)
        sums = [np.bincount(row, values, rows)[:, None] for values in (degrees, degrees**2)]
        return cls(both[0], both[1], np.hstack([counts, *sums]))

    def weighed(self, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Density (draws, 180), and mean and deviation (draws, 2), NaN without pairs, for weights (draws, R)."""
        sums = weights @ self.sums
        pairs = sums[:, :-2].sum(axis=1, keepdims=True)
        shares = np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0)
        mean, square = shares[:, -2], shares[:, -1]
        return shares[:, :-2], np.stack([mean, np.sqrt(np.maximum(square - mean**2, 0))], axis=1)


def measure_angles(
    run: Learnt,
    *,
    draws: int = 1000,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any] | None:
    """Angles between whole recordings of the validation speakers, in degrees.

    Args:
        run: with validation speakers.
        draws: of the speakers, for the intervals.
        seed: of the draws.
        on_progress: called with (recordings embedded, recordings in all).

    Returns:
        For each set of pairs ``pairs``, ``density`` (by degrees) and, with 95 % intervals, ``mean`` and ``deviation``;
        for pairs of two speakers also ``overlap`` with the pairs of one (the area that both densities share, by
        degrees, in [0, 1]) and ``sensitivity`` (d': the distance of the means, in units of the root of the mean
        variance). None where the run has no validation speakers.
    """
    validation = run.material.validation
    if validation is None:
        return None
    pairs = Pairs(run.embed(run.model, validation, on_progress), validation.manifest)
    sets: dict[str, Any] = {}
    for name, count in pairs.counts.items():
        drawn = partial(drawn_speakers, speakers=pairs.speakers, draws=draws, seed=seed, least=0)
        told = drawn(_MOMENTS, partial(pairs.moments, name))
        if not name.startswith(_SAME):
            told |= drawn(_COMPARED, partial(pairs.compared, name))
        sets[name] = {"pairs": count, "density": pairs.density(name).tolist()} | told
    return {
        "step": run.step,
        "training_seed": run.recipe.seed,
        "speakers": pairs.speakers,
        "recordings": len(validation.samples),
        "sets": sets,
    }


def angles_in_words(found: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """Mean and deviation of each set of pairs, and how it overlaps with one speaker's."""
    for name, one in found.items():
        yield f"{name}: {one['speakers']} validation speakers, {one['recordings']} recordings"
        for of, told in one["sets"].items():
            text = f"    {of}: {told['pairs']:,} pairs, mean {_with_ends(told['mean'])}, deviation "
            text += _with_ends(told["deviation"])
            if "overlap" in told:
                text += f"; overlap {_with_ends(told['overlap'], 3)}, d' {_with_ends(told['sensitivity'], 2)}"
            yield text


def _with_ends(told: Mapping[str, float | None], digits: int = 1) -> str:
    value, low, high = (told[key] for key in ("value", "low", "high"))
    if value is None:
        return "unknown"
    ends = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{ends}"


def draw_angles(found: Mapping[str, dict[str, Any]], path: Path) -> None:
    """Densities of the angles of one speaker and of two, a panel a variant; the mean of its seeds."""
    variants: dict[str, list[dict[str, Any]]] = {}
    for name, one in found.items():
        variants.setdefault(variant_of(name), []).append(one)
    columns = min(2, len(variants))
    rows = -(-len(variants) // columns)
    figure = new_figure(5.6 * columns, 0.9 + 2.5 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel().tolist()
    drawn = (
        (_SAME, BLUE, "-", (BLUE, 0.3), "same speaker"),
        (_FAIR, VERMILION, "-", (VERMILION, 0.25), "two speakers, same language and channel"),
        (_APART, PURPLE, "--", None, "two speakers, two languages"),
    )
    farthest = 0.0
    keys: dict[str, Any] = {}
    for axes, (variant, seeds) in zip(panels, variants.items(), strict=False):
        for name, colour, style, face, label in drawn:
            densities = [seed["sets"][name]["density"] for seed in seeds if name in seed["sets"]]
            if not densities:
                continue
            density = np.mean(densities, axis=0)
            # Three degrees at a time: with few speakers a single degree is noise.
            coarse = density.reshape(-1, _TOGETHER).mean(axis=1)
            keys[label] = axes.stairs(
                coarse,
                _EDGES[::_TOGETHER],
                fill=face is not None,
                facecolor=face,
                edgecolor=colour,
                linewidth=1.6,
                linestyle=style,
            )
            farthest = max(farthest, float(_EDGES[np.flatnonzero(density)[-1] + 1]))
        fair = [seed["sets"].get(_FAIR) or seed["sets"][_OTHERS] for seed in seeds]
        overlap, apart = (np.mean([one[key]["value"] for one in fair]) for key in _COMPARED)
        several = f" ({len(seeds)} seeds)" if len(seeds) > 1 else ""
        axes.set_title(f"{variant}{several}: overlap {100 * overlap:.1f} %, d' {apart:.2f}")
    for axes in panels[len(variants) :]:
        axes.set_axis_off()
    shown = panels[: len(variants)]
    for axes in shown:
        axes.set_xlim(0, min(180, farthest + 5))
        axes.set_xticks(np.arange(0, farthest + 5, 20))
    for axes in shown[-columns:]:
        axes.set_xlabel("angle of two recordings, degrees")
        axes.tick_params(labelbottom=True)
    for axes in shown[::columns]:
        axes.set_ylabel("density, each kind by itself")
    figure.legend(
        keys.values(), keys.keys(), loc="outside lower center", ncols=min(3, 1 + columns), frameon=False
    )
    finish(figure, shown, path)
