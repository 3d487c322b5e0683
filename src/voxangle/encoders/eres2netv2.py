"""ERes2NetV2 (Chen, Zheng, Wang, Cheng, Chen, Zhang, Li, Interspeech 2024, arXiv 2406.02167)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from voxangle.encoders.encoder import BaseEncoderConfig, Encoder
from voxangle.encoders.pooling import TemporalStatistics
from voxangle.features.padding import padding_mask, silence_, silenced

__all__ = ["ERes2NetV2", "ERes2NetV2Config"]

CEILING = 20.0  # of the activations within the blocks
REDUCTION = 4  # of the channels within an attentional fusion

_BlockCount = Annotated[int, Field(ge=1, le=256)]


class ERes2NetV2Config(BaseEncoderConfig):
    """Settings of ``ERes2NetV2``; the defaults are the paper's model (17.8 M parameters).

    The published model w24s4ep4 has ``width=24, scale=4, expansion=4``.

    Attributes:
        channels: C; the four stages are built on C, 2 C, 4 C and 8 C.
        blocks: how many blocks the stages have.
        width: of a group of a block's inner channels, for every 64 channels of its stage.
        scale: groups of a block's inner channels.
        expansion: channels a stage puts out, for each channel it is built on.
    """

    architecture: Literal["eres2netv2"] = "eres2netv2"
    channels: int = Field(default=64, ge=1, le=4096)
    blocks: tuple[_BlockCount, _BlockCount, _BlockCount, _BlockCount] = (3, 4, 6, 3)
    width: int = Field(default=26, ge=1, le=1024)
    scale: int = Field(default=2, ge=2, le=64)
    expansion: int = Field(default=2, ge=1, le=64)

    @model_validator(mode="after")
    def _groups_have_channels(self) -> ERes2NetV2Config:
        # The first stage needs a channel in every group, the third enough of them for a fusion's bottleneck; it is
        # four times as wide, and so the two are one condition.
        if self.channels * self.width < 64:
            raise ValueError(
                f"channels ({self.channels}) times width ({self.width}) must be at least 64, else a group has no "
                f"channel: try width {-(-64 // self.channels)}"
            )
        return self


class ERes2NetV2(Encoder):
    """Res2Net blocks on the spectrogram, whose groups of channels and whose last two stages are fused by attention.

    Time and frequency are halved by each stage but the first. The third stage is halved once more and fused with
    the fourth: the bottom-up dual-stage feature fusion. Mean and standard deviation over time are mapped to the
    embedding.

    Args:
        config: the settings.
    """

    def __init__(self, config: ERes2NetV2Config) -> None:
        super().__init__()
        self.config = config
        self.dimension = config.dimension
        self.stem = nn.Conv2d(1, config.channels, kernel_size=3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(config.channels)
        self.stages = nn.ModuleList()
        inputs = config.channels
        for index in range(len(config.blocks)):
            self.stages.append(Stage(config, inputs, index))
            inputs = config.expansion * config.channels << index
        self.halve = nn.Conv2d(inputs // 2, inputs, kernel_size=3, stride=2, padding=1, bias=False)
        self.fusion = AttentionalFusion(inputs)
        self.pooling = TemporalStatistics()
        self.embed = nn.Linear(2 * inputs * -(-config.bins // 8), config.dimension)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Embeddings of features; see ``Encoder.forward``."""
        padding, halved, quartered, eighth = _paddings(frames, features.shape[1])
        x = silenced(features.transpose(1, 2).unsqueeze(1), padding)
        x = self.stem_norm(self.stem(x)).relu_()
        first, second, third, fourth = self.stages
        x = third(second(first(x, padding), halved), quartered)
        lower = self.halve(silenced(x, quartered))
        fused = self.fusion(fourth(x, eighth), lower)
        pooled = self.pooling(fused, None if eighth is None else eighth[:, 0])
        embeddings: Tensor = self.embed(pooled)
        return embeddings


