"""ReDimNet (Yakovlev, Makarov, Balykin, Malov, Okhotnikov, Torgashov, Interspeech 2024, arXiv 2407.18223).

The settings of the sizes are those of the authors' published models (IDRnD/ReDimNet) as far as these are known: B2
and B5 have as many numbers as their weights; the others come from WeSpeaker's recipes and agree with the table of
the paper to its rounding (B0, B6) or nearly (B1, B3, B4).

The bins are 60 in B0 and 72 in the others. Which frames they are of is up to the features: the authors' own are
``ReDimNetFilterbank`` (in a recipe ``features: {definition: redimnet, bins: 72}``), with which their models are
imported. An encoder trained with one definition works with that one only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from operator import mul
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from voxangle.config import Config
from voxangle.encoders.encoder import BaseEncoderConfig, Encoder
from voxangle.encoders.pooling import AttentiveStatistics
from voxangle.encoders.redimnet_blocks import (
    BLOCKS_2D,
    ChannelNorm,
    TimeContext,
    convolution_2d,
    groups_of,
    to_1d,
    to_2d,
)
from voxangle.features.padding import padding_mask, silenced

__all__ = ["ReDimNet", "ReDimNetConfig", "ReDimNetStage"]

VARIANCE_FLOOR = 1e-7  # of the pooled deviations, as in the published models

Size = Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6"]
Block = Literal["convnext", "resnet", "resnet_fwse"]


class ReDimNetStage(Config):
    """One stage.

    Attributes:
        stride: by how much fewer bins, and more channels, the stage has than the one before it.
        blocks: number of 2-D blocks.
        expansion: by how many more channels the 2-D blocks have.
        reduction: by how many fewer channels the 1-D block has than the signal; None for a stage without one.
    """

    stride: int = Field(default=1, ge=1, le=64)
    blocks: int = Field(default=2, ge=1, le=256)
    expansion: int = Field(default=1, ge=1, le=64)
    reduction: int | None = Field(default=12, ge=1, le=65_536)


class _Settings(NamedTuple):
    bins: int
    channels: int
    block: Block
    group: int
    stages: tuple[ReDimNetStage, ...]


def _settings(
    bins: int, channels: int, block: Block, group: int, *rows: tuple[int, int, int, int | None]
) -> _Settings:
    stages = (ReDimNetStage(stride=s, blocks=n, expansion=e, reduction=r) for s, n, e, r in rows)
    return _Settings(bins, channels, block, group, tuple(stages))


# fmt: off
SIZES: dict[str, _Settings] = {
    # bins, channels, block, group, and each stage's stride, blocks, expansion, reduction
    "b0": _settings(60, 10, "resnet", 1,
                    (1, 2, 1, 30), (2, 3, 2, 30), (1, 3, 3, 30), (2, 4, 2, 10), (1, 3, 1, 10)),
    "b1": _settings(72, 12, "convnext", 8,
                    (1, 2, 1, None), (2, 3, 1, None), (3, 4, 1, 12), (2, 5, 1, 12), (2, 3, 1, 8)),
    "b2": _settings(72, 16, "convnext", 4,
                    (1, 2, 1, 12), (2, 2, 1, 12), (1, 3, 1, 12), (3, 4, 1, 8), (1, 4, 1, 8), (2, 4, 1, 4)),
    "b3": _settings(72, 16, "resnet_fwse", 1,
                    (1, 6, 4, 32), (2, 6, 2, 32), (1, 8, 2, 32), (2, 10, 2, 16), (1, 10, 1, 16), (2, 8, 1, 16)),
    "b4": _settings(72, 32, "resnet_fwse", 1,
                    (1, 4, 2, 48), (2, 4, 2, 48), (1, 6, 2, 48), (2, 6, 1, 32), (1, 8, 1, 24), (2, 4, 1, 16)),
    "b5": _settings(72, 32, "resnet_fwse", 16,
                    (1, 4, 2, 48), (2, 4, 2, 48), (1, 6, 2, 48), (2, 6, 1, 32), (1, 8, 1, 24), (2, 4, 1, 16)),
    "b6": _settings(72, 32, "resnet", 32,
                    (1, 4, 4, 32), (2, 6, 2, 32), (1, 6, 2, 24), (3, 8, 1, 24), (1, 8, 1, 16), (2, 8, 1, 16)),
}
# fmt: on
_DEFAULT: Size = "b2"


class ReDimNetConfig(BaseEncoderConfig):
    """Settings of ``ReDimNet``; what is not given is that of the size.

    Attributes:
        size: the published model whose settings are taken (about 1.0, 2.1, 5.1, 3.2, 6.4, 7.7 and 15 million
            parameters).
        bins: of a frame, F at the stem; a multiple of the product of the strides (72 in the published models, 60
            in the smallest). The features must have as many: ``ReDimNetFilterbank`` has 72 by default.
        channels: C at the stem. Channels times bins is the same in every stage.
        block: the 2-D block: ConvNeXt-like, ResNet's, or that with frequency-wise squeeze-excitation.
        group: channels of a group of the 2-D convolutions.
        stages: the stages.
        kernels: of the convolutions of the 1-D blocks, in frames, odd.
        heads: of the attention of the 1-D blocks.
        attention: bottleneck of the attentive statistics.
    """

    architecture: Literal["redimnet"] = "redimnet"
    size: Size = _DEFAULT
    bins: int = Field(default=SIZES[_DEFAULT].bins, ge=1, le=1024)
    channels: int = Field(default=SIZES[_DEFAULT].channels, ge=1, le=4096)
    block: Block = SIZES[_DEFAULT].block
    group: int = Field(default=SIZES[_DEFAULT].group, ge=1, le=65_536)
    stages: tuple[ReDimNetStage, ...] = Field(default=SIZES[_DEFAULT].stages, min_length=1, max_length=64)
    kernels: tuple[int, ...] = (7, 19, 31, 59)
    heads: int = Field(default=4, ge=1, le=65_536)
    attention: int = Field(default=128, ge=1, le=65_536)

    @model_validator(mode="before")
    @classmethod
    def _rest_is_of_the_size(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        settings = SIZES.get(str(given.get("size", _DEFAULT)))
        return given if settings is None else {**settings._asdict(), **given}

    @model_validator(mode="after")
    def _strides_divide_the_bins(self) -> ReDimNetConfig:
        strides = [stage.stride for stage in self.stages]
        product = math.prod(strides)
        if self.bins % product:
            near = [n for n in (self.bins // product * product, -(-self.bins // product) * product) if n]
            raise ValueError(
                f"bins ({self.bins}) must be a multiple of {product}, the product of the strides {strides}: set "
                f"both encoder.bins and features.bins to {' or '.join(map(str, near))}"
            )
        return self

    @model_validator(mode="after")
    def _groups_are_whole(self) -> ReDimNetConfig:
        if not self._fits_group(self.group):
            raise ValueError(
                f"group ({self.group}) does not part the channels of every stage ({self.widths()[1:]}, times the "
                f"expansions) into equal groups: try {_nearest(self.group, self.group, self._fits_group)}"
            )
        return self

    @model_validator(mode="after")
    def _heads_are_whole(self) -> ReDimNetConfig:
        signal = self.channels * self.bins
        for index, stage in enumerate(self.stages):
            if stage.reduction is not None and not self._fits_heads(stage.reduction):
                near = _nearest(stage.reduction, signal, self._fits_heads)
                raise ValueError(
                    f"a reduction of {stage.reduction} leaves the 1-D block of stage {index} "
                    f"{signal // stage.reduction} of {signal} channels, which {self.heads} heads cannot share: "
                    f"try {'heads = 1' if near is None else near}"
                )
        return self

    @model_validator(mode="after")
    def _kernels_have_a_middle(self) -> ReDimNetConfig:
        for kernel in self.kernels:
            if kernel < 1 or kernel % 2 == 0:
                raise ValueError(f"kernels ({kernel}) must be odd: try {max(kernel + 1, 1)}")
        return self

    def widths(self) -> list[int]:
        """C before each stage, and after the last."""
        return list(accumulate((stage.stride for stage in self.stages), mul, initial=self.channels))

    def _fits_group(self, group: int) -> bool:
        for stage, channels in zip(self.stages, self.widths()[1:], strict=True):
            wide = channels * stage.expansion
            if channels % groups_of(channels, group) or wide % groups_of(wide, group):
                return False
            if wide % groups_of(channels, group):
                return False
        return True

    def _fits_heads(self, reduction: int) -> bool:
        width = self.channels * self.bins // reduction
        return width > 0 and width % self.heads == 0


def _nearest(value: int, limit: int, fits: Callable[[int], bool]) -> int | None:
    """The whole number from 1 to ``limit`` that fits and is nearest to ``value``; None if none fits."""
    return min(filter(fits, range(1, limit + 1)), key=lambda n: abs(n - value), default=None)


class ReDimNet(Encoder):
    """Stages that see bins and frames, then frames alone, each of the weighted sum of all before it (section 2).

    A 2-D map (C, F, T) of a stage with fewer bins and more channels is the same signal (C F, T), so the outputs of
    all stages, of the stem too, can be summed.

    Args:
        config: the settings.
    """

    def __init__(self, config: ReDimNetConfig) -> None:
        super().__init__()
        self.config = config
        self.dimension = config.dimension
        signal = config.channels * config.bins
        self.stem = nn.Conv2d(1, config.channels, 3, padding=1)
        self.stem_norm = ChannelNorm(config.channels)
        self.stages = nn.ModuleList(
            Stage(config, stage, before, after)
            for stage, (before, after) in zip(config.stages, pairwise(config.widths()), strict=True)
        )
        self.sums = nn.ModuleList(WeightedSum(before + 2, signal) for before in range(len(config.stages)))
        self.pooling = AttentiveStatistics(signal, config.attention, floor=VARIANCE_FLOOR, correction=1)
        self.pooled_norm = nn.BatchNorm1d(self.pooling.dimension)
        self.embed = nn.Linear(self.pooling.dimension, config.dimension)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Embeddings of features; see ``Encoder.forward``."""
        padding = None if frames is None else padding_mask(frames, features.shape[1]).unsqueeze(1)
        x = silenced(features.transpose(1, 2), padding).unsqueeze(1)
        x = to_1d(self.stem_norm(self.stem(x)))
        outputs = [x]
        for stage, weighted_sum in zip(self.stages, self.sums, strict=True):
            outputs.append(stage(x, padding))
            x = weighted_sum(outputs)
        embeddings: Tensor = self.embed(self.pooled_norm(self.pooling(x, padding)))
        return embeddings


