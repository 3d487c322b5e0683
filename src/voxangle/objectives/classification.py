"""Classification of the training speakers: softmax, and its margin forms on the sphere (AM, AAM)."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from voxangle.objectives.checks import (
    demand_cosine_margin,
    demand_embeddings,
    demand_labels,
    demand_margin,
    demand_positive,
    demand_prototypes,
)
from voxangle.objectives.margins import widen_logits
from voxangle.objectives.precision import full_precision, promote

__all__ = ["aam_softmax_loss", "am_softmax_loss", "cosine_to_prototypes", "softmax_loss"]


def cosine_to_prototypes(embeddings: Tensor, prototypes: Tensor, *, scale: float = 1.0) -> Tensor:
    r"""The cosine of every embedding to every class; with sub-centres, to the nearest of the class.

    .. math::
        s \cos\theta_{ik} = s \max_j \frac{z_i \cdot w_{kj}}{\lVert z_i \rVert \lVert w_{kj} \rVert}

    Args:
        embeddings: (N, D), any norm but zero.
        prototypes: (C, D), or (C, K, D) with K sub-centres a class; any norm but zero.
        scale: s > 0; here it costs nothing, a product with the whole matrix later does.

    Returns:
        (N, C), in float32 (float64 if the embeddings are).

    Raises:
        ValueError: an argument of another shape, type or range; it is named.

    Example:
        >>> import torch
        >>> from voxangle.objectives import cosine_to_prototypes
        >>> cosine_to_prototypes(torch.tensor([[3.0, 4.0]]), torch.eye(2))
        tensor([[0.6000, 0.8000]])

    Source of the sub-centres: Sub-center ArcFace, Deng et al., ECCV 2020.
    """
    demand_embeddings(embeddings)
    demand_prototypes(prototypes, embeddings)
    demand_positive(scale, "scale")
    with full_precision(embeddings):
        unit = scale * functional.normalize(promote(embeddings), dim=1)
        centres = functional.normalize(prototypes.to(unit.dtype), dim=-1)
        cosine = unit @ centres.flatten(0, -2).T
        if prototypes.ndim == 3:
            cosine, _ = cosine.view(-1, *prototypes.shape[:2]).max(dim=2)
        return cosine


def softmax_loss(embeddings: Tensor, labels: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Cross-entropy on a linear layer: the baseline that knows nothing of angles.

    .. math::
        L = -\frac1N \sum_i \log \frac{e^{z_i \cdot w_{y_i} + b_{y_i}}}{\sum_k e^{z_i \cdot w_k + b_k}}

    Args:
        embeddings: (N, D), of any norm: it counts.
        labels: (N,) integers in [0, C).
        weights: (C, D).
        bias: (C,), or None.

    Returns:
        The mean loss, a scalar in float32 (float64 if the embeddings are).

    Raises:
        ValueError: an argument of another shape, type or range; it is named.

    Example:
        >>> import torch
        >>> from voxangle.objectives import softmax_loss
        >>> softmax_loss(torch.zeros(2, 3), torch.tensor([0, 3]), torch.ones(4, 3))  # log 4
        tensor(1.3863)
    """
    demand_embeddings(embeddings)
    demand_prototypes(weights, embeddings, "weights", subcentres=False)
    classes = len(weights)
    if bias is not None and (not bias.is_floating_point() or bias.shape != (classes,)):
        raise ValueError(
            f"bias must be floating-point of shape ({classes},), one number for each class, got {bias.dtype} "
            f"{tuple(bias.shape)}"
        )
    demand_labels(labels, len(embeddings), classes=classes)
    with full_precision(embeddings):
        inputs = promote(embeddings)
        offset = None if bias is None else bias.to(inputs.dtype)
        logits = functional.linear(inputs, weights.to(inputs.dtype), offset)
        return functional.cross_entropy(logits, labels.long())


