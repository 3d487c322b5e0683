"""Which places of a padded batch are padding."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["padding_mask"]


def padding_mask(lengths: Tensor, total: int) -> Tensor:
    """True at the places beyond each length.

    Args:
        lengths: (B,) integers, how many places of each row are real.
        total: how many places a row has.

    Returns:
        (B, total) booleans on the device of ``lengths``.
    """
    return torch.arange(total, device=lengths.device) >= lengths.unsqueeze(1)
