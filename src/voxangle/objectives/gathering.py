"""The joint batch of all ranks, with the gradient that one process would have had."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable
from torch.distributed import ProcessGroup

from voxangle.objectives.checks import demand_embeddings, demand_labels

__all__ = ["count_ranks", "gather_embeddings", "gather_labels", "stack_ranks"]


def gather_embeddings(embeddings: Tensor, *, group: ProcessGroup | None = None) -> Tensor:
    r"""The embeddings of all ranks, on every rank, attached to this rank's encoder.

    Contrast lives on the whole batch: a loss of each rank's own samples, averaged, is another loss, with fewer
    negatives and with the anchors of a rank that has few of them weighing more. So every rank computes the *joint* loss
    from what this function and ``gather_labels`` return:

    - **Loss and balance.** They, and the gradient at the joint embeddings, are the same on every rank by construction,
      and so is alpha of ``backward_balanced`` (leave its ``across_ranks`` off): to the last bit, except where a GPU
      adds in no fixed order.
    - **Encoder.** The backward pass keeps the rows of this rank and multiplies them by the number of ranks W, for
      DistributedDataParallel takes the mean over the ranks of what ought to be summed:

      .. math::
          \frac1W \sum_r J_r^\top \Big( W \frac{\partial L}{\partial z_r} \Big) =
          \sum_r J_r^\top \frac{\partial L}{\partial z_r}

      with :math:`J_r` the Jacobian of rank r's embeddings. This is the gradient of one process on the joint batch,
      however many samples, or anchors with a positive, each rank has. An encoder that is *not* in
      DistributedDataParallel gets W times the part of its own samples: take the mean of its gradients over the ranks
      before the optimiser steps, else the ranks drift apart.
    - **Heads** (prototypes, learned weights) that see only the joint embeddings get the whole gradient on every rank.
      They need no averaging, and averaging does no harm, but they must start equal.

    Batch normalisation in the encoder has each rank's own statistics (SyncBatchNorm shares them): then the embeddings
    are not those of one process, whatever is done about gradients.

    Every rank must call, in the same order as it calls other collectives. The backward pass needs no communication,
    may run any number of times and cannot itself be differentiated.

    Args:
        embeddings: this rank's, (n, D); n may differ between ranks and be 0 on some.
        group: the ranks; None means all of them. DistributedDataParallel must average over the same ones.

    Returns:
        (N, D), rank after rank, of the same type; the very ``embeddings`` where there is one process.

    Raises:
        ValueError: the embeddings are of another shape or type, or D differs between ranks.

    Example:
        >>> import torch
        >>> from voxangle.objectives.gathering import gather_embeddings, gather_labels
        >>> encoder = torch.nn.Linear(5, 3)  # in DistributedDataParallel, where there are processes
        >>> embeddings = gather_embeddings(encoder(torch.randn(4, 5)))
        >>> labels = gather_labels(torch.tensor([0, 0, 1, 1]))
        >>> embeddings.shape, labels
        (torch.Size([4, 3]), tensor([0, 0, 1, 1]))
    """
    if embeddings.shape[:1] != (0,):  # a rank may have no samples
        demand_embeddings(embeddings)
    if count_ranks(group) == 1:
        return embeddings
    joint: Tensor = _Gather.apply(embeddings, group)
    return joint


def gather_labels(labels: Tensor, *, group: ProcessGroup | None = None) -> Tensor:
    """The labels of all ranks, on every rank, in the order of ``gather_embeddings``.

    A label must mean the same speaker on every rank.

    Args:
        labels: this rank's, (n,) integers, of one type on all ranks; n may differ between ranks and be 0 on some.
        group: the ranks; None means all of them.

    Returns:
        (N,), rank after rank; the very ``labels`` where there is one process.

    Raises:
        ValueError: the labels are of another shape or type.
    """
    demand_labels(labels, labels.numel())
    return labels if count_ranks(group) == 1 else torch.cat(_all_rows(labels, group))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, group: ProcessGroup | None) -> Tensor:
        parts = _all_rows(local, group)
        first = sum(map(len, parts[: distributed.get_rank(group)]))
        ctx.mine = slice(first, first + len(local))
        ctx.ranks = len(parts)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.mine] * ctx.ranks, None


def _all_rows(local: Tensor, group: ProcessGroup | None) -> list[Tensor]:
    """Every rank's tensor; they may differ in length, which the collective may not."""
    shape = torch.tensor([len(local), prod(local.shape[1:])], device=local.device)
    lengths, widths = zip(*stack_ranks(shape, group).tolist(), strict=True)
    if len(set(widths)) > 1:
        raise ValueError(f"embeddings must have one dimension on all ranks, got {list(widths)}")
    padding = local.new_zeros(max(lengths) - len(local), *local.shape[1:])
    stacked = stack_ranks(torch.cat([local, padding]), group)
    return [part[:length] for part, length in zip(stacked, lengths, strict=True)]


def stack_ranks(local: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Every rank's tensor, of one shape (...), as (W, ...), without a gradient."""
    if (ranks := count_ranks(group)) == 1:
        return local.detach()[None]
    parts = [torch.empty_like(local, memory_format=torch.contiguous_format) for _ in range(ranks)]
    distributed.all_gather(parts, local.detach().contiguous(), group=group)
    return torch.stack(parts)


def count_ranks(group: ProcessGroup | None = None) -> int:
    """How many processes there are: 1 where ``torch.distributed`` has not been initialised."""
    return distributed.get_world_size(group) if distributed.is_initialized() else 1
