"""Models of other toolkits give the embeddings here that they give there, from the same waveforms."""

from __future__ import annotations

import hashlib
import json
import math
import re
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import kaldi_native_fbank as kaldi
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typer.testing import CliRunner

from voxangle.cli import app
from voxangle.encoders import Embedder

Load = Callable[[str], types.ModuleType]
Scrambled = Callable[[nn.Module, int], nn.Module]
Features = Callable[[NDArray[np.float32]], Tensor]

LENGTHS = (4_000, 23_457, 16_000, 40_000)  # samples
TOLERANCE = 1e-4  # of the norm of an embedding


def sound(samples: int, seed: int) -> NDArray[np.float32]:
    """Bursts of coloured noise, and silence at the end."""
    random = np.random.default_rng(seed)
    noise = np.convolve(random.standard_normal(samples), random.standard_normal(16), mode="same")
    level = np.repeat(random.uniform(0.05, 1.0, -(-samples // 2_000)), 2_000)[:samples]
    wave = noise * level
    wave[-samples // 10 :] = 0.0
    return (0.4 * wave / np.abs(wave).max()).astype(np.float32)


SOUNDS = [sound(samples, seed) for seed, samples in enumerate(LENGTHS)]


def kaldi_features(waveform: NDArray[np.float32], bins: int, window: str, scale: float) -> Tensor:
    """Kaldi's own, the mean subtracted: (1, F, bins)."""
    options = kaldi.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = 16_000
    options.frame_opts.window_type = window
    options.mel_opts.num_bins = bins
    bank = kaldi.OnlineFbank(options)
    bank.accept_waveform(16_000, (waveform * scale).tolist())
    bank.input_finished()
    features = np.stack([bank.get_frame(frame) for frame in range(bank.num_frames_ready)])
    return torch.from_numpy(features - features.mean(axis=0))[None]


def wespeaker_features(waveform: NDArray[np.float32], bins: int = 80) -> Tensor:
    return kaldi_features(waveform, bins, "hamming", 2.0**15)


def threedspeaker_features(waveform: NDArray[np.float32]) -> Tensor:
    return kaldi_features(waveform, 80, "povey", 1.0)


def redimnet_features(waveform: NDArray[np.float32], bins: int, shift: int) -> Tensor:
    signal = torch.from_numpy(waveform)
    signal = signal - 0.97 * torch.cat([signal[1:2], signal[:-1]])
    spectrum = torch.stft(signal, 512, shift, 400, torch.hamming_window(400), return_complex=True)
    ends = [2595 * math.log10(1 + hertz / 700) for hertz in (20, 7_600)]
    points = 700 * (10 ** (torch.linspace(*ends, bins + 2) / 2595) - 1)
    at = torch.linspace(0, 8_000, 257)[:, None]
    rising = (at - points[:-2]) / (points[1:-1] - points[:-2])
    falling = (points[2:] - at) / (points[2:] - points[1:-1])
    energies = spectrum.abs().square().T @ rising.minimum(falling).clamp(min=0)
    logarithms = (energies + 1e-6).log()
    return (logarithms - logarithms.mean(dim=0))[None]


class Case(NamedTuple):
    """A model of another toolkit.

    Attributes:
        module: its encoder.
        features: what the toolkit feeds it.
        embeds: how it is called.
        bins: of a frame.
    """

    module: nn.Module
    features: Features
    embeds: Callable[[nn.Module, Tensor], Tensor] = lambda module, features: module(features)
    bins: int = 80


def last(module: nn.Module, features: Tensor) -> Tensor:
    """WeSpeaker's models put out several things, of which the last one is the embedding."""
    embedding: Tensor = module(features)[-1]
    return embedding


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["import", *arguments])
    assert result.exit_code == 0, result.exception
    return result.output


def compare(case: Case, folder: Path) -> None:
    embedder = Embedder.load(folder, device="cpu")
    with torch.no_grad():
        theirs = torch.cat(
            [case.embeds(case.module, case.features(wave)).reshape(1, -1) for wave in SOUNDS]
        ).numpy()
    norms = np.linalg.norm(theirs, axis=1)
    assert np.linalg.norm(theirs[:, None] - theirs[None], axis=2).max() > 0.05 * norms.max()  # sounds differ
    together = embedder.embed(SOUNDS)
    alone = np.concatenate([embedder.embed([wave]) for wave in SOUNDS])
    for ours in (together, alone):
        errors = np.linalg.norm(ours - theirs, axis=1) / norms
        assert errors.max() < TOLERANCE


def speechbrain_case(load: Load, channels: int, **settings: Any) -> Case:
    module = load("speechbrain.lobes.models.ECAPA_TDNN").ECAPA_TDNN(
        80, channels=[channels] * 4 + [3 * channels], **settings
    )
    fbank = load("speechbrain.lobes.features").Fbank(n_mels=80)
    mean = load("speechbrain.processing.features").InputNormalization(norm_type="sentence", std_norm=False)
    return Case(module, lambda wave: mean(fbank(torch.from_numpy(wave)[None]), torch.ones(1)))


HYPERPARAMS = """
# Generated 2021-03-05
pretrained_path: somebody/ecapa
sample_rate: 16000
n_mels: 80
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: [{channels}, {channels}, {channels}, {channels}, {aggregation}]
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 4, 1]
    attention_channels: {attention}
    lin_neurons: {dimension}
modules:
    embedding_model: !ref <embedding_model>
"""


@pytest.mark.parametrize(
    ("channels", "settings"),
    [
        (32, {"se_channels": 16, "attention_channels": 16, "lin_neurons": 24}),
        (32, {"attention_channels": 16, "lin_neurons": 24, "res2net_scale": 4, "global_context": False}),
        (512, {"attention_channels": 128, "lin_neurons": 192}),
    ],
    ids=["small", "another scale, no context", "ECAPA-512"],
)
def test_speechbrains_ecapa(
    load: Load, scrambled: Scrambled, tmp_path: Path, channels: int, settings: dict[str, Any]
) -> None:
    case = speechbrain_case(load, channels, **settings)
    scrambled(case.module, 80)
    folder = tmp_path / "theirs"
    folder.mkdir()
    torch.save(case.module.state_dict(), folder / "embedding_model.ckpt")
    torch.save({"weight": torch.zeros(1251, settings["lin_neurons"])}, folder / "classifier.ckpt")
    (folder / "hyperparams.yaml").write_text(
        HYPERPARAMS.format(
            channels=channels,
            aggregation=3 * channels,
            attention=settings["attention_channels"],
            dimension=settings["lin_neurons"],
        )
    )
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    output = run("speechbrain", str(folder), "--out", str(tmp_path / "ours"))
    assert "from SpeechBrain's embedding_model.ckpt" in output
    assert "licence of the weights: apache-2.0" in output
    compare(case, tmp_path / "ours")
    description = json.loads((tmp_path / "ours" / "model.json").read_text())
    assert description["card"]["origin"] == {
        "toolkit": "SpeechBrain",
        "file": "embedding_model.ckpt",
        "sha256": hashlib.sha256((folder / "embedding_model.ckpt").read_bytes()).hexdigest(),
        "licence": "apache-2.0",
    }


def wespeaker_ecapa(load: Load, **settings: Any) -> Case:
    module = load("wespeaker.models.ecapa_tdnn").ECAPA_TDNN(channels=32, embed_dim=24, **settings)
    return Case(module, wespeaker_features, last)


def wespeaker_resnet(load: Load, block: str, blocks: list[int], **settings: Any) -> Case:
    models = load("wespeaker.models.resnet")
    module = models.ResNet(getattr(models, block), blocks, feat_dim=80, **settings)
    return Case(module, wespeaker_features, last)


def wespeaker_simam(load: Load, depth: int) -> Case:
    models = load("wespeaker.models.samresnet")
    return Case(getattr(models, f"SimAM_ResNet{depth}_ASP")(in_planes=4, embed_dim=24), wespeaker_features)


def wespeaker_campplus(load: Load) -> Case:
    module = load("wespeaker.models.campplus").CAMPPlus(
        80, embed_dim=24, growth_rate=8, bn_size=2, init_channels=16
    )
    return Case(module, wespeaker_features)


def wespeaker_redimnet(load: Load, block: str, group: int, channels: int = 8) -> Case:
    stages = [(1, 2, 1, [(3, 3)], None), (2, 1, 2, [(3, 3)], 6), (3, 2, 1, [(3, 3)], 4)]
    module = load("wespeaker.models.redimnet").ReDimNet(
        feat_dim=24, C=channels, block_2d_type=block, stages_setup=stages, group_divisor=group, embed_dim=16
    )
    return Case(module, lambda wave: wespeaker_features(wave, 24), last, bins=24)


WESPEAKER: dict[str, Callable[[Load], Case]] = {
    "ECAPA-TDNN": wespeaker_ecapa,
    "ECAPA-TDNN with context": lambda load: wespeaker_ecapa(load, global_context_att=True),
    "ResNet18": lambda load: wespeaker_resnet(load, "BasicBlock", [2, 2, 2, 2], m_channels=8, embed_dim=24),
    "ResNet34": lambda load: wespeaker_resnet(load, "BasicBlock", [3, 4, 6, 3], m_channels=32, embed_dim=256),
    "ResNet50": lambda load: wespeaker_resnet(load, "Bottleneck", [3, 4, 6, 3], m_channels=4, embed_dim=24),
    "ResNet221": lambda load: wespeaker_resnet(
        load, "Bottleneck", [6, 16, 48, 3], m_channels=2, embed_dim=24
    ),
    "SimAM-ResNet34": lambda load: wespeaker_simam(load, 34),
    "SimAM-ResNet100": lambda load: wespeaker_simam(load, 100),
    "CAM++": wespeaker_campplus,
    "ReDimNet, ConvNeXt": lambda load: wespeaker_redimnet(load, "convnext_like", 4),
    "ReDimNet, no group in the first stage": lambda load: wespeaker_redimnet(
        load, "convnext_like", 8, channels=12
    ),
    "ReDimNet, ResNet": lambda load: wespeaker_redimnet(load, "basic_resnet", 8),
    "ReDimNet, fwSE": lambda load: wespeaker_redimnet(load, "basic_resnet_fwse", 1),
}


@pytest.mark.parametrize("name", WESPEAKER)
def test_wespeakers(load: Load, scrambled: Scrambled, tmp_path: Path, name: str) -> None:
    case = WESPEAKER[name](load)
    scrambled(case.module, case.bins)
    state = case.module.state_dict() | {"projection.weight": torch.zeros(100, 24)}
    torch.save(OrderedDict(state), tmp_path / "avg_model.pt")
    output = run("wespeaker", str(tmp_path / "avg_model.pt"), "--out", str(tmp_path / "ours"))
    assert "left out, a classifier's: projection.weight" in output
    assert "licence of the weights: not stated beside them" in output
    compare(case, tmp_path / "ours")


def threedspeaker_campplus(load: Load) -> Case:
    module = load("speakerlab.models.campplus.DTDNN").CAMPPlus(
        80, embedding_size=24, growth_rate=8, bn_size=2, init_channels=16, memory_efficient=False
    )
    return Case(module, threedspeaker_features)


def threedspeaker_eres2netv2(load: Load, **settings: int) -> Case:
    module = load("speakerlab.models.eres2net.ERes2NetV2").ERes2NetV2(
        m_channels=8, embedding_size=24, **settings
    )
    return Case(module, threedspeaker_features)


def threedspeaker_ecapa(load: Load) -> Case:
    module = load("speakerlab.models.ecapa_tdnn.ECAPA_TDNN").ECAPA_TDNN(
        80, channels=[32] * 4 + [96], lin_neurons=24, attention_channels=16, se_channels=16
    )
    return Case(module, threedspeaker_features)


THREEDSPEAKER: dict[str, Callable[[Load], Case]] = {
    "CAM++": threedspeaker_campplus,
    "ERes2NetV2": threedspeaker_eres2netv2,
    "ERes2NetV2, w24s4ep4": lambda load: threedspeaker_eres2netv2(load, baseWidth=24, scale=4, expansion=4),
    "ECAPA-TDNN": threedspeaker_ecapa,
}


@pytest.mark.parametrize("name", THREEDSPEAKER)
def test_threedspeakers(load: Load, scrambled: Scrambled, tmp_path: Path, name: str) -> None:
    case = THREEDSPEAKER[name](load)
    scrambled(case.module, 80)
    torch.save(case.module.state_dict(), tmp_path / "pretrained.ckpt")
    run("3dspeaker", str(tmp_path), "--out", str(tmp_path / "ours"))
    compare(case, tmp_path / "ours")


class AsTheAuthors(nn.Module):
    """ReDimNet as its authors put it together: there is a normalisation behind the pooling."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.bn = nn.BatchNorm1d(inner.pool_out_dim)

    def forward(self, features: Tensor) -> Tensor:
        pooled = self.inner.pool(self.inner._get_frame_level_feat(features))
        embedding: Tensor = self.inner.seg_1(self.bn(pooled))
        return embedding

    def authors_state(self) -> dict[str, Tensor]:
        """Under the authors' names: two places of a stage come before the first one with weights."""
        state = {}
        last_stage = max(
            int(match[1]) for name in self.state_dict() if (match := re.search(r"stage(\d)", name))
        )
        for name, tensor in self.state_dict().items():
            name = name.removeprefix("inner.").replace("seg_1", "linear")
            name = re.sub(r"(stage\d)\.(\d+)", lambda match: f"{match[1]}.{int(match[2]) + 2}", name)
            if match := re.fullmatch(r"backbone\.inputs_weights\.(\d)", name):
                place = int(match[1])
                name = "backbone.fin_wght1d.w" if place > last_stage else f"backbone.stage{place}.0.w"
            state[name] = tensor
        return state


@pytest.mark.parametrize("shift", [160, 240])
@pytest.mark.parametrize("block", ["convnext_like", "basic_resnet"])
def test_redimnets(load: Load, scrambled: Scrambled, tmp_path: Path, block: str, shift: int) -> None:
    module = AsTheAuthors(wespeaker_redimnet(load, block, 4).module)
    scrambled(module, 24)
    settings = {
        "F": 24,
        "C": 8,
        "hop_length": shift,
        "block_2d_type": block,
        "feat_type": "pt",
        "embed_dim": 16,
    }
    state = module.authors_state() | {
        "spec.torchfbank.1.flipped_filter": torch.tensor([[[-0.97, 1.0]]]),
        "spec.torchfbank.2.spectrogram.window": torch.hamming_window(400),
    }
    torch.save({"model_config": settings, "state_dict": state}, tmp_path / "b9.pt")
    run("redimnet", str(tmp_path / "b9.pt"), "--out", str(tmp_path / "ours"))
    compare(Case(module, lambda wave: redimnet_features(wave, 24, shift), bins=24), tmp_path / "ours")