class Stage(nn.Module):
    """Blocks in a row, of which the first one halves time and frequency, except in the first stage.

    The third and the fourth stage fuse by attention.
    """

    def __init__(self, config: ERes2NetV2Config, inputs: int, index: int) -> None:
        super().__init__()
        channels = config.channels << index
        attentional = index >= 2
        self.blocks = nn.ModuleList(
            [Block(config, inputs, channels, stride=2 if index else 1, attentional=attentional)]
        )
        self.blocks.extend(
            Block(config, config.expansion * channels, channels, stride=1, attentional=attentional)
            for _ in range(config.blocks[index] - 1)
        )

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, padding)
        return x


class Block(nn.Module):
    """A Res2Net block: groups of channels are convolved in turn, each fused with what the one before it gave.

    Where the fusion is attentional, this is the paper's bottleneck-like local feature fusion; otherwise the groups
    are added.
    """

    def __init__(
        self, config: ERes2NetV2Config, inputs: int, channels: int, *, stride: int, attentional: bool
    ) -> None:
        super().__init__()
        width = channels * config.width // 64
        outputs = config.expansion * channels
        self.reduce = nn.Conv2d(inputs, config.scale * width, kernel_size=1, stride=stride, bias=False)
        self.reduce_norm = nn.BatchNorm2d(config.scale * width)
        self.layers = nn.ModuleList(GroupLayer(width) for _ in range(config.scale))
        self.fusions = nn.ModuleList(
            AttentionalFusion(width) if attentional else Sum() for _ in range(config.scale - 1)
        )
        self.expand = nn.Conv2d(config.scale * width, outputs, kernel_size=1, bias=False)
        self.expand_norm = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """(B, inputs, bins, T), at half the resolution where the block has a stride; ``padding`` is the result's."""
        hidden = _activate(silence_(self.reduce_norm(self.reduce(x)), padding))
        first, *groups = hidden.chunk(len(self.layers), dim=1)
        outputs = [self.layers[0](first, padding)]
        for layer, fusion, group in zip(self.layers[1:], self.fusions, groups, strict=True):
            outputs.append(layer(fusion(outputs[-1], group), padding))
        expanded = self.expand_norm(self.expand(torch.cat(outputs, dim=1)))
        return _activate(expanded.add_(self.shortcut(x)))


class GroupLayer(nn.Module):
    """3x3 convolution, batch normalisation and activation of one group of channels; zero at padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        return _activate(silence_(self.norm(self.convolution(x)), padding))


class Sum(nn.Module):
    """Fusion of two maps by addition, as in Res2Net (Gao et al., arXiv 1904.01169)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class AttentionalFusion(nn.Module):
    """Attentional feature fusion: every place of two maps is weighted by what both have there.

    With U in [-1, 1] from both maps the result is (1 + U) x + (1 - U) y (ERes2Net, Chen et al., Interspeech 2023,
    arXiv 2305.12838), here summed as x + y + U (x - y).

    Args:
        channels: of each map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(2 * channels, channels // REDUCTION, kernel_size=1)
        self.squeeze_norm = nn.BatchNorm2d(channels // REDUCTION)
        self.excite = nn.Conv2d(channels // REDUCTION, channels, kernel_size=1)
        self.excite_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        hidden = functional.silu(self.squeeze_norm(self.squeeze(torch.cat([x, y], dim=1))))
        preference = self.excite_norm(self.excite(hidden)).tanh_()
        fused: Tensor = (x + y).addcmul_(preference, x - y)
        return fused


def _activate(x: Tensor) -> Tensor:
    return functional.hardtanh(x, 0.0, CEILING, inplace=True)  # a ReLU with a ceiling


def _paddings(frames: Tensor | None, total: int) -> list[Tensor | None]:
    """(B, 1, 1, T) of each stage; a stride of two leaves half the frames, of the real ones as of all, rounded up."""
    paddings: list[Tensor | None] = []
    for _ in range(4):
        paddings.append(None if frames is None else padding_mask(frames, total)[:, None, None])
        frames, total = None if frames is None else (frames + 1) // 2, (total - 1) // 2 + 1
    return paddings
