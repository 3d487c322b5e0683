"""The sharded head in one process, where it is the whole head; several processes are in test_across_ranks.py."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from voxangle.objectives import aam_softmax_loss, own_class_posterior
from voxangle.objectives.sharded import class_shard, sharded_aam_softmax_loss, sharded_own_class_posterior


def batch(classes: int = 7, *, subcentres: int | None = None, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Ten samples, two of which lie on a prototype and opposite to it."""
    torch.manual_seed(seed)
    embeddings = torch.randn(10, 4, dtype=torch.float64)
    prototypes = torch.randn(classes, *([subcentres] if subcentres else []), 4, dtype=torch.float64)
    embeddings[0], embeddings[1] = prototypes.reshape(-1, 4)[0], -prototypes.reshape(-1, 4)[0]
    return embeddings, torch.arange(10) % classes, prototypes


def gradients(value: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, leaves)


@given(classes=st.integers(1, 50), world_size=st.integers(1, 50))
def test_the_shards_are_the_classes_in_order_shared_evenly(classes: int, world_size: int) -> None:
    if classes < world_size:
        with pytest.raises(ValueError, match=f"classes must be >= {world_size}, .* got {classes}"):
            class_shard(classes, 0, world_size)
        return
    shards = [torch.arange(classes)[class_shard(classes, rank, world_size)] for rank in range(world_size)]
    for ours, theirs in zip(shards, torch.arange(classes).tensor_split(world_size), strict=True):
        assert torch.equal(ours, theirs)


def test_a_rank_is_one_of_its_world() -> None:
    with pytest.raises(ValueError, match=r"rank must lie in \[0, 3\), got 3"):
        class_shard(9, 3, 3)
    with pytest.raises(ValueError, match=r"rank must lie in \[0, 3\), got -1"):
        class_shard(9, -1, 3)
    with pytest.raises(ValueError, match="world_size must be >= 1, got 0"):
        class_shard(9, 0, 0)


@settings(max_examples=60)
@given(
    classes=st.integers(1, 12),
    subcentres=st.sampled_from([None, 1, 3]),
    margin=st.floats(0, 1.5),
    scale=st.floats(0.5, 64),
    rivals=st.floats(0, 1),
    inter_margin=st.floats(0, 1.5),
    seed=st.integers(0, 1000),
)
def test_the_only_shard_is_the_whole_head(
    classes: int,
    subcentres: int | None,
    margin: float,
    scale: float,
    rivals: float,
    inter_margin: float,
    seed: int,
) -> None:
    embeddings, labels, prototypes = batch(classes, subcentres=subcentres, seed=seed)
    leaves = embeddings.requires_grad_(), prototypes.requires_grad_()
    options: dict[str, Any] = {
        "margin": margin,
        "scale": scale,
        "inter_topk": round(rivals * (classes - 1)),
        "inter_margin": inter_margin,
    }
    ours = sharded_aam_softmax_loss(embeddings, labels, prototypes, **options)
    whole = aam_softmax_loss(embeddings, labels, prototypes, **options)
    torch.testing.assert_close(ours, whole, rtol=1e-10, atol=1e-12)
    for mine, theirs in zip(gradients(ours, *leaves), gradients(whole, *leaves), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("normalise", ["max", "mean", None])
@pytest.mark.parametrize("subcentres", [None, 2])
@pytest.mark.parametrize("detach", [True, False])
def test_the_posterior_of_the_only_shard_is_that_of_the_whole_head(
    normalise: Any, subcentres: int | None, detach: bool
) -> None:
    embeddings, labels, prototypes = batch(subcentres=subcentres)
    leaves = embeddings.requires_grad_(), prototypes.requires_grad_()
    options: dict[str, Any] = {"scale": 6.0, "normalise": normalise, "detach": detach}
    ours = sharded_own_class_posterior(embeddings, labels, prototypes, **options)
    whole = own_class_posterior(embeddings, labels, prototypes, **options)
    torch.testing.assert_close(ours, whole, rtol=1e-12, atol=0)
    assert ours.requires_grad == whole.requires_grad == (not detach)
    if not detach:
        tilt = torch.arange(10).double()  # the sum alone is constant, divided by the mean
        expected = gradients(whole @ tilt, *leaves)
        for mine, theirs in zip(gradients(ours @ tilt, *leaves), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences() -> None:
    embeddings, labels, prototypes = batch()
    embeddings = embeddings[2:].requires_grad_()  # at a prototype, the floor under the sine is a kink
    inputs = embeddings, prototypes.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z, w: sharded_aam_softmax_loss(z, labels[2:], w, scale=8.0, inter_topk=2), inputs
    )
    assert torch.autograd.gradcheck(
        lambda z, w: sharded_own_class_posterior(z, labels[2:], w, detach=False, scale=4.0), inputs
    )


def test_any_number_of_backward_passes_gives_the_same() -> None:
    embeddings, labels, prototypes = batch()
    leaves = embeddings.requires_grad_(), prototypes.requires_grad_()
    loss = sharded_aam_softmax_loss(embeddings, labels, prototypes, inter_topk=1)
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    for once, again in zip(first, gradients(loss, *leaves), strict=True):
        assert torch.equal(once, again)


def test_autocast_stays_outside() -> None:
    embeddings, labels, prototypes = (part.float() if part.is_floating_point() else part for part in batch())
    exact = sharded_aam_softmax_loss(embeddings, labels, prototypes)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sharded_aam_softmax_loss(embeddings, labels, prototypes), exact)
        half = sharded_own_class_posterior(embeddings.bfloat16(), labels, prototypes)
    assert half.dtype == exact.dtype == torch.float32
    rounded = own_class_posterior(embeddings.bfloat16(), labels, prototypes)
    torch.testing.assert_close(half, rounded)


