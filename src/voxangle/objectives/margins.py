"""Margins: a cosine made harder by an angle or by a constant."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["additive_angular_margin", "logits_at", "widen_logits"]


def additive_angular_margin(cosine: Tensor, margin: float) -> Tensor:
    r"""The cosine of the angle widened by the margin, continued so that it never jumps.

    .. math::
        \phi_m(\theta) = \cos(\theta + m) \text{ for } \theta \le \pi - m, \quad
        \cos\theta - (1 - \cos m) \text{ past it.}

    Both branches are -1 at :math:`\theta = \pi - m` and fall with :math:`\theta`; the usual fallback of
    ArcFace, :math:`\cos\theta - m \sin m`, jumps there (by 0.0198 at m = 0.2).

    A negative margin narrows the angle instead, which makes a wrong class harder to tell apart. It is the mirror
    image, :math:`\phi_{-m}(\theta) = -\phi_m(\pi - \theta)`:

    .. math::
        \phi_{-m}(\theta) = \cos(\theta - m) \text{ for } \theta \ge m, \quad
        \cos\theta + (1 - \cos m) \text{ below it,}

    so that it goes on rising as the angle closes, where :math:`\cos(\theta - m)` alone would fall again and reward a
    wrong class for coming nearer.

    Args:
        cosine: any shape, in [-1, 1] (rounding past it is harmless).
        margin: m in radians, in (-pi / 2, pi / 2). At 0 the cosine comes back as it is, to the last bit.

    Returns:
        phi, shape of ``cosine``. Its gradient is finite everywhere, duplicates and antipodes (cosine 1 and -1)
        included.

    Raises:
        ValueError: margin out of range.

    Example:
        >>> import torch
        >>> from voxangle.objectives import additive_angular_margin
        >>> additive_angular_margin(torch.tensor([0.5, 0.0, -1.0]), 0.2)
        tensor([ 0.3180, -0.1987, -1.0199])

    Source: ArcFace, arXiv 1801.07698, equation 3; the continuation is ours.
    """
    if not abs(margin) < math.pi / 2:
        raise ValueError(f"margin must lie in (-pi / 2, pi / 2) radians, got {margin}")
    if margin < 0:
        return -additive_angular_margin(-cosine, -margin)
    # d sin / d cos is infinite at +-1: below the floor the sine is a constant, so duplicates get no NaN.
    floor = 8 * torch.finfo(cosine.dtype).eps
    sine = (1 - cosine.square()).clamp(min=floor).sqrt()
    widened = cosine * math.cos(margin) - sine * math.sin(margin)
    continued = cosine - (1 - math.cos(margin))
    return torch.where(cosine >= -math.cos(margin), widened, continued)


def logits_at(logits: Tensor, classes: Tensor) -> Tensor:
    """The logits (N, C) of some classes (N, k), of shape (N, k)."""
    # Not ``gather``, which would keep the logits for its backward pass and forbid a change in place.
    return logits[torch.arange(len(logits), device=logits.device)[:, None], classes]


def widen_logits(
    logits: Tensor, classes: Tensor, margin: float, scale: float, *, chosen: Tensor | None = None
) -> None:
    """Put an angular margin on some classes' logits, in place.

    Args:
        logits: (N, C), scaled cosines.
        classes: (N, k), of which no chosen one stands twice in a row.
        margin: m in radians, in (-pi / 2, pi / 2).
        scale: s of the logits.
        chosen: (N, k), which of the classes are meant; None for all.
    """
    cosine = logits_at(logits, classes) / scale
    widening = scale * (additive_angular_margin(cosine, margin) - cosine)
    # Adding the difference, instead of putting the value, spares a copy of the matrix in the backward pass.
    logits.scatter_add_(1, classes, widening if chosen is None else widening.masked_fill(~chosen, 0.0))
