"""Every encoder as ONNX computes what it computes in torch, whatever the batch and the lengths."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from voxangle.encoders import (
    ENCODERS,
    ECAPATDNNConfig,
    Embedder,
    Encoder,
    ModelCard,
    build_encoder,
    onnx_export,
)
from voxangle.encoders.onnx_export import OPSET, TOLERANCE, export_onnx
from voxangle.errors import CheckpointError, MissingExtraError
from voxangle.features import FILTERBANKS, Filterbank, FilterbankConfig, build_filterbank, padding_mask
from voxangle.runtime import OnnxEmbedder

SMALL = {
    "ecapa_tdnn": {"bins": 20, "channels": 8, "scale": 2, "aggregation": 12, "squeeze": 4, "attention": 4},
    "ecapa_tdnn/speechbrain": {
        "bins": 20,
        "channels": 8,
        "scale": 2,
        "aggregation": 12,
        "squeeze": 4,
        "attention": 4,
        "flavour": "speechbrain",
    },
    "resnet": {"bins": 20, "depth": 18, "channels": 2},
    "simam_resnet": {"bins": 20, "depth": 34, "channels": 2, "attention": 4},
    "campplus": {
        "bins": 20,
        "front_end": 4,
        "channels": 9,
        "growth": 4,
        "bottleneck": 8,
        "layers": (1, 1, 1),
        "segment": 7,
    },
    "eres2netv2": {"bins": 20, "channels": 8, "width": 8, "blocks": (1, 1, 1, 1)},
    "redimnet": {
        "bins": 12,
        "channels": 4,
        "block": "resnet_fwse",
        "group": 2,
        "stages": (
            {"stride": 1, "blocks": 1, "expansion": 2, "reduction": 4},
            {"stride": 2, "blocks": 1, "expansion": 1, "reduction": None},
        ),
        "kernels": (3, 5),
        "heads": 2,
        "attention": 8,
    },
}


def shaken(encoder: Encoder) -> Encoder:
    """An encoder whose normalisations are no longer those of its birth."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.2, 0.6)
    return encoder.eval()


def model(encoder: Encoder, bins: int) -> Embedder:
    filterbank = FilterbankConfig(bins=bins)
    return Embedder(
        Filterbank(filterbank),
        encoder,
        ModelCard(name="small", encoder=ECAPATDNNConfig(bins=bins), filterbank=filterbank),
    )


class Mean(Encoder):
    """The least that is an encoder."""

    def __init__(self, bins: int = 20, dimension: int = 6) -> None:
        super().__init__()
        self.dimension = dimension
        self.project = nn.Linear(bins, dimension)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        hidden = self.project(features).tanh()
        if frames is None:
            return hidden.mean(dim=1)
        padding = padding_mask(frames, features.shape[1]).unsqueeze(-1)
        return hidden.masked_fill(padding, 0.0).sum(dim=1) / frames.unsqueeze(-1)


