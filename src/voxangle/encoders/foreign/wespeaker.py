"""WeSpeaker's models: ECAPA-TDNN, ResNet, SimAM-ResNet, CAM++ and ReDimNet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from voxangle.encoders.ecapa_tdnn import DILATIONS, ECAPATDNNConfig
from voxangle.encoders.encoder import BaseEncoderConfig
from voxangle.encoders.foreign.keys import AFFINE, NORM, WEIGHT, Key, columns, module
from voxangle.encoders.foreign.layout import Layout, Shapes, Toolkit
from voxangle.encoders.foreign.redimnet import redimnet_config, redimnet_keys
from voxangle.encoders.foreign.threedspeaker import CAMPPLUS_MARKS, campplus_config, campplus_keys
from voxangle.encoders.redimnet import ReDimNetConfig
from voxangle.encoders.resnet import BOTTLENECKS_FROM, STAGES, Bottleneck, ResNetConfig
from voxangle.encoders.simam_resnet import STAGES as SIMAM_STAGES
from voxangle.encoders.simam_resnet import SimAMResNetConfig
from voxangle.errors import CheckpointError
from voxangle.features import FilterbankConfig

__all__ = ["WESPEAKER"]

VARIANCE_EPSILON = 1e-7  # added to the variances over time
SHORTER, WIDER = 8, 8  # of a ResNet's map: by how much fewer bins and more channels than at the stem


def _ecapa_config(shapes: Shapes) -> ECAPATDNNConfig:
    aggregation = shapes.size("conv.weight", 0)
    return ECAPATDNNConfig(
        flavour="wespeaker",
        bins=shapes.size("layer1.conv.weight", 1),
        channels=shapes.size("layer1.conv.weight", 0),
        scale=shapes.count("layer2.se_res2block.1.convs.{}.weight") + 1,
        squeeze=shapes.size("layer2.se_res2block.3.linear1.weight", 0),
        aggregation=aggregation,
        attention=shapes.size("pool.linear1.weight", 0),
        context=shapes.size("pool.linear1.weight", 1) > aggregation,
        dimension=shapes.size("linear.weight", 0),
    )


def _ecapa_keys(config: ECAPATDNNConfig) -> Iterator[Key]:
    """The key map.

    Of a Res2 layer's groups of channels theirs passes the last one unchanged, and ours the first: what goes into it
    and what comes out of it is turned by one group. Frame and context share a layer of the attention there.
    """
    width = config.channels // config.scale

    def outputs_turned(tensor: Tensor) -> Tensor:
        return tensor.roll(width, dims=0) if tensor.ndim else tensor

    def inputs_turned(tensor: Tensor) -> Tensor:
        return tensor.roll(width, dims=1)

    yield from module("stem.convolution", "layer1.conv", AFFINE)
    yield from module("stem.norm", "layer1.bn", NORM)
    for place in range(len(DILATIONS)):
        ours, theirs = f"blocks.{place}", f"layer{place + 2}.se_res2block"
        yield from module(f"{ours}.reduce.convolution", f"{theirs}.0.conv", AFFINE, outputs_turned)
        yield from module(f"{ours}.reduce.norm", f"{theirs}.0.bn", NORM, outputs_turned)
        for group in range(config.scale - 1):
            layer = f"{ours}.res2.layers.{group}"
            yield from module(f"{layer}.convolution", f"{theirs}.1.convs.{group}", AFFINE)
            yield from module(f"{layer}.norm", f"{theirs}.1.bns.{group}", NORM)
        yield from module(f"{ours}.expand.convolution", f"{theirs}.2.conv", WEIGHT, inputs_turned)
        yield Key(f"{ours}.expand.convolution.bias", f"{theirs}.2.conv.bias")
        yield from module(f"{ours}.expand.norm", f"{theirs}.2.bn", NORM)
        yield from module(f"{ours}.excitation.squeeze", f"{theirs}.3.linear1", AFFINE)
        yield from module(f"{ours}.excitation.excite", f"{theirs}.3.linear2", AFFINE)
    yield from module("aggregate", "conv", AFFINE)
    if config.context:
        cut = config.aggregation
        yield Key("pooling.frame.weight", "pool.linear1.weight", columns(0, cut))
        yield Key("pooling.context.weight", "pool.linear1.weight", columns(cut, None, squeeze=True))
    else:
        yield Key("pooling.frame.weight", "pool.linear1.weight")
    yield Key("pooling.frame.bias", "pool.linear1.bias")
    yield from module("pooling.score", "pool.linear2", AFFINE)
    yield from module("pooled_norm", "bn", NORM)
    yield from module("embed", "linear", AFFINE)


def _resnet_config(shapes: Shapes) -> ResNetConfig:
    bottleneck = shapes.has("layer1.0.conv3.weight")
    stages = tuple(shapes.count(f"layer{stage}.{{}}.conv1.weight") for stage in (1, 2, 3, 4))
    depths = [d for d, blocks in STAGES.items() if blocks == stages and (d >= BOTTLENECKS_FROM) == bottleneck]
    channels = shapes.size("conv1.weight", 0)
    outputs = WIDER * channels * (Bottleneck.expansion if bottleneck else 1)
    return ResNetConfig.model_validate(
        {
            "depth": _depth(depths, stages, STAGES),
            "channels": channels,
            "bins": SHORTER * shapes.size("seg_1.weight", 1) // (2 * outputs),
            "dimension": shapes.size("seg_1.weight", 0),
        }
    )


def _simam_config(shapes: Shapes) -> SimAMResNetConfig:
    stages = tuple(shapes.count(f"front.layer{stage}.{{}}.conv1.weight") for stage in (1, 2, 3, 4))
    channels = shapes.size("front.conv1.weight", 0)
    return SimAMResNetConfig.model_validate(
        {
            "depth": _depth([d for d, b in SIMAM_STAGES.items() if b == stages], stages, SIMAM_STAGES),
            "channels": channels,
            "bins": SHORTER * shapes.size("pooling.attention.0.weight", 1) // (WIDER * channels),
            "attention": shapes.size("pooling.attention.0.weight", 0),
            "dimension": shapes.size("bottleneck.weight", 0),
        }
    )


def _depth(depths: list[int], stages: tuple[int, ...], known: Mapping[int, tuple[int, ...]]) -> int:
    if not depths:
        raise CheckpointError(
            f"no known depth has stages of {stages} blocks; known: "
            + ", ".join(f"{depth} {blocks}" for depth, blocks in known.items())
        )
    return depths[0]


def _resnet_keys(config: ResNetConfig | SimAMResNetConfig) -> Iterator[Key]:
    simam = isinstance(config, SimAMResNetConfig)
    stages = SIMAM_STAGES[config.depth] if simam else STAGES[config.depth]
    root, shortcut = ("front.", "downsample") if simam else ("", "shortcut")
    bottleneck = not simam and config.depth >= BOTTLENECKS_FROM
    layers = ("reduce", "middle", "expand") if bottleneck else ("first", "second")
    yield from _convolution_norm("trunk.stem", f"{root}conv1", f"{root}bn1")
    place = 0
    for stage, blocks in enumerate(stages, start=1):
        for block in range(blocks):
            ours, theirs = f"trunk.blocks.{place}", f"{root}layer{stage}.{block}"
            for number, layer in enumerate(layers, start=1):
                yield from _convolution_norm(
                    f"{ours}.{layer}", f"{theirs}.conv{number}", f"{theirs}.bn{number}"
                )
            # The shape changes in each stage's first block, but not in the first stage of basic blocks.
            if block == 0 and (stage > 1 or bottleneck):
                yield from _convolution_norm(
                    f"{ours}.shortcut", f"{theirs}.{shortcut}.0", f"{theirs}.{shortcut}.1"
                )
            place += 1


def _convolution_norm(ours: str, convolution: str, norm: str) -> Iterator[Key]:
    yield from module(f"{ours}.convolution", convolution, WEIGHT)
    yield from module(f"{ours}.norm", norm, NORM)


def _plain_resnet_keys(config: ResNetConfig) -> Iterator[Key]:
    yield from _resnet_keys(config)
    yield from module("embed", "seg_1", AFFINE)


def _simam_keys(config: SimAMResNetConfig) -> Iterator[Key]:
    yield from _resnet_keys(config)
    for layer, number, tensors in (("frame", 0, AFFINE), ("norm", 2, NORM), ("score", 3, AFFINE)):
        yield from module(f"pooling.{layer}", f"pooling.attention.{number}", tensors)
    yield from module("embed", "bottleneck", AFFINE)


def _redimnet_keys(config: ReDimNetConfig) -> Iterator[Key]:
    sums = [f"backbone.inputs_weights.{place + 1}" for place in range(len(config.stages))]
    yield from redimnet_keys(config, sums, skip=0)
    yield from module("embed", "seg_1", AFFINE)


def _no_pooled_norm(config: ReDimNetConfig) -> Mapping[str, Tensor]:
    """A normalisation that changes nothing: theirs has none behind the pooling."""
    wide = 2 * config.channels * config.bins
    unit = torch.ones(wide)
    return {
        "pooled_norm.weight": unit,
        "pooled_norm.bias": torch.zeros(wide),
        "pooled_norm.running_mean": torch.zeros(wide),
        "pooled_norm.running_var": unit - torch.nn.BatchNorm1d(1).eps,
        "pooled_norm.num_batches_tracked": torch.tensor(0),
    }


def _filterbank(config: BaseEncoderConfig, _settings: Mapping[str, Any]) -> FilterbankConfig:
    return FilterbankConfig(bins=config.bins, window="hamming")


def _facts(model: str, pooling: str) -> dict[str, Any]:
    return {
        "model": re.compile(model),
        "pooling": pooling,
        "second_embedding": False,
        "embedding_norm": False,
        "frontend": "fbank",
        "frame_length": 25,
        "frame_shift": 10,
        "subtract_mean": True,
    }


def _ecapa_facts(config: ECAPATDNNConfig) -> Mapping[str, Any]:
    name = rf"ECAPA_TDNN{'_GLOB' if config.context else ''}_c{config.channels}|ECAPA_TDNN"
    return _facts(name, "ASTP") | {"global_context": config.context}


WESPEAKER = Toolkit(
    title="WeSpeaker",
    layouts=(
        Layout(
            title="ECAPA-TDNN",
            marks=("layer1.conv.weight", "layer2.se_res2block.0.conv.weight"),
            config=_ecapa_config,
            keys=_ecapa_keys,
            filterbank=_filterbank,
            facts=_ecapa_facts,
        ),
        Layout(
            title="ResNet",
            marks=("conv1.weight", "layer1.0.conv2.weight", "seg_1.weight"),
            config=_resnet_config,
            keys=_plain_resnet_keys,
            filterbank=_filterbank,
            facts=lambda config: _facts(f"ResNet{config.depth}", "TSTP"),
        ),
        Layout(
            title="SimAM-ResNet",
            marks=("front.conv1.weight", "bottleneck.weight"),
            config=_simam_config,
            keys=_simam_keys,
            filterbank=_filterbank,
            facts=lambda config: _facts(f"SimAM_ResNet{config.depth}_ASP", "ASP"),
        ),
        Layout(
            title="CAM++",
            marks=CAMPPLUS_MARKS,
            config=lambda shapes: campplus_config(shapes, epsilon=VARIANCE_EPSILON),
            keys=campplus_keys,
            filterbank=_filterbank,
            facts=lambda _config: _facts("CAMPPlus", "TSTP"),
        ),
        Layout(
            title="ReDimNet",
            marks=("backbone.stem.0.weight", "backbone.inputs_weights.1", "seg_1.weight"),
            config=lambda shapes: redimnet_config(shapes, "seg_1"),
            keys=_redimnet_keys,
            filterbank=_filterbank,
            facts=lambda _config: _facts("ReDimNet(B[0-6])?", "ASTP"),
            fixed=_no_pooled_norm,
            # The weight 1 of the first sum, which is of one signal.
            ignored=r"backbone\.inputs_weights\.0",
        ),
    ),
    files=("avg_model.pt", "final_model.pt", "model.pt"),
    configs=("config.yaml",),
    says={
        "model": "model",
        "model_args.feat_dim": "bins",
        "model_args.acoustic_dim": "bins",
        "model_args.embed_dim": "dimension",
        "model_args.in_planes": "channels",
        "model_args.pooling_func": "pooling",
        "model_args.global_context_att": "global_context",
        "model_args.two_emb_layer": "second_embedding",
        "model_args.emb_bn": "embedding_norm",
        "dataset_args.resample_rate": "sample_rate",
        "dataset_args.frontend": "frontend",
        "dataset_args.cmvn": "subtract_mean",
        "dataset_args.fbank_args.num_mel_bins": "bins",
        "dataset_args.fbank_args.frame_length": "frame_length",
        "dataset_args.fbank_args.frame_shift": "frame_shift",
    },
)
