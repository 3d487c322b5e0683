"""Class-aware attention: how far each pair of samples is to be believed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from voxangle.objectives.precision import full_precision, promote

__all__ = ["AttentionNormaliser", "class_aware_attention"]

AttentionNormaliser = Literal["max", "mean"] | None


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
        a_i = \mathrm{softmax}_k(s_a\, z_i \cdot w_k)[y_i], \qquad A_{ij} = \min(a_i, a_j)

    An outlier or a mislabelled sample belongs badly to its own class, so every pair it is in weighs little.

    Args:
        embeddings: (N, D), any norm but zero.
        labels: (N,) integers in [0, C).
        prototypes: (C, D), the classifier's weights.
        scale: s_a; at 1 with thousands of classes a_i is about 1 / C for everyone.
        normalise: divide a by its ``max`` (then A lies in (0, 1]) or ``mean`` over the batch, or leave it.
        detach: keep gradients out of A, else the loss can fall by moving A.

    Returns:
        A, (N, N), symmetric, positive (the smallest normal number where the posterior underflows).

    Sources: arXiv 1811.01459 (class-aware attention), arXiv 2210.16622; scale and normaliser are ours.
    """
    with full_precision(embeddings), torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        unit = functional.normalize(promote(embeddings), dim=1)
        logits = scale * unit @ functional.normalize(promote(prototypes), dim=1).T
        belongs = logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
        # Weights enter logarithms: none may be 0. The normalisers divide by at most 1, so none becomes 0 again.
        belongs = belongs.clamp(min=torch.finfo(belongs.dtype).tiny)
        if normalise == "max":
            belongs = belongs / belongs.max()
        elif normalise == "mean":
            belongs = belongs / belongs.mean()
        return torch.minimum(belongs[:, None], belongs[None, :])
