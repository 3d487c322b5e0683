"""Statistics over time, against plain loops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from voxangle.encoders.pooling import (
    AttentiveStatistics,
    FrameAttentiveStatistics,
    TemporalStatistics,
    mean_over_time,
    weighted_statistics,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def padding_of(lengths: list[int], total: int) -> torch.Tensor:
    return torch.tensor([[[t >= length for t in range(total)]] for length in lengths])


def test_the_mean_counts_only_real_frames() -> None:
    x = torch.randn(3, 4, 9)
    lengths = [9, 5, 1]
    means = mean_over_time(x, padding_of(lengths, 9))
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(means[row], x[row, :, :length].numpy().mean(axis=1), atol=1e-6)


def test_weighted_statistics_are_numpys() -> None:
    x, weights = torch.randn(2, 3, 7, dtype=torch.float64), torch.rand(2, 3, 7, dtype=torch.float64)
    weights /= weights.sum(dim=-1, keepdim=True)
    mean, deviation = weighted_statistics(x, weights)
    for row in range(2):
        for channel in range(3):
            values, w = x[row, channel].numpy(), weights[row, channel].numpy()
            expected = np.average(values, weights=w)
            assert mean[row, channel] == pytest.approx(expected)
            assert deviation[row, channel] == pytest.approx(
                np.sqrt(np.average((values - expected) ** 2, weights=w))
            )


def test_a_small_deviation_on_a_large_mean_survives_float32() -> None:
    x = 300.0 + 0.05 * torch.randn(1, 1, 400, generator=torch.Generator().manual_seed(0))
    _, deviation = weighted_statistics(x, torch.full((1, 1, 400), 1 / 400))
    assert deviation.item() == pytest.approx(x.double().std(correction=0).item(), rel=1e-3)


def test_bfloat16_is_counted_in_float32() -> None:
    x = (100 + torch.randn(2, 3, 400)).bfloat16()
    padding = padding_of([400, 300], 400)
    shares = torch.full((2, 1, 400), 1 / 400)
    for count in (
        mean_over_time,
        lambda x: mean_over_time(x, padding),
        lambda x: torch.cat(weighted_statistics(x, shares)),
        TemporalStatistics(),
        lambda x: TemporalStatistics()(x, padding),
    ):
        assert count(x).dtype == torch.float32
        torch.testing.assert_close(count(x), count(x.float()), rtol=0, atol=0)


@pytest.mark.parametrize("padded", [False, True])
def test_constant_channels_have_finite_gradients(padded: bool) -> None:
    pooling = AttentiveStatistics(4)
    x = torch.ones(2, 4, 6, requires_grad=True)
    pooling(x, padding_of([6, 1], 6) if padded else None).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in pooling.parameters())


def test_temporal_statistics_are_numpys_with_and_without_padding() -> None:
    x = torch.randn(3, 4, 5, 9)
    lengths = [9, 5, 2]
    padded = TemporalStatistics()(x, padding_of(lengths, 9))
    for row, length in enumerate(lengths):
        frames = x[row, :, :, :length].reshape(20, length).numpy()
        expected = np.concatenate([frames.mean(axis=1), np.sqrt(frames.var(axis=1, ddof=1) + 1e-8)])
        np.testing.assert_allclose(padded[row], expected, rtol=1e-6, atol=1e-6)
        alone = TemporalStatistics()(x[row : row + 1, :, :, :length])
        np.testing.assert_allclose(alone[0], expected, rtol=1e-6, atol=1e-6)
    assert TemporalStatistics()(torch.ones(1, 3, 1)).isfinite().all()


def test_temporal_statistics_of_a_constant_deviate_by_the_root_of_epsilon() -> None:
    pooled = TemporalStatistics(epsilon=1e-4)(torch.full((1, 2, 5), 3.0))
    torch.testing.assert_close(pooled, torch.tensor([[3.0, 3.0, 0.01, 0.01]]))


def test_pooling_is_the_attention_of_the_paper() -> None:
    """Equations 1 to 4 for one recording, in loops, with W applied to the concatenation [h_t, mean, deviation]."""
    pooling = AttentiveStatistics(3, bottleneck=5).double()
    h = torch.randn(1, 3, 8, dtype=torch.float64)
    W = torch.cat([pooling.frame.weight[:, :, 0], pooling.context.weight], dim=1).detach().numpy()
    b = pooling.frame.bias.detach().numpy()  # type: ignore[union-attr]
    V, k = pooling.score.weight[:, :, 0].detach().numpy(), pooling.score.bias.detach().numpy()  # type: ignore[union-attr]
    frames = h[0].numpy().T
    context = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
    scores = np.stack([V @ np.tanh(W @ np.concatenate([frame, context]) + b) + k for frame in frames])
    attention = np.exp(scores) / np.exp(scores).sum(axis=0)
    mean = (attention * frames).sum(axis=0)
    deviation = np.sqrt((attention * frames**2).sum(axis=0) - mean**2)
    np.testing.assert_allclose(pooling(h)[0].detach(), np.concatenate([mean, deviation]), atol=1e-10)


def test_frame_attention_sees_one_frame_at_a_time() -> None:
    """One recording in loops: the scores of a frame come from its rectified and normalised hidden units."""
    pooling = FrameAttentiveStatistics(3, bottleneck=5).double().eval()
    assert pooling.norm.running_mean is not None
    pooling.norm.running_mean.uniform_(-0.5, 0.5)
    h = torch.randn(1, 3, 8, dtype=torch.float64)
    w = {name: tensor.detach().numpy() for name, tensor in pooling.state_dict().items()}
    frames = h[0].numpy().T
    scores = []
    for frame in frames:
        hidden = np.maximum(w["frame.weight"][:, :, 0] @ frame + w["frame.bias"], 0)
        hidden = (hidden - w["norm.running_mean"]) / np.sqrt(w["norm.running_var"] + 1e-5)
        scores.append(w["score.weight"][:, :, 0] @ hidden + w["score.bias"])
    attention = np.exp(scores) / np.exp(scores).sum(axis=0)
    mean = (attention * frames).sum(axis=0)
    deviation = np.sqrt((attention * frames**2).sum(axis=0) - mean**2)
    np.testing.assert_allclose(pooling(h)[0].detach(), np.concatenate([mean, deviation]), atol=1e-10)


@pytest.mark.parametrize(
    "kind",
    [
        AttentiveStatistics,
        partial(AttentiveStatistics, context=False),
        partial(AttentiveStatistics, norm=True, correction=1),
        FrameAttentiveStatistics,
    ],
)
def test_what_stands_in_the_padding_is_not_heard(kind: Callable[[int], nn.Module]) -> None:
    pooling = kind(4).eval()
    x = torch.randn(2, 4, 10)
    padding = padding_of([10, 6], 10)
    pooled = pooling(x, padding)
    torch.testing.assert_close(pooled, pooling(x.masked_fill(padding, 1e3), padding))
    torch.testing.assert_close(pooled[1:], pooling(x[1:, :, :6]))
    torch.testing.assert_close(pooled[:1], pooling(x[:1]))
