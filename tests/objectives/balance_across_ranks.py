"""Run twice at once, with a rank and a file to meet at: two ranks balance as one process does on the joint batch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from voxangle.objectives.balancers import Balancer, mgda
from voxangle.objectives.balancing import at_parameters, backward_balanced, mgda_parameters
from voxangle.objectives.jacobian_descent import pcgrad

Gradients = dict[str, Tensor]


def samples() -> tuple[Tensor, Tensor]:
    """Eight inputs and targets; those of the second half are much larger, so that the ranks disagree."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(8, n, generator=generator, dtype=torch.float64) for n in (6, 5))
    return x, y * torch.tensor([1.0] * 4 + [9.0] * 4, dtype=torch.float64)[:, None]


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5)).double()


def losses(z: Tensor, y: Tensor) -> list[Tensor]:
    return [(z - y).square().mean(), (z + y + 1).abs().mean() * 3]


def taken(module: nn.Module) -> Gradients:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def gather(z: Tensor) -> Tensor:
    """The rows of both ranks; this one's carry twice the gradient, of which DistributedDataParallel takes the mean."""
    parts = [torch.empty_like(z) for _ in range(2)]
    distributed.all_gather(parts, z.detach())
    parts[distributed.get_rank()] = 2 * z - z.detach()
    return torch.cat(parts)


def balance(
    half: slice, build: Callable[[nn.Module], Balancer], *, gathered: bool = False, across_ranks: bool = False
) -> tuple[tuple[float, ...], tuple[float, ...], Gradients]:
    """Weights, gradient norms and gradients of these samples, in DistributedDataParallel where they are a half."""
    x, y = samples()
    bare = encoder()
    forward = bare if half == slice(8) else DistributedDataParallel(bare)
    z = forward(x[half])
    if gathered:
        z, half = gather(z), slice(8)
    found = backward_balanced(losses(z, y[half]), z, build(bare), across_ranks=across_ranks)
    return found.weights, found.gradient_norms, taken(bare)


def compare(name: str, half: slice, build: Callable[[nn.Module], Balancer], **options: bool) -> None:
    weights, norms, gradients = balance(half, build, **options)
    expected_weights, expected_norms, expected = alone[name]
    for ours, theirs in ((weights, expected_weights), (norms, expected_norms)):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1e-9, atol=1e-12, msg=name)
    for key, gradient in expected.items():
        torch.testing.assert_close(gradients[key], gradient, rtol=1e-9, atol=1e-12, msg=f"{name}: {key}")


CASES: dict[str, tuple[Callable[[nn.Module], Balancer], list[dict[str, bool]]]] = {
    "embeddings": (lambda _: mgda(), [{"gathered": True}, {"across_ranks": True}]),
    "embeddings, loss": (lambda _: mgda("loss"), [{"gathered": True}, {"across_ranks": True}]),
    "parameters": (
        lambda e: mgda_parameters(e.parameters()),
        [{"gathered": True}, {}, {"across_ranks": True}],
    ),
    "parameters, loss+": (lambda e: mgda_parameters(e.parameters(), "loss+"), [{}, {"gathered": True}]),
    "PCGrad": (lambda e: at_parameters(pcgrad(), e.parameters()), [{}, {"gathered": True}]),
}

# Before the ranks join, each is a process of its own.
alone = {name: balance(slice(8), build) for name, (build, _) in CASES.items()}


def main() -> None:
    """Compare one process on the joint batch with two on its halves."""
    rank, meeting = int(sys.argv[1]), sys.argv[2]
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    half = slice(4 * rank, 4 * rank + 4)
    for name, (build, ways) in CASES.items():
        for options in ways:
            compare(name, half, build, **options)

    # Without a word between them, the ranks' alphas differ: this is what the option is for.
    mine = torch.tensor(balance(half, lambda _: mgda())[0])
    theirs = [torch.empty_like(mine) for _ in range(2)]
    distributed.all_gather(theirs, mine)
    assert not torch.allclose(theirs[0], theirs[1], atol=1e-3)

    torch.manual_seed(rank)
    conflicting = torch.tensor([[1.0, -0.5, -0.5], [-0.5, 0.9, -0.4], [-0.5, -0.4, 1.1]], dtype=torch.float64)
    drawn = torch.stack([pcgrad()(torch.ones(3).double(), conflicting) for _ in range(8)])
    assert len(drawn.unique(dim=0)) > 1
    both = [torch.empty_like(drawn) for _ in range(2)]
    distributed.all_gather(both, drawn)
    assert torch.equal(both[0], both[1])
    distributed.barrier()
    distributed.destroy_process_group()
    print("compared", flush=True)
    # As in joint_batch.py: gloo's threads can abort a process that ends after DistributedDataParallel.
    os._exit(0)


if __name__ == "__main__":
    main()
