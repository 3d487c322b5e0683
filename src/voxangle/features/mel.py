"""Triangular filters on a spectrum, and the mel scale in its form with a common logarithm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["mel_points", "triangles"]

Array = NDArray[np.float64]


def mel_points(bins: int, low_hz: float, high_hz: float) -> Array:
    """Edges and centres of ``bins`` filters that lie evenly on the mel scale 2595 log10(1 + f / 700), in Hz.

    Returns:
        (bins + 2,), from ``low_hz`` to ``high_hz``; filter i has its centre at point i + 1.
    """
    low, high = 2595.0 * np.log10(1.0 + np.array([low_hz, high_hz]) / 700.0)
    points: Array = 700.0 * (10.0 ** (np.linspace(low, high, bins + 2) / 2595.0) - 1.0)
    return points


def triangles(points: Array, left: Array, centre: Array, right: Array) -> Array:
    """Weights of triangles of unit height, straight on the scale that all arguments are on.

    Args:
        points: (N,) of the spectrum.
        left: (M,) where each triangle leaves zero.
        centre: (M,) where it is one.
        right: (M,) where it is zero again.

    Returns:
        (N, M).
    """
    at = points[:, None]
    rising, falling = (at - left) / (centre - left), (right - at) / (right - centre)
    weights: Array = np.minimum(rising, falling).clip(min=0.0)
    return weights