def am_softmax_loss(
    embeddings: Tensor, labels: Tensor, prototypes: Tensor, *, margin: float = 0.2, scale: float = 32.0
) -> Tensor:
    r"""Cross-entropy over scaled cosines, that of the true class lowered by a margin (AM-softmax, CosFace).

    .. math::
        L = -\frac1N \sum_i \log \frac{e^{s (\cos\theta_{i y_i} - m)}}
        {e^{s (\cos\theta_{i y_i} - m)} + \sum_{k \ne y_i} e^{s \cos\theta_{ik}}}

    Args:
        embeddings: (N, D), any norm but zero.
        labels: (N,) integers in [0, C).
        prototypes: (C, D), one a speaker, or (C, K, D) with sub-centres; any norm but zero.
        margin: m in units of cosine, in [0, 2): two cosines differ by 2 at most. All of C classes can meet it only
            up to C / (C - 1), hardly more than 1 (CosFace, section 3.3).
        scale: s > 0.

    Returns:
        The mean loss, a scalar in float32 (float64 if the embeddings are).

    Raises:
        ValueError: an argument of another shape, type or range; it is named.

    Example:
        >>> import torch
        >>> from voxangle.objectives import am_softmax_loss
        >>> am_softmax_loss(torch.eye(3), torch.arange(3), torch.eye(3), margin=0.2, scale=4.0)
        tensor(0.0784)

    Sources: AM-softmax, arXiv 1801.05599, equation 6; CosFace, arXiv 1801.09414, equation 4.
    """
    demand_cosine_margin(margin)
    with full_precision(embeddings):
        logits = cosine_to_prototypes(embeddings, prototypes, scale=scale)
        demand_labels(labels, len(logits), classes=logits.shape[1])
        true = labels.long()[:, None]
        # In place: neither this nor its backward pass copies the matrix.
        logits.scatter_add_(1, true, logits.new_full(true.shape, -scale * margin))
        return functional.cross_entropy(logits, true.squeeze(1))


def aam_softmax_loss(
    embeddings: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    *,
    margin: float = 0.2,
    scale: float = 32.0,
    inter_topk: int = 0,
    inter_margin: float = 0.06,
) -> Tensor:
    r"""Cross-entropy over scaled cosines, the true class behind an angular margin (AAM-softmax, ArcFace).

    .. math::
        L = -\frac1N \sum_i \log \frac{e^{s\,\phi_m(\theta_{i y_i})}}
        {e^{s\,\phi_m(\theta_{i y_i})} + \sum_{k \ne y_i} e^{s \cos\theta_{ik}}}

    with phi of ``additive_angular_margin``. Two options:

    - sub-centres, prototypes of shape (C, K, D): the cosine to a class is the largest over its K sub-centres, so that
      a few of them may take the noisy and the mislabelled samples;
    - the inter-topK penalty: the ``inter_topk`` most similar wrong classes get :math:`\phi_{-m'}(\theta_{ik})`, which
      is :math:`\cos(\theta_{ik} - m')` down to :math:`\theta = m'` and rises on below it.

    Args:
        embeddings: (N, D), any norm but zero.
        labels: (N,) integers in [0, C).
        prototypes: (C, D), one a speaker, or (C, K, D) with sub-centres (the papers: K = 3); any norm but zero.
        margin: m in radians, in [0, pi / 2).
        scale: s > 0.
        inter_topk: how many wrong classes of each sample are penalised, in [0, C - 1]; 0 is no penalty, the paper
            takes 5 (and none in large-margin fine-tuning).
        inter_margin: m' in radians, in [0, pi / 2). A schedule of the margin should move it in proportion.

    Returns:
        The mean loss, a scalar in float32 (float64 if the embeddings are).

    Raises:
        ValueError: an argument of another shape, type or range; it is named.

    Example:
        >>> import torch
        >>> from voxangle.objectives import aam_softmax_loss
        >>> embeddings, labels = torch.eye(3), torch.arange(3)
        >>> aam_softmax_loss(embeddings, labels, torch.eye(3), margin=0.2, scale=4.0)
        tensor(0.0389)
        >>> aam_softmax_loss(embeddings, labels, torch.eye(3), margin=0.2, scale=4.0, inter_topk=1)
        tensor(0.0441)

    Sources: ArcFace, arXiv 1801.07698, equation 3; Sub-center ArcFace, Deng et al., ECCV 2020;
    inter-topK penalty, arXiv 2110.05042. The continuations of phi are ours.
    """
    demand_margin(margin)
    demand_margin(inter_margin, "inter_margin")
    with full_precision(embeddings):
        logits = cosine_to_prototypes(embeddings, prototypes, scale=scale)
        demand_labels(labels, len(logits), classes=logits.shape[1])
        if not 0 <= inter_topk < logits.shape[1]:
            wrong = logits.shape[1] - 1
            raise ValueError(f"inter_topk must lie in [0, {wrong}], the wrong classes, got {inter_topk}")
        true = labels.long()[:, None]
        if inter_topk:
            rivals = logits.detach().scatter(1, true, -math.inf).topk(inter_topk, dim=1).indices
            widen_logits(logits, rivals, -inter_margin, scale)
        widen_logits(logits, true, margin, scale)
        return functional.cross_entropy(logits, true.squeeze(1))