@pytest.mark.parametrize("definition", FILTERBANKS)
def test_every_filterbank_is_exported_and_its_products_stay_exact(definition: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = FILTERBANKS[definition].config()
    encoder = Mean(config.bins)
    card = ModelCard(name="m", encoder=ECAPATDNNConfig(bins=config.bins), filterbank=config)
    embedder = Embedder(build_filterbank(config), encoder, card)
    assert export_onnx(embedder, tmp_path / "model.onnx", int8=True).difference <= TOLERANCE
    graph = onnx.load(tmp_path / "model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("MatMulInteger") == 1  # the encoder's
    assert kinds.count("MatMul") == 1  # the mel filters
    filters = {tensor.name: tensor for tensor in graph.initializer}["filterbank.weights"]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(filters), embedder.filterbank.weights)


@pytest.fixture
def mean() -> Embedder:
    torch.manual_seed(0)
    return model(Mean(), 20)


def test_no_encoder_is_forgotten() -> None:
    assert {name.partition("/")[0] for name in SMALL} == set(ENCODERS)


@pytest.mark.parametrize("name", SMALL)
def test_every_encoder_is_exported_and_agrees_with_torch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ENCODERS[name.partition("/")[0]].config.model_validate({"dimension": 12, **SMALL[name]})
    embedder = model(shaken(build_encoder(config)), config.bins)
    exported = export_onnx(embedder, tmp_path / "model.onnx")
    assert exported.difference <= TOLERANCE
    assert exported.opset == OPSET
    assert exported.size == (tmp_path / "model.onnx").stat().st_size
    ours = OnnxEmbedder.load(tmp_path / "model.onnx", threads=1)
    assert ours.dimension == 12
    # Not the batches that the export itself compared.
    random = np.random.default_rng(1)
    waveforms = [
        (0.1 * random.standard_normal(n)).astype(np.float32)
        for n in (4_000, 4_159, 9_999, 16_000, 4_161, 50_001)
    ]
    expected = embedder.embed(waveforms, batch_seconds=4.0)
    assert expected.std(axis=0).min() > 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(
        ours.embed(waveforms, batch_seconds=4.0), expected, rtol=0, atol=TOLERANCE * np.abs(expected).max()
    )


def test_weights_that_float16_holds_take_half_the_room_and_compute_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ECAPATDNNConfig(channels=64)
    embedder = Embedder(Filterbank(), shaken(build_encoder(config)), ModelCard(name="small", encoder=config))
    export_onnx(embedder, tmp_path / "whole.onnx")
    embedder.save(tmp_path / "half", half=True)
    in_half = Embedder.load(tmp_path / "half")
    assert export_onnx(in_half, tmp_path / "half.onnx").difference <= TOLERANCE
    sizes = [(tmp_path / file).stat().st_size for file in ("half.onnx", "whole.onnx")]
    saved = sum(2 * one.numel() for one in embedder.encoder.state_dict().values() if one.ndim > 1)
    assert (
        0.5 * saved < sizes[1] - sizes[0] <= saved
    )  # not all: some are multiplied with the norm behind them
    waveform = np.random.default_rng(1).standard_normal(20_000).astype(np.float32) / 10
    found = OnnxEmbedder.load(tmp_path / "half.onnx").embed([waveform])
    np.testing.assert_allclose(found, in_half.embed([waveform]), rtol=0, atol=TOLERANCE * np.abs(found).max())
    assert np.abs(found - embedder.embed([waveform])).max() > 0  # other weights than before


def test_a_file_that_computes_something_else_is_not_written(
    mean: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the one before")
    forward = onnx_export.WaveformEncoder.forward
    monkeypatch.setattr(
        onnx_export.WaveformEncoder,
        "forward",
        lambda self, waveforms, samples: (
            forward(self, waveforms, samples) * (1.001 if torch.compiler.is_compiling() else 1)
        ),
    )
    with pytest.raises(CheckpointError, match=r"other embeddings than torch: they differ by 1\.0e-03"):
        export_onnx(mean, path)
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_that_computes_nothing_finite_is_not_written(mean: Embedder, tmp_path: Path) -> None:
    with torch.no_grad():
        mean.encoder.get_parameter("project.weight")[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match="not written"):
        export_onnx(mean, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_an_encoder_whose_batch_freezes_is_refused(tmp_path: Path) -> None:
    class Frozen(Mean):
        def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
            return super().forward(features, frames) + torch.zeros(len(features), 1)

    with pytest.raises(CheckpointError, match=r"cannot be exported|does not run on every batch"):
        export_onnx(model(Frozen(), 20), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_int8_that_turns_the_embeddings_is_refused(
    mean: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "LEAST_COSINE", 1.01)
    with pytest.raises(CheckpointError, match="in 8 bits"):
        export_onnx(mean, tmp_path / "model.onnx", int8=True)
    assert not list(tmp_path.iterdir())


def test_the_file_says_nothing_of_where_it_was_made_and_the_model_is_left_as_it_was(
    mean: Embedder, tmp_path: Path
) -> None:
    mean.encoder.train()
    before = {name: tensor.clone() for name, tensor in mean.encoder.state_dict().items()}
    export_onnx(mean, tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    for place in (Path(onnx_export.__file__).parents[2], Path(torch.__file__).parents[1], tmp_path):
        assert str(place).encode() not in content
    assert mean.encoder.training
    assert all(torch.equal(before[name], tensor) for name, tensor in mean.encoder.state_dict().items())


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_without_its_libraries_the_extra_is_named(
    mean: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r"voxangle\[export\]"):
        export_onnx(mean, tmp_path / "model.onnx")
