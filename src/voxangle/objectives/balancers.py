"""How losses are balanced: from their values and the inner products of their gradients to their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from voxangle.objectives.checks import demand_choice

__all__ = ["Balancer", "Normaliser", "Uncertainty", "equal", "fixed", "gramian", "mgda", "min_norm_weight"]

Balancer = Callable[[Tensor, Tensor], Tensor]
r"""From the losses (K,) and the Gramian (K, K) of their gradients, both detached and float64, to weights (K,).

No published method that weighs losses by their gradients needs more than these, so where the gradients are taken
(at the embeddings, at the encoder's parameters) is a matter of its own, see ``backward_balanced``."""

Normaliser = Literal["none", "l2", "loss", "loss+"]

# Elements of each gradient that are held in float64 at a time.
_BLOCK = 2**20
# Share of the squared lengths below which the squared gap of two gradients is rounding (their relative
# distance is then 5e-7, and float32 gradients are no more exact than that).
_NEGLIGIBLE = 1024 * torch.finfo(torch.float64).eps


def gramian(gradients: Sequence[Tensor]) -> Tensor:
    r"""Inner products of gradients.

    .. math::
        G_{kl} = g_k \cdot g_l

    Args:
        gradients: K floating-point tensors, each of the same shape, any.

    Returns:
        G, (K, K), float64 and detached: squares of float32 neither overflow nor vanish in it. On the gradients'
        device, or on the CPU where that device has no float64 (mps).

    >>> gramian([torch.tensor([3.0, 0.0]), torch.tensor([1.0, 2.0])]).tolist()
    [[9.0, 3.0], [3.0, 5.0]]
    """
    rows = [torch.split(gradient.flatten(), _BLOCK) for gradient in gradients]
    matrices = (torch.stack([_exact(part) for part in block]) for block in zip(*rows, strict=True))
    return torch.stack([matrix @ matrix.T for matrix in matrices]).sum(dim=0)


def _exact(tensor: Tensor) -> Tensor:
    detached = tensor.detach()
    return (detached.cpu() if detached.device.type == "mps" else detached).double()


def _min_norm_weights(products: Tensor) -> Tensor:
    """Weights (2,) of the shortest convex combination of two gradients, from their Gramian."""
    squares = products.diagonal()
    # (g2 - g1) . g2 and (g1 - g2) . g1: they sum to ||g1 - g2||^2, so at most one is negative, and it is clipped.
    numerators = (squares.flip(0) - products[0, 1]).clamp(min=0)
    gap = numerators.sum()
    return torch.where(gap <= _NEGLIGIBLE * squares.sum(), torch.full_like(squares, 0.5), numerators / gap)


def min_norm_weight(first: Tensor, second: Tensor) -> Tensor:
    r"""The weight of ``first`` in the shortest convex combination of two gradients.

    .. math::
        \alpha = \mathrm{clip}\left( \frac{(g_2 - g_1) \cdot g_2}{\lVert g_1 - g_2 \rVert^2}, 0, 1 \right),
        \qquad d = \alpha g_1 + (1 - \alpha) g_2

    Then :math:`d \cdot g_k \ge \lVert d \rVert^2` for both k: a step along -d lowers both losses unless d is
    zero. The larger gradient gets the smaller weight.

    Args:
        first: g_1, floating-point, any shape.
        second: g_2, the same shape.

    Returns:
        alpha, a scalar in [0, 1], float32 (float64 if either gradient is); 1/2 where the gradients are equal
        within :math:`5 \cdot 10^{-7}` of their length. Computed in float64, whatever the gradients' scale.

    Raises:
        ValueError: a gradient is not floating-point or is empty, or the shapes differ.

    Source: arXiv 1810.04650, equation 4. Its published code returns 0.999 and 0.001 for 1 and 0.

    >>> min_norm_weight(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0]))
    tensor(0.1000)
    """
    for gradient, name in ((first, "first"), (second, "second")):
        if not gradient.is_floating_point():
            raise ValueError(f"{name} must be floating-point, got {gradient.dtype}")
    if first.shape != second.shape or not first.numel():
        raise ValueError(
            f"first and second must have the same shape, with an element at least, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
    pair = torch.stack([_exact(first), _exact(second)])
    # alpha does not depend on the common scale; at this one, no square overflows or vanishes.
    peak = pair.abs().amax().clamp(min=torch.finfo(pair.dtype).tiny)
    alpha = _min_norm_weights(gramian(list(pair / peak)))[0]
    return alpha.to(dtype).to(first.device)


def equal() -> Balancer:
    """The mean of the losses, any number of them: the first control of every comparison.

    >>> equal()(torch.ones(4), torch.eye(4))
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    def balance(losses: Tensor, products: Tensor) -> Tensor:
        del products
        return torch.full_like(losses, 1 / len(losses))

    return balance


def fixed(weights: Sequence[float]) -> Balancer:
    """Weights that never move, scaled to sum to 1.

    Args:
        weights: one for each loss, finite and >= 0, not all 0.

    Raises:
        ValueError: the weights are not such; later, if there are more or fewer losses than weights.

    >>> fixed((3, 1))(torch.ones(2), torch.eye(2))
    tensor([0.7500, 0.2500])
    """
    total = sum(weights)
    if not all(0 <= weight < math.inf for weight in weights) or not 0 < total < math.inf:
        raise ValueError(f"weights must be finite and >= 0, and not all 0, got {tuple(weights)}")

    def balance(losses: Tensor, products: Tensor) -> Tensor:
        del products
        if len(losses) != len(weights):
            raise ValueError(
                f"weights must be one for each of the {len(losses)} losses, got {tuple(weights)}"
            )
        return losses.new_tensor(weights) / total

    return balance


def mgda(normaliser: Normaliser = "none", *, floor: float = 0.0) -> Balancer:
    r"""Min-norm weights of two losses (multiple-gradient descent), which sum to 1.

    The min-norm point is taken between normalised gradients :math:`g_k / n_k`, and its weights are applied to
    the equally normalised losses: :math:`w_k \propto \alpha_k / n_k`, scaled to sum to 1. A loss without a
    gradient (contrast in a batch that has no positive pair) has weight 0, which is ours: the formula alone would
    give it all the weight and stop training.

    Args:
        normaliser: n_k is 1 (``none``), :math:`\lVert g_k \rVert` (``l2``), :math:`L_k` (``loss``) or
            :math:`L_k \lVert g_k \rVert` (``loss+``). With two losses ``l2`` always has alpha = 1/2: both
            gradients are then heard equally loud, whatever their directions. ``none`` and ``l2`` do not depend
            on the losses' values.
        floor: least weight alpha of either (normalised) gradient, in [0, 1/2]. At raw scales the AAM gradient
            is far the larger one, and the min-norm point would starve the classifier. Above 0, d need no longer
            lower both losses. The floor is ours, not the paper's.

    Raises:
        ValueError: no such normaliser, or the floor is outside [0, 1/2]; later, if there are not exactly two
            losses, or one is negative where the normaliser divides by it.

    Sources: arXiv 1810.04650, equation 4 (at the embeddings: its section 3.3, MGDA-UB); arXiv 2210.16622 for
    AAM-softmax and contrast. The normalisers come from the former's published code, which applies the weights
    of the normalised gradients to the losses as they are; that sum need not lower both, ours does.

    >>> mgda()(torch.ones(2), torch.tensor([[9.0, 0.0], [0.0, 1.0]]))
    tensor([0.1000, 0.9000])
    >>> mgda("l2")(torch.ones(2), torch.tensor([[9.0, 0.0], [0.0, 1.0]]))
    tensor([0.2500, 0.7500])
    """
    demand_choice(normaliser, "normaliser", Normaliser)
    if not 0 <= floor <= 0.5:
        raise ValueError(f"floor must lie in [0, 1/2], got {floor}")

    def balance(losses: Tensor, products: Tensor) -> Tensor:
        if len(losses) != 2:
            raise ValueError(
                f"mgda weighs two losses, got {len(losses)}; upgrad() and its like weigh any number"
            )
        squares = products.diagonal()
        norms = squares.sqrt()
        scales = {"none": torch.ones_like(norms), "l2": norms, "loss": losses, "loss+": losses * norms}[
            normaliser
        ]
        if normaliser in ("loss", "loss+") and bool((losses < 0).any()):
            raise ValueError(
                f"normaliser {normaliser!r} divides by the losses: they must be >= 0, got {losses.tolist()}"
            )
        tiny = torch.finfo(torch.float32).tiny
        scales = (scales / scales.max().clamp(min=torch.finfo(scales.dtype).tiny)).clamp(min=tiny)
        alpha = _min_norm_weights(products / scales.outer(scales)).clamp(floor, 1 - floor)
        weights = alpha / scales
        weights = torch.where(squares.count_nonzero() == 1, (squares > 0).to(weights), weights)
        return weights / weights.sum()

    return balance


class Uncertainty(nn.Module):
    r"""Weights learned as the losses' uncertainty, :math:`w_k = e^{-s_k}`.

    .. math::
        L = \sum_k e^{-s_k} L_k + s_k

    with :math:`s_k` a log-variance. It is least at :math:`s_k = \log L_k`, where every weighted loss is 1.
    Calling the module returns the weights and adds the gradient of the log-variances, :math:`1 - e^{-s_k} L_k`,
    to their ``.grad``, once a call. So give its parameters to the optimiser (without weight decay, which would
    draw the weights to 1), and its ``state_dict`` to the checkpoint. The weights start at 1 and do not sum to 1.

    The paper derives :math:`\tfrac12 e^{-s} L + \tfrac12 s` for squared errors and, approximately,
    :math:`e^{-s} L + \tfrac12 s` for cross-entropy. This is twice the former, for every loss; the
    latter would settle at half these weights, so for losses of one kind only the common scale differs.

    Args:
        losses: K, how many there are; each of them must stay positive.

    Raises:
        ValueError: fewer than one; in a call, another number of losses than K.

    Attributes:
        log_variances: s, (K,).

    Source: arXiv 1705.07115, equations 7 and 10.

    >>> balancer = Uncertainty(2)
    >>> balancer(torch.tensor([4.0, 0.5]), torch.eye(2))
    tensor([1., 1.])
    >>> balancer.log_variances.grad
    tensor([-3.0000,  0.5000])
    """

    def __init__(self, losses: int = 2) -> None:
        super().__init__()
        if losses < 1:
            raise ValueError(f"losses must be >= 1, got {losses}")
        self.log_variances = nn.Parameter(torch.zeros(losses))

    def forward(self, losses: Tensor, products: Tensor) -> Tensor:
        """The weights (K,) of the losses (K,); the Gramian plays no part."""
        del products
        if losses.shape != self.log_variances.shape:
            raise ValueError(
                f"losses must have shape {tuple(self.log_variances.shape)}, got {tuple(losses.shape)}"
            )
        weights = (-self.log_variances).exp()
        torch.autograd.backward((weights * losses.to(weights) + self.log_variances).sum())
        return weights.detach().to(losses)
