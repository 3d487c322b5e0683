"""SphereFace2: one binary classifier a speaker instead of one softmax over all."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor
from torch.nn import functional

from voxangle.objectives.checks import (
    demand_choice,
    demand_cosine_margin,
    demand_labels,
    demand_margin,
    demand_positive,
    demand_scalar,
)
from voxangle.objectives.classification import cosine_to_prototypes
from voxangle.objectives.margins import additive_angular_margin
from voxangle.objectives.precision import full_precision

__all__ = ["BinaryMarginForm", "sphereface2_initial_bias", "sphereface2_loss"]

BinaryMarginForm = Literal["additive", "angular"]


def sphereface2_loss(
    embeddings: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    bias: Tensor,
    *,
    margin: float = 0.2,
    scale: float = 32.0,
    balance: float = 0.7,
    sharpness: float = 3.0,
    margin_form: BinaryMarginForm = "additive",
) -> Tensor:
    r"""A binary cross-entropy for every pair of sample and class: is it this speaker or not.

    .. math::
        L = \frac1N \sum_i \Big[ \frac{\lambda}{r} \log(1 + e^{-r\,p_{i y_i} - b})
        + \frac{1 - \lambda}{r} \sum_{k \ne y_i} \log(1 + e^{r\,q_{ik} + b}) \Big]

    where :math:`g(c) = 2 \big(\tfrac{c + 1}{2}\big)^t - 1` stretches the cosines and the margin's form chooses

    - ``additive`` (type C): :math:`p = g(\cos\theta) - m,\ q = g(\cos\theta) + m`;
    - ``angular`` (type A): :math:`p = g(\cos(\min(\theta + m, \pi))),\ q = g(\phi_{-m}(\theta))`, phi of
      ``additive_angular_margin``.

    No class competes with another, so that the bias is one threshold for all of them, as in verification.

    Args:
        embeddings: (N, D), any norm but zero.
        labels: (N,) integers in [0, C).
        prototypes: (C, D), one a speaker, or (C, K, D) with sub-centres; any norm but zero.
        bias: b, a learned scalar; let it start at ``sphereface2_initial_bias``.
        margin: m, in [0, 1) for ``additive`` (g of the right and of a wrong class shall differ by 2m, and cannot by
            more than 2), in radians in [0, pi / 2) for ``angular`` (the second paper takes 0.2 and 0.15).
        scale: r > 0.
        balance: lambda in (0, 1), the weight of the one right class against all wrong ones.
        sharpness: t >= 1; the larger, the more a high cosine counts. 1 leaves the cosines as they are.
        margin_form: see above.

    Returns:
        The mean over the samples, a scalar in float32 (float64 if the embeddings are).

    Raises:
        ValueError: an argument of another shape, type or range; it is named.

    Example:
        >>> import torch
        >>> from voxangle.objectives import sphereface2_initial_bias, sphereface2_loss
        >>> bias = torch.tensor(sphereface2_initial_bias(3))
        >>> sphereface2_loss(torch.eye(3), torch.arange(3), torch.eye(3), bias)
        tensor(0.2064)

    Sources: SphereFace2, arXiv 2108.01513; for speakers, arXiv 2307.08205. The first paper's type A puts
    the margin on the right class alone and lets its gradient pass as if g and the margin were not there; here, as in
    the second's published code, the margin is on both sides and the gradient is that of the loss. That code drops
    1 / r, which makes loss and gradient r times as large.
    """
    demand_choice(margin_form, "margin_form", BinaryMarginForm)
    _demand_settings(margin, scale, balance, sharpness, margin_form)
    demand_scalar(bias, "bias")
    with full_precision(embeddings):
        cosine = cosine_to_prototypes(embeddings, prototypes)
        demand_labels(labels, len(cosine), classes=cosine.shape[1])
        true = labels.long()[:, None]
        bias = bias.to(cosine.dtype).reshape(())
        own = cosine.gather(1, true).squeeze(1)
        if margin_form == "additive":
            right, wrong = _stretch(own, sharpness) - margin, _stretch(cosine, sharpness) + margin
        else:
            right = _stretch(additive_angular_margin(own, margin), sharpness)
            wrong = _stretch(additive_angular_margin(cosine, -margin), sharpness)
        # A certain rejection costs nothing: exactly 0 for the true class, value and gradient.
        rejected = (-scale * wrong - bias).scatter_(1, true, math.inf)
        # logsigmoid and not log(1 + exp), which overflows, nor softplus, which is linear (off by 2e-9) from 20 on.
        missed = -functional.logsigmoid(scale * right + bias)
        confused = -functional.logsigmoid(rejected).sum(dim=1)
        return (balance * missed + (1 - balance) * confused).mean() / scale


def sphereface2_initial_bias(
    classes: int,
    *,
    margin: float = 0.2,
    scale: float = 32.0,
    balance: float = 0.7,
    sharpness: float = 3.0,
    margin_form: BinaryMarginForm = "additive",
) -> float:
    r"""The bias at which a fresh classifier, all of whose cosines are 0, has the least ``sphereface2_loss``.

    There the pull of the one right class balances the push of the C - 1 wrong ones,
    :math:`\lambda\, \sigma(-r p - b) = (1 - \lambda)(C - 1)\, \sigma(r q + b)`. From a bias of 0 the first steps are
    spent on moving all cosines at once.

    Args:
        classes: C >= 2.
        margin: as in ``sphereface2_loss``, like all that follows.
        scale: r.
        balance: lambda.
        sharpness: t.
        margin_form: of ``sphereface2_loss``.

    Raises:
        ValueError: an argument out of range; it is named.

    Example:
        >>> from voxangle.objectives import sphereface2_initial_bias
        >>> round(sphereface2_initial_bias(6000), 3)
        9.748

    Source: SphereFace2, arXiv 2108.01513, and its published code.
    """
    demand_choice(margin_form, "margin_form", BinaryMarginForm)
    _demand_settings(margin, scale, balance, sharpness, margin_form)
    if classes < 2:
        raise ValueError(f"classes must be >= 2, got {classes}")

    def stretched(cosine: float) -> float:
        return 2 * math.pow((cosine + 1) / 2, sharpness) - 1

    if margin_form == "additive":
        right, wrong = stretched(0) - margin, stretched(0) + margin
    else:
        right, wrong = stretched(-math.sin(margin)), stretched(math.sin(margin))
    # The balance is a quadratic equation in exp(b); solved by asinh, nothing cancels, however far apart p and q.
    odds = balance / ((1 - balance) * (classes - 1))
    lean = (1 - odds) / (2 * math.sqrt(odds)) * math.exp(scale * (wrong - right) / 2)
    return (math.log(odds) - scale * (right + wrong)) / 2 - math.asinh(lean)


def _stretch(cosine: Tensor, sharpness: float) -> Tensor:
    # The clamp is cos(min(theta + m, pi)), and keeps rounding past -1 out of a fractional power.
    return 2 * ((cosine + 1) / 2).clamp(min=0).pow(sharpness) - 1


def _demand_settings(
    margin: float, scale: float, balance: float, sharpness: float, margin_form: BinaryMarginForm
) -> None:
    if margin_form == "additive":
        demand_cosine_margin(margin, below=1.0)
    else:
        demand_margin(margin)
    demand_positive(scale, "scale")
    if not 0 < balance < 1:
        raise ValueError(f"balance must lie in (0, 1), got {balance}")
    if not 1 <= sharpness < math.inf:
        raise ValueError(f"sharpness must be finite and >= 1, got {sharpness}")
