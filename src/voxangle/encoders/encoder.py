"""What every encoder is: a module from features to one vector a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field
from torch import Tensor, nn

from voxangle.config import Config

__all__ = ["BaseEncoderConfig", "Encoder"]


class BaseEncoderConfig(Config):
    """Settings that every encoder has.

    Attributes:
        architecture: the encoder's name in ``ENCODERS``.
        bins: how many bins a frame of the features has.
        dimension: length of an embedding.
    """

    architecture: str
    bins: int = Field(default=80, ge=1, le=1024)
    dimension: int = Field(default=192, ge=1, le=65_536)


class Encoder(nn.Module):
    """Base of the encoders: features in, embeddings out.

    Attributes:
        dimension: D, the length of an embedding.
    """

    dimension: int

    if TYPE_CHECKING:

        def __call__(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
            """Embeddings, (B, D), of features (B, F, bins); see ``forward``."""
            ...

    def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Embeddings, not of unit length.

        In evaluation mode the embedding of a row depends neither on its padding nor on the other rows. In
        training mode the batch statistics count padded frames too: train on crops of equal length, with
        ``frames=None``.

        Args:
            features: (B, F, bins).
            frames: (B,) integers from 1 to F, the real frames of each row; None, the fast path, if no row is
                padded.

        Returns:
            (B, dimension).
        """
        raise NotImplementedError
