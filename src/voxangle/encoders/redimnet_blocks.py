"""The blocks of ReDimNet: on bins and frames (2-D), and on frames alone (1-D)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from voxangle.encoders.pooling import mean_over_time
from voxangle.features.padding import silenced

__all__ = [
    "BLOCKS_2D",
    "ChannelNorm",
    "TimeContext",
    "convolution_2d",
    "groups_of",
    "to_1d",
    "to_2d",
]


def to_1d(x: Tensor) -> Tensor:
    """A map of bins as a signal, (B, C, F, T) to (B, F C, T): the channels of a bin stay side by side."""
    return x.transpose(1, 2).flatten(1, 2)


def to_2d(x: Tensor, bins: int) -> Tensor:
    """The inverse of ``to_1d``, (B, F C, T) to (B, C, F, T), for any number of bins that divides F C.

    After bins were halved and channels doubled, or the reverse, the signal has the same channels as before.
    """
    rows, channels, frames = x.shape
    return x.reshape(rows, bins, channels // bins, frames).transpose(1, 2)


def groups_of(channels: int, width: int) -> int:
    """How many groups of about ``width`` channels a convolution has; one if there are fewer channels."""
    return max(channels // width, 1)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of every place: (B, C, ...) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Of zero mean and unit variance over dimension 1, then scaled and shifted."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def convolution_2d(inputs: int, outputs: int, width: int, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps bins and frames, in groups of about ``width`` of its output's channels."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups_of(outputs, width), bias=bias)


class ConvNeXtBlock(nn.Module):
    """Grouped convolution, batch normalisation, GELU, pointwise convolution, and the input added.

    The paper's ConvNeXt-like block (section 2): ConvNeXt's (Liu et al., arXiv 2201.03545) without its wide
    middle, and with batch normalisation.

    Args:
        convolution: the convolution that keeps the shape.
        norm: batch normalisation of as many dimensions.
        pointwise: the convolution of one place.
    """

    def __init__(self, convolution: nn.Module, norm: nn.Module, pointwise: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = norm
        self.pointwise = pointwise

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        hidden = functional.gelu(self.norm(self.convolution(silenced(x, padding))))
        block: Tensor = x + self.pointwise(hidden)
        return block


class BasicBlock(nn.Module):
    """ResNet's basic block (He et al., arXiv 1512.03385) of grouped convolutions, each with a pointwise one.

    Args:
        channels: C.
        width: channels of a group.
        bins: F, of the bin-wise squeeze-excitation; None for none.
    """

    def __init__(self, channels: int, width: int, bins: int | None = None) -> None:
        super().__init__()
        self.first = convolution_2d(channels, channels, width, bias=False)
        self.first_pointwise = nn.Conv2d(channels, channels, 1)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = convolution_2d(channels, channels, width, bias=False)
        self.second_pointwise = nn.Conv2d(channels, channels, 1)
        self.second_norm = nn.BatchNorm2d(channels)
        self.excitation = None if bins is None else BinExcitation(bins, min(64, max(channels, 32)))

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        hidden = self.first_pointwise(self.first(silenced(x, padding)))
        hidden = self.first_norm(hidden.relu_())
        hidden = self.second_norm(self.second_pointwise(self.second(silenced(hidden, padding))))
        if self.excitation is not None:
            hidden = self.excitation(hidden, padding)
        block: Tensor = (hidden + x).relu_()
        return block


class BinExcitation(nn.Module):
    """Each bin scaled by a gate that hears the whole recording: frequency-wise squeeze-excitation.

    Thienpondt, Desplanques, Demuynck, Interspeech 2021, arXiv 2104.02370 (fwSE).
    """

    def __init__(self, bins: int, bottleneck: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(bins, bottleneck)
        self.excite = nn.Linear(bottleneck, bins)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        energy = mean_over_time(x.mean(dim=1), padding)
        gate = self.excite(self.squeeze(energy).relu_()).sigmoid()
        scaled: Tensor = x * gate[:, None, :, None]
        return scaled


def _convnext_2d(channels: int, width: int) -> ConvNeXtBlock:
    convolution = convolution_2d(channels, channels, width)
    return ConvNeXtBlock(convolution, nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 1))


def _convnext_1d(channels: int, kernel: int) -> ConvNeXtBlock:
    convolution = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
    return ConvNeXtBlock(convolution, nn.BatchNorm1d(channels), nn.Conv1d(channels, channels, 1))


# The 2-D blocks by name, of channels, channels of a group, and bins.
BLOCKS_2D: dict[str, Callable[[int, int, int], nn.Module]] = {
    "convnext": lambda channels, width, _bins: _convnext_2d(channels, width),
    "resnet": lambda channels, width, _bins: BasicBlock(channels, width),
    "resnet_fwse": BasicBlock,
}


class TimeContext(nn.Module):
    """The 1-D block: within fewer channels, convolutions over ever longer times, then attention (section 2).

    Args:
        channels: F C, of the signal.
        width: channels within.
        kernels: of the depthwise convolutions, in frames.
        heads: of the attention.
    """

    def __init__(self, channels: int, width: int, kernels: tuple[int, ...], heads: int) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(channels, width, 1)
        self.norm = ChannelNorm(width)
        self.blocks = nn.ModuleList(_convnext_1d(width, kernel) for kernel in kernels)
        self.attention = AttentionLayer(width, heads)
        self.expand = nn.Conv1d(width, channels, 1)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """(B, F C, T) to the same; ``padding`` is (B, 1, T) booleans, or None if none is padded."""
        hidden = self.norm(self.reduce(x))
        for block in self.blocks:
            hidden = block(hidden, padding)
        hidden = self.attention(hidden.transpose(1, 2), padding).transpose(1, 2)
        context: Tensor = x + self.expand(hidden)
        return context


class AttentionLayer(nn.Module):
    """A layer of a Transformer's encoder (Vaswani et al., arXiv 1706.03762), normalised after each half.

    Args:
        width: of a frame.
        heads: of the attention; divides ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.mix = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.widen = nn.Linear(width, width)
        self.narrow = nn.Linear(width, width)
        self.output_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """Frames (B, T, width) to the same; none listens to the padding, (B, 1, T) booleans or None."""
        x = self.attention_norm(x + self.mix(self._attend(x, padding)))
        hidden = functional.gelu(self.widen(x), approximate="tanh")
        frames: Tensor = self.output_norm(x + self.narrow(hidden))
        return frames

    def _attend(self, x: Tensor, padding: Tensor | None) -> Tensor:
        query, key, value = (self._split(part(x)) for part in (self.query, self.key, self.value))
        real = None if padding is None else ~padding.unsqueeze(1)
        heard = functional.scaled_dot_product_attention(query, key, value, attn_mask=real)
        return heard.transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        rows, frames, width = x.shape
        return x.reshape(rows, frames, self.heads, width // self.heads).transpose(1, 2)
