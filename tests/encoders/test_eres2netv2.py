"""ERes2NetV2 against the paper: its size and its arithmetic."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from voxangle.encoders.eres2netv2 import ERes2NetV2, ERes2NetV2Config

SMALL = ERes2NetV2Config(bins=20, dimension=12, channels=8, blocks=(1, 2, 2, 1), width=22, scale=3)
PAPER = ERes2NetV2Config()
W24S4EP4 = ERes2NetV2Config(width=24, scale=4, expansion=4)


def trained(config: ERes2NetV2Config = SMALL, steps: int = 5) -> ERes2NetV2:
    """An encoder whose batch statistics are no longer those of its birth."""
    torch.manual_seed(0)
    encoder = ERes2NetV2(config)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.005)
    for _ in range(steps):
        features = 3 * torch.randn(8, 40, config.bins) + torch.randn(8, 1, config.bins)
        (encoder(features) - torch.randn(8, config.dimension)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return encoder.eval()


@pytest.mark.parametrize(
    ("config", "count", "multiply_adds"),
    [
        pytest.param(PAPER, 17_859_632, 12_496_945_280, id="17.8 M and 12.6 G in the paper"),
        pytest.param(W24S4EP4, 53_513_632, 37_006_551_040, id="the published w24s4ep4"),
    ],
)
def test_has_the_size_and_cost_of_the_public_implementation(
    config: ERes2NetV2Config, count: int, multiply_adds: int
) -> None:
    """3D-Speaker's code for 300 frames; the paper's 12.6 G also count the normalisations, 0.8 % of it."""
    with torch.device("meta"):
        encoder = ERes2NetV2(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.empty(1, 300, 80, device="meta"))
    assert sum(parameter.numel() for parameter in encoder.parameters()) == count
    assert counter.get_total_flops() // 2 == multiply_adds
    if config == PAPER:
        assert multiply_adds == pytest.approx(12.6e9, rel=0.01)


def reference(encoder: ERes2NetV2, features: Tensor) -> Tensor:
    """The embedding of one recording (F, bins) as the paper writes it, in float64, from the weights alone."""
    config = encoder.config
    w = {name: tensor.double() for name, tensor in encoder.state_dict().items()}

    def norm(name: str, x: Tensor) -> Tensor:
        scale = w[f"{name}.weight"] / (w[f"{name}.running_var"] + 1e-5).sqrt()
        return ((x.movedim(0, -1) - w[f"{name}.running_mean"]) * scale + w[f"{name}.bias"]).movedim(-1, 0)

    def point(name: str, x: Tensor, stride: int = 1) -> Tensor:
        mapped = torch.einsum("oi,ibt->obt", w[f"{name}.weight"][:, :, 0, 0], x[:, ::stride, ::stride])
        return mapped + w[f"{name}.bias"][:, None, None] if f"{name}.bias" in w else mapped

    def square(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = w[f"{name}.weight"]
        padded = nn.functional.pad(x, (1, 1, 1, 1))
        taps = [
            torch.einsum("oi,ibt->obt", weight[:, :, i, j], padded[:, i : i + x.shape[1], j : j + x.shape[2]])
            for i in range(3)
            for j in range(3)
        ]
        return torch.stack(taps).sum(dim=0)[:, ::stride, ::stride]

    def fuse(name: str, x: Tensor, y: Tensor) -> Tensor:
        hidden = norm(f"{name}.squeeze_norm", point(f"{name}.squeeze", torch.cat([x, y])))
        hidden = hidden / (1 + torch.exp(-hidden))
        u = torch.tanh(norm(f"{name}.excite_norm", point(f"{name}.excite", hidden)))
        return (1 + u) * x + (1 - u) * y

    def block(name: str, x: Tensor, stage: int, stride: int) -> Tensor:
        hidden = norm(f"{name}.reduce_norm", point(f"{name}.reduce", x, stride)).clamp(0, 20)
        groups = hidden.split(config.channels * 2**stage * config.width // 64)
        assert len(groups) == config.scale
        outputs: list[Tensor] = []
        for index, group in enumerate(groups):
            if outputs and stage < 2:
                group = group + outputs[-1]
            elif outputs:
                group = fuse(f"{name}.fusions.{index - 1}", outputs[-1], group)
            convolved = square(f"{name}.layers.{index}.convolution", group)
            outputs.append(norm(f"{name}.layers.{index}.norm", convolved).clamp(0, 20))
        y = norm(f"{name}.expand_norm", point(f"{name}.expand", torch.cat(outputs)))
        if f"{name}.shortcut.0.weight" in w:
            x = norm(f"{name}.shortcut.1", point(f"{name}.shortcut.0", x, stride))
        return (y + x).clamp(0, 20)

    x = norm("stem_norm", square("stem", features.double().T[None])).clamp(min=0)
    stages = []
    for stage, blocks in enumerate(config.blocks):
        for index in range(blocks):
            x = block(f"stages.{stage}.blocks.{index}", x, stage, 2 if stage and not index else 1)
        stages.append(x)
    x = fuse("fusion", stages[3], square("halve", stages[2], 2)).flatten(0, 1)
    variance = x.var(dim=1) if x.shape[1] > 1 else torch.zeros_like(x[:, 0])
    pooled = torch.cat([x.mean(dim=1), (variance + 1e-8).sqrt()])
    return w["embed.weight"] @ pooled + w["embed.bias"]


@pytest.mark.parametrize("frames", [1, 2, 8, 9, 50])
@pytest.mark.parametrize("expansion", [1, 2])
def test_computes_what_the_paper_writes(frames: int, expansion: int) -> None:
    encoder = trained(SMALL.model_copy(update={"expansion": expansion})).double()
    features = 3 * torch.randn(frames, SMALL.bins, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(features[None])[0], reference(encoder, features), rtol=0, atol=1e-6
        )


def test_activations_have_a_ceiling() -> None:
    """So that the ceiling of 20 is met at all: features far from what the encoder has seen."""
    encoder = trained().double()
    features = 500 * torch.randn(20, SMALL.bins, dtype=torch.float64)
    outputs = []
    encoder.stages[0].register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.no_grad():
        embedding = encoder(features[None])[0]
        torch.testing.assert_close(embedding, reference(encoder, features), rtol=0, atol=1e-6)
    assert outputs[0].max() == 20


def test_every_group_needs_a_channel() -> None:
    with pytest.raises(
        ValidationError, match=r"channels \(6\) times width \(8\) must be at least 64.*try width 11"
    ):
        ERes2NetV2Config(channels=6, width=8)
    smallest = ERes2NetV2(ERes2NetV2Config(bins=8, channels=6, width=11, blocks=(1, 1, 1, 1), expansion=1))
    assert smallest.eval()(torch.randn(1, 20, 8)).shape == (1, 192)