def test_nan_is_not_hidden() -> None:
    embeddings, labels, prototypes = batch()
    embeddings[3] = math.nan
    assert sharded_aam_softmax_loss(embeddings, labels, prototypes).isnan()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"margin": 1.6}, r"margin must lie in \[0, pi / 2\) radians, got 1\.6"),
        ({"inter_margin": -0.1}, r"inter_margin must lie in \[0, pi / 2\) radians, got -0\.1"),
        ({"scale": 0.0}, r"scale must be finite and > 0, got 0\.0"),
        ({"inter_topk": 7}, r"inter_topk must lie in \[0, 6\], the wrong classes, got 7"),
        ({"inter_topk": -1}, r"inter_topk must lie in \[0, 6\], the wrong classes, got -1"),
        ({"labels": torch.full((10,), 7)}, r"labels must lie in \[0, 7\), .* got 7"),
        ({"labels": torch.full((10,), -1)}, r"labels must lie in \[0, 7\), .* got -1"),
        ({"labels": torch.ones(10)}, r"labels must be integers, got torch\.float32"),
        ({"labels": torch.ones(9, dtype=torch.int64)}, r"labels must have shape \(10,\), .* got \(9,\)"),
        ({"embeddings": torch.ones(10, 4, dtype=torch.int64)}, "embeddings must be floating-point"),
        ({"embeddings": torch.ones(10)}, r"embeddings must have shape \(N, D\)"),
        ({"prototypes": torch.ones(7, 3)}, r"prototypes must have shape \(C, 4\) or \(C, K, 4\)"),
        ({"prototypes": torch.ones(0, 4)}, r"prototypes must have shape .* got \(0, 4\)"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], words: str) -> None:
    inputs = dict(zip(("embeddings", "labels", "prototypes"), batch(), strict=True))
    with pytest.raises(ValueError, match=words):
        sharded_aam_softmax_loss(**inputs | options)
    if not options.keys() & {"margin", "inter_margin", "inter_topk"}:
        with pytest.raises(ValueError, match=words):
            sharded_own_class_posterior(**inputs | options)


def test_the_normaliser_is_checked() -> None:
    with pytest.raises(ValueError, match="normalise must be one of 'max', 'mean', None, got 'sum'"):
        sharded_own_class_posterior(*batch(), normalise="sum")  # type: ignore[arg-type]
