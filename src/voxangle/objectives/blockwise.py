"""A loss over all pairs of a batch that never holds all pairs at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from voxangle.objectives.precision import full_precision, promote

__all__ = ["BlockLoss", "choose_block_size", "sum_over_blocks"]

BlockLoss = Callable[[Tensor, Tensor | None, slice], Tensor]
"""From the cosines of a block of anchors to everybody (B, N), themselves included, the attention ((N,), or the
block's rows (B, N), or None) and the anchors' rows, to the sum of the anchors' losses, a scalar."""

# Pairs at once. On a CPU a block and its few temporaries then stay in the cache: measured, 2 to 4 times as fast as
# the whole matrix at N = 4096 and 8192. A GPU wants large matrices; there the bound is memory.
_PAIRS = {"cpu": 2**20}
_PAIRS_ELSEWHERE = 2**25
_LEAST_ROWS = (
    64  # every block passes over the (N, D) gradient once: thinner blocks would spend their time there
)


def choose_block_size(samples: int, device: torch.device) -> int:
    """Anchors at once for a batch of N samples."""
    return max(_PAIRS.get(device.type, _PAIRS_ELSEWHERE) // samples, _LEAST_ROWS)


def sum_over_blocks(unit: Tensor, attention: Tensor | None, loss: BlockLoss, block_size: int) -> Tensor:
    """The sum of all anchors' losses in O(N * block) memory, forward and backward.

    The forward pass differentiates each block at once and keeps only the (N, D) gradient, so that nothing of size
    (N, N) is stored or computed twice, and any number of backward passes costs next to nothing. Differentiating
    twice (``create_graph=True``) works, through one block of all rows.

    Args:
        unit: (N, D), unit norm.
        attention: (N,) or (N, N), or None; gets a gradient of its own shape if it asks for one.
        loss: what a block contributes, differentiable by autograd.
        block_size: anchors at once.
    """
    # Asked here, for inside forward grad mode is off.
    grad = torch.is_grad_enabled() and (
        unit.requires_grad or (attention is not None and attention.requires_grad)
    )
    total: Tensor = _SumOverBlocks.apply(unit, attention, loss, block_size, grad)
    return total


class _SumOverBlocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, unit: Tensor, attention: Tensor | None, loss: BlockLoss, block_size: int, grad: bool
    ) -> Tensor:
        ctx.loss = loss
        total = unit.new_zeros(())
        by_unit = torch.zeros_like(unit) if grad else None
        by_attention = None
        if grad and attention is not None and attention.requires_grad:
            # A sample's weight is met in every block, a pair's in one.
            by_attention = torch.zeros_like(promote(attention) if attention.ndim == 1 else attention)
        for start in range(0, len(unit), block_size):
            rows = slice(start, min(start + block_size, len(unit)))
            cosine = unit[rows] @ unit.T
            seen = None
            if attention is not None:
                seen = promote((attention if attention.ndim == 1 else attention[rows]).detach())
            if by_unit is None:
                total += loss(cosine, seen, rows)
                continue
            leaves = [cosine.requires_grad_()]
            if by_attention is not None and seen is not None:
                leaves.append(seen.requires_grad_())
            with torch.enable_grad():
                part = loss(cosine, seen, rows)
            total += part.detach()
            gradients = torch.autograd.grad(part, leaves)
            by_unit.addmm_(gradients[0].T, unit[rows])
            by_unit[rows].addmm_(gradients[0], unit)
            if by_attention is not None:
                (by_attention if by_attention.ndim == 1 else by_attention[rows]).add_(gradients[1])
        ctx.save_for_backward(unit, attention, by_unit, by_attention)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        unit, attention, by_unit, by_attention = ctx.saved_tensors
        (scale,) = upstream
        if not torch.is_grad_enabled():
            return (scale * by_unit, None if by_attention is None else scale * by_attention, None, None, None)
        with full_precision(unit):  # create_graph: the same once more, whole and under autograd's eyes
            everything = slice(0, len(unit))
            seen = None if attention is None else promote(attention)
            total = ctx.loss(unit @ unit.T, seen, everything)
            leaves = [unit] if by_attention is None else [unit, attention]
            gradients = torch.autograd.grad(total, leaves, scale, create_graph=True)
        return (gradients[0], None if by_attention is None else gradients[1], None, None, None)
