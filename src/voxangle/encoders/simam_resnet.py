"""SimAM-ResNet (Qin et al., ICASSP 2022, arXiv 2110.06534): an attention without parameters in every block."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from voxangle.encoders.encoder import BaseEncoderConfig, Encoder
from voxangle.encoders.pooling import FrameAttentiveStatistics, at_least_float32
from voxangle.encoders.resnet import BasicBlock, ResidualTrunk, padding_of

__all__ = ["SimAM", "SimAMResNet", "SimAMResNetConfig"]

STAGES = {34: (3, 4, 6, 3), 100: (6, 16, 24, 3)}  # depth: blocks of each stage


class SimAMResNetConfig(BaseEncoderConfig):
    """Settings of ``SimAMResNet``; the defaults are WeSpeaker's SimAM_ResNet34 (25.2 M parameters).

    Attributes:
        depth: layers with weights that lie behind each other; 34 is the paper's, 100 WeSpeaker's.
        channels: of the stem; each of the last three stages has twice those of the stage before it.
        attention: bottleneck of the attentive statistics.
    """

    architecture: Literal["simam_resnet"] = "simam_resnet"
    dimension: int = Field(default=256, ge=1, le=65_536)
    depth: Literal[34, 100] = 34
    channels: int = Field(default=64, ge=1, le=1024)
    attention: int = Field(default=128, ge=1, le=65_536)


class SimAMResNet(Encoder):
    """A residual network whose blocks weigh every place of their map, and attentive statistics over time.

    Args:
        config: the settings.
    """

    def __init__(self, config: SimAMResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.dimension = config.dimension
        self.trunk = ResidualTrunk(config.channels, STAGES[config.depth], simam_block)
        self.pooling = FrameAttentiveStatistics(self.trunk.rows(config.bins), config.attention)
        self.embed = nn.Linear(self.pooling.dimension, config.dimension)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Embeddings of features; see ``Encoder.forward``."""
        embeddings: Tensor = self.embed(self.pooling(*self.trunk(features, frames)))
        return embeddings


class SimAM(nn.Module):
    """Each place of a map weighed by how far it stands out from its channel (Yang et al., ICML 2021).

    With t the value there, m and v the mean and variance of the channel over the recording, the energy of that
    neuron is least at ``e = 4 (v + strength) / ((t - m)^2 + 2 v + 2 strength)`` (equation 5), and the map is
    multiplied by the logistic function of 1 / e (equation 6). There is nothing to learn. The variance is the
    unbiased one, as in the public implementations; a map of one place has none, and counts as constant.

    Args:
        strength: of the regulariser, lambda in the paper.
    """

    def __init__(self, strength: float = 1e-4) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """The weighed map; the statistics are in float32 at least, and hear no padding.

        Args:
            x: (B, C, F, T).
            frames: (B,) integers from 1 to T, the real frames of each row; None if none is padded.

        Returns:
            (B, C, F, T), of the type of ``x``.
        """
        wide = at_least_float32(x)
        if frames is None:
            places = wide.new_full((), x.shape[-2] * x.shape[-1])
            deviation = (wide - wide.mean(dim=(-2, -1), keepdim=True)).square()
        else:
            padding, places = padding_of(x, frames), x.shape[-2] * frames[:, None, None, None]
            mean = wide.masked_fill(padding, 0.0).sum(dim=(-2, -1), keepdim=True) / places
            deviation = (wide - mean).masked_fill(padding, 0.0).square()
        variance = deviation.sum(dim=(-2, -1), keepdim=True) / (places - 1).clamp(min=1)
        # 1 / e = (t - m)^2 / (4 (v + strength)) + 1 / 2
        weights = (deviation / (4 * (variance + self.strength)) + 0.5).sigmoid()
        return x * weights.to(x.dtype)


def simam_block(inputs: int, channels: int, stride: int) -> BasicBlock:
    """A basic block with SimAM behind its second convolution, before the input is added."""
    return BasicBlock(inputs, channels, stride, attention=SimAM())
