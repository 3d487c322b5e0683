"""ECAPA-TDNN against the paper: its size and its arithmetic."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from voxangle.encoders import ECAPATDNN, ECAPATDNNConfig

SMALL = ECAPATDNNConfig(bins=20, channels=32, dimension=24, squeeze=8, aggregation=48, attention=16)


def trained(config: ECAPATDNNConfig = SMALL, steps: int = 20) -> ECAPATDNN:
    """An encoder whose batch statistics are no longer those of its birth."""
    torch.manual_seed(0)
    encoder = ECAPATDNN(config)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.05)
    for _ in range(steps):
        features = 3 * torch.randn(8, 40, config.bins) + torch.randn(8, 1, config.bins)
        (encoder(features) - torch.randn(8, config.dimension)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return encoder.eval()


@pytest.mark.parametrize(("channels", "millions"), [(512, 6.2), (1024, 14.7)])
def test_has_the_published_number_of_parameters(channels: int, millions: float) -> None:
    with torch.device("meta"):
        encoder = ECAPATDNN(ECAPATDNNConfig(channels=channels))
    count = sum(parameter.numel() for parameter in encoder.parameters())
    assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize(("channels", "published"), [(512, 6_190_720), (1024, 14_657_088)])
def test_has_the_parameters_of_the_public_implementation(channels: int, published: int) -> None:
    """WeSpeaker's, with attention over the global context (6.19 M, 14.65 M), has no norm after the embedding."""
    with torch.device("meta"):
        encoder = ECAPATDNN(ECAPATDNNConfig(channels=channels))
    norm = sum(parameter.numel() for parameter in encoder.embedding_norm.parameters())
    assert sum(parameter.numel() for parameter in encoder.parameters()) - norm == published


def reference(encoder: ECAPATDNN, features: Tensor) -> Tensor:
    """The embedding of one recording (F, bins) as the paper writes it, in float64, from the weights alone."""
    w = {name: tensor.double() for name, tensor in encoder.state_dict().items()}

    def norm(name: str, x: Tensor) -> Tensor:
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        scale = w[f"{name}.weight"] / (variance + 1e-5).sqrt()
        return (x.movedim(0, -1) - mean).mul(scale).add(w[f"{name}.bias"]).movedim(-1, 0)

    def layer(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        weight = w[f"{name}.convolution.weight"]
        reach = dilation * (weight.shape[-1] - 1) // 2
        padded = nn.functional.pad(x, (reach, reach))
        convolved = sum(
            weight[:, :, tap] @ padded[:, tap * dilation : tap * dilation + x.shape[1]]
            for tap in range(weight.shape[-1])
        )
        return norm(f"{name}.norm", (convolved + w[f"{name}.convolution.bias"][:, None]).clamp(min=0))

    def block(name: str, x: Tensor, dilation: int) -> Tensor:
        groups = layer(f"{name}.reduce", x).split(encoder.config.channels // encoder.config.scale)
        outputs = [groups[0], layer(f"{name}.res2.layers.0", groups[1], dilation)]
        for index, group in enumerate(groups[2:], start=1):
            outputs.append(layer(f"{name}.res2.layers.{index}", group + outputs[-1], dilation))
        y = layer(f"{name}.expand", torch.cat(outputs))
        squeezed = w[f"{name}.excitation.squeeze.weight"] @ y.mean(dim=1)
        squeezed = (squeezed + w[f"{name}.excitation.squeeze.bias"]).clamp(min=0)
        gate = w[f"{name}.excitation.excite.weight"] @ squeezed + w[f"{name}.excitation.excite.bias"]
        return x + y / (1 + torch.exp(-gate))[:, None]

    stem = layer("stem", features.double().T)
    first = block("blocks.0", stem, 2)
    second = block("blocks.1", stem + first, 3)
    third = block("blocks.2", stem + first + second, 4)
    h = w["aggregate.weight"][:, :, 0] @ torch.cat([first, second, third]) + w["aggregate.bias"][:, None]
    h = h.clamp(min=0)
    context = torch.cat([h.mean(dim=1), h.std(dim=1, correction=0).clamp(min=1e-5**0.5)])
    hidden = torch.tanh(
        w["pooling.frame.weight"][:, :, 0] @ h
        + (w["pooling.context.weight"] @ context + w["pooling.frame.bias"])[:, None]
    )
    attention = (w["pooling.score.weight"][:, :, 0] @ hidden + w["pooling.score.bias"][:, None]).softmax(
        dim=1
    )
    mean = (attention * h).sum(dim=1)
    deviation = ((attention * h.square()).sum(dim=1) - mean.square()).clamp(min=1e-5).sqrt()
    pooled = norm("pooled_norm", torch.cat([mean, deviation]))
    return norm("embedding_norm", w["embed.weight"] @ pooled + w["embed.bias"])


@pytest.mark.parametrize("frames", [1, 2, 7, 50])
def test_computes_what_the_paper_writes(frames: int) -> None:
    encoder = trained()
    features = 3 * torch.randn(frames, SMALL.bins)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(features[None])[0].double(), reference(encoder, features), rtol=1e-4, atol=1e-4
        )


def test_channels_must_fill_the_groups() -> None:
    with pytest.raises(
        ValidationError, match=r"channels \(100\) must be a multiple of scale \(8\): try 96 or 104"
    ):
        ECAPATDNNConfig(channels=100)
