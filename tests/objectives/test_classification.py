"""AAM-softmax against an independent library and the definition."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch_metric_learning.losses import ArcFaceLoss

from voxangle.objectives import aam_softmax_loss


@pytest.fixture
def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(15) % 5
    prototypes = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    noise = torch.randn(15, 8, generator=generator, dtype=torch.float64)
    return prototypes[labels] + noise, labels, prototypes


def test_it_is_arcface(problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    embeddings, labels, prototypes = problem
    theirs = ArcFaceLoss(5, 8, margin=math.degrees(0.2), scale=30)
    theirs.W = torch.nn.Parameter(prototypes.T.clone())
    ours = aam_softmax_loss(embeddings, labels, prototypes, margin=0.2, scale=30)
    torch.testing.assert_close(ours, theirs(embeddings, labels), rtol=1e-5, atol=1e-5)


def test_without_margin_it_is_cosine_softmax(
    problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    embeddings, labels, prototypes = problem
    losses = []
    for z, y in zip(embeddings, labels, strict=True):
        scores = [20 * float(z @ w / z.norm() / w.norm()) for w in prototypes]
        losses.append(math.log(sum(math.exp(s) for s in scores)) - scores[y])
    ours = aam_softmax_loss(embeddings, labels, prototypes, margin=0, scale=20)
    assert float(ours) == pytest.approx(sum(losses) / len(losses))


def test_gradients_are_those_of_finite_differences(
    problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    embeddings, labels, prototypes = problem
    assert torch.autograd.gradcheck(
        lambda z, w: aam_softmax_loss(z, labels, w, margin=0.2, scale=4),
        (embeddings.requires_grad_(), prototypes.requires_grad_()),
    )


def test_an_embedding_on_its_prototype_has_a_finite_gradient() -> None:
    prototypes = torch.eye(3, requires_grad=True)
    embeddings = torch.eye(3, requires_grad=True)
    aam_softmax_loss(embeddings, torch.arange(3), prototypes).backward()
    assert embeddings.grad.isfinite().all()
    assert prototypes.grad.isfinite().all()
