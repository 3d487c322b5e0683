"""Run by torchrun: the gradient of each rank's half of a joint batch, saved by rank 0."""

from __future__ import annotations

import os
import sys

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from voxangle.objectives import Objective, ObjectiveConfig, backward_balanced
from voxangle.objectives.gathering import gather_embeddings, gather_labels
from voxangle.training.distributed import agree, joined_ranks


def gradients(x: torch.Tensor, labels: torch.Tensor, *, parallel: bool) -> dict[str, torch.Tensor]:
    """Gradients of the full objective, of the encoder and of the prototypes."""
    torch.manual_seed(0)
    encoder: nn.Module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))
    config = ObjectiveConfig()
    objective = Objective(config, speakers=6, dimension=5)
    forward = DistributedDataParallel(encoder) if parallel else encoder
    z = gather_embeddings(forward(x)) if parallel else encoder(x)
    y = gather_labels(labels) if parallel else labels
    backward_balanced(list(objective(z, y).values()), z, objective.balancer(encoder))
    named = [*encoder.named_parameters(), *objective.named_parameters()]
    return {name: parameter.grad for name, parameter in named if parameter.grad is not None}


def main() -> None:
    """Compare one process on the joint batch with two on its halves."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, 6, generator=generator)
    cases = {
        "even": [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5],
        "unequal": [0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 5],
        "one rank without positives": [0, 0, 0, 1, 1, 1, 0, 1, 2, 3, 4, 5],
        "positives only across ranks": [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5],
    }
    with joined_ranks() as ranks:
        assert agree(ranks.rank == 1, ranks)
        assert not agree(False, ranks)
        for name, labels in cases.items():
            y = torch.tensor(labels)
            mine = slice(6 * ranks.rank, 6 * ranks.rank + 6)
            joint = gradients(x[mine], y[mine], parallel=True)
            alone = gradients(x, y, parallel=False)
            for key, expected in alone.items():
                torch.testing.assert_close(joint[key], expected, rtol=1e-4, atol=1e-6, msg=f"{name}: {key}")
        if ranks.leads:
            print("compared", len(cases), "on", ranks.world_size, file=sys.stderr, flush=True)
    # As in tests/objectives/joint_batch.py: gloo's threads can abort a process that ends after DistributedDataParallel.
    os._exit(0)


if __name__ == "__main__":
    main()
