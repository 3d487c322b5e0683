"""A model and its exports, made once for all tests of the room."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch

from voxangle.encoders import ECAPATDNN, ECAPATDNNConfig, Embedder, ModelCard
from voxangle.encoders.onnx_export import export_onnx
from voxangle.features import Filterbank, FilterbankConfig
from voxangle.runtime import Threshold
from voxangle.runtime.card import Calibration

CONFIG = ECAPATDNNConfig(bins=20, channels=8, scale=2, aggregation=12, squeeze=4, attention=4, dimension=10)
CARD = ModelCard(
    name="tiny",
    encoder=CONFIG,
    filterbank=FilterbankConfig(bins=20),
    thresholds=(
        Threshold(name="eer", value=0.4, source="forty trials", false_acceptance=0.1, false_rejection=0.1),
    ),
    calibration=Calibration(scale=9.0, offset=-3.0, source="forty trials"),
)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, voices: Path) -> Path:
    """A model's folder with its exports, ``model.onnx`` and ``int8.onnx``; not to be changed."""
    torch.manual_seed(0)
    filterbank, encoder = Filterbank(CARD.filterbank), ECAPATDNN(CONFIG)
    waveforms = [soundfile.read(path, dtype="float32")[0][:8_000] for path in sorted(voices.rglob("*.wav"))]
    features, _ = filterbank(torch.stack([torch.from_numpy(waveform) for waveform in waveforms]))
    for _ in range(40):
        encoder(features)
    folder = tmp_path_factory.mktemp("exported")
    Embedder(filterbank, encoder.eval(), CARD).save(folder)
    embedder = Embedder.load(folder, device="cpu")
    export_onnx(embedder, folder / "model.onnx")
    export_onnx(embedder, folder / "int8.onnx", int8=True)
    return folder
