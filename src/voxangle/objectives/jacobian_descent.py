"""Balancers that TorchJD implements, shown Gramians at the scale that its tolerances are made for."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, distributed

from voxangle.errors import MissingExtraError
from voxangle.objectives.balancers import Balancer, equal

__all__ = ["cagrad", "imtl_g", "pcgrad", "upgrad"]

# Ridge of UPGrad's quadratic programme, for a Gramian of trace 1. TorchJD's 1e-4 outweighs a gradient that is a hundred
# times shorter than another, and the direction then works against the shorter one.
_RIDGE = 1e-10


def upgrad() -> Balancer:
    r"""UPGrad: the mean of the gradients, each projected first onto the directions that no loss objects to.

    The direction :math:`d = \sum_k w_k g_k` never conflicts: :math:`d \cdot g_k \ge 0` for all k. Any number of
    losses. The weights sum to 1 where no gradients conflict (they are then equal), and to more where some do.

    Raises:
        MissingExtraError: the ``balance`` extra is not installed.

    Source: Jacobian descent, arXiv 2406.16232, by way of ``torchjd.aggregation.UPGradWeighting``.
    """
    try:
        from torchjd.aggregation import UPGradWeighting
        from torchjd.linalg import QuadprogProjector

        weighting = UPGradWeighting(projector=QuadprogProjector(reg_eps=_RIDGE))
    except ImportError as error:
        raise MissingExtraError("balancing by UPGrad", "balance") from error
    return _scaled(weighting)


def cagrad(c: float = 0.5) -> Balancer:
    r"""CAGrad: of the directions near the mean gradient, the one that the worst-off loss gains most by.

    "Near" is a ball of radius :math:`c \lVert \bar g \rVert` around the mean :math:`\bar g`. Any number of losses.
    The weights, 1/K each plus a bonus, sum to more than 1. At a Pareto-stationary point (conflicting gradients of
    which some convex combination is zero) all are 0, the heads' too.

    Args:
        c: >= 0, below 1 to converge to a minimum of the mean; 0 is the mean of the losses.

    Raises:
        MissingExtraError: the ``balance`` extra is not installed.
        ValueError: c is negative or not finite.

    Source: arXiv 2110.14048, algorithm 1, by way of ``torchjd.aggregation.CAGradWeighting``.
    """
    if not 0 <= c < math.inf:
        raise ValueError(f"c must be finite and >= 0, got {c}")
    try:
        from torchjd.aggregation import CAGradWeighting

        weighting = CAGradWeighting(c=c)
    except ImportError as error:
        raise MissingExtraError("balancing by CAGrad", "balance") from error
    return _scaled(weighting)


def pcgrad() -> Balancer:
    r"""PCGrad: the sum of the gradients, each freed first of its conflicts with the others, in random order.

    Any number of losses. The weights sum to K where no gradients conflict (they are then 1), and to more where
    some do. The order is drawn by torch's generator on the CPU, so ``torch.manual_seed`` decides it; under
    ``torch.distributed`` all ranks take the weights of rank 0, so every rank must call. With two losses there
    is nothing to draw.

    Raises:
        MissingExtraError: the ``balance`` extra is not installed.

    Source: arXiv 2001.06782, algorithm 1, by way of ``torchjd.aggregation.PCGradWeighting``.
    """
    try:
        from torchjd.aggregation import PCGradWeighting
    except ImportError as error:
        raise MissingExtraError("balancing by PCGrad", "balance") from error
    projected = _scaled(PCGradWeighting())

    def balance(losses: Tensor, products: Tensor) -> Tensor:
        weights = projected(losses, products)
        if distributed.is_initialized():
            distributed.broadcast(weights, src=0)
        return weights

    return balance


def imtl_g() -> Balancer:
    r"""IMTL-G: the direction on which all the gradients have projections of the same length.

    Any number of losses. The weights sum to 1; with three or more some can be negative. With two they are
    those of ``mgda("l2")``, :math:`w_k \propto 1 / \lVert g_k \rVert`, unless the gradients are parallel.

    Raises:
        MissingExtraError: the ``balance`` extra is not installed.

    Source: Towards impartial multi-task learning (ICLR 2021), generalised in arXiv 2406.16232, by way of
    ``torchjd.aggregation.IMTLGWeighting``.
    """
    try:
        from torchjd.aggregation import IMTLGWeighting
    except ImportError as error:
        raise MissingExtraError("balancing by IMTL-G", "balance") from error
    return _scaled(IMTLGWeighting())


def _scaled(weighting: Callable[[Tensor], Tensor]) -> Balancer:
    """The weighting as a balancer, shown the Gramian at trace 1 and of those losses only that have a gradient.

    The methods do not depend on the gradients' common scale, but TorchJD's absolute tolerances do: gradients of a mean
    loss at the embeddings, whose squares sum to less than 1e-4, would get UPGrad's weights of no conflict and
    CAGrad's of a stationary point, which are 0. So would all losses beside one without a gradient by CAGrad.
    """

    def balance(losses: Tensor, products: Tensor) -> Tensor:
        squares = products.diagonal()
        trace = float(squares.sum())
        if not math.isfinite(trace):
            return torch.full_like(losses, math.nan)
        if trace == 0:
            return equal()(losses, products)
        heard = squares.nonzero().squeeze(1)
        weights = torch.zeros_like(losses)
        weights[heard] = weighting(products[heard][:, heard] / trace) if len(heard) > 1 else 1.0
        return weights

    return balance
