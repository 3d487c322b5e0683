"""CAM++ (Wang, Zheng, Chen, Cheng, Chen, Interspeech 2023, arXiv 2303.00332)."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from voxangle.encoders.encoder import BaseEncoderConfig, Encoder
from voxangle.encoders.pooling import TemporalStatistics
from voxangle.features.padding import padding_mask, silence_

__all__ = ["CAMPlusPlus", "CAMPlusPlusConfig"]

DILATIONS = (1, 2, 2)  # of the layers of the three dense blocks

_LayerCount = Annotated[int, Field(ge=1, le=256)]


class CAMPlusPlusConfig(BaseEncoderConfig):
    """Settings of ``CAMPlusPlus``; the defaults are the paper's model (7.18 M parameters).

    Attributes:
        dimension: length of an embedding; 512 for VoxCeleb and CN-Celeb in the paper, 192 in the published
            models that were trained on 200 000 speakers.
        front_end: channels of the two-dimensional convolutions before the time delay network.
        channels: of the time delay network's first layer.
        growth: channels that every densely connected layer adds.
        bottleneck: channels within such a layer.
        layers: how many of them the three dense blocks have.
        segment: frames of 20 ms (at a 10 ms shift of the features) that share one mask.
        epsilon: added to the variances over time; all but nothing, as in 3D-Speaker, which adds nothing; 1e-7
            for weights from WeSpeaker.
    """

    architecture: Literal["campplus"] = "campplus"
    dimension: int = Field(default=512, ge=1, le=65_536)
    front_end: int = Field(default=32, ge=1, le=4096)
    channels: int = Field(default=128, ge=1, le=16_384)
    growth: int = Field(default=32, ge=1, le=4096)
    bottleneck: int = Field(default=128, ge=2, le=16_384)
    layers: tuple[_LayerCount, _LayerCount, _LayerCount] = (12, 24, 16)
    segment: int = Field(default=100, ge=1, le=1_000_000)
    epsilon: float = Field(default=1e-12, gt=0.0, le=1.0)


class CAMPlusPlus(Encoder):
    """A densely connected TDNN whose every layer is masked by what the recording and its segment are like (figure 1).

    A two-dimensional front end shortens the frequency axis, a strided layer halves the frame rate, three dense
    blocks follow, and mean and standard deviation over time are mapped to the embedding.

    Args:
        config: the settings.
    """

    def __init__(self, config: CAMPlusPlusConfig) -> None:
        super().__init__()
        self.config = config
        self.dimension = config.dimension
        self.front_end = FrontEnd(config.front_end)
        channels = config.channels
        self.stem = nn.Conv1d(
            self.front_end.outputs(config.bins), channels, kernel_size=5, stride=2, padding=2, bias=False
        )
        self.stem_norm = nn.BatchNorm1d(channels)
        self.blocks = nn.ModuleList()
        for layers, dilation in zip(config.layers, DILATIONS, strict=True):
            self.blocks.append(DenseBlock(config, channels, layers, dilation))
            channels = (channels + layers * config.growth) // 2
        self.frame_norm = nn.BatchNorm1d(channels)
        self.pooling = TemporalStatistics(config.epsilon)
        self.embed = nn.Linear(2 * channels, config.dimension, bias=False)
        self.embedding_norm = nn.BatchNorm1d(config.dimension, affine=False)
        self.apply(_initialise)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Embeddings of features; see ``Encoder.forward``."""
        padding = None if frames is None else padding_mask(frames, features.shape[1])[:, None]
        x = self.front_end(features.transpose(1, 2), padding)
        x = self.stem_norm(self.stem(x)).relu_()
        # A stride of two leaves half the frames, of the real ones as of all, rounded up.
        padding = None if frames is None else padding_mask((frames + 1) // 2, x.shape[-1])[:, None]
        segments = Segments.of(x, padding, self.config.segment)
        for block in self.blocks:
            x = block(x, segments)
        pooled = self.pooling(self.frame_norm(x).relu_(), padding)
        embeddings: Tensor = self.embedding_norm(self.embed(pooled))
        return embeddings


class FrontEnd(nn.Module):
    """The front-end convolution module: residual blocks on the spectrogram, which keep the time axis whole.

    Args:
        channels: of every convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.stem = nn.Conv2d(1, channels, kernel_size=3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        self.blocks = nn.ModuleList(ResidualBlock(channels, stride) for stride in (2, 1, 2, 1))
        self.reduce = nn.Conv2d(channels, channels, kernel_size=3, stride=(2, 1), padding=1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(channels)

    def outputs(self, bins: int) -> int:
        """Channels of the result: an eighth of the bins, rounded up, for each channel of the convolutions."""
        return self.channels * -(-bins // 8)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """(B, bins, T) to (B, outputs(bins), T), zero at padding."""
        if padding is not None:
            x, padding = x.masked_fill(padding, 0.0), padding[:, None]
        x = silence_(self.stem_norm(self.stem(x.unsqueeze(1))), padding).relu_()
        for block in self.blocks:
            x = block(x, padding)
        return silence_(self.reduce_norm(self.reduce(x)), padding).relu_().flatten(1, 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and the input added; the stride is along frequency alone."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, kernel_size=3, stride=(stride, 1), padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.shortcut = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(
                nn.Conv2d(channels, channels, kernel_size=1, stride=(stride, 1), bias=False),
                nn.BatchNorm2d(channels),
            )
        )

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        hidden = silence_(self.first_norm(self.first(x)), padding).relu_()
        hidden = self.second_norm(self.second(hidden)).add_(self.shortcut(x))
        return silence_(hidden, padding).relu_()


class Segments(NamedTuple):
    """How the frames of a batch fall into segments of equal length, the last of which may be shorter.

    Attributes:
        padding: (B, 1, T) booleans, True beyond a row's frames; None if none is padded.
        length: frames of a whole segment.
        frames: (B, 1, 1), the real frames of each row; (1, 1, 1) if none is padded.
        segment_frames: (B, 1, S), those of each segment, at least 1; (1, 1, S) if none is padded.
    """

    padding: Tensor | None
    length: int
    frames: Tensor
    segment_frames: Tensor

    @classmethod
    def of(cls, x: Tensor, padding: Tensor | None, length: int) -> Segments:
        """Segments of ``length`` frames of ``x``, (B, C, T)."""
        total = x.shape[-1]
        if padding is None:
            frames = torch.full((1, 1, 1), total, device=x.device)
        else:
            frames = (~padding).sum(dim=-1, keepdim=True)
        # An exported program is either for one segment or for several: an empty one more, and it is for any number.
        end = total + length if torch.compiler.is_exporting() else total
        starts = torch.arange(0, end, length, device=x.device)
        return cls(padding, length, frames, (frames - starts).clamp(min=1, max=length))

    def contexts(self, x: Tensor) -> Tensor:
        """Mean of the recording plus mean of the segment: the multi-granularity pooling, in float32 at least.

        Args:
            x: (B, C, T), zero at padding.

        Returns:
            (B, C, S).
        """
        segments, total = self.segment_frames.shape[-1], x.shape[-1]
        filled = functional.pad(x, (0, segments * self.length - total))
        wide = torch.promote_types(x.dtype, torch.float32)
        sums = filled.unfold(-1, self.length, self.length).sum(dim=-1, dtype=wide)
        return sums.sum(dim=-1, keepdim=True) / self.frames + sums / self.segment_frames

    def spread(self, x: Tensor, total: int) -> Tensor:
        """What every segment has, (B, C, S), at each of its frames, (B, C, total)."""
        if torch.compiler.is_exporting():  # which cannot prove that the slice below fits; slower in training
            return x.index_select(-1, torch.arange(total, device=x.device) // self.length)
        return x.unsqueeze(-1).expand(-1, -1, -1, self.length).flatten(2)[..., :total]


class ContextAwareMasking(nn.Module):
    """A dilated convolution over time, every channel masked by what its surroundings are like (equation 6).

    The mask is the same at all frames of a segment, and so is computed once for each segment, not once for each
    frame as in the public implementations.
    """

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.local = nn.Conv1d(
            inputs, outputs, kernel_size=3, dilation=dilation, padding=dilation, bias=False
        )
        self.squeeze = nn.Conv1d(inputs, inputs // 2, kernel_size=1)
        self.excite = nn.Conv1d(inputs // 2, outputs, kernel_size=1)

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        mask = self.excite(self.squeeze(segments.contexts(x)).relu_()).sigmoid()
        masked: Tensor = self.local(x) * segments.spread(mask, x.shape[-1])
        return masked


class DenseLayer(nn.Module):
    """The channels that one layer of a dense block adds: a bottleneck, and a masked convolution over time."""

    def __init__(self, inputs: int, bottleneck: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs)
        self.bottleneck = nn.Conv1d(inputs, bottleneck, kernel_size=1, bias=False)
        self.bottleneck_norm = nn.BatchNorm1d(bottleneck)
        self.masking = ContextAwareMasking(bottleneck, outputs, dilation)

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        hidden = self.bottleneck_norm(self.bottleneck(self.norm(x).relu_()))
        added: Tensor = self.masking(silence_(hidden, segments.padding).relu_(), segments)
        return added


class DenseBlock(nn.Module):
    """Layers that each read all that came before (equation 1), and the transit layer, which halves the channels."""

    def __init__(self, config: CAMPlusPlusConfig, inputs: int, layers: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DenseLayer(inputs + index * config.growth, config.bottleneck, config.growth, dilation)
            for index in range(layers)
        )
        outputs = inputs + layers * config.growth
        self.norm = nn.BatchNorm1d(outputs)
        self.transit = nn.Conv1d(outputs, outputs // 2, kernel_size=1, bias=False)

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x, segments)], dim=1)
        halved: Tensor = self.transit(self.norm(x).relu_())
        return halved


def _initialise(module: nn.Module) -> None:
    # He's initialisation of the time delay network, as for any dense network; the front end keeps PyTorch's. Uniform,
    # since drawing normal values for a model on the meta device, as loading does, imports PyTorch's whole compiler.
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
