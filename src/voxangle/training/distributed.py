"""Training on several processes at once, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

__all__ = ["Ranks", "agree", "gather_embeddings", "gather_labels", "joined_ranks"]


@dataclass(frozen=True)
class Ranks:
    """This process among its peers.

    Attributes:
        rank: in [0, world_size); rank 0 writes files and speaks to the user.
        world_size: number of processes.
        device: where this process computes.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun started (NCCL on GPUs, gloo on CPU), or stand alone."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world_size == 1:
        yield Ranks(0, 1, device)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), world_size, device)
    finally:
        distributed.destroy_process_group()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        parts = [torch.empty_like(local) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        (joint,) = gradients
        # Every rank computes the whole joint loss, so each holds the whole gradient already and keeps its rows.
        # DistributedDataParallel will average over the ranks what ought to be summed, hence the factor.
        size = distributed.get_world_size()
        return joint.chunk(size)[distributed.get_rank()] * size


def gather_embeddings(local: Tensor) -> Tensor:
    """The embeddings of all ranks, shape (world_size * n, D), from this rank's (n, D), with gradients.

    The joint loss computed from them on every rank gives, through an encoder wrapped in
    DistributedDataParallel, exactly the gradient of one process on the joint batch, however the anchors that
    have positives are spread over the ranks.
    """
    if not distributed.is_initialized():
        return local
    gathered: Tensor = _Gather.apply(local)
    return gathered


def gather_labels(local: Tensor) -> Tensor:
    """The labels of all ranks, shape (world_size * n,), in the order of ``gather_embeddings``."""
    if not distributed.is_initialized():
        return local
    parts = [torch.empty_like(local) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, local.contiguous())
    return torch.cat(parts)


def agree(flag: bool, ranks: Ranks) -> bool:
    """Whether any rank says so; all ranks must ask."""
    if ranks.world_size == 1:
        return flag
    votes = torch.tensor([int(flag)], device=ranks.device)
    distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
    return bool(votes.item())
