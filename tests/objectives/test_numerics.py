"""Odd batches give finite losses and gradients, in every form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from voxangle.objectives import (
    Objective,
    ObjectiveConfig,
    aam_softmax_loss,
    class_aware_attention,
    own_class_posterior,
    supervised_contrastive_loss,
)

FORMS = ["numerator", "positive", "arcface"]


def batches() -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(8, 6, generator=generator)
    one = z[:1]
    return {
        "one sample": (one, torch.tensor([0])),
        "two of a kind": (z[:2], torch.tensor([0, 0])),
        "two strangers": (z[:2], torch.tensor([0, 1])),
        "one class only": (z, torch.zeros(8, dtype=torch.long)),
        "no positives at all": (z, torch.arange(8)),
        "duplicates with one label": (one.expand(8, -1), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])),
        "duplicates with other labels": (one.expand(8, -1), torch.arange(8) // 4),
        "antipodes": (torch.cat([one, -one, one, -one]), torch.tensor([0, 0, 1, 1])),
        "a zero vector": (torch.cat([z[:3], torch.zeros(1, 6)]), torch.tensor([0, 0, 1, 1])),
        "very long": (z * 1e15, torch.arange(8) // 2),
        "very short": (z * 1e-8, torch.arange(8) // 2),
    }


@pytest.mark.parametrize("name", batches())
@pytest.mark.parametrize("margin_form", FORMS)
@pytest.mark.parametrize("attention_form", [None, "logit", "log_weight"])
@pytest.mark.parametrize("belief", [0.0, 1e-38, 0.5])
def test_odd_batches_are_finite(
    name: str, margin_form: str, attention_form: str | None, belief: float
) -> None:
    embeddings, labels = batches()[name]
    z = embeddings.clone().requires_grad_()
    options: dict[str, object] = {"margin": 0.3, "margin_form": margin_form}
    weights = torch.ones(len(z))
    weights[-1] = belief
    weights.requires_grad_()
    if attention_form:
        options |= {"attention": weights, "attention_form": attention_form, "pairs": "all"}
    loss = supervised_contrastive_loss(z, labels, **options)
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()
    if attention_form:
        assert weights.grad.isfinite().all()
    if name in {"one sample", "two strangers", "no positives at all"}:
        assert float(loss.detach()) == 0
        assert not z.grad.any()


@pytest.mark.parametrize("name", batches())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_whole_objective_is_finite_on_odd_batches(name: str, dtype: torch.dtype) -> None:
    embeddings, labels = batches()[name]
    if dtype == torch.float16:
        # Its numbers end at 65,504: the gradient of a vector shorter than 1e-4 does not fit in it.
        embeddings = {"very long": embeddings / 1e12, "very short": embeddings * 1e5}.get(name, embeddings)
        embeddings = embeddings + 0.01 if name == "a zero vector" else embeddings
    z = embeddings.to(dtype).requires_grad_()
    objective = Objective(ObjectiveConfig(), speakers=8, dimension=6)
    losses = objective(z, labels)
    sum(losses.values()).backward()
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    assert z.grad.isfinite().all()
    assert z.grad.dtype == dtype


def test_ten_thousand_classes_are_finite_and_attention_still_tells_samples_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(10_000, 192, generator=generator, requires_grad=True)
    labels = torch.arange(64) * 150
    z = (prototypes.detach()[labels] + 0.5 * torch.randn(64, 192, generator=generator)).requires_grad_()
    attention = class_aware_attention(z, labels, prototypes)
    loss = aam_softmax_loss(z, labels, prototypes) + supervised_contrastive_loss(
        z, labels // 300, attention=attention, attention_form="log_weight"
    )
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()
    assert prototypes.grad.isfinite().all()
    belief = own_class_posterior(z, labels.roll(1).where(labels == 150, labels), prototypes)
    assert belief[1] < 1e-2  # its label is its neighbour's
    assert belief.median() > 0.5
    # At scale 1 everybody would have about 1 / C.
    raw = own_class_posterior(z, labels, prototypes, scale=1.0, normalise=None)
    assert raw.max() < 3e-4


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([torch.float32, torch.bfloat16]))
def test_low_precision_is_close_to_float64(seed: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(24) % 6
    exact = torch.randn(6, 16, generator=generator, dtype=torch.float64)[labels]
    exact += 0.7 * torch.randn(24, 16, generator=generator, dtype=torch.float64)
    # What the encoder hands over is rounded; from there on nothing may be lost.
    rounded = exact.to(dtype)
    weights = torch.rand(24, generator=generator, dtype=torch.float64) * 0.9 + 0.1

    def gradient(z: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        z = z.detach().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=z.dtype == torch.bfloat16):
            loss = supervised_contrastive_loss(
                z, labels, margin=0.2, attention=attention, attention_form="log_weight"
            )
        return loss.detach().double(), torch.autograd.grad(loss, z)[0].double()

    loss, slope = gradient(rounded, weights.float())
    expected_loss, expected_slope = gradient(rounded.double(), weights)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-4, atol=1e-4)
    spread = (
        1e-2 if dtype == torch.bfloat16 else 1e-4
    )  # the gradient itself comes back in the embeddings' dtype
    assert (slope - expected_slope).norm() <= spread * expected_slope.norm()
