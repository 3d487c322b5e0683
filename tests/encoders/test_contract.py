"""What every registered encoder promises, whatever it computes; what it computes is tested in its own file."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from voxangle.encoders import (
    ENCODERS,
    AttentiveStatistics,
    BaseEncoderConfig,
    Encoder,
    FrameAttentiveStatistics,
    TemporalStatistics,
    build_encoder,
    resnet,
    simam_resnet,
)

_ECAPA = {"channels": 16, "scale": 4, "squeeze": 8, "aggregation": 24, "attention": 8}
_REDIMNET = {
    "bins": 12,
    "channels": 4,
    "stages": (
        {"stride": 2, "blocks": 1, "expansion": 2, "reduction": 4},
        {"stride": 3, "blocks": 2, "expansion": 1, "reduction": None},
    ),
    "kernels": (3, 5),
    "heads": 2,
    "attention": 8,
}

# Small settings of every registered encoder, and of each variant with code of its own: architecture/variant. The last
# of an architecture is exported, too, which takes longest.
SETTINGS: dict[str, dict[str, Any]] = {
    "ecapa_tdnn": _ECAPA,
    "ecapa_tdnn/wespeaker": _ECAPA | {"flavour": "wespeaker"},
    "ecapa_tdnn/speechbrain": _ECAPA | {"flavour": "speechbrain"},
    "resnet/bottleneck": {"depth": 50, "channels": 2},
    "resnet/basic": {"depth": 18, "channels": 4},
    "simam_resnet": {"depth": 34, "channels": 4, "attention": 6},
    "campplus": {
        "front_end": 4,
        "channels": 9,
        "growth": 4,
        "bottleneck": 8,
        "layers": (2, 1, 1),
        "segment": 7,
    },
    "eres2netv2/w24s4ep4": {"channels": 8, "blocks": (1, 1, 1, 1), "width": 24, "scale": 4, "expansion": 4},
    "eres2netv2": {"channels": 8, "blocks": (1, 1, 1, 2)},
    "redimnet/convnext": _REDIMNET | {"block": "convnext", "group": 2},
    "redimnet/resnet": _REDIMNET | {"block": "resnet", "group": 1},
    "redimnet/resnet_fwse": _REDIMNET | {"block": "resnet_fwse", "group": 2},
}
SHORTEST = {"ecapa_tdnn/speechbrain": 5}  # frames, where one is refused
EXPORTED_FROM = 9  # frames: the exporter takes a length that three strides make 1 for another program


def test_every_registered_encoder_is_held_to_the_contract() -> None:
    missing = set(ENCODERS) - {name.partition("/")[0] for name in SETTINGS}
    assert not missing, (
        f"{', '.join(sorted(missing))}: registered, but not held to the contract of all encoders; add a line of small "
        f'settings to SETTINGS in {__file__}, such as "{min(missing)}": {{"channels": 8}}'
    )


@pytest.fixture(scope="module", autouse=True)
def shallow() -> Iterator[None]:
    """One block a stage, and one of them twice, is enough of the networks whose depth is a name."""
    with pytest.MonkeyPatch.context() as patch:
        for stages in (resnet.STAGES, simam_resnet.STAGES):
            for depth in stages:
                patch.setitem(stages, depth, (2, 1, 1, 1))
        yield


@pytest.fixture(scope="module", params=SETTINGS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def shortest(name: str) -> int:
    return SHORTEST.get(name, 1)


@pytest.fixture(scope="module")
def config(name: str) -> BaseEncoderConfig:
    settings = {"bins": 20, "dimension": 12} | SETTINGS[name]
    return ENCODERS[name.partition("/")[0]].config.model_validate(settings)


@pytest.fixture(scope="module")
def encoder(config: BaseEncoderConfig) -> Encoder:
    """In evaluation mode, and with no statistic and no parameter at a 0 or 1 of its birth; not to be changed."""
    torch.manual_seed(0)
    encoder = build_encoder(config)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.min() == parameter.max():
                parameter.add_(0.3 * torch.randn_like(parameter))
        for seed in range(10):
            encoder(speech(config, 8, 40, seed=seed))
    return encoder.eval()


@pytest.fixture
def learner(encoder: Encoder) -> Encoder:
    """A copy in training mode."""
    return copy.deepcopy(encoder).train()


def speech(config: BaseEncoderConfig, rows: int, frames: int, seed: int = 0) -> Tensor:
    """Features (rows, frames, bins) of recordings that differ in level and in spectrum."""
    random = torch.Generator().manual_seed(seed)
    levels = torch.randn(rows, 1, config.bins, generator=random)
    return levels + 3 * torch.randn(rows, frames, config.bins, generator=random)


def largest_difference(x: Tensor, y: Tensor) -> float:
    """Of the largest value; NaN is not within any tolerance."""
    return ((x - y).abs().max() / y.abs().max()).item()


def test_any_number_of_frames_gives_one_vector_or_is_refused(
    encoder: Encoder, config: BaseEncoderConfig, shortest: int
) -> None:
    assert encoder.dimension == config.dimension
    for frames in range(1, shortest):
        with pytest.raises(ValueError, match=f"{frames} frames are too few: at least {shortest}"):
            encoder(speech(config, 2, frames))
    for frames in [*range(shortest, 20), 101]:
        with torch.no_grad():
            embeddings = encoder(speech(config, 2, frames))
        assert embeddings.shape == (2, config.dimension)
        assert embeddings.dtype == torch.float32
        assert embeddings.isfinite().all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_a_row_hears_neither_its_padding_nor_other_rows(
    encoder: Encoder, config: BaseEncoderConfig, shortest: int, dtype: torch.dtype, tolerance: float
) -> None:
    encoder = copy.deepcopy(encoder).to(dtype)
    lengths = [shortest, shortest + 1, 7, 8, 9, 13, 14, 15, 16, 17, 28, 33, 60, 74, 75]
    features = speech(config, len(lengths) + 1, 80).to(dtype)
    with torch.no_grad():
        alone = torch.cat([encoder(features[row : row + 1, :n]) for row, n in enumerate(lengths)])
        # Rows differ by far more than what is allowed below.
        assert alone.std(dim=0).min() > 0.02 * alone.abs().max()
        for garbage in (3.0, 1e30, torch.nan):
            for row, n in enumerate([*lengths, 0]):
                features[row, n:] = garbage
            given = features.clone()
            together = encoder(features, torch.tensor([*lengths, 80]))
            assert largest_difference(together[:-1], alone) <= tolerance
            torch.testing.assert_close(features, given, rtol=0, atol=0, equal_nan=True)


def test_lengths_without_padding_change_nothing(encoder: Encoder, config: BaseEncoderConfig) -> None:
    features = speech(config, 3, 30)
    with torch.no_grad():
        padded = encoder(features, torch.full((3,), 30, dtype=torch.int32))
        assert largest_difference(padded, encoder(features)) <= 1e-5


def test_the_order_of_memory_changes_nothing(encoder: Encoder, config: BaseEncoderConfig) -> None:
    features, frames = speech(config, 3, 30), torch.tensor([30, 12, 7])
    strided = torch.stack([features, features]).permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)[0]
    assert not strided.is_contiguous()
    reordered = copy.deepcopy(encoder).to(memory_format=torch.channels_last)
    with torch.no_grad():
        embeddings = encoder(features, frames)
        assert largest_difference(encoder(strided, frames), embeddings) <= 1e-5
        assert largest_difference(reordered(features, frames), embeddings) <= 1e-5


def test_evaluation_repeats_itself_and_leaves_no_trace(encoder: Encoder, config: BaseEncoderConfig) -> None:
    features, frames = speech(config, 3, 30), torch.tensor([30, 12, 7])
    before = copy.deepcopy(encoder.state_dict())
    random = torch.get_rng_state()
    with torch.no_grad():
        assert torch.equal(encoder(features, frames), encoder(features, frames))
    assert torch.equal(torch.get_rng_state(), random)
    for key, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[key]), key


@pytest.mark.parametrize("padded", [False, True])
def test_gradients_reach_every_parameter(learner: Encoder, config: BaseEncoderConfig, padded: bool) -> None:
    """In float64, where nothing is far from little: a bias before a normalisation or a softmax may have no effect."""
    learner.double()
    features = speech(config, 4, 40).double()
    frames = torch.tensor([40, 25, 9, 40]) if padded else None
    embeddings = learner(features, frames)
    # A plain sum would vanish through a last normalisation.
    direction = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(1)).double()
    (embeddings * direction).sum().backward()
    with torch.no_grad():
        for key, parameter in learner.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            if parameter.grad.abs().max() < 1e-11:
                assert key.endswith("bias"), key
                parameter.add_(torch.randn_like(parameter))
        assert largest_difference(learner(features, frames), embeddings) <= 1e-9


@pytest.mark.parametrize("training", [False, True])
def test_a_recording_that_does_not_vary_has_finite_gradients(
    learner: Encoder, config: BaseEncoderConfig, shortest: int, training: bool
) -> None:
    learner.train(training)
    for frames in (shortest, 30):
        features = torch.ones(2, frames, config.bins, requires_grad=True)
        for lengths in (None, torch.tensor([frames, shortest])):
            embeddings = learner(features, lengths)
            embeddings.sum().backward()
            assert embeddings.isfinite().all()
            assert features.grad is not None
            assert features.grad.isfinite().all()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.parameters())


def test_learns_under_bfloat16_autocast_with_statistics_in_float32(
    learner: Encoder, config: BaseEncoderConfig
) -> None:
    pooled: list[Tensor] = []
    for module in learner.modules():
        if isinstance(module, AttentiveStatistics | FrameAttentiveStatistics | TemporalStatistics):
            module.register_forward_hook(lambda _module, _inputs, output: pooled.append(output))
    features, frames = speech(config, 8, 40), torch.tensor([40, 33, 17, 40, 9, 25, 40, 12])
    with torch.no_grad():
        full = learner.eval()(features, frames)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = learner(features, frames)
    assert largest_difference(half.float(), full) <= 0.1
    targets = torch.randn(full.shape, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(learner.train().parameters(), lr=0.001)
    losses = []
    for _ in range(10):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embeddings = learner(features)
        loss = (embeddings.float() - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert pooled, (
        "it pools with none of encoders/pooling.py: say here which of its modules counts in float32"
    )
    assert all(output.dtype == torch.float32 for output in pooled)
    assert all(tensor.dtype != torch.bfloat16 for tensor in learner.state_dict().values())


@pytest.mark.parametrize("name", {name.partition("/")[0]: name for name in SETTINGS}.values(), indirect=True)
def test_exports_with_dynamic_batch_and_time(encoder: Encoder, config: BaseEncoderConfig) -> None:
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time", min=EXPORTED_FROM)
    program = torch.export.export(
        encoder,
        (speech(config, 2, 30), torch.tensor([30, 20])),
        dynamic_shapes=({0: batch, 1: time}, {0: batch}),
    ).module()
    for total in (EXPORTED_FROM, 13, 14, 15, 16, 17, 28, 77):
        features, frames = speech(config, 3, total), torch.tensor([total, 5, total // 2])
        with torch.no_grad():
            embeddings = encoder(features, frames)
            assert largest_difference(program(features, frames), embeddings) <= 1e-5


def test_its_weights_on_disk_are_all_there_is_to_it(encoder: Encoder, config: BaseEncoderConfig) -> None:
    random = torch.get_rng_state()
    with torch.device("meta"):
        other = build_encoder(config).eval()
    assert torch.equal(torch.get_rng_state(), random)
    assert all(tensor.is_meta for tensor in [*other.parameters(), *other.buffers()])
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(encoder.state_dict())), assign=True)
    assert not any(tensor.is_meta for tensor in [*other.parameters(), *other.buffers()])
    assert_same(other, encoder, config)


def test_a_seed_gives_the_same_encoder_again(config: BaseEncoderConfig) -> None:
    built = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        built.append(build_encoder(config).state_dict())
    assert all(torch.equal(tensor, built[1][key]) for key, tensor in built[0].items())
    assert not all(torch.equal(tensor, built[2][key]) for key, tensor in built[0].items())


def test_copies_go_to_other_processes(encoder: Encoder, config: BaseEncoderConfig) -> None:
    assert_same(pickle.loads(pickle.dumps(encoder)), encoder, config)
    with torch.no_grad():
        for parameter in (copied := copy.deepcopy(encoder)).parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in encoder.parameters())
    assert type(copied) is type(encoder)


def assert_same(one: Encoder, other: Encoder, config: BaseEncoderConfig) -> None:
    features, frames = speech(config, 3, 30), torch.tensor([30, 12, 7])
    with torch.no_grad():
        assert torch.equal(one(features, frames), other(features, frames))
