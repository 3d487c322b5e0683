"""How much of the gradient comes from wrong labels, under each form of attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.why.learnt import Batch, Learnt, variant_of
from benchmarks.why.style import BLUE, GREEN, GREY, PURPLE, VERMILION, finish, new_figure
from voxangle.objectives import own_class_posterior, supervised_contrastive_loss
from voxangle.objectives.attention import AttentionNormaliser
from voxangle.objectives.contrastive import AttentionForm, PairSelection
from voxangle.objectives.contrasts import SupervisedContrastiveConfig
from voxangle.training.schedule import margin_ramp

__all__ = ["draw_gradient", "gradient_in_words", "measure_gradient", "pair_forces"]

_OWN_COORDINATE = 1e-6  # share of a vector's square length; no cosine changes by more
_NORMALISERS: tuple[AttentionNormaliser, ...] = ("mean", "max")
_NO_ATTENTION, _CLASSIFICATION = "no attention", "classification"
# What a pair of samples does to each other, by its labels and by who speaks.
_FALSE_PULL = "pull of two voices"
_KINDS = (
    "pull of one voice",
    _FALSE_PULL,
    "push of two voices, labels right",
    "push of two voices, a label wrong",
    "push of one voice",
)

Loss = Callable[[Tensor], Tensor]


def pair_forces(embeddings: Tensor, loss: Loss) -> Tensor:
    r"""With what force each pair of samples turns each other, by the gradient of a loss of their cosines.

    The gradient at a unit vector :math:`z_i` is :math:`\sum_j S_{ij} (z_j - \cos\theta_{ij} z_i)` with :math:`S_{ij} =
    \partial L / \partial\cos_{ij} + \partial L / \partial\cos_{ji}`: pair by pair a vector of length :math:`|S_{ij}|
    \sin\theta_{ij}`. To read S off the gradient of any such loss, each vector gets a coordinate of its own, as small as
    the cosines need it.

    Args:
        embeddings: (N, D), none of them zero.
        loss: of embeddings of any dimension, by their cosines alone.

    Returns:
        (N, N) float64, symmetric: positive where the pair is pulled together, negative where it is pushed apart.
    """
    unit = functional.normalize(embeddings.detach().double(), dim=1)
    small = _OWN_COORDINATE**0.5
    own = small * torch.eye(len(unit), dtype=unit.dtype)
    leaf = torch.cat([(1 - _OWN_COORDINATE) ** 0.5 * unit, own], dim=1).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    cosine = unit @ unit.T
    forces = -gradient[:, unit.shape[1] :] / small * (1 - cosine.square()).clamp(min=0).sqrt()
    symmetric: Tensor = forces.fill_diagonal_(0.0)
    return symmetric


def measure_gradient(run: Learnt, batches: Sequence[Batch], *, seed: int = 0) -> dict[str, Any] | None:
    """The part of wrong labels in the gradients at the embeddings of real batches, by each form of attention.

    The contrastive loss has the run's temperature and margin (the package's where it has none), and its attention the
    run's classifier and scale; form, pairs and normaliser are varied. Nothing is learnt between the batches.

    Args:
        run: with a classifier.
        batches: of its training, N samples each.
        seed: of the bootstrap over batches.

    Returns:
        ``samples``: the share of wrong labels among them. For ``classification`` and for each form ``share``: of the
        norms of the gradients at all embeddings, as training has them, that at the mislabelled ones, with a 95 %
        interval over batches. For each form also ``forces``: the shares that kinds of pairs have in all forces
        (``pair_forces``), and ``strength``: the norms, relative to those without attention. None where the run has no
        classifier or no swapped labels.
    """
    prototypes, head = run.prototypes, run.objective.classification
    if prototypes is None or head is None or not run.wrong.any():
        return None
    config = run.recipe.objective.contrastive
    if not isinstance(config, SupervisedContrastiveConfig):
        config = SupervisedContrastiveConfig()
    ramp = margin_ramp(run.recipe.schedule, run.step)
    norms: dict[str, list[tuple[float, float]]] = {}
    forces: dict[str, list[NDArray[np.float64]]] = {}
    for batch in batches:
        contrast = partial(_contrast, config=config, labels=batch.labels)
        ways: dict[str, Loss] = {_NO_ATTENTION: contrast}
        for normalise in _NORMALISERS:
            belief = own_class_posterior(
                batch.embeddings, batch.labels, prototypes, scale=run.attention.scale, normalise=normalise
            )
            for form, pairs in product(get_args(AttentionForm), get_args(PairSelection)):
                weighed = partial(contrast, attention=belief, attention_form=form, pairs=pairs)
                ways[f"{form}, {pairs}, by {normalise}"] = weighed
        ways[_CLASSIFICATION] = partial(head, labels=batch.labels, margin_ramp=ramp)
        kinds = _kinds_of_pairs(batch)
        for name, loss in ways.items():
            leaf = batch.embeddings.clone().requires_grad_()
            each = torch.autograd.grad(loss(leaf), leaf)[0].norm(dim=1)
            norms.setdefault(name, []).append((float(each[batch.wrong].sum()), float(each.sum())))
            if name != _CLASSIFICATION:
                force = pair_forces(batch.embeddings, loss).abs()
                sums = [float(force[kind].sum()) for kind in kinds]
                forces.setdefault(name, []).append(np.array(sums) / sum(sums))
    samples = np.array([(float(batch.wrong.sum()), float(len(batch.wrong))) for batch in batches])
    without = np.array(norms[_NO_ATTENTION])[:, 1]
    told: dict[str, Any] = {
        "step": run.step,
        "training_seed": run.recipe.seed,
        "swapped_labels": run.recipe.data.swapped_labels,
        "batches": len(batches),
        "batch": len(batches[0].labels),
        "temperature": config.temperature,
        "margin": config.margin,
        "margin_form": config.margin_form,
        "scale": run.attention.scale,
        "samples": _share(samples, seed),
        "own_form": _own_form(run),
        "ways": {},
    }
    for name, rows in norms.items():
        told["ways"][name] = {"share": _share(np.array(rows), seed)}
        if name in forces:
            mean = np.mean(forces[name], axis=0).tolist()
            told["ways"][name] |= {
                "forces": dict(zip(_KINDS, mean, strict=True)),
                "strength": float(np.mean(np.array(rows)[:, 1] / without)),
            }
    return told


def _contrast(
    embeddings: Tensor, *, config: SupervisedContrastiveConfig, labels: Tensor, **attention: Any
) -> Tensor:
    return supervised_contrastive_loss(
        embeddings,
        labels,
        temperature=config.temperature,
        margin=config.margin,
        margin_form=config.margin_form,
        **attention,
    )


def _kinds_of_pairs(batch: Batch) -> list[Tensor]:
    """Masks (N, N) of ``_KINDS``; together all pairs."""
    labels, speakers = batch.labels, batch.speakers
    said, true = labels[:, None] == labels, speakers[:, None] == speakers
    touched = batch.wrong[:, None] | batch.wrong
    return [said & true, said & ~true, ~said & ~true & ~touched, ~said & ~true & touched, ~said & true]


def _own_form(run: Learnt) -> str | None:
    own = run.recipe.objective.attention
    return f"{own.form}, {own.pairs}, by {own.normalise}" if own else None


def _share(rows: NDArray[np.float64], seed: int) -> dict[str, float]:
    """First column over second, of sums over the batches, with a 95 % interval by drawing batches anew."""
    random = np.random.default_rng(seed)
    drawn = rows[random.integers(len(rows), size=(1000, len(rows)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975)).tolist()
    part, whole = rows.sum(axis=0).tolist()
    return {"value": part / whole, "low": low, "high": high}


def gradient_in_words(found: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """The share of the mislabelled in each gradient."""
    for name, one in found.items():
        samples = one["samples"]["value"]
        own = f", its own form: {one['own_form']}" if one["own_form"] else ""
        yield f"{name}: {100 * samples:.1f} % of the samples of {one['batches']} batches are mislabelled{own}"
        for way, told in one["ways"].items():
            share = told["share"]
            false = told.get("forces", {}).get(_FALSE_PULL)
            pull = "" if false is None else f"; pulls of two voices are {100 * false:.1f} % of all forces"
            yield (
                f"    {way}: {100 * share['value']:.1f} % [{100 * share['low']:.1f}, {100 * share['high']:.1f}] of the "
                f"gradient's norms{pull}"
            )


def draw_gradient(found: Mapping[str, dict[str, Any]], path: Path) -> None:
    """Left: the mislabelled samples' share of the gradient. Right: which pairs it comes from. A row a variant."""
    variants: dict[str, list[dict[str, Any]]] = {}
    for name, one in found.items():
        variants.setdefault(variant_of(name), []).append(one)
    names = list(next(iter(found.values()))["ways"])
    figure = new_figure(11.6, 0.6 + (0.7 + 0.31 * len(names)) * len(variants))
    panels = figure.subplots(
        len(variants), 2, squeeze=False, sharey=True, sharex="col", width_ratios=(1, 1.25)
    )
    for (variant, runs), (left, right) in zip(variants.items(), panels, strict=True):
        several = f" ({len(runs)} seeds)" if len(runs) > 1 else ""
        samples = 100 * float(np.mean([run["samples"]["value"] for run in runs]))
        left.set_title(f"{variant}{several}: share at swapped samples")
        left.axvline(
            samples, color="black", linestyle="--", linewidth=1.2, label="their share of the samples (dashed)"
        )
        for row, name in enumerate(names):
            shares = [100 * run["ways"][name]["share"]["value"] for run in runs]
            colour = VERMILION if "by" in name.split() else GREY
            left.barh(row, np.mean(shares), color=(colour, 0.5), edgecolor=colour, height=0.66)
            if len(shares) > 1:
                left.plot(shares, [row] * len(shares), "o", color="black", markersize=3)
            farther = max(*shares, samples if np.mean(shares) < samples < np.mean(shares) + 4 else 0)
            left.annotate(
                f"{np.mean(shares):.1f}", (farther, row), (4, 0), textcoords="offset points", va="center"
            )
        right.set_title("which pairs turn the embeddings")
        _stack(right, names, runs)
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].invert_yaxis()
    panels[0][0].set_xlim(0, 1.12 * panels[0][0].get_xlim()[1])
    panels[0][1].set_xlim(0, 100)
    panels[-1][0].set_xlabel("share of the norms of all gradients, %")
    panels[-1][1].set_xlabel("share of the forces of all pairs, %")
    figure.legend(
        *panels[0][1].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    finish(figure, panels.ravel().tolist(), path)


def _stack(axes: Axes, names: Sequence[str], runs: Sequence[dict[str, Any]]) -> None:
    """The kinds of pairs one behind another, a bar a way."""
    looks = ((BLUE, None), (VERMILION, "///"), (GREEN, None), (PURPLE, "..."), ("black", None))
    paired = [row for row, name in enumerate(names) if "forces" in runs[0]["ways"][name]]
    behind = np.zeros(len(paired))
    for kind, (colour, hatch) in zip(_KINDS, looks, strict=True):
        width = np.array(
            [100 * np.mean([run["ways"][names[row]]["forces"][kind] for run in runs]) for row in paired]
        )
        axes.barh(
            paired,
            width,
            left=behind,
            height=0.66,
            color=(colour, 0.45),
            edgecolor=colour,
            hatch=hatch,
            label=kind,
        )
        behind += width
