"""A moving average of the encoder's weights, which is often the better model than the last of them."""

from __future__ import annotations

import copy
from typing import Any

import torch

from voxangle.encoders import Encoder

__all__ = ["MovingAverage"]


class MovingAverage:
    r"""Weights averaged over the steps, the later ones counting more (Tarvainen and Valpola 2017, arXiv:1703.01780).

    After step :math:`n`, counted from 0, the average moves towards the weights by :math:`1 - d_n` with
    :math:`d_n = \min(d, (1 + n) / (10 + n))`: a plain :math:`d` would remember the random weights of the beginning for
    about :math:`1 / (1 - d)` steps. Statistics of batch normalisation are averaged likewise.

    Args:
        encoder: whose weights; the average begins with them.
        decay: d, in [0, 1).
    """

    def __init__(self, encoder: Encoder, decay: float) -> None:
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def take(self, encoder: Encoder, step: int) -> None:
        """Move towards the weights after a step."""
        pace = 1 - min(self._decay, (1 + step) / (10 + step))
        for mine, now in zip(self.encoder.state_dict().values(), encoder.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(now, pace)
            else:  # how many batches were seen
                mine.copy_(now)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights."""
        return self.encoder.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from averaged weights."""
        self.encoder.load_state_dict(state)
