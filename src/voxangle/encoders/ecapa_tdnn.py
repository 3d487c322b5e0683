"""ECAPA-TDNN (Desplanques, Thienpondt, Demuynck, Interspeech 2020, arXiv 2005.07143)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from voxangle.encoders.encoder import BaseEncoderConfig, Encoder
from voxangle.encoders.pooling import AttentiveStatistics, mean_over_time
from voxangle.features.padding import padding_mask

__all__ = ["ECAPATDNN", "ECAPATDNNConfig"]

DILATIONS = (2, 3, 4)  # of the three blocks


class ECAPATDNNConfig(BaseEncoderConfig):
    """Settings of ``ECAPATDNN``; the defaults are the paper's smaller model (6.2 M parameters).

    Attributes:
        channels: C, of the convolutional frame layers; 512 and 1024 in the paper.
        scale: s, groups of the Res2Net convolutions; divides ``channels``.
        squeeze: bottleneck of the squeeze-excitation.
        aggregation: channels after the aggregation of the blocks, which are pooled.
        attention: bottleneck of the attentive statistics.
    """

    architecture: Literal["ecapa_tdnn"] = "ecapa_tdnn"
    channels: int = Field(default=512, ge=1, le=16_384)
    scale: int = Field(default=8, ge=2)
    squeeze: int = Field(default=128, ge=1)
    aggregation: int = Field(default=1536, ge=1)
    attention: int = Field(default=128, ge=1)

    @model_validator(mode="after")
    def _groups_are_whole(self) -> ECAPATDNNConfig:
        if self.channels % self.scale:
            below = self.channels // self.scale * self.scale
            raise ValueError(
                f"channels ({self.channels}) must be a multiple of scale ({self.scale}): "
                f"try {below or self.scale} or {below + self.scale}"
            )
        return self


class ECAPATDNN(Encoder):
    """A TDNN of SE-Res2Blocks whose outputs are all aggregated and pooled with attention (figure 2).

    Args:
        config: the settings.
    """

    def __init__(self, config: ECAPATDNNConfig) -> None:
        super().__init__()
        self.config = config
        self.dimension = config.dimension
        self.stem = FrameLayer(config.bins, config.channels, kernel_size=5)
        self.blocks = nn.ModuleList(SERes2Block(config, dilation) for dilation in DILATIONS)
        self.aggregate = nn.Conv1d(len(DILATIONS) * config.channels, config.aggregation, kernel_size=1)
        self.pooling = AttentiveStatistics(config.aggregation, config.attention)
        self.pooled_norm = nn.BatchNorm1d(self.pooling.dimension)
        self.embed = nn.Linear(self.pooling.dimension, config.dimension)
        self.embedding_norm = nn.BatchNorm1d(config.dimension)

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
        padding = None if frames is None else padding_mask(frames, features.shape[1]).unsqueeze(1)
        aggregated = self.aggregate(self._frame_layers(features.transpose(1, 2), padding)).relu_()
        pooled = self.pooled_norm(self.pooling(aggregated, padding))
        embeddings: Tensor = self.embedding_norm(self.embed(pooled))
        return embeddings

    def _frame_layers(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """The outputs of all blocks beside each other; each block reads the sum of all before it (section 3.3)."""
        x = self.stem(_silence(x, padding))
        outputs: list[Tensor] = []
        for block in self.blocks:
            x = x + outputs[-1] if outputs else x
            outputs.append(block(x, padding))
        return torch.cat(outputs, dim=1)


class FrameLayer(nn.Module):
    """Convolution over time, ReLU, batch normalisation: (B, C, T) to (B, C', T)."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(
            inputs, outputs, kernel_size, dilation=dilation, padding=dilation * (kernel_size - 1) // 2
        )
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.norm(self.convolution(x).relu_())
        return normalised


class Res2Layer(nn.Module):
    """Res2Net's hierarchy of small convolutions (Gao et al., arXiv 1904.01169, equation 1).

    Of ``scale`` groups of channels the first passes unchanged and the second is convolved; each next one is
    added to the result of the one before it, then convolved.
    """

    def __init__(self, channels: int, scale: int, dilation: int) -> None:
        super().__init__()
        width = channels // scale
        self.layers = nn.ModuleList(
            FrameLayer(width, width, kernel_size=3, dilation=dilation) for _ in range(scale - 1)
        )

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        first, *groups = x.chunk(len(self.layers) + 1, dim=1)
        outputs = [first]
        for index, (layer, group) in enumerate(zip(self.layers, groups, strict=True)):
            outputs.append(layer(_silence(group + outputs[-1] if index else group, padding)))
        return torch.cat(outputs, dim=1)


class SqueezeExcitation(nn.Module):
    """Each channel scaled by a gate that hears the whole recording (equations 5 to 7)."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, bottleneck)
        self.excite = nn.Linear(bottleneck, channels)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        gate = self.excite(self.squeeze(mean_over_time(x, padding)).relu_()).sigmoid()
        scaled: Tensor = x * gate.unsqueeze(-1)
        return scaled


class SERes2Block(nn.Module):
    """1x1 layer, dilated Res2 layer, 1x1 layer, squeeze-excitation, and the input added (figure 1)."""

    def __init__(self, config: ECAPATDNNConfig, dilation: int) -> None:
        super().__init__()
        self.reduce = FrameLayer(config.channels, config.channels)
        self.res2 = Res2Layer(config.channels, config.scale, dilation)
        self.expand = FrameLayer(config.channels, config.channels)
        self.excitation = SqueezeExcitation(config.channels, config.squeeze)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        hidden = self.expand(self.res2(self.reduce(x), padding))
        block: Tensor = x + self.excitation(hidden, padding)
        return block


def _silence(x: Tensor, padding: Tensor | None) -> Tensor:
    # A convolution over time must read zeros beyond the end of a row, as it does beyond the end of the batch.
    return x if padding is None else x.masked_fill(padding, 0.0)
