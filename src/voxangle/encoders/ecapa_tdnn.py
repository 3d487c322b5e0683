"""ECAPA-TDNN (Desplanques, Thienpondt, Demuynck, Interspeech 2020, arXiv 2005.07143)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from voxangle.encoders.encoder import BaseEncoderConfig, Encoder
from voxangle.encoders.pooling import VARIANCE_FLOOR, AttentiveStatistics, mean_over_time
from voxangle.features.padding import padding_mask, reflected, silenced

__all__ = ["ECAPATDNN", "ECAPATDNNConfig"]

DILATIONS = (2, 3, 4)  # of the three blocks


class Flavour(NamedTuple):
    """What the public implementations of the one paper do not share.

    Attributes:
        sums: a block reads the sum of all outputs before it (section 3.3), and not the last one alone.
        reflects: beyond the ends of a recording convolutions read its reflection, and not zeros.
        aggregate_norm: the aggregated frames are normalised before they are pooled.
        attention_norm: the attention's hidden layer is rectified and normalised before its tanh.
        embedding_norm: the embedding is normalised.
        floor: of the variances in the pooling.
        correction: of the deviation that the attention sees; 1 for the unbiased one.
    """

    sums: bool
    reflects: bool
    aggregate_norm: bool
    attention_norm: bool
    embedding_norm: bool
    floor: float
    correction: int


FLAVOURS = {
    "paper": Flavour(True, False, False, False, True, VARIANCE_FLOOR, 0),
    "speechbrain": Flavour(False, True, True, True, False, 1e-12, 0),
    "wespeaker": Flavour(False, False, False, False, False, 1e-7, 1),
}


class ECAPATDNNConfig(BaseEncoderConfig):
    """Settings of ``ECAPATDNN``; the defaults are the paper's smaller model (6.2 M parameters).

    Attributes:
        channels: C, of the convolutional frame layers; 512 and 1024 in the paper.
        scale: s, groups of the Res2Net convolutions; divides ``channels``.
        squeeze: bottleneck of the squeeze-excitation.
        aggregation: channels after the aggregation of the blocks, which are pooled.
        attention: bottleneck of the attentive statistics.
        context: whether the attention sees mean and deviation of the recording beside the frame.
        flavour: whose reading of the paper: ``paper`` is ours, ``speechbrain`` also 3D-Speaker's; then ``wespeaker``.
            Weights of one mean nothing to another.
    """

    architecture: Literal["ecapa_tdnn"] = "ecapa_tdnn"
    channels: int = Field(default=512, ge=1, le=16_384)
    scale: int = Field(default=8, ge=2, le=1024)
    squeeze: int = Field(default=128, ge=1, le=65_536)
    aggregation: int = Field(default=1536, ge=1, le=65_536)
    attention: int = Field(default=128, ge=1, le=65_536)
    context: bool = True
    flavour: Literal["paper", "speechbrain", "wespeaker"] = "paper"

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
        self.flavour = flavour = FLAVOURS[config.flavour]
        self.stem = FrameLayer(config.bins, config.channels, kernel_size=5, reflects=flavour.reflects)
        self.blocks = nn.ModuleList(SERes2Block(config, dilation) for dilation in DILATIONS)
        self.aggregate = nn.Conv1d(len(DILATIONS) * config.channels, config.aggregation, kernel_size=1)
        self.aggregate_norm = nn.BatchNorm1d(config.aggregation) if flavour.aggregate_norm else nn.Identity()
        self.pooling = AttentiveStatistics(
            config.aggregation,
            config.attention,
            context=config.context,
            norm=flavour.attention_norm,
            floor=flavour.floor,
            correction=flavour.correction,
        )
        self.pooled_norm = nn.BatchNorm1d(self.pooling.dimension)
        self.embed = nn.Linear(self.pooling.dimension, config.dimension)
        self.embedding_norm = nn.BatchNorm1d(config.dimension) if flavour.embedding_norm else nn.Identity()

    def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Embeddings of features; see ``Encoder.forward``.

        Raises:
            ValueError: F is less than 5, and the flavour reflects 4 frames at the ends.
        """
        if self.flavour.reflects and features.shape[1] <= DILATIONS[-1]:
            raise ValueError(
                f"{features.shape[1]} frames are too few: at least {DILATIONS[-1] + 1}, to reflect them"
            )
        padding = None if frames is None else padding_mask(frames, features.shape[1]).unsqueeze(1)
        aggregated = self.aggregate(self._frame_layers(features.transpose(1, 2), padding)).relu_()
        pooled = self.pooled_norm(self.pooling(self.aggregate_norm(aggregated), padding))
        embeddings: Tensor = self.embedding_norm(self.embed(pooled))
        return embeddings

    def _frame_layers(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """The outputs of all blocks beside each other."""
        x = self.stem(x, padding)
        outputs: list[Tensor] = []
        for block in self.blocks:
            if outputs:
                x = x + outputs[-1] if self.flavour.sums else outputs[-1]
            outputs.append(block(x, padding))
        return torch.cat(outputs, dim=1)


class FrameLayer(nn.Module):
    """Convolution over time, ReLU, batch normalisation: (B, C, T) to (B, C', T)."""

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int = 1, dilation: int = 1, *, reflects: bool = False
    ) -> None:
        super().__init__()
        self.reach = dilation * (kernel_size - 1) // 2
        self.reflects = reflects and self.reach > 0
        self.convolution = nn.Conv1d(
            inputs, outputs, kernel_size, dilation=dilation, padding=0 if self.reflects else self.reach
        )
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        if self.reflects:
            x = reflected(x, self.reach, None if padding is None else (~padding).sum(dim=(1, 2)))
        elif self.reach:
            x = silenced(x, padding)
        normalised: Tensor = self.norm(self.convolution(x).relu_())
        return normalised


class Res2Layer(nn.Module):
    """Res2Net's hierarchy of small convolutions (Gao et al., arXiv 1904.01169, equation 1).

    Of ``scale`` groups of channels the first passes unchanged and the second is convolved; each next one is
    added to the result of the one before it, then convolved.
    """

    def __init__(self, channels: int, scale: int, dilation: int, *, reflects: bool = False) -> None:
        super().__init__()
        width = channels // scale
        self.layers = nn.ModuleList(
            FrameLayer(width, width, kernel_size=3, dilation=dilation, reflects=reflects)
            for _ in range(scale - 1)
        )

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        first, *groups = x.chunk(len(self.layers) + 1, dim=1)
        outputs = [first]
        for index, (layer, group) in enumerate(zip(self.layers, groups, strict=True)):
            outputs.append(layer(group + outputs[-1] if index else group, padding))
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
        self.res2 = Res2Layer(
            config.channels, config.scale, dilation, reflects=FLAVOURS[config.flavour].reflects
        )
        self.expand = FrameLayer(config.channels, config.channels)
        self.excitation = SqueezeExcitation(config.channels, config.squeeze)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        hidden = self.expand(self.res2(self.reduce(x), padding))
        block: Tensor = x + self.excitation(hidden, padding)
        return block
