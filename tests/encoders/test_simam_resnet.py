"""SimAM-ResNet against its papers: its sizes and its arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from voxangle.encoders.simam_resnet import STAGES, SimAM, SimAMResNet, SimAMResNetConfig

SMALL = SimAMResNetConfig(channels=4, bins=12, dimension=10, attention=6)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def trained(config: SimAMResNetConfig = SMALL) -> SimAMResNet:
    """An encoder whose normalisations are no longer those of its birth."""
    encoder = SimAMResNet(config)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.2, 0.6)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return encoder.eval()


@pytest.mark.parametrize(
    ("depth", "parameters", "multiply_adds"), [(34, 25_213_760, 18.13), (100, 50_232_896, 57.06)]
)
def test_has_the_parameters_of_the_public_implementation(
    depth: int, parameters: int, multiply_adds: float
) -> None:
    """WeSpeaker's, published as 25.2 M and 50.2 M; no multiply-adds are, so that ours are only held."""
    with torch.device("meta"):
        encoder = SimAMResNet(SimAMResNetConfig.model_validate({"depth": depth})).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder(torch.zeros(1, 200, 80))
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert round(counter.get_total_flops() / 2e9, 2) == multiply_adds


@pytest.mark.parametrize("depth", STAGES)
def test_has_as_many_layers_as_its_name_says(depth: int) -> None:
    with torch.device("meta"):
        encoder = SimAMResNet(SimAMResNetConfig.model_validate({"depth": depth}))
    convolutions = [
        name
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Conv2d) and "shortcut" not in name
    ]
    assert len(convolutions) + 1 == depth


def test_simam_is_the_least_energy_of_the_paper() -> None:
    """Equations 5 and 6, place by place, of one channel."""
    x = torch.randn(1, 1, 3, 5, dtype=torch.float64)
    values = x.numpy().ravel()
    mean, variance = values.mean(), values.var(ddof=1)
    energy = [4 * (variance + 1e-4) / ((t - mean) ** 2 + 2 * variance + 2e-4) for t in values]
    expected = [t / (1 + np.exp(-1 / e)) for t, e in zip(values, energy, strict=True)]
    np.testing.assert_allclose(SimAM()(x).numpy().ravel(), expected, rtol=1e-12)


def test_simam_weighs_each_channel_of_each_row_by_itself() -> None:
    x = torch.randn(3, 4, 5, 6) * torch.tensor([0.01, 1.0, 5.0, 20.0])[:, None, None]
    together = SimAM()(x)
    for row in range(3):
        for channel in range(4):
            one = SimAM()(x[row : row + 1, channel : channel + 1])
            torch.testing.assert_close(together[row, channel], one[0, 0])


def test_simam_hears_no_padding() -> None:
    x = 3 + torch.randn(4, 2, 5, 9)
    frames = torch.tensor([9, 1, 4, 8])
    for row, n in enumerate(frames):
        x[row, ..., n:] = 1e3
    weighed = SimAM()(x, frames)
    for row, n in enumerate(frames):
        torch.testing.assert_close(weighed[row, ..., :n], SimAM()(x[row : row + 1, ..., :n])[0])


def test_simam_of_a_single_place_is_finite() -> None:
    x = torch.full((1, 2, 1, 1), 3.0, requires_grad=True)
    weighed = SimAM()(x)
    weighed.sum().backward()
    half = torch.tensor(0.5).sigmoid()
    torch.testing.assert_close(weighed, torch.full_like(x, 3.0) * half)
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_simam_counts_in_float32_under_bfloat16() -> None:
    x = 100 + torch.randn(1, 1, 40, 40)
    weighed = SimAM()(x.bfloat16())
    assert weighed.dtype == torch.bfloat16
    torch.testing.assert_close(weighed.float(), SimAM()(x.bfloat16().float()), rtol=0.01, atol=0.0)


def reference(encoder: SimAMResNet, features: Tensor) -> Tensor:
    """The embedding of one recording (F, bins) as the papers write it, in float64, from the weights alone."""
    w = {name: tensor.double() for name, tensor in encoder.state_dict().items()}

    def norm(name: str, x: Tensor) -> Tensor:
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        scale = w[f"{name}.weight"] / (variance + 1e-5).sqrt()
        return (x.movedim(0, -1) - mean).mul(scale).add(w[f"{name}.bias"]).movedim(-1, 0)

    def layer(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = w[f"{name}.convolution.weight"]
        padded = nn.functional.pad(x, (weight.shape[-1] // 2,) * 4)
        convolved = sum(
            torch.einsum("oi,irc->orc", weight[:, :, i, j], padded[:, i : i + x.shape[1], j : j + x.shape[2]])
            for i in range(weight.shape[2])
            for j in range(weight.shape[3])
        )
        return norm(f"{name}.norm", convolved[:, ::stride, ::stride])

    def block(name: str, x: Tensor, stride: int) -> Tensor:
        y = layer(f"{name}.second", layer(f"{name}.first", x, stride).clamp(min=0))
        variance, mean = torch.var_mean(y, dim=(1, 2), keepdim=True)
        energy = 4 * (variance + 1e-4) / ((y - mean).square() + 2 * variance + 2e-4)
        y = y / (1 + torch.exp(-1 / energy))
        return (y + (layer(f"{name}.shortcut", x, stride) if stride > 1 else x)).clamp(min=0)

    x = layer("trunk.stem", features.double().T[None]).clamp(min=0)
    place = 0
    for stage, blocks in enumerate(STAGES[encoder.config.depth]):
        for index in range(blocks):
            x = block(f"trunk.blocks.{place}", x, 2 if stage and not index else 1)
            place += 1
    h = x.flatten(0, 1)
    hidden = w["pooling.frame.weight"][:, :, 0] @ h + w["pooling.frame.bias"][:, None]
    hidden = norm("pooling.norm", hidden.clamp(min=0))
    scores = w["pooling.score.weight"][:, :, 0] @ hidden + w["pooling.score.bias"][:, None]
    attention = scores.softmax(dim=1)
    mean = (attention * h).sum(dim=1)
    deviation = ((attention * h.square()).sum(dim=1) - mean.square()).clamp(min=1e-5).sqrt()
    return w["embed.weight"] @ torch.cat([mean, deviation]) + w["embed.bias"]


@pytest.mark.parametrize("frames", [1, 2, 8, 9, 37])
def test_computes_what_the_papers_write(frames: int) -> None:
    encoder = trained()
    features = 2 * torch.randn(frames, SMALL.bins)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(features[None])[0].double(), reference(encoder, features), rtol=1e-4, atol=1e-4
        )


def test_an_unknown_depth_is_told_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="34 or 100"):
        SimAMResNetConfig.model_validate({"depth": 50})
