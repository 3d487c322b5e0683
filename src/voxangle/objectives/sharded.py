"""AAM-softmax over more classes than one device holds: each rank keeps a part of the prototypes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable
from torch.distributed import ProcessGroup, ReduceOp
from torch.nn import functional

from voxangle.objectives.attention import AttentionNormaliser, normalise_posterior
from voxangle.objectives.checks import (
    demand_choice,
    demand_embeddings,
    demand_labels,
    demand_margin,
    demand_positive,
    demand_prototypes,
)
from voxangle.objectives.classification import cosine_to_prototypes
from voxangle.objectives.gathering import count_ranks, stack_ranks
from voxangle.objectives.margins import logits_at, widen_logits
from voxangle.objectives.precision import full_precision, promote

__all__ = ["class_shard", "sharded_aam_softmax_loss", "sharded_own_class_posterior"]


def class_shard(classes: int, rank: int, world_size: int) -> slice:
    """The classes whose prototypes a rank keeps: one slice a rank, in their order, of equal length or one more.

    Args:
        classes: C, at least one for each rank.
        rank: in [0, world_size).
        world_size: number of ranks.

    Returns:
        The rows of the (C, D) prototypes that are the rank's.

    Raises:
        ValueError: an argument out of range; it is named.

    Example:
        >>> from voxangle.objectives.sharded import class_shard
        >>> [class_shard(8, rank, 3) for rank in range(3)]
        [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
    """
    if world_size < 1:
        raise ValueError(f"world_size must be >= 1, got {world_size}")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must lie in [0, {world_size}), got {rank}")
    if classes < world_size:
        raise ValueError(f"classes must be >= {world_size}, one for each rank, got {classes}")
    share, left = divmod(classes, world_size)
    first = rank * share + min(rank, left)
    return slice(first, first + share + (rank < left))


def sharded_aam_softmax_loss(
    embeddings: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    *,
    margin: float = 0.2,
    scale: float = 32.0,
    inter_topk: int = 0,
    inter_margin: float = 0.06,
    group: ProcessGroup | None = None,
) -> Tensor:
    r"""``aam_softmax_loss`` of the joint batch over all ranks' prototypes, of which each rank holds a part.

    With :math:`l_{ik}` the logits (formula, sub-centres and inter-topK penalty are described there) and
    :math:`K_r` the classes of rank r,

    .. math::
        L = \frac1N \sum_i \Big[ M_i + \log \sum_r \sum_{k \in K_r} e^{l_{ik} - M_i} - l_{i y_i} \Big],
        \qquad M_i = \max_r \max_{k \in K_r} l_{ik}

    No class is sampled away: this is the whole softmax. A rank keeps :math:`O(N\,C / W)` of the logits instead of
    O(N C); the ranks exchange O(N) numbers forward (with the penalty :math:`O(N\,W k)`), and backward the (N, D)
    gradient at the embeddings.

    - At ``embeddings``, every rank gets the whole gradient, summed over the shards, as from ``aam_softmax_loss``. So
      ``gather_embeddings``, DistributedDataParallel around the encoder and ``backward_balanced`` stay as they are.
    - At ``prototypes``, each rank gets exactly the rows of the whole gradient that are its own. Keep them out of
      DistributedDataParallel, which would overwrite the ranks' different classes with those of rank 0 and average their
      gradients.
    - A norm over all parameters (gradient clipping) must sum the squares of the shards' gradients over the ranks, or
      the ranks clip the encoder differently and drift apart.

    The backward pass communicates: every rank must run the same ones, in the same order. It may run any number of
    times, and cannot itself be differentiated.

    Args:
        embeddings: (N, D), the joint batch, the same on every rank: ``gather_embeddings``. Any norm but zero.
        labels: (N,) integers in [0, C), likewise: ``gather_labels``.
        prototypes: this rank's, (C_r, D), or (C_r, K, D) with sub-centres; any norm but zero. Numbered rank after rank
            they are the C classes, so that ``class_shard`` says which rows of the whole a rank begins with, and
            ``gather_embeddings(prototypes.detach())`` gives the whole back, for a checkpoint.
        margin: m in radians, in [0, pi / 2).
        scale: s > 0.
        inter_topk: how many wrong classes of each sample are penalised, in [0, C - 1], wherever they are kept.
        inter_margin: m' in radians, in [0, pi / 2).
        group: the ranks; None means all of them.

    Returns:
        The mean loss, a scalar, the same on every rank, in float32 (float64 if the embeddings are). Where there is one
        process it is that of ``aam_softmax_loss``.

    Raises:
        ValueError: an argument of another shape, type or range, named; or the ranks' labels are not the same.

    Example:
        >>> import torch
        >>> from voxangle.objectives.sharded import class_shard, sharded_aam_softmax_loss
        >>> rank, world_size = 0, 1  # distributed.get_rank(), distributed.get_world_size()
        >>> mine = torch.eye(3)[class_shard(3, rank, world_size)].requires_grad_()
        >>> embeddings, labels = torch.eye(3), torch.arange(3)  # gather_embeddings(...), gather_labels(...)
        >>> loss = sharded_aam_softmax_loss(embeddings, labels, mine, margin=0.2, scale=4.0)
        >>> loss.detach()
        tensor(0.0389)

    Sources: ArcFace, arXiv 1801.07698, appendix (parallel acceleration); Partial FC, arXiv 2010.05222, without its
    sampling; how gradients cross the ranks: operators f and g of Megatron-LM, arXiv 1909.08053, section 3.
    """
    demand_margin(margin)
    demand_margin(inter_margin, "inter_margin")
    return -_own_class_log_posterior(
        embeddings,
        labels,
        prototypes,
        margin=margin,
        scale=scale,
        inter_topk=inter_topk,
        inter_margin=inter_margin,
        group=group,
    ).mean()


def sharded_own_class_posterior(
    embeddings: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    *,
    scale: float = 10.0,
    normalise: AttentionNormaliser = "max",
    detach: bool = True,
    group: ProcessGroup | None = None,
) -> Tensor:
    """``own_class_posterior`` of the joint batch under all ranks' prototypes, of which each rank holds a part.

    What it is and what it is for is described there; what each rank holds and gets, at
    ``sharded_aam_softmax_loss``.

    Args:
        embeddings: (N, D), the joint batch, the same on every rank.
        labels: (N,) integers in [0, C), likewise.
        prototypes: this rank's, (C_r, D) or (C_r, K, D).
        scale: s_a > 0.
        normalise: divide by the ``max`` or the ``mean`` over the joint batch, or not (None).
        detach: keep gradients out.
        group: the ranks; None means all of them.

    Returns:
        a, (N,), positive, the same on every rank.

    Raises:
        ValueError: an argument of another shape, type or range, named; or the ranks' labels are not the same.

    Example:
        >>> import torch
        >>> from voxangle.objectives.sharded import sharded_own_class_posterior
        >>> embeddings = torch.tensor([[1.0, 0.1, 0.0], [0.1, 1.0, 0.0], [0.0, 0.1, 1.0]])
        >>> labels = torch.tensor([0, 1, 0])
        >>> sharded_own_class_posterior(embeddings, labels, torch.eye(3), scale=2.0).round(decimals=3)
        tensor([1.0000, 1.0000, 0.1370])
    """
    demand_choice(normalise, "normalise", AttentionNormaliser)
    with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        belongs = _own_class_log_posterior(embeddings, labels, prototypes, scale=scale, group=group)
        return normalise_posterior(belongs.exp(), normalise)


def _own_class_log_posterior(
    embeddings: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    *,
    scale: float,
    margin: float = 0.0,
    inter_topk: int = 0,
    inter_margin: float = 0.0,
    group: ProcessGroup | None,
) -> Tensor:
    """The logarithm of each sample's posterior of its own class, (N,), the same on every rank."""
    demand_embeddings(embeddings)
    demand_labels(labels, len(embeddings))
    demand_prototypes(prototypes, embeddings)
    demand_positive(scale, "scale")
    first, classes = _place(labels, prototypes, group)
    demand_labels(labels, len(labels), classes=classes)
    if not 0 <= inter_topk < classes:
        raise ValueError(f"inter_topk must lie in [0, {classes - 1}], the wrong classes, got {inter_topk}")
    with full_precision(embeddings):
        joint = _Replicated.apply(promote(embeddings), group)
        logits = cosine_to_prototypes(joint, prototypes, scale=scale)
        true = labels.long()[:, None] - first
        here = (true >= 0) & (true < len(prototypes))
        true = true.clamp(
            0, len(prototypes) - 1
        )  # some class or other where the sample's own is kept elsewhere
        if inter_topk:
            wrong = logits.detach().scatter_add(
                1, true, logits.new_zeros(true.shape).masked_fill(here, -math.inf)
            )
            rivals, among_first = _largest(wrong, inter_topk, group)
            widen_logits(logits, rivals, -inter_margin, scale, chosen=among_first)
        widen_logits(logits, true, margin, scale, chosen=here)

        peak = _all_reduce(logits.detach().amax(dim=1, keepdim=True), ReduceOp.MAX, group)
        logits = logits.sub_(peak)
        own = logits_at(logits, true).masked_fill(~here, 0.0).squeeze(1)
        parts = torch.stack([own, logits.exp_().sum(dim=1)])  # in place: autograd keeps this one matrix
        sums: Tensor = _SumOverRanks.apply(parts, group)
        return sums[0] - sums[1].log()


def _place(labels: Tensor, prototypes: Tensor, group: ProcessGroup | None) -> tuple[int, int]:
    """This rank's first class, and the number of all classes."""
    # Forgetting to gather is easy, and ranks of equal batches would train on, on nonsense.
    checksum = (labels * torch.arange(1, len(labels) + 1, device=labels.device)).sum()
    mine = torch.stack([checksum, *checksum.new_tensor([len(labels), len(prototypes)])])
    checksums, samples, classes = zip(*stack_ranks(mine, group).tolist(), strict=True)
    if len({*zip(checksums, samples, strict=True)}) > 1:
        raise ValueError(
            "labels must be those of the joint batch, the same on every rank (gather_labels), got different ones, "
            f"{list(samples)} on the ranks"
        )
    rank = distributed.get_rank(group) if len(classes) > 1 else 0
    return sum(classes[:rank]), sum(classes)


def _largest(logits: Tensor, count: int, group: ProcessGroup | None) -> tuple[Tensor, Tensor]:
    """A row's largest logits on this rank, (N, k), and which of them are among ``count`` over all ranks."""
    values, classes = logits.topk(min(count, logits.shape[1]), dim=1)
    padded = functional.pad(values, (0, count - values.shape[1]), value=-math.inf)
    everywhere = stack_ranks(padded, group)
    first = everywhere.transpose(0, 1).flatten(1).topk(count, dim=1).indices
    among = (
        torch.zeros_like(everywhere, dtype=torch.bool)
        .transpose(0, 1)
        .flatten(1)
        .scatter(1, first, value=True)
    )
    start = count * (distributed.get_rank(group) if len(everywhere) > 1 else 0)
    return classes, among[:, start : start + values.shape[1]]


def _all_reduce(tensor: Tensor, operation: ReduceOp.RedOpType, group: ProcessGroup | None) -> Tensor:
    if count_ranks(group) > 1:
        distributed.all_reduce(tensor, operation, group=group)
    return tensor


class _Replicated(torch.autograd.Function):
    """What every rank has and uses for its own classes: its gradient is the sum of what the ranks find."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: ProcessGroup | None) -> Tensor:
        ctx.group = group
        return tensor.view_as(tensor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _all_reduce(gradient.contiguous().clone(), ReduceOp.SUM, ctx.group), None


class _SumOverRanks(torch.autograd.Function):
    """The sum of the ranks' parts. Every rank goes on to the same loss, so its gradient is each part's already."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: ProcessGroup | None) -> Tensor:  # noqa: ARG004 - torch's signature
        return _all_reduce(part.clone(), ReduceOp.SUM, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004 - torch's signature
        return gradient, None