class Stage(nn.Module):
    """Fewer bins, 2-D blocks, and, as a signal again, the 1-D block.

    Args:
        config: the encoder's settings.
        stage: the stage's.
        before: channels of a bin before the stage.
        after: and after it.
    """

    def __init__(self, config: ReDimNetConfig, stage: ReDimNetStage, before: int, after: int) -> None:
        super().__init__()
        signal = config.channels * config.bins
        wide = after * stage.expansion
        self.bins = signal // before
        self.pool = nn.Conv2d(before, wide, (stage.stride, 1), stride=(stage.stride, 1))
        self.blocks = nn.ModuleList(
            BLOCKS_2D[config.block](wide, config.group, signal // after) for _ in range(stage.blocks)
        )
        self.narrow = Narrow(wide, after, config.group) if stage.expansion > 1 else None
        self.context = (
            None
            if stage.reduction is None
            else TimeContext(signal, signal // stage.reduction, config.kernels, config.heads)
        )

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """(B, C F, T) to the same, of fewer bins."""
        x = self.pool(to_2d(x, self.bins))
        for block in self.blocks:
            x = block(x, padding)
        if self.narrow is not None:
            x = self.narrow(x, padding)
        x = to_1d(x)
        return x if self.context is None else self.context(x, padding)


class Narrow(nn.Module):
    """From the expanded channels of the 2-D blocks back to those that leave the signal its size."""

    def __init__(self, inputs: int, outputs: int, group: int) -> None:
        super().__init__()
        self.convolution = convolution_2d(inputs, outputs, group)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-6)
        self.pointwise = nn.Conv2d(outputs, outputs, 1)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        narrowed: Tensor = self.pointwise(functional.gelu(self.norm(self.convolution(silenced(x, padding)))))
        return narrowed


class WeightedSum(nn.Module):
    """The sum of several signals; each channel has learned weights, positive and summing to 1 (section 2).

    Args:
        count: N, of the signals.
        channels: of a signal.
    """

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(1, count, channels, 1))

    def forward(self, signals: list[Tensor]) -> Tensor:
        """N of (B, channels, T) to (B, channels, T), without a copy of all beside each other."""
        weights = self.scores.softmax(dim=1).unbind(dim=1)
        total = signals[0] * weights[0]
        for signal, weight in zip(signals[1:], weights[1:], strict=True):
            total.addcmul_(signal, weight)
        return total
