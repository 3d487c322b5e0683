"""From frames to one vector a recording: statistics over time that padding does not touch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = [
    "AttentiveStatistics",
    "FrameAttentiveStatistics",
    "TemporalStatistics",
    "at_least_float32",
    "mean_over_time",
    "weighted_statistics",
]

SMALLEST = 1.01e-8  # 1e-8 itself is nothing to the optimiser of ONNX graphs, which drops the sum
VARIANCE_FLOOR = 1e-5  # keeps the gradient of the square root finite where a channel does not vary


def mean_over_time(x: Tensor, padding: Tensor | None = None) -> Tensor:
    """Mean over the real frames, in float32 at least.

    Args:
        x: (B, C, T).
        padding: (B, 1, T) booleans, True beyond a row's frames; None if none is padded.

    Returns:
        (B, C).
    """
    x = at_least_float32(x)
    if padding is None:
        return x.mean(dim=-1)
    return x.masked_fill(padding, 0.0).sum(dim=-1) / (~padding).sum(dim=-1)


def weighted_statistics(x: Tensor, weights: Tensor, floor: float = VARIANCE_FLOOR) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation over time, in float32 at least.

    The variance is summed from centred values: the difference of two large sums would lose small variances.

    Args:
        x: (B, C, T).
        weights: (B, C, T) or (B, 1, T), non-negative, summing to 1 over time; zero at padding.
        floor: of the variance.

    Returns:
        mean and standard deviation, (B, C) each; the variance is at least ``floor``, with a finite gradient.
    """
    mean, variance = _moments(x, weights)
    return mean, variance.clamp(min=floor).sqrt()


class TemporalStatistics(nn.Module):
    """Mean and standard deviation over time of every channel (x-vectors, Snyder et al., ICASSP 2018).

    The variance is the unbiased one, as in the public implementations of ResNet and CAM++ (WeSpeaker, 3D-Speaker):
    over 200 frames the other one is 0.25 % smaller. A recording of one frame has none, and counts as constant.

    Args:
        epsilon: added to the variance, so that the gradient is finite where a channel does not vary; 1e-8 in
            3D-Speaker and in WeSpeaker's first versions, 1e-7 in WeSpeaker today.
    """

    def __init__(self, epsilon: float = SMALLEST) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Mean and standard deviation.

        Args:
            x: (B, C, T), or (B, C, F, T), whose channels and bins become C * F channels.
            padding: (B, 1, T) booleans, True beyond a row's frames; None if none is padded.

        Returns:
            (B, 2 C) or (B, 2 C F), means first, in float32 at least.
        """
        x = at_least_float32(x.flatten(1, -2))
        if padding is None:
            mean, frames = x.mean(dim=-1), torch.full_like(x[:, :1, 0], x.shape[-1])
            centred = x - mean.unsqueeze(-1)
        else:
            frames = (~padding).sum(dim=-1)
            mean = x.masked_fill(padding, 0.0).sum(dim=-1) / frames
            centred = (x - mean.unsqueeze(-1)).masked_fill(padding, 0.0)
        variance = centred.square().sum(dim=-1) / (frames - 1).clamp(min=1)
        return torch.cat([mean, (variance + self.epsilon).sqrt()], dim=1)


class AttentiveStatistics(nn.Module):
    """Channel- and context-dependent statistics pooling (ECAPA-TDNN, arXiv 2005.07143, section 3.1).

    Every channel has its own attention over the frames (equations 1 to 4), which sees the frame together with
    the mean and standard deviation of the whole recording. The product of W with that concatenation is computed
    in two parts, so that the context is never copied to every frame.

    Args:
        channels: C, of the frames.
        bottleneck: units of the attention's hidden layer.
        context: whether attention sees the recording beside the frame.
        norm: rectify and normalise the hidden layer before its tanh, as SpeechBrain does.
        floor: of every variance.
        correction: 1 for the unbiased deviation in the context, as WeSpeaker has it.
    """

    def __init__(
        self,
        channels: int,
        bottleneck: int = 128,
        *,
        context: bool = True,
        norm: bool = False,
        floor: float = VARIANCE_FLOOR,
        correction: int = 0,
    ) -> None:
        super().__init__()
        self.dimension = 2 * channels
        self.floor, self.correction = floor, correction
        self.frame = nn.Conv1d(channels, bottleneck, kernel_size=1)
        self.context = nn.Linear(2 * channels, bottleneck, bias=False) if context else None
        self.norm = nn.BatchNorm1d(bottleneck) if norm else None
        self.score = nn.Conv1d(bottleneck, channels, kernel_size=1)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Weighted mean and standard deviation of every channel.

        Args:
            x: (B, C, T) frames.
            padding: (B, 1, T) booleans, True beyond a row's frames; None if none is padded.

        Returns:
            (B, 2 C), means first, in float32 at least.
        """
        return torch.cat(weighted_statistics(x, self._attention(x, padding), self.floor), dim=1)

    def _attention(self, x: Tensor, padding: Tensor | None) -> Tensor:
        hidden = self.frame(x)
        if self.context is not None:
            hidden = hidden + self.context(self._statistics(x, padding)).unsqueeze(-1)
        if self.norm is not None:
            hidden = self.norm(hidden.relu())
        return _shares(self.score(torch.tanh(hidden)), padding)

    def _statistics(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """Mean and standard deviation of the recording."""
        x = at_least_float32(x)
        if padding is None:
            variance, mean = torch.var_mean(x, dim=-1, correction=0)
            frames = torch.full_like(mean[:, :1], x.shape[-1])
        else:
            real = ~padding
            frames = real.sum(dim=-1)
            mean, variance = _moments(x, real.to(x.dtype) / frames.unsqueeze(-1))
        if self.correction:
            variance = variance * frames / (frames - self.correction).clamp(min=1)
        return torch.cat([mean, variance.clamp(min=self.floor).sqrt()], dim=1)


class FrameAttentiveStatistics(nn.Module):
    """Attentive statistics pooling where attention sees the frame alone (Okabe et al., arXiv 1803.10963).

    Every channel has its own attention over the frames, from a hidden layer of rectified and normalised units.

    Args:
        channels: C, of the frames.
        bottleneck: units of the attention's hidden layer.
    """

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__()
        self.dimension = 2 * channels
        self.frame = nn.Conv1d(channels, bottleneck, kernel_size=1)
        self.norm = nn.BatchNorm1d(bottleneck)
        self.score = nn.Conv1d(bottleneck, channels, kernel_size=1)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Weighted mean and standard deviation of every channel.

        Args:
            x: (B, C, T) frames.
            padding: (B, 1, T) booleans, True beyond a row's frames; None if none is padded.

        Returns:
            (B, 2 C), means first, in float32 at least.
        """
        scores = self.score(self.norm(self.frame(x).relu_()))
        return torch.cat(weighted_statistics(x, _shares(scores, padding)), dim=1)


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32, or as it is if that is wider: statistics under autocast are too coarse in bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _shares(scores: Tensor, padding: Tensor | None) -> Tensor:
    scores = at_least_float32(scores)
    if padding is not None:
        scores = scores.masked_fill(padding, -torch.inf)
    return scores.softmax(dim=-1)


def _moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    x = at_least_float32(x)
    mean = (weights * x).sum(dim=-1)
    centred = x - mean.unsqueeze(-1)
    return mean, (weights * centred * centred).sum(dim=-1)
