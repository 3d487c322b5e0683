"""Additive angular margin: a cosine made harder by an angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["additive_angular_margin"]


def additive_angular_margin(cosine: Tensor, margin: float) -> Tensor:
    r"""The cosine of the angle widened by the margin, continued so that it never jumps.

    .. math::
        \phi(\theta) = \cos(\theta + m) \text{ for } \theta \le \pi - m, \quad
        \cos\theta - (1 - \cos m) \text{ past it.}

    Both branches are -1 at :math:`\theta = \pi - m` and fall with :math:`\theta`; the usual fallback of
    ArcFace, :math:`\cos\theta - m \sin m`, jumps there (by 0.0198 at m = 0.2).

    Args:
        cosine: any shape, in [-1, 1] (rounding past it is harmless).
        margin: m in radians, in [0, pi / 2). At 0 the cosine comes back as it is, to the last bit.

    Returns:
        phi, shape of ``cosine``. Its gradient is finite everywhere, duplicates (cosine 1) included.

    Source: ArcFace, arXiv 1801.07698, equation 3; the continuation is ours.
    """
    # d sin / d cos is infinite at +-1: below the floor the sine is a constant, so duplicates get no NaN.
    floor = 8 * torch.finfo(cosine.dtype).eps
    sine = (1 - cosine.square()).clamp(min=floor).sqrt()
    widened = cosine * math.cos(margin) - sine * math.sin(margin)
    continued = cosine - (1 - math.cos(margin))
    return torch.where(cosine >= -math.cos(margin), widened, continued)
