"""Makes the figures of docs/method.md from real training runs.

    .venv/bin/python docs/figures/make.py --corpora ../shared/corpora [--runs FOLDER]

Trains three small encoders on the ``train`` split (``RUNS`` below; 400 steps each, some six minutes a run on two
CPU cores), or takes the finished ones it finds in FOLDER, and writes margin.svg, attention.svg and alpha.svg
beside itself. The ``eval`` split is never read. Prints the numbers that the captions quote.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from voxangle.data.prepare import Prepared
from voxangle.encoders import Embedder
from voxangle.objectives import additive_angular_margin, class_aware_attention, supervised_contrastive_loss
from voxangle.recipe import Recipe
from voxangle.training.checkpoint import Checkpoint
from voxangle.training.loop import train
from voxangle.training.material import Material, gather_material

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parents[1] / "recipes" / "shared.yaml"
SMALLER = (
    "encoder.channels=96",
    "encoder.aggregation=384",
    "batch.seconds=1.6",
    "schedule.steps=400",
    "objective.contrast_from=0",  # from the first step on, so that the whole course of alpha is seen
    "training.validate_every=0",
    "training.log_every=5",
)
RUNS = {
    "none": ("objective.balancing.normaliser=none", "objective.balancing.floor=0"),
    "lossplus": ("objective.balancing.normaliser=loss+", "objective.balancing.floor=0"),
    "floor": ("objective.balancing.normaliser=none", "objective.balancing.floor=0.4"),
}
SECONDS = 3  # of each recording that is embedded, from its beginning
SEED = 0

# Okabe & Ito (2008), as in the reports.
BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#777777"


@dataclass(frozen=True)
class Run:
    """A finished run: its material, its model and the prototypes it was trained with."""

    recipe: Recipe
    material: Material
    embedder: Embedder
    prototypes: Tensor
    speakers: list[str]

    @classmethod
    def read(cls, folder: Path) -> Run:
        """The run in a folder."""
        recipe = Recipe.read(folder / "recipe.yaml")
        checkpoint = Checkpoint.read(folder)
        if checkpoint is None:
            raise SystemExit(f"{folder}: no checkpoint")
        return cls(
            recipe,
            gather_material(recipe.data),
            Embedder.load(folder / "model", device="cpu"),
            checkpoint.objective["classification.prototypes"].double(),
            checkpoint.speakers,
        )

    def unit_embeddings(self, recordings: Prepared, rows: NDArray[np.int64]) -> Tensor:
        """(N, D) float64 of unit length."""
        waves = [recordings.read(int(row))[: SECONDS * 16_000] for row in rows]
        return functional.normalize(torch.from_numpy(self.embedder.embed(waves)).double(), dim=1)


def main() -> None:
    """Train what is missing, then draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", type=Path, default=HERE.parents[2] / "shared" / "corpora")
    parser.add_argument("--runs", type=Path, default=HERE.parents[1] / "runs" / "figures")
    options = parser.parse_args()
    for name, settings in RUNS.items():
        folder = options.runs / name
        if not (folder / "model").exists():
            overrides = [f"data.root={options.corpora}", *SMALLER, *settings]
            train(Recipe.read(RECIPE, overrides), folder, console=Console())
    mpl.rcParams |= {
        "svg.hashsalt": "voxangle",
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
    }
    run = Run.read(options.runs / "floor")
    draw_margin(run)
    draw_attention(run)
    draw_alpha({name: options.runs / name / "log.jsonl" for name in RUNS})


# Margin


