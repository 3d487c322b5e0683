"""Balancing two losses by their gradients at the embedding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Balance", "Balancer", "Normaliser", "backward_balanced", "fixed", "mgda", "min_norm_weight"]

Normaliser = Literal["none", "l2", "loss", "loss+"]


@dataclass(frozen=True)
class Balance:
    """What balancing did in one step.

    Attributes:
        weights: the weight of each loss; they sum to 1.
        gradient_norms: norm of each loss's gradient at the embeddings.
        gradient_cosine: cosine between the first two gradients; below 0 they conflict. NaN for one loss.
    """

    weights: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    gradient_cosine: float


Balancer = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[float, ...]]
"""From the losses (scalars) and their gradients at the embeddings (each (N, D)) to the weights."""


def min_norm_weight(first: Tensor, second: Tensor) -> Tensor:
    r"""The weight of ``first`` in the shortest convex combination of two gradients.

    .. math::
        \alpha = \mathrm{clip}\left( \frac{(g_2 - g_1) \cdot g_2}{\lVert g_1 - g_2 \rVert^2}, 0, 1 \right),
        \qquad d = \alpha g_1 + (1 - \alpha) g_2

    d lowers both losses unless it is zero; the larger gradient gets the smaller weight.

    Args:
        first: g_1, any shape.
        second: g_2, the same shape.

    Returns:
        alpha, a scalar in [0, 1]; 1/2 where the gradients are equal.

    Source: MGDA, arXiv 1810.04650, equation 4.
    """
    first, second = first.detach().flatten(), second.detach().flatten()
    if first.dtype != torch.float64:
        first, second = first.float(), second.float()
    gap = second - first
    squared = gap @ gap
    negligible = torch.finfo(gap.dtype).eps ** 2 * (first @ first + second @ second)
    alpha = ((gap @ second) / squared).clamp(0, 1)
    return torch.where(squared > negligible, alpha, torch.full_like(alpha, 0.5))


def fixed(weights: Sequence[float] = (0.5, 0.5)) -> Balancer:
    """Weights that never move, scaled to sum to 1: the control of every comparison."""
    total = sum(weights)
    constant = tuple(weight / total for weight in weights)

    def balance(losses: Sequence[Tensor], gradients: Sequence[Tensor]) -> tuple[float, ...]:
        del losses, gradients
        return constant

    return balance


def mgda(normaliser: Normaliser = "none", *, floor: float = 0.0) -> Balancer:
    r"""Min-norm weights of two losses from their gradients at the embeddings.

    The min-norm point is taken between normalised gradients :math:`g_k / n_k`, and its weights are applied to
    the equally normalised losses: :math:`w_k \propto \alpha_k / n_k`, scaled to sum to 1.

    Args:
        normaliser: n_k is 1 (``none``), :math:`\lVert g_k \rVert` (``l2``), :math:`L_k` (``loss``) or
            :math:`L_k \lVert g_k \rVert` (``loss+``). With two losses ``l2`` always has alpha = 1/2: both
            gradients are then heard equally loud, whatever their directions.
        floor: least weight alpha of either (normalised) gradient, in [0, 1/2]. At raw scales the AAM gradient
            is far the larger one, and the min-norm point would starve the classifier; the floor is ours, not
            the paper's.

    Source: MGDA, arXiv 1810.04650; at the representation, its section 3.2 (MGDA-UB); arXiv 2210.16622.
    """

    def balance(losses: Sequence[Tensor], gradients: Sequence[Tensor]) -> tuple[float, ...]:
        tiny = torch.finfo(torch.float32).tiny
        norms = [float(gradient.detach().norm()) for gradient in gradients]
        if 0.0 in norms and any(norms):
            # A loss without a gradient (no positive pair in the batch) has no say; else the min-norm point were 0.
            return float(norms[0] > 0), float(norms[1] > 0)
        values = [float(loss.detach()) for loss in losses]
        scales = {
            "none": [1.0, 1.0],
            "l2": norms,
            "loss": values,
            "loss+": [value * norm for value, norm in zip(values, norms, strict=True)],
        }[normaliser]
        scales = [max(scale, tiny) for scale in scales]
        alpha = float(min_norm_weight(gradients[0] / scales[0], gradients[1] / scales[1]))
        alpha = min(max(alpha, floor), 1 - floor)
        first, second = alpha / scales[0], (1 - alpha) / scales[1]
        return first / (first + second), second / (first + second)

    return balance


def backward_balanced(losses: Sequence[Tensor], embeddings: Tensor, balancer: Balancer) -> Balance:
    """Weigh the losses by their gradients at the embeddings, then go back through the encoder once.

    Each loss is differentiated down to the embeddings only (cheap: no encoder in it); then one backward pass
    of the weighted sum fills ``.grad`` of the encoder and of every head. A single loss gets weight 1.

    Args:
        losses: scalars that depend on ``embeddings``.
        embeddings: (N, D), attached to the encoder.
        balancer: ``fixed(...)``, ``mgda(...)`` or a function of your own.

    Returns:
        The weights and what they were computed from.
    """
    gradients = [torch.autograd.grad(loss, embeddings, retain_graph=True)[0] for loss in losses]
    weights = balancer(losses, gradients) if len(losses) > 1 else (1.0,)
    torch.autograd.backward(losses, [torch.full_like(x, w) for x, w in zip(losses, weights, strict=True)])
    flat = [gradient.flatten().float() for gradient in gradients]
    cosine = (
        float(torch.nn.functional.cosine_similarity(flat[0], flat[1], dim=0))
        if len(flat) > 1
        else float("nan")
    )
    return Balance(weights, tuple(float(gradient.norm()) for gradient in flat), cosine)
