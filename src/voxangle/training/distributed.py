"""Training on several processes at once, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

__all__ = ["Ranks", "agree", "joined_ranks"]


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


def agree(flag: bool, ranks: Ranks) -> bool:
    """Whether any rank says so; all ranks must ask."""
    if ranks.world_size == 1:
        return flag
    votes = torch.tensor([int(flag)], device=ranks.device)
    distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
    return bool(votes.item())
