"""The objective is computed in float32 (or float64), whatever the encoder ran in."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

__all__ = ["full_precision", "promote"]


def full_precision(tensor: Tensor) -> AbstractContextManager[None]:
    """A context in which autocast is off on the tensor's device: exp(1 / 0.07) overflows float16."""
    return torch.autocast(tensor.device.type, enabled=False)


def promote(tensor: Tensor) -> Tensor:
    """The tensor in float32, or as it is where it is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
