"""ResNet against its papers: its sizes and its arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from voxangle.encoders.resnet import STAGES, ResNet, ResNetConfig

BASIC = ResNetConfig(depth=18, channels=4, bins=12, dimension=10)
BOTTLENECK = ResNetConfig(depth=50, channels=2, bins=12, dimension=10)
BOTH = pytest.mark.parametrize("config", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def trained(config: ResNetConfig) -> ResNet:
    """An encoder whose normalisations are no longer those of its birth."""
    encoder = ResNet(config)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.3, 1.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return encoder.eval()


def on_meta(depth: int) -> ResNet:
    with torch.device("meta"):
        return ResNet(ResNetConfig.model_validate({"depth": depth})).eval()


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [
        (18, 4_105_440),
        (34, 6_634_336),
        (50, 11_131_360),
        (101, 15_892_448),
        (152, 19_814_880),
        (221, 23_792_224),
        (293, 28_626_016),
    ],
)
def test_has_the_parameters_of_the_public_implementation(depth: int, parameters: int) -> None:
    """WeSpeaker's; it publishes 6.63 M, 23.79 M and 28.62 M for the depths 34, 221 and 293, cut after two digits."""
    assert sum(parameter.numel() for parameter in on_meta(depth).parameters()) == parameters


@pytest.mark.parametrize(("depth", "published"), [(34, 4.55), (221, 21.29), (293, 28.10)])
def test_has_the_published_number_of_multiply_adds(depth: int, published: float) -> None:
    """WeSpeaker's, of 200 frames of 80 bins, counts four for each normalised number and cuts after two digits."""
    encoder = on_meta(depth)
    normalised = 0

    def count(_module: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal normalised
        normalised += output.numel()

    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.zeros(1, 200, 80, device="meta"))
    multiply_adds = counter.get_total_flops() / 2
    assert math.floor((multiply_adds + 4 * normalised) / 1e7) / 100 == published
    assert multiply_adds / 1e9 == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("depth", STAGES)
def test_has_as_many_layers_as_its_name_says(depth: int) -> None:
    convolutions = [
        name
        for name, module in on_meta(depth).named_modules()
        if isinstance(module, nn.Conv2d) and "shortcut" not in name
    ]
    assert len(convolutions) + 1 == depth


def reference(encoder: ResNet, features: Tensor) -> Tensor:
    """The embedding of one recording (F, bins) as He et al. write it, in float64, from the weights alone."""
    w = {name: tensor.double() for name, tensor in encoder.state_dict().items()}

    def layer(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = w[f"{name}.convolution.weight"]
        reach = weight.shape[-1] // 2
        padded = nn.functional.pad(x, (reach,) * 4)
        rows, columns = x.shape[1], x.shape[2]
        convolved = sum(
            torch.einsum("oi,irc->orc", weight[:, :, i, j], padded[:, i : i + rows, j : j + columns])
            for i in range(weight.shape[2])
            for j in range(weight.shape[3])
        )[:, ::stride, ::stride]
        mean, variance = w[f"{name}.norm.running_mean"], w[f"{name}.norm.running_var"]
        scale = w[f"{name}.norm.weight"] / (variance + 1e-5).sqrt()
        return (convolved - mean[:, None, None]) * scale[:, None, None] + w[f"{name}.norm.bias"][
            :, None, None
        ]

    def block(name: str, x: Tensor, stride: int) -> Tensor:
        if encoder.config.depth < 50:
            y = layer(f"{name}.second", layer(f"{name}.first", x, stride).clamp(min=0))
        else:
            y = layer(f"{name}.middle", layer(f"{name}.reduce", x).clamp(min=0), stride).clamp(min=0)
            y = layer(f"{name}.expand", y)
        if f"{name}.shortcut.norm.bias" in w:
            x = layer(f"{name}.shortcut", x, stride)
        assert x.shape == y.shape
        return (x + y).clamp(min=0)

    x = layer("trunk.stem", features.double().T[None]).clamp(min=0)
    place = 0
    for stage, blocks in enumerate(STAGES[encoder.config.depth]):
        for index in range(blocks):
            x = block(f"trunk.blocks.{place}", x, 2 if stage and not index else 1)
            place += 1
    rows = x.flatten(0, 1)
    mean = rows.mean(dim=1)
    frames = rows.shape[1]
    deviation = ((rows - mean[:, None]).square().sum(dim=1) / max(frames - 1, 1) + 1e-7).sqrt()
    return w["embed.weight"] @ torch.cat([mean, deviation]) + w["embed.bias"]


@BOTH
@pytest.mark.parametrize("frames", [1, 2, 8, 9, 37])
def test_computes_what_the_papers_write(config: ResNetConfig, frames: int) -> None:
    encoder = trained(config)
    features = 2 * torch.randn(frames, config.bins)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(features[None])[0].double(), reference(encoder, features), rtol=1e-5, atol=1e-5
        )


def test_takes_any_number_of_bins() -> None:
    for bins in (1, 7, 8, 41):
        encoder = trained(BASIC.model_copy(update={"bins": bins}))
        assert encoder(torch.randn(2, 20, bins)).shape == (2, BASIC.dimension)


def test_an_unknown_depth_is_told_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="18, 34, 50, 101, 152, 221 or 293"):
        ResNetConfig.model_validate({"depth": 35})
