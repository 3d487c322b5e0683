"""ResNets over the spectrogram: r-vectors (Zeinali et al., arXiv 1910.12592) and their deep kin of WeSpeaker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from voxangle.encoders.encoder import BaseEncoderConfig, Encoder
from voxangle.encoders.pooling import TemporalStatistics
from voxangle.features.padding import padding_mask

__all__ = ["ResNet", "ResNetConfig"]

STAGES = {  # depth: blocks of each stage
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    221: (6, 16, 48, 3),
    293: (10, 20, 64, 3),
}
BOTTLENECKS_FROM = 50  # the depth from which a block is a bottleneck
REDUCTION = 8  # of bins and of frames, by the strides of the last three stages


class ResNetConfig(BaseEncoderConfig):
    """Settings of ``ResNet``; the defaults are the r-vector network (6.6 M parameters).

    Attributes:
        depth: layers with weights that lie behind each other. Up to 34 a block has two convolutions; from 50
            it is a bottleneck of three (He et al., table 1). 221 and 293 are WeSpeaker's (arXiv 2210.17016).
        channels: of the stem; each of the last three stages has twice those of the stage before it.
    """

    architecture: Literal["resnet"] = "resnet"
    dimension: int = Field(default=256, ge=1, le=65_536)
    depth: Literal[18, 34, 50, 101, 152, 221, 293] = 34
    channels: int = Field(default=32, ge=1, le=1024)


class ResNet(Encoder):
    """A residual network over (bins, frames), statistics over time, and one linear layer.

    Args:
        config: the settings.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.dimension = config.dimension
        block = BasicBlock if config.depth < BOTTLENECKS_FROM else Bottleneck
        self.trunk = ResidualTrunk(config.channels, STAGES[config.depth], block)
        self.pooling = TemporalStatistics(epsilon=1e-7)
        self.embed = nn.Linear(2 * self.trunk.rows(config.bins), config.dimension)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Embeddings of features; see ``Encoder.forward``."""
        embeddings: Tensor = self.embed(self.pooling(*self.trunk(features, frames)))
        return embeddings


class ConvolutionNorm(nn.Module):
    """Convolution over (bins, frames) without bias, then batch normalisation: (B, C, F, T) to (B, C', F', T').

    A stride of 2 leaves ceil(F / 2) bins and ceil(T / 2) frames.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            inputs, outputs, kernel_size, stride=stride, padding=kernel_size // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """The map, read as zero beyond the real ``frames`` of a row, as it is beyond the end of the batch.

        A convolution of single places reads no neighbours, and need not be told.
        """
        if frames is not None:
            x = x.masked_fill(padding_of(x, frames), 0.0)
        normalised: Tensor = self.norm(self.convolution(x))
        return normalised


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and the input added (He et al., arXiv 1512.03385, figure 5, left).

    Args:
        inputs: channels of the input.
        channels: of the convolutions, and of the output.
        stride: of the first convolution.
        attention: reweights the map before the input is added; None leaves it.
    """

    expansion = 1

    def __init__(
        self, inputs: int, channels: int, stride: int = 1, attention: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.first = ConvolutionNorm(inputs, channels, stride=stride)
        self.second = ConvolutionNorm(channels, channels)
        self.attention = attention
        self.shortcut = projection(inputs, channels, stride)
        self.stride = stride

    def forward(self, x: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The next map, and how many of its frames are real."""
        hidden = self.first(x, frames).relu_()
        frames = strided(frames, self.stride)
        hidden = self.second(hidden, frames)
        if self.attention is not None:
            hidden = self.attention(hidden, frames)
        hidden += self.shortcut(x)
        return hidden.relu_(), frames


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, and the input added (He et al., arXiv 1512.03385, figure 5, right).

    Args:
        inputs: channels of the input.
        channels: of the 3x3 convolution; the output has four times as many.
        stride: of the 3x3 convolution.
    """

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.reduce = ConvolutionNorm(inputs, channels, kernel_size=1)
        self.middle = ConvolutionNorm(channels, channels, stride=stride)
        self.expand = ConvolutionNorm(channels, self.expansion * channels, kernel_size=1)
        self.shortcut = projection(inputs, self.expansion * channels, stride)
        self.stride = stride

    def forward(self, x: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The next map, and how many of its frames are real."""
        hidden = self.middle(self.reduce(x).relu_(), frames).relu_()
        hidden = self.expand(hidden)
        hidden += self.shortcut(x)
        return hidden.relu_(), strided(frames, self.stride)


Block = Callable[[int, int, int], BasicBlock | Bottleneck]  # of inputs, channels, stride


class ResidualTrunk(nn.Module):
    """A stem and four stages of residual blocks, without the max-pooling of images (arXiv 1910.12592).

    Each of the last three stages begins with a stride of 2 over bins and frames, and has twice the channels of
    the one before it.

    Args:
        channels: of the stem, and of the first stage's convolutions.
        stages: how many blocks each of the four stages has.
        block: makes the block of given inputs, channels and stride.

    Attributes:
        outputs: C', the channels of the map.
    """

    def __init__(self, channels: int, stages: Sequence[int], block: Block) -> None:
        super().__init__()
        self.stem = ConvolutionNorm(1, channels)
        self.blocks = nn.ModuleList()
        self.outputs = channels
        for stage, count in enumerate(stages):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                self.blocks.append(made := block(self.outputs, channels << stage, stride))
                self.outputs = (channels << stage) * made.expansion

    def rows(self, bins: int) -> int:
        """How many rows there are of features of so many ``bins``: the map's channels times its bins."""
        return self.outputs * math.ceil(bins / REDUCTION)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The map of the last stage as rows over time, and their padding.

        Args:
            features: (B, F, bins).
            frames: (B,) integers from 1 to F; None if no row is padded.

        Returns:
            rows: (B, C' * ceil(bins / 8), ceil(F / 8)).
            padding: (B, 1, ceil(F / 8)) booleans, True beyond a row's ceil(frames / 8); None if ``frames`` is.
        """
        x = self.stem(features.transpose(1, 2).unsqueeze(1), frames).relu_()
        for block in self.blocks:
            x, frames = block(x, frames)
        x = x.flatten(1, 2)
        return x, None if frames is None else padding_mask(frames, x.shape[-1]).unsqueeze(1)


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """What the input passes before it is added: nothing, or a 1x1 convolution where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return ConvolutionNorm(inputs, outputs, kernel_size=1, stride=stride)


def strided(frames: Tensor | None, stride: int) -> Tensor | None:
    """The real frames after a stride: of n those at 0, stride, ... remain, ceil(n / stride) of them."""
    return frames if frames is None or stride == 1 else (frames + stride - 1) // stride


def padding_of(x: Tensor, frames: Tensor) -> Tensor:
    """(B, 1, 1, T) booleans, True beyond the real ``frames`` (B,) of a map (B, C, F, T)."""
    return padding_mask(frames, x.shape[-1])[:, None, None]
