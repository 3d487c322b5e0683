"""SpeechBrain's ECAPA-TDNN (``speechbrain.lobes.models.ECAPA_TDNN``), which 3D-Speaker has too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from voxangle.encoders.ecapa_tdnn import DILATIONS, ECAPATDNNConfig
from voxangle.encoders.foreign.keys import AFFINE, NORM, Key, columns, module, squeezed
from voxangle.encoders.foreign.layout import Layout, Shapes, Toolkit
from voxangle.features import SpeechBrainFilterbankConfig

__all__ = ["ECAPA_MARKS", "SPEECHBRAIN", "ecapa_config", "ecapa_facts", "ecapa_keys"]

ECAPA_MARKS = ("mfa.conv.conv.weight", "asp.conv.conv.weight")


def ecapa_config(shapes: Shapes) -> ECAPATDNNConfig:
    """The settings that the shapes tell."""
    aggregation = shapes.size("mfa.conv.conv.weight", 0)
    return ECAPATDNNConfig(
        flavour="speechbrain",
        bins=shapes.size("blocks.0.conv.conv.weight", 1),
        channels=shapes.size("blocks.0.conv.conv.weight", 0),
        scale=shapes.count("blocks.1.res2net_block.blocks.{}.conv.conv.weight") + 1,
        squeeze=shapes.size("blocks.1.se_block.conv1.conv.weight", 0),
        aggregation=aggregation,
        attention=shapes.size("asp.tdnn.conv.conv.weight", 0),
        context=shapes.size("asp.tdnn.conv.conv.weight", 1) > aggregation,
        dimension=shapes.size("fc.conv.weight", 0),
    )


def ecapa_keys(config: ECAPATDNNConfig) -> Iterator[Key]:
    """The key map. Theirs keep the frame's and the context's part of the attention in one convolution."""
    yield from _frame_layer("stem", "blocks.0")
    for place in range(len(DILATIONS)):
        ours, theirs = f"blocks.{place}", f"blocks.{place + 1}"
        yield from _frame_layer(f"{ours}.reduce", f"{theirs}.tdnn1")
        for group in range(config.scale - 1):
            yield from _frame_layer(f"{ours}.res2.layers.{group}", f"{theirs}.res2net_block.blocks.{group}")
        yield from _frame_layer(f"{ours}.expand", f"{theirs}.tdnn2")
        yield from module(f"{ours}.excitation.squeeze", f"{theirs}.se_block.conv1.conv", AFFINE, squeezed)
        yield from module(f"{ours}.excitation.excite", f"{theirs}.se_block.conv2.conv", AFFINE, squeezed)
    yield from module("aggregate", "mfa.conv.conv", AFFINE)
    yield from module("aggregate_norm", "mfa.norm.norm", NORM)
    hidden, width = "asp.tdnn.conv.conv", config.aggregation
    if config.context:
        yield Key("pooling.frame.weight", f"{hidden}.weight", columns(0, width))
        yield Key("pooling.context.weight", f"{hidden}.weight", columns(width, None, squeeze=True))
    else:
        yield Key("pooling.frame.weight", f"{hidden}.weight")
    yield Key("pooling.frame.bias", f"{hidden}.bias")
    yield from module("pooling.norm", "asp.tdnn.norm.norm", NORM)
    yield from module("pooling.score", "asp.conv.conv", AFFINE)
    yield from module("pooled_norm", "asp_bn.norm", NORM)
    yield from module("embed", "fc.conv", AFFINE, squeezed)


def ecapa_facts(config: ECAPATDNNConfig) -> dict[str, Any]:
    """What no shape tells, and so what a config must not say otherwise."""
    channels = [config.channels] * (len(DILATIONS) + 1) + [config.aggregation]
    return {
        "layers": channels,
        "kernel_sizes": [5, 3, 3, 3, 1],
        "dilations": [1, *DILATIONS, 1],
        "groups": [1] * 5,
    }


def _frame_layer(ours: str, theirs: str) -> Iterator[Key]:
    yield from module(f"{ours}.convolution", f"{theirs}.conv.conv", AFFINE)
    yield from module(f"{ours}.norm", f"{theirs}.norm.norm", NORM)


def _facts(config: ECAPATDNNConfig) -> Mapping[str, Any]:
    return ecapa_facts(config) | {
        "norm_type": "sentence",
        "std_norm": False,
        "n_fft": 400,
        "win_length": 25,
        "hop_length": 10,
        "extras": False,
    }


SPEECHBRAIN = Toolkit(
    title="SpeechBrain",
    layouts=(
        Layout(
            title="ECAPA-TDNN",
            marks=ECAPA_MARKS,
            config=ecapa_config,
            keys=ecapa_keys,
            filterbank=lambda config, _settings: SpeechBrainFilterbankConfig(bins=config.bins),
            facts=_facts,
        ),
    ),
    files=("embedding_model.ckpt", "embedding_model.safetensors"),
    configs=("hyperparams.yaml",),
    says={
        "sample_rate": "sample_rate",
        "compute_features.sample_rate": "sample_rate",
        "compute_features.n_mels": "bins",
        "compute_features.f_min": "features.low_hz",
        "compute_features.f_max": "features.high_hz",
        "compute_features.n_fft": "n_fft",
        "compute_features.win_length": "win_length",
        "compute_features.hop_length": "hop_length",
        "compute_features.deltas": "extras",
        "compute_features.context": "extras",
        "mean_var_norm.norm_type": "norm_type",
        "mean_var_norm.std_norm": "std_norm",
        "embedding_model.input_size": "bins",
        "embedding_model.channels": "layers",
        "embedding_model.kernel_sizes": "kernel_sizes",
        "embedding_model.dilations": "dilations",
        "embedding_model.groups": "groups",
        "embedding_model.attention_channels": "attention",
        "embedding_model.lin_neurons": "dimension",
        "embedding_model.res2net_scale": "scale",
        "embedding_model.se_channels": "squeeze",
        "embedding_model.global_context": "context",
    },
)
