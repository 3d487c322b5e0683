"""CAM++ against the paper: its size, its arithmetic, and its segments."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from voxangle.encoders.campplus import CAMPlusPlus, CAMPlusPlusConfig, Segments

SMALL = CAMPlusPlusConfig(
    bins=20, dimension=24, front_end=4, channels=9, growth=4, bottleneck=8, layers=(2, 3, 1), segment=7
)


def trained(config: CAMPlusPlusConfig = SMALL, steps: int = 5) -> CAMPlusPlus:
    """An encoder whose batch statistics are no longer those of its birth."""
    torch.manual_seed(0)
    encoder = CAMPlusPlus(config)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.05)
    for _ in range(steps):
        features = 3 * torch.randn(8, 40, config.bins) + torch.randn(8, 1, config.bins)
        (encoder(features) - torch.randn(8, config.dimension)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return encoder.eval()


def published(dimension: int = 512) -> CAMPlusPlus:
    with torch.device("meta"):
        return CAMPlusPlus(CAMPlusPlusConfig(dimension=dimension)).eval()


@pytest.mark.parametrize(
    ("dimension", "count"),
    [
        pytest.param(512, 7_176_224, id="the 7.18 M of the paper, trained on VoxCeleb"),
        pytest.param(192, 6_848_544, id="trained on 200 000 speakers"),
    ],
)
def test_has_the_parameters_of_the_public_implementation(dimension: int, count: int) -> None:
    assert sum(parameter.numel() for parameter in published(dimension).parameters()) == count


@pytest.mark.parametrize(
    ("frames", "public", "printed"),
    [
        pytest.param(300, 1_689_049_088, 1.72e9, id="in the paper"),
        pytest.param(200, 1_126_207_488, 1.15e9, id="in WeSpeaker's table"),
    ],
)
def test_multiplies_less_than_published_by_masks_that_are_made_once_a_segment(
    frames: int, public: int, printed: float
) -> None:
    """``public``: convolutions of 3D-Speaker's code; ``printed`` counts the normalisations, about 2 %, too."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        published()(torch.empty(1, frames, 80, device="meta"))
    masks_made, masks_used = -(-frames // 200), frames // 2
    one_mask = 128 * 64 + 64 * 32
    saved = (12 + 24 + 16) * one_mask * (masks_used - masks_made)
    assert counter.get_total_flops() // 2 + saved == public
    assert public == pytest.approx(printed, rel=0.025)


def reference(encoder: CAMPlusPlus, features: Tensor) -> Tensor:
    """The embedding of one recording (F, bins) as the paper writes it, in float64, from the weights alone."""
    w = {name: tensor.double() for name, tensor in encoder.state_dict().items()}

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x.movedim(0, -1) - w[f"{name}.running_mean"]
        normalised = centred / (w[f"{name}.running_var"] + 1e-5).sqrt()
        if f"{name}.weight" in w:
            normalised = normalised * w[f"{name}.weight"] + w[f"{name}.bias"]
        return normalised.movedim(-1, 0)

    def relu(x: Tensor) -> Tensor:
        return x.clamp(min=0)

    def map_convolution(name: str, x: Tensor, stride: int = 1) -> Tensor:
        """3x3 over (channels, bins, frames), tap by tap; the stride is along the bins."""
        weight = w[f"{name}.weight"]
        padded = nn.functional.pad(x, (1, 1, 1, 1))
        taps = [
            torch.einsum("oi,ibt->obt", weight[:, :, i, j], padded[:, i : i + x.shape[1], j : j + x.shape[2]])
            for i in range(3)
            for j in range(3)
        ]
        return torch.stack(taps).sum(dim=0)[:, ::stride]

    def time_convolution(name: str, x: Tensor, dilation: int = 1, stride: int = 1) -> Tensor:
        weight = w[f"{name}.weight"]
        reach = dilation * (weight.shape[-1] // 2)
        padded = nn.functional.pad(x, (reach, reach))
        taps = [
            weight[:, :, i] @ padded[:, i * dilation : i * dilation + x.shape[1]]
            for i in range(weight.shape[-1])
        ]
        return torch.stack(taps).sum(dim=0)[:, ::stride]

    def residual(name: str, x: Tensor, stride: int) -> Tensor:
        y = relu(norm(f"{name}.first_norm", map_convolution(f"{name}.first", x, stride)))
        y = norm(f"{name}.second_norm", map_convolution(f"{name}.second", y))
        if stride == 1:
            return relu(y + x)
        shortcut = torch.einsum("oi,ibt->obt", w[f"{name}.shortcut.0.weight"][:, :, 0, 0], x[:, ::stride])
        return relu(y + norm(f"{name}.shortcut.1", shortcut))

    def masked(name: str, h: Tensor, dilation: int) -> Tensor:
        local = time_convolution(f"{name}.local", h, dilation)
        columns = []
        for t in range(h.shape[1]):
            start = t // encoder.config.segment * encoder.config.segment
            segment = h[:, start : start + encoder.config.segment]  # the last one is as long as it is
            context = h.mean(dim=1) + segment.mean(dim=1)
            squeezed = relu(w[f"{name}.squeeze.weight"][:, :, 0] @ context + w[f"{name}.squeeze.bias"])
            logits = w[f"{name}.excite.weight"][:, :, 0] @ squeezed + w[f"{name}.excite.bias"]
            columns.append(local[:, t] / (1 + torch.exp(-logits)))
        return torch.stack(columns, dim=1)

    x = relu(norm("front_end.stem_norm", map_convolution("front_end.stem", features.double().T[None])))
    for index, stride in enumerate((2, 1, 2, 1)):
        x = residual(f"front_end.blocks.{index}", x, stride)
    x = relu(norm("front_end.reduce_norm", map_convolution("front_end.reduce", x, 2)))
    x = relu(norm("stem_norm", time_convolution("stem", x.reshape(-1, x.shape[-1]), stride=2)))
    for block, (layers, dilation) in enumerate(zip(encoder.config.layers, (1, 2, 2), strict=True)):
        for layer in range(layers):
            name = f"blocks.{block}.layers.{layer}"
            h = w[f"{name}.bottleneck.weight"][:, :, 0] @ relu(norm(f"{name}.norm", x))
            x = torch.cat([x, masked(f"{name}.masking", relu(norm(f"{name}.bottleneck_norm", h)), dilation)])
        x = w[f"blocks.{block}.transit.weight"][:, :, 0] @ relu(norm(f"blocks.{block}.norm", x))
    x = relu(norm("frame_norm", x))
    deviation = x.std(dim=1) if x.shape[1] > 1 else torch.zeros_like(x[:, 0])
    return norm("embedding_norm", w["embed.weight"] @ torch.cat([x.mean(dim=1), deviation]))


@pytest.mark.parametrize("frames", [1, 2, 3, 13, 14, 15, 16, 29, 61])
def test_computes_what_the_paper_writes(frames: int) -> None:
    """Segments of 7 frames at half the rate: shorter than one, one, a frame more, and several."""
    encoder = trained().double()
    features = 3 * torch.randn(frames, SMALL.bins, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(features[None])[0], reference(encoder, features), rtol=0, atol=2e-5
        )


def test_a_context_is_the_mean_of_the_recording_and_of_the_segment() -> None:
    torch.manual_seed(0)
    lengths = [10, 1, 7, 8, 4]
    x = torch.randn(5, 3, 10)
    padding = torch.arange(10) >= torch.tensor(lengths)[:, None, None]
    x = x.masked_fill(padding, 0.0)
    segments = Segments.of(x, padding, 4)
    spread = segments.spread(segments.contexts(x), 10)
    for row, length in enumerate(lengths):
        real = x[row, :, :length]
        for t in range(length):
            segment = real[:, t // 4 * 4 : t // 4 * 4 + 4]
            torch.testing.assert_close(spread[row, :, t], real.mean(dim=1) + segment.mean(dim=1))


def test_a_context_is_counted_in_float32_under_bfloat16() -> None:
    torch.manual_seed(0)
    half = torch.rand(1, 2, 1000).bfloat16()
    contexts = Segments.of(half, None, 100).contexts(half)
    torch.testing.assert_close(
        contexts, Segments.of(half, None, 100).contexts(half.float()), rtol=0, atol=1e-5
    )


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"bottleneck\n.*greater than or equal to 2"):
        CAMPlusPlusConfig(bottleneck=1)
    with pytest.raises(ValidationError, match=r"segment\n.*greater than or equal to 1"):
        CAMPlusPlusConfig(segment=0)
    with pytest.raises(ValidationError, match=r"layers\n.*at most 3 items"):
        CAMPlusPlusConfig(layers=(12, 24, 16, 16))  # type: ignore[arg-type]