def draw_margin(run: Run) -> None:
    """What the margin does to the angle, and with what force each form turns a positive pair."""
    figure = Figure(figsize=(8.4, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    theta = np.linspace(0, np.pi, 2001)
    cosine = torch.from_numpy(np.cos(theta))
    left.plot(np.degrees(theta), cosine, color=GREY, linewidth=1, label="m = 0: the cosine itself")
    margins = ((0.2, BLUE), (0.5, VERMILION))
    for margin, colour in margins:
        ours = additive_angular_margin(cosine, margin)
        left.plot(np.degrees(theta), ours, color=colour, linewidth=1.8, label=f"m = {margin}")
    for margin, colour in margins:
        left.plot(*_past_the_seam(theta, margin), color=colour, linewidth=1.4, linestyle=":")
    left.plot([], [], color="black", linestyle=":", linewidth=1.4, label="ArcFace's usual fallback")
    left.set(title="φ(θ), the cosine that is asked to be large", xlabel="angle θ, degrees")
    left.set_xticks(range(0, 181, 30))
    left.legend(loc="lower left", frameon=False)
    seam = left.inset_axes((0.63, 0.60, 0.36, 0.30))
    margin, colour = margins[0]
    near = (theta > np.pi - margin - 0.12) & (theta < np.pi)
    seam.plot(
        np.degrees(theta[near]), additive_angular_margin(cosine[near], margin), color=colour, linewidth=1.8
    )
    seam.plot(*_past_the_seam(theta, margin), color=colour, linewidth=1.4, linestyle=":")
    edge = math.degrees(math.pi - margin)
    seam.axvline(edge, color="0.6", linewidth=0.8)
    seam.set_title("the seam at π - m, m = 0.2", fontsize=7.5)
    seam.set(xlim=(edge - 6, 180), ylim=(-1.045, -0.97))
    seam.tick_params(labelsize=7)

    manifest = run.material.validation.manifest
    labels = manifest.labels()
    rows = np.concatenate(
        [np.flatnonzero(labels == s)[:4] for s in range(labels.max() + 1) if (labels == s).sum() >= 4]
    )
    unit, speaker = run.unit_embeddings(run.material.validation, rows), torch.from_numpy(labels[rows])
    angle = (unit @ unit.T).clamp(-1, 1).acos()
    positive = torch.triu(speaker[:, None] == speaker[None, :], diagonal=1)
    degrees = np.degrees(angle[positive].numpy())
    forms: tuple[tuple[str, str, float, str, str], ...] = (
        ("m = 0: SupCon", "numerator", 0.0, GREY, "-"),
        ("numerator", "numerator", 0.2, BLUE, "-"),
        ("positive", "positive", 0.2, VERMILION, "--"),
        ("arcface", "arcface", 0.2, GREEN, "-."),
    )
    order = np.argsort(degrees)
    for name, form, margin, colour, style in forms:
        pull = _pull(unit, speaker, margin=margin, margin_form=form, temperature=0.1)[positive].numpy()
        right.plot(degrees, pull, ".", color=colour, markersize=3.5, alpha=0.3, markeredgewidth=0)
        label = name if margin == 0 else f"{name}, m = {margin}"
        right.plot(*_running_median(degrees[order], pull[order]), color=colour, linestyle=style, label=label)
        print(f"pull on positives closer than 30 degrees, {label}: {np.median(pull[degrees < 30]):.2f}")
    right.axhline(0, color="0.6", linewidth=0.8)
    right.set(
        title=f"force on {len(degrees)} real same-speaker pairs",
        xlabel="angle of the pair, degrees",
        ylabel="τ N |P| ∂L/∂θ of the pair",
    )
    right.set_ylim(-0.05, 1.1)
    right.legend(loc="lower right", frameon=False)
    print(f"margin: {len(rows)} recordings of {len(set(labels[rows]))} held-out speakers of train")
    _finish(figure, (left, right), "margin")


def _past_the_seam(theta: NDArray[Any], margin: float) -> tuple[NDArray[Any], NDArray[Any]]:
    past = theta > np.pi - margin
    return np.degrees(theta[past]), np.cos(theta[past]) - margin * np.sin(margin)


def _pull(unit: Tensor, labels: Tensor, **settings: Any) -> Tensor:
    """The force that makes the angle of each pair smaller, of the public loss, (N, N).

    The gradient at embedding i is the sum over j of S_ij z_j, less its part along z_i, with S_ij = dL/dcos_ij +
    dL/dcos_ji. With N <= D and independent z the off-diagonal of S can be read out of it exactly.
    """
    leaf = unit.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(supervised_contrastive_loss(leaf, labels, **settings), leaf)
    symmetric = gradient @ torch.linalg.pinv(unit)
    cosine = unit @ unit.T
    sine = (1 - cosine.square()).clamp(min=0).sqrt()
    positives = (labels[:, None] == labels[None, :]).sum(dim=1) - 1
    # Half: S counts both directions of the pair. dcos / dtheta is minus the sine.
    return -0.5 * symmetric * sine * positives[:, None] * len(unit) * settings["temperature"]


def _running_median(x: NDArray[Any], y: NDArray[Any], bins: int = 7) -> tuple[list[float], list[float]]:
    parts = np.array_split(np.arange(len(x)), bins)
    return [float(np.median(x[part])) for part in parts], [float(np.median(y[part])) for part in parts]


# Attention


def draw_attention(run: Run) -> None:
    """The gradient of mislabelled and of clean samples, by how attention enters."""
    random = np.random.default_rng(SEED)
    manifest = run.material.training.manifest
    labels = manifest.labels()
    several = np.flatnonzero(np.bincount(labels) >= 4)
    speakers = np.sort(random.choice(several, 64, replace=False))
    rows = np.concatenate([random.choice(np.flatnonzero(labels == s), 4, replace=False) for s in speakers])
    unit = run.unit_embeddings(run.material.training, rows)
    given = torch.from_numpy(labels[rows].copy())
    swapped = torch.zeros(len(rows), dtype=torch.bool)
    swapped[random.choice(len(rows), len(rows) // 10, replace=False)] = True
    for row in torch.nonzero(swapped).flatten().tolist():
        given[row] = int(random.choice(speakers[speakers != labels[rows[row]]]))

    attention = class_aware_attention(unit, given, run.prototypes)
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.6))
    belief = attention.diagonal()
    _beside(left, [belief], swapped, random)
    left.set(title="belief $a_i$ / max $a$", yscale="log", xlim=(-0.5, 0.5), xticks=[])
    print(f"belief: median clean {belief[~swapped].median():.3f}, mislabelled {belief[swapped].median():.5f}")

    ways: Sequence[tuple[str, dict[str, Any]]] = (
        ("no\nattention", {}),
        ("log_weight\nnegatives", {"attention_form": "log_weight", "pairs": "negatives"}),
        ("logit\nnegatives", {"attention_form": "logit", "pairs": "negatives"}),
        ("log_weight\nall", {"attention_form": "log_weight", "pairs": "all"}),
        ("logit\nall", {"attention_form": "logit", "pairs": "all"}),
    )
    norms = []
    for name, settings in ways:
        leaf = unit.clone().requires_grad_()
        weights = attention if settings else None
        loss = supervised_contrastive_loss(
            leaf, given, temperature=0.1, margin=0.1, attention=weights, **settings
        )
        norms.append(len(unit) * torch.autograd.grad(loss, leaf)[0].norm(dim=1))
        share = norms[-1][swapped].sum() / norms[-1].sum()
        print(
            f"gradient norm, {' '.join(name.split())}: median clean {norms[-1][~swapped].median():.2f}, "
            f"mislabelled {norms[-1][swapped].median():.3f}, share of the mislabelled {100 * share:.1f} %"
        )
    _beside(right, norms, swapped, random)
    right.set(title="norm of the gradient at each embedding, times N", yscale="log")
    right.set_xticks(range(len(ways)), [name for name, _ in ways])
    right.legend(loc="lower left", frameon=False, markerscale=1.6)
    _finish(figure, (left, right), "attention")


def _beside(axes: Axes, columns: Sequence[Tensor], swapped: Tensor, random: np.random.Generator) -> None:
    """Clean and mislabelled samples side by side, their medians as bars."""
    kinds = ((~swapped, -0.18, BLUE, "o", "labelled rightly"), (swapped, 0.18, VERMILION, "^", "mislabelled"))
    for mask, shift, colour, marker, name in kinds:
        for place, values in enumerate(columns):
            chosen = values[mask].detach().numpy()
            x = place + shift + random.uniform(-0.11, 0.11, len(chosen))
            label = f"{name} ({len(chosen)})" if place == 0 else None
            axes.plot(
                x, chosen, marker, color=colour, markersize=3, alpha=0.6, markeredgewidth=0, label=label
            )
            median = float(np.median(chosen))
            axes.plot(
                [place + shift - 0.15, place + shift + 0.15], [median] * 2, color="black", linewidth=1.6
            )


# Balance


def draw_alpha(logs: dict[str, Path]) -> None:
    """How the classification loss is weighed while training, and what becomes of it."""
    records = {name: _read_log(path) for name, path in logs.items()}
    figure = Figure(figsize=(10.2, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    raw = records["none"]
    classification, contrast = (_column(raw, lambda r, k=k: r["gradient_norms"][k]) for k in (0, 1))
    left.plot(_steps(raw), classification, color=BLUE, label="AAM-softmax (s = 30)")
    left.plot(_steps(raw), contrast, color=VERMILION, linestyle="--", label="contrast (τ = 0.1)")
    left.set(title="gradient norms at the embeddings\n(run: raw gradients)", ylim=(0, None))
    left.legend(loc="center right", frameon=False)

    ways = (
        ("none", "raw gradients", BLUE, "-"),
        ("lossplus", "loss+", VERMILION, "--"),
        ("floor", "raw gradients, floor 0.4", GREEN, "-."),
    )
    for name, label, colour, style in ways:
        weight = _column(records[name], lambda r: r["alpha"])
        loss = _column(records[name], lambda r: r["losses"]["classification"])
        middle.plot(_steps(records[name]), weight, color=colour, linestyle=style, label=label)
        right.plot(_steps(records[name]), loss, color=colour, linestyle=style, label=label)
        print(
            f"{label}: weight of classification first {weight[0]:.2f}, median of the second half "
            f"{np.median(weight[len(weight) // 2 :]):.3f}; its loss, mean of the last ten records "
            f"{loss[-10:].mean():.2f}"
        )
    # Two gradients of equal length: alpha is 1/2 whatever their directions, and each loss weighs 1 / its norm.
    middle.plot(
        _steps(raw),
        contrast / (classification + contrast),
        color=PURPLE,
        linestyle=":",
        label="l2, as it would weigh the raw run",
    )
    middle.set(title="weight of the classification loss\n(three runs)", ylim=(-0.02, 1.02))
    middle.legend(loc="upper right", frameon=False)
    right.set(title="classification loss in training\n(the margin rises from step 40 to 120)")
    for axes in (left, middle, right):
        axes.set_xlabel("step")
    _finish(figure, (left, middle, right), "alpha")


def _steps(records: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    return _column(records, lambda record: record["step"])


def _read_log(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "losses" in line]


def _column(records: Sequence[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> NDArray[np.float64]:
    return np.array([of(record) for record in records], dtype=np.float64)


def _finish(figure: Figure, axes: Sequence[Axes], name: str) -> None:
    for each in axes:
        each.grid(visible=True, color="0.9", linewidth=0.8)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    # A white ground of its own: readable on a dark page, too. No date, so that the same runs make the same file.
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
