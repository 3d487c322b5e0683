"""Class-aware attention: how far each sample, and each pair of them, is to be believed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from voxangle.objectives.checks import (
    demand_choice,
    demand_embeddings,
    demand_labels,
    demand_positive,
    demand_prototypes,
)
from voxangle.objectives.classification import cosine_to_prototypes
from voxangle.objectives.precision import full_precision

__all__ = ["AttentionNormaliser", "class_aware_attention", "normalise_posterior", "own_class_posterior"]

AttentionNormaliser = Literal["max", "mean", None]


def own_class_posterior(
    embeddings: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    *,
    scale: float = 10.0,
    normalise: AttentionNormaliser = "max",
    detach: bool = True,
) -> Tensor:
    r"""How well each sample belongs to its own class: its posterior under the classifier.

    .. math::
        a_i = \mathrm{softmax}_k(s_a \cos(z_i, w_k))[y_i]

    An outlier or a mislabelled sample belongs badly to its own class and has a small a_i. Given as the ``attention``
    of ``supervised_contrastive_loss`` it is ``class_aware_attention`` in O(N) memory.

    Args:
        embeddings: (N, D), any norm but zero.
        labels: (N,) integers in [0, C).
        prototypes: (C, D), the classifier's weights; or (C, K, D) with sub-centres, of which the nearest counts.
        scale: s_a > 0; at 1 with thousands of classes a_i is about 1 / C for everyone.
        normalise: divide a by its ``max`` (then it lies in (0, 1]) or ``mean`` over the batch, or leave it (None).
        detach: keep gradients out of a, else the loss can fall by moving it.

    Returns:
        a, (N,), positive (the smallest normal number where the posterior underflows), in float32 (float64 if the
        embeddings are).

    Raises:
        ValueError: an argument of another shape, type or range; it is named.

    Example:
        >>> import torch
        >>> from voxangle.objectives import own_class_posterior
        >>> prototypes = torch.eye(3)
        >>> embeddings = torch.tensor([[1.0, 0.1, 0.0], [0.1, 1.0, 0.0], [0.0, 0.1, 1.0]])
        >>> own_class_posterior(embeddings, torch.tensor([0, 1, 0]), prototypes, scale=2.0).round(decimals=3)
        tensor([1.0000, 1.0000, 0.1370])

    Sources: arXiv 1811.01459 (class-aware attention), arXiv 2210.16622; scale and normaliser are ours.
    """
    demand_embeddings(embeddings)
    demand_prototypes(prototypes, embeddings)
    demand_labels(labels, len(embeddings), classes=len(prototypes))
    demand_positive(scale, "scale")
    demand_choice(normalise, "normalise", AttentionNormaliser)
    with full_precision(embeddings), torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        posterior = cosine_to_prototypes(embeddings, prototypes, scale=scale).softmax(dim=1)
        belongs = posterior.gather(1, labels.long()[:, None]).squeeze(1)
        return normalise_posterior(belongs, normalise)


def normalise_posterior(posterior: Tensor, normalise: AttentionNormaliser) -> Tensor:
    """The posterior (N,) over its maximum or mean over the batch, or as it is (None); nowhere 0."""
    # Weights enter logarithms: none may be 0. The normalisers divide by at most 1, so none becomes 0 again.
    posterior = posterior.clamp(min=torch.finfo(posterior.dtype).tiny)
    if normalise == "max":
        return posterior / posterior.max()
    return posterior / posterior.mean() if normalise == "mean" else posterior


def class_aware_attention(
    embeddings: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    *,
    scale: float = 10.0,
    normalise: AttentionNormaliser = "max",
    detach: bool = True,
) -> Tensor:
    r"""Weight of each pair: the smaller of its two samples' posteriors of their own class.

    .. math::
        A_{ij} = \min(a_i, a_j), \qquad a_i = \mathrm{softmax}_k(s_a \cos(z_i, w_k))[y_i]

    Every pair that a doubtful sample is in weighs little; a of ``own_class_posterior``, where the arguments, the
    errors and the sources are described.

    Returns:
        A, (N, N), symmetric, positive.

    Example:
        >>> import torch
        >>> from voxangle.objectives import class_aware_attention
        >>> embeddings = torch.tensor([[1.0, 0.1], [0.1, 1.0], [0.2, 1.0]])
        >>> class_aware_attention(embeddings, torch.tensor([0, 1, 0]), torch.eye(2), scale=2.0).round(decimals=3)
        tensor([[1.0000, 1.0000, 0.2010],
                [1.0000, 1.0000, 0.2010],
                [0.2010, 0.2010, 0.2010]])
    """
    belongs = own_class_posterior(
        embeddings, labels, prototypes, scale=scale, normalise=normalise, detach=detach
    )
    return torch.minimum(belongs[:, None], belongs[None, :])
