"""Where losses meet their balancer: at the embeddings or the parameters, then one backward pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from voxangle.objectives.balancers import Balancer, Normaliser, gramian, mgda
from voxangle.objectives.gathering import count_ranks

__all__ = ["AtParameters", "Balance", "at_parameters", "backward_balanced", "mgda_parameters"]


@dataclass(frozen=True)
class Balance:
    """What balancing did in one step.

    Attributes:
        weights: the weight of each loss; whether they sum to 1 is the balancer's affair.
        gradient_norms: norm of each loss's gradient where the balancer takes them, as a rule at the embeddings.
        gradient_cosine: cosine between the first two gradients; below 0 they conflict. 0 where one of them
            vanishes, NaN for a single loss.
    """

    weights: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    gradient_cosine: float


@dataclass(frozen=True)
class AtParameters:
    """A balancer that ``backward_balanced`` shows the gradients at parameters; made by ``at_parameters``."""

    balancer: Balancer
    parameters: tuple[Tensor, ...]

    def __call__(self, losses: Tensor, products: Tensor) -> Tensor:
        """The weights (K,), from a Gramian that was taken at the parameters."""
        return self.balancer(losses, products)


def at_parameters(balancer: Balancer, parameters: Iterable[Tensor]) -> AtParameters:
    """Balance by the gradients at the encoder's parameters instead of those at the embeddings.

    The exact reference: at the embeddings, an upper bound of the combined gradient's length is minimised. It costs
    a backward pass through the encoder for each loss, before the one that trains. Under ``torch.distributed`` the
    gradients are averaged over the ranks first, as DistributedDataParallel will average them, and so are the
    losses: the weights are the same on all ranks, and those of one process on the joint batch.

    Args:
        balancer: any.
        parameters: the encoder's; those that are frozen when the time comes are left out.

    Raises:
        ValueError: there is no parameter that requires gradients.
    """
    shared = tuple(parameters)
    if not any(parameter.requires_grad for parameter in shared):
        raise ValueError(
            f"parameters must hold one at least that requires gradients, got {len(shared)} that do not"
        )
    return AtParameters(balancer, shared)


def mgda_parameters(
    parameters: Iterable[Tensor], normaliser: Normaliser = "none", *, floor: float = 0.0
) -> AtParameters:
    """Min-norm weights from the gradients at the encoder's parameters: the exact reference of ``mgda``.

    See ``mgda`` for the settings and ``at_parameters`` for the cost.

    Source: MGDA, arXiv 1810.04650, equations 3 and 4 over the shared parameters.
    """
    return at_parameters(mgda(normaliser, floor=floor), parameters)


def backward_balanced(
    losses: Iterable[Tensor],
    embeddings: Tensor,
    balancer: Balancer,
    *,
    unweighted: Iterable[Tensor] = (),
    across_ranks: bool = False,
) -> Balance:
    r"""Weigh the losses by their gradients at the embeddings, then go back through the encoder once.

    Each loss is differentiated down to the embeddings only (cheap: no encoder in it); the balancer turns the
    gradients' inner products into weights; one backward pass of :math:`\sum_k w_k L_k` then adds to the
    ``.grad`` of the encoder and of every head. A head that only loss k reaches gets exactly w_k times its own
    gradient. A single loss gets weight 1 without asking the balancer.

    Nothing non-finite is hidden: a NaN in a loss or in a gradient reaches the weights of the balancers that look at
    it, and with them every ``.grad``.

    Args:
        losses: K >= 1 scalars that depend on ``embeddings``. A loss whose gradient happens to be zero is fine.
        embeddings: the very tensor that the losses were computed from, attached to the encoder, (N, D) as a
            rule.
        balancer: ``equal()``, ``fixed(...)``, ``Uncertainty(...)``, ``mgda(...)``, ``mgda_parameters(...)``,
            ``upgrad()``, ... or a function of your own from (losses, Gramian) to weights.
        unweighted: parameters that keep the full gradient of the plain sum of the losses, as if nothing were
            balanced: the heads', where balancing is to decide about the encoder alone. Ours, not the paper's.
        across_ranks: whether each rank holds losses of its own samples (averaged gradients, as in
            DistributedDataParallel) instead of the joint losses of embeddings gathered from all ranks. The inner
            products and the losses are then combined over the ranks, so that the weights are the same on all of
            them and those of one process on the mean of the losses. Every rank must call.

    Returns:
        The weights and what they were computed from. Asking for them waits for the device once, before the
        backward pass through the encoder.

    Raises:
        ValueError: there is no loss; a loss is not a scalar or does not depend on the embeddings; the
            embeddings do not require gradients; the balancer gave the wrong number of weights, or what it raises.

    Sources: arXiv 1810.04650, section 3.3; arXiv 2210.16622.

    >>> encoder, head = torch.nn.Linear(5, 3), torch.nn.Linear(3, 1)
    >>> embeddings = encoder(torch.randn(8, 5))
    >>> losses = [head(embeddings).square().mean(), (embeddings - 1).square().mean()]
    >>> balance = backward_balanced(losses, embeddings, mgda("l2"))
    >>> round(sum(balance.weights), 6), encoder.weight.grad.shape
    (1.0, torch.Size([3, 5]))
    """
    losses = list(losses)
    _demand_losses(losses, embeddings)
    free = [parameter for parameter in unweighted if parameter.requires_grad]
    gradients, full = _differentiate(losses, embeddings, free)
    if isinstance(balancer, AtParameters):
        shared = [parameter for parameter in balancer.parameters if parameter.requires_grad]
        gradients = [_mean_over_ranks(_at(shared, loss)) for loss in losses]
    products = gramian(gradients)
    values = torch.stack([loss.detach() for loss in losses]).to(products.device).double()
    if across_ranks or isinstance(balancer, AtParameters):
        values = _mean_over_ranks(values)
    if across_ranks and not isinstance(balancer, AtParameters):
        # The gradient of the ranks' mean loss, at the embeddings of all, is each rank's over the number of ranks.
        products = _mean_over_ranks(products) / count_ranks()

    asked = balancer(values, products) if len(losses) > 1 else torch.ones_like(values)
    if asked.shape != values.shape:
        raise ValueError(
            f"balancer must give a weight for each of {len(losses)} losses, got {tuple(asked.shape)}"
        )
    weights, *rows = torch.vstack([asked.to(products), products]).tolist()

    hooks = [
        parameter.register_hook(lambda _, own=own: own)  # type: ignore[no-untyped-call]
        for parameter, own in zip(free, full, strict=True)
        if own is not None
    ]
    try:
        torch.autograd.backward(losses, [torch.full_like(x, w) for x, w in zip(losses, weights, strict=True)])
    finally:
        for hook in hooks:
            hook.remove()
    norms = tuple(math.sqrt(row[k]) for k, row in enumerate(rows))
    return Balance(tuple(weights), norms, _cosine(rows, norms))


def _demand_losses(losses: Sequence[Tensor], embeddings: Tensor) -> None:
    if not losses:
        raise ValueError("losses must hold at least one loss, got none")
    if not embeddings.requires_grad:
        raise ValueError("embeddings must require gradients: are they detached, or computed under no_grad?")
    for number, loss in enumerate(losses):
        if loss.ndim:
            raise ValueError(f"losses[{number}] must be a scalar, got shape {tuple(loss.shape)}")


def _differentiate(
    losses: Sequence[Tensor], embeddings: Tensor, parameters: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Each loss's gradient at the embeddings, and the sum of the losses' gradients at each parameter."""
    gradients: list[Tensor] = []
    sums: list[Tensor | None] = [None] * len(parameters)
    for number, loss in enumerate(losses):
        found: Sequence[Tensor | None] = (None,)
        if loss.requires_grad:
            found = torch.autograd.grad(loss, [embeddings, *parameters], retain_graph=True, allow_unused=True)
        if (gradient := found[0]) is None:
            raise ValueError(
                f"losses[{number}] does not depend on embeddings: hand over the very tensor that it was computed from"
            )
        gradients.append(gradient)
        sums = [_plus(total, own) for total, own in zip(sums, found[1:], strict=True)]
    return gradients, sums


def _plus(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _at(parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
    """The gradient of the loss at all the parameters, flat."""
    parts = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def _mean_over_ranks(tensor: Tensor) -> Tensor:
    if distributed.is_initialized():
        distributed.all_reduce(tensor)
    return tensor / count_ranks()


def _cosine(products: Sequence[Sequence[float]], norms: Sequence[float]) -> float:
    if len(norms) == 1:
        return math.nan
    lengths = norms[0] * norms[1]
    return products[0][1] / lengths if lengths else 0.0
