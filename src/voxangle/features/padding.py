"""Which places of a padded batch are padding, and what a layer that reads neighbours finds there."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["padding_mask", "reflected", "silence_", "silenced"]


def padding_mask(lengths: Tensor, total: int) -> Tensor:
    """True at the places beyond each length.

    Args:
        lengths: (B,) integers, how many places of each row are real.
        total: how many places a row has.

    Returns:
        (B, total) booleans on the device of ``lengths``.
    """
    return torch.arange(total, device=lengths.device) >= lengths.unsqueeze(1)


def silenced(x: Tensor, padding: Tensor | None) -> Tensor:
    """Zeros at the padding: what a convolution over time must read beyond the end of a row, as beyond the batch.

    Args:
        x: (B, C, T) or (B, C, F, T).
        padding: (B, 1, T) booleans, or for a map (B, 1, 1, T), True beyond a row's frames; None if none is padded.
    """
    if padding is None:
        return x
    return x.masked_fill(padding if padding.dim() == x.dim() else padding.unsqueeze(1), 0.0)


def silence_(x: Tensor, padding: Tensor | None) -> Tensor:
    """``silenced`` in place: for the fresh result of a normalisation, whose gradient does not need it."""
    return x if padding is None else x.masked_fill_(padding, 0.0)


def reflected(x: Tensor, reach: int, lengths: Tensor | None) -> Tensor:
    """Each row with its reflection at both of its ends.

    Args:
        x: (B, T) or (B, C, T).
        reach: how many places are added at either end, fewer than the shortest row has.
        lengths: (B,) integers, how many places of each row are real; None if all are.

    Returns:
        (B, T + 2 reach) or (B, C, T + 2 reach); far beyond the end of a row something else stands.
    """
    if lengths is None:
        return torch.nn.functional.pad(x, (reach, reach), mode="reflect")
    last = lengths.view(-1, *[1] * (x.dim() - 1)) - 1
    places = torch.arange(-reach, x.shape[-1] + reach, device=x.device).abs()
    # Far beyond the end the mirror image of the start would be left behind; what is real never reaches there.
    places = torch.where(places > last, 2 * last - places, places).clamp(min=0)
    return x.gather(-1, places.expand(*x.shape[:-1], -1))
