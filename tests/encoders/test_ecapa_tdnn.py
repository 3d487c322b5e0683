"""ECAPA-TDNN against the paper: its size, its arithmetic, and its deafness to padding."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from voxangle.encoders import ECAPATDNN, ECAPATDNNConfig
from voxangle.encoders.ecapa_tdnn import FLAVOURS

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


@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_padding_in_a_batch_changes_no_embedding(flavour: str, context: bool) -> None:
    encoder = trained(SMALL.model_copy(update={"flavour": flavour, "context": context}))
    shortest = 5 if FLAVOURS[flavour].reflects else 1
    lengths = torch.tensor([60, shortest, shortest + 1, 33, 59, 12])
    features = 3 * torch.randn(6, 75, SMALL.bins)
    with torch.no_grad():
        together = encoder(features, lengths)
        alone = torch.cat([encoder(features[row : row + 1, :n]) for row, n in enumerate(lengths)])
    assert alone.std(dim=0).min() > 0.02  # rows differ by far more than what is allowed below
    assert (together - alone).abs().max() <= 1e-4


def test_too_few_frames_to_reflect_are_refused() -> None:
    encoder = trained(SMALL.model_copy(update={"flavour": "speechbrain"}), steps=1)
    with pytest.raises(ValueError, match="4 frames are too few: at least 5"):
        encoder(torch.randn(1, 4, SMALL.bins))


def test_lengths_without_padding_change_nothing() -> None:
    encoder = trained()
    features = torch.randn(3, 30, SMALL.bins)
    with torch.no_grad():
        torch.testing.assert_close(encoder(features, torch.full((3,), 30)), encoder(features))


@pytest.mark.parametrize("padded", [False, True])
def test_gradients_reach_every_parameter(padded: bool) -> None:
    encoder = trained().train()
    embeddings = encoder(torch.randn(4, 30, SMALL.bins), torch.tensor([30, 20, 9, 30]) if padded else None)
    # A plain sum would vanish through the last normalisation.
    (embeddings * torch.randn_like(embeddings)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias before a normalisation without a nonlinearity between cannot matter.
        if name != "embed.bias":
            assert parameter.grad.abs().max() > 0, name


def test_learns_under_autocast_with_pooled_statistics_in_float32() -> None:
    encoder = trained().train()
    pooled = []
    encoder.pooling.register_forward_hook(lambda _module, _inputs, output: pooled.append(output))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = encoder(torch.randn(4, 30, SMALL.bins))
    assert pooled[0].dtype == torch.float32
    embeddings.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_exports_with_dynamic_batch_and_time() -> None:
    encoder = trained()
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time")
    program = torch.export.export(
        encoder,
        (torch.randn(2, 30, SMALL.bins), torch.tensor([30, 20])),
        dynamic_shapes=({0: batch, 1: time}, {0: batch}),
    )
    features, frames = torch.randn(5, 77, SMALL.bins), torch.tensor([77, 3, 40, 1, 76])
    with torch.no_grad():
        torch.testing.assert_close(program.module()(features, frames), encoder(features, frames))


def test_channels_must_fill_the_groups() -> None:
    with pytest.raises(
        ValidationError, match=r"channels \(100\) must be a multiple of scale \(8\): try 96 or 104"
    ):
        ECAPATDNNConfig(channels=100)
