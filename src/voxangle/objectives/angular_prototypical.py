"""Angular prototypical loss: find the speaker's centroid among those of the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from voxangle.objectives.checks import demand_embeddings, demand_labels, demand_scalar
from voxangle.objectives.precision import full_precision, promote

__all__ = ["angular_prototypical_loss"]

_LEAST_SCALE = 1e-6


def angular_prototypical_loss(embeddings: Tensor, labels: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    r"""Classify each speaker's last sample among the centroids of the speakers' other samples.

    .. math::
        L = -\frac1S \sum_{j=1}^S \log \frac{e^{S_{jj}}}{\sum_k e^{S_{jk}}}, \qquad
        S_{jk} = w \cos(q_j, c_k) + b

    over the S speakers with two samples or more: the query q_j is the speaker's last sample in the batch, the
    centroid c_k the mean of speaker k's others, of the embeddings as they are (a long one weighs more; a mean of
    directions takes embeddings of unit norm). Samples may come in any order, speakers may have different numbers of
    them; a speaker with a single one has no part in the loss.

    Args:
        embeddings: (N, D), any norm but zero.
        labels: (N,) integers.
        scale: w, a learned scalar, kept at 1e-6 or above; the paper starts at 10.
        bias: b, a learned scalar; the paper starts at -5. The softmax cancels it: its gradient is 0 up to rounding.

    Returns:
        The mean over the queries, a scalar in float32 (float64 if the embeddings are); 0 (with a zero gradient)
        where no speaker has two samples.

    Raises:
        ValueError: an argument of another shape or type; it is named.

    Example:
        >>> import torch
        >>> from voxangle.objectives import angular_prototypical_loss
        >>> embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
        >>> scale, bias = torch.tensor(10.0), torch.tensor(-5.0)
        >>> angular_prototypical_loss(embeddings, torch.tensor([0, 1, 0, 1]), scale, bias)
        tensor(4.5418e-05)

    Source: Chung et al., "In defence of metric learning for speaker recognition", arXiv 2003.11982, section 2.2.
    """
    demand_embeddings(embeddings)
    demand_labels(labels, len(embeddings))
    demand_scalar(scale, "scale")
    demand_scalar(bias, "bias")
    with full_precision(embeddings):
        vectors = promote(embeddings)
        same = labels[:, None] == labels[None, :]
        earlier = same.tril(-1)
        query = earlier.any(dim=1) & ~same.triu(1).any(dim=1)
        others = earlier[query].to(vectors.dtype)
        centroids = functional.normalize(others / others.sum(dim=1, keepdim=True) @ vectors, dim=1)
        cosine = functional.normalize(vectors[query], dim=1) @ centroids.T
        scale, bias = (value.to(cosine.dtype).reshape(()) for value in (scale, bias))
        similarity = scale.clamp(min=_LEAST_SCALE) * cosine + bias
        true = torch.arange(len(cosine), device=cosine.device)
        return functional.cross_entropy(similarity, true, reduction="sum") / max(len(cosine), 1)
