"""3D-Speaker's models, also as ModelScope hands them out: CAM++, ERes2NetV2, and SpeechBrain's ECAPA-TDNN."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from voxangle.encoders.campplus import CAMPlusPlusConfig
from voxangle.encoders.encoder import BaseEncoderConfig
from voxangle.encoders.eres2netv2 import ERes2NetV2Config
from voxangle.encoders.foreign.keys import AFFINE, NORM, STATISTICS, WEIGHT, Key, module, squeezed
from voxangle.encoders.foreign.layout import Layout, Shapes, Toolkit
from voxangle.encoders.foreign.speechbrain import ECAPA_MARKS, ecapa_config, ecapa_facts, ecapa_keys
from voxangle.features import FilterbankConfig

__all__ = ["CAMPPLUS_MARKS", "THREEDSPEAKER", "campplus_config", "campplus_keys"]

CAMPPLUS_MARKS = ("head.conv1.weight", "xvector.tdnn.linear.weight", "xvector.dense.linear.weight")
SHORTER = 8  # of the bins, by the strides of either network


def campplus_config(shapes: Shapes, **others: Any) -> CAMPlusPlusConfig:
    """The settings that the shapes tell, and others."""
    front_end = shapes.size("head.conv1.weight", 0)
    layers = tuple(
        shapes.count(f"xvector.block{block}.tdnnd{{}}.linear1.weight", first=1) for block in (1, 2, 3)
    )
    first = "xvector.block1.tdnnd1"
    return CAMPlusPlusConfig.model_validate(
        {
            "bins": SHORTER * shapes.size("xvector.tdnn.linear.weight", 1) // front_end,
            "dimension": shapes.size("xvector.dense.linear.weight", 0),
            "front_end": front_end,
            "channels": shapes.size("xvector.tdnn.linear.weight", 0),
            "growth": shapes.size(f"{first}.cam_layer.linear_local.weight", 0),
            "bottleneck": shapes.size(f"{first}.linear1.weight", 0),
            "layers": layers,
            **others,
        }
    )


def campplus_keys(config: CAMPlusPlusConfig) -> Iterator[Key]:
    """The key map. Theirs have the embedding's layer as a convolution of single frames."""
    yield from _layer("front_end.stem", "front_end.stem_norm", "head.conv1", "head.bn1")
    for place in range(4):
        ours, theirs = f"front_end.blocks.{place}", f"head.layer{place // 2 + 1}.{place % 2}"
        yield from _layer(f"{ours}.first", f"{ours}.first_norm", f"{theirs}.conv1", f"{theirs}.bn1")
        yield from _layer(f"{ours}.second", f"{ours}.second_norm", f"{theirs}.conv2", f"{theirs}.bn2")
        if place % 2 == 0:
            yield from _shortcut(ours, theirs)
    yield from _layer("front_end.reduce", "front_end.reduce_norm", "head.conv2", "head.bn2")
    yield from _layer("stem", "stem_norm", "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
    for block, layers in enumerate(config.layers):
        for place in range(layers):
            ours = f"blocks.{block}.layers.{place}"
            theirs = f"xvector.block{block + 1}.tdnnd{place + 1}"
            yield from module(f"{ours}.norm", f"{theirs}.nonlinear1.batchnorm", NORM)
            yield from _layer(
                f"{ours}.bottleneck",
                f"{ours}.bottleneck_norm",
                f"{theirs}.linear1",
                f"{theirs}.nonlinear2.batchnorm",
            )
            yield from module(f"{ours}.masking.local", f"{theirs}.cam_layer.linear_local", WEIGHT)
            yield from module(f"{ours}.masking.squeeze", f"{theirs}.cam_layer.linear1", AFFINE)
            yield from module(f"{ours}.masking.excite", f"{theirs}.cam_layer.linear2", AFFINE)
        transit = f"xvector.transit{block + 1}"
        yield from module(f"blocks.{block}.norm", f"{transit}.nonlinear.batchnorm", NORM)
        yield from module(f"blocks.{block}.transit", f"{transit}.linear", WEIGHT)
    yield from module("frame_norm", "xvector.out_nonlinear.batchnorm", NORM)
    yield from module("embed", "xvector.dense.linear", WEIGHT, squeezed)
    yield from module("embedding_norm", "xvector.dense.nonlinear.batchnorm", STATISTICS)


def _eres2netv2_config(shapes: Shapes) -> ERes2NetV2Config:
    channels = shapes.size("conv1.weight", 0)
    expansion = shapes.size("layer1.0.conv3.weight", 0) // channels
    groups = [shapes.size(f"layer{stage}.0.convs.0.weight", 0) for stage in (1, 2, 3, 4)]
    # A group's channels are rounded down in every stage; the least width that gives all of them is told.
    widths = (
        width
        for width in range(1, 1025)
        if all((channels << stage) * width // 64 == group for stage, group in enumerate(groups))
    )
    return ERes2NetV2Config.model_validate(
        {
            "bins": SHORTER * shapes.size("seg_1.weight", 1) // (2 * SHORTER * channels * expansion),
            "dimension": shapes.size("seg_1.weight", 0),
            "channels": channels,
            "blocks": tuple(shapes.count(f"layer{stage}.{{}}.conv1.weight") for stage in (1, 2, 3, 4)),
            "width": next(widths, 0),
            "scale": shapes.count("layer1.0.convs.{}.weight"),
            "expansion": expansion,
        }
    )


def _eres2netv2_keys(config: ERes2NetV2Config) -> Iterator[Key]:
    yield from _layer("stem", "stem_norm", "conv1", "bn1")
    for stage, blocks in enumerate(config.blocks):
        for block in range(blocks):
            ours, theirs = f"stages.{stage}.blocks.{block}", f"layer{stage + 1}.{block}"
            yield from _layer(f"{ours}.reduce", f"{ours}.reduce_norm", f"{theirs}.conv1", f"{theirs}.bn1")
            for group in range(config.scale):
                layer = f"{ours}.layers.{group}"
                yield from _layer(
                    f"{layer}.convolution",
                    f"{layer}.norm",
                    f"{theirs}.convs.{group}",
                    f"{theirs}.bns.{group}",
                )
            if stage >= 2:
                for group in range(config.scale - 1):
                    yield from _fusion(f"{ours}.fusions.{group}", f"{theirs}.fuse_models.{group}")
            yield from _layer(f"{ours}.expand", f"{ours}.expand_norm", f"{theirs}.conv3", f"{theirs}.bn3")
            if block == 0 and (stage > 0 or config.expansion > 1):
                yield from _shortcut(ours, theirs)
    yield from module("halve", "layer3_ds", WEIGHT)
    yield from _fusion("fusion", "fuse34")
    yield from module("embed", "seg_1", AFFINE)


def _layer(ours: str, our_norm: str, theirs: str, their_norm: str) -> Iterator[Key]:
    yield from module(ours, theirs, WEIGHT)
    yield from module(our_norm, their_norm, NORM)


def _shortcut(ours: str, theirs: str) -> Iterator[Key]:
    yield from _layer(
        f"{ours}.shortcut.0", f"{ours}.shortcut.1", f"{theirs}.shortcut.0", f"{theirs}.shortcut.1"
    )


def _fusion(ours: str, theirs: str) -> Iterator[Key]:
    for layer, place, tensors in (("squeeze", 0, AFFINE), ("squeeze_norm", 1, NORM), ("excite", 3, AFFINE)):
        yield from module(f"{ours}.{layer}", f"{theirs}.local_att.{place}", tensors)
    yield from module(f"{ours}.excite_norm", f"{theirs}.local_att.4", NORM)


def _filterbank(config: BaseEncoderConfig, _settings: Mapping[str, Any]) -> FilterbankConfig:
    return FilterbankConfig(bins=config.bins, full_scale=1.0)


def _named(*names: str) -> dict[str, Any]:
    return {"model": re.compile("|".join(rf"(.*\.)?{name}" for name in names)), "subtract_mean": True}


THREEDSPEAKER = Toolkit(
    title="3D-Speaker",
    layouts=(
        Layout(
            title="CAM++",
            marks=CAMPPLUS_MARKS,
            config=campplus_config,
            keys=campplus_keys,
            filterbank=_filterbank,
            facts=lambda _config: _named("CAMPPlus", r"cam\+\+-sv"),
        ),
        Layout(
            title="ERes2NetV2",
            marks=("layer3_ds.weight", "fuse34.local_att.0.weight"),
            config=_eres2netv2_config,
            keys=_eres2netv2_keys,
            filterbank=_filterbank,
            facts=lambda _config: _named("ERes2NetV2", "eres2netv2-sv") | {"second_embedding": False},
        ),
        Layout(
            title="ECAPA-TDNN",
            marks=ECAPA_MARKS,
            config=ecapa_config,
            keys=ecapa_keys,
            filterbank=_filterbank,
            facts=lambda config: ecapa_facts(config) | _named("ECAPA_TDNN", "ecapa-tdnn-sv"),
        ),
    ),
    files=("embedding_model.ckpt",),
    configs=("configuration.json", "config.yaml"),
    says={
        "sample_rate": "sample_rate",
        "fbank_dim": "bins",
        "embedding_size": "dimension",
        "model.type": "model",
        "model.model_config.sample_rate": "sample_rate",
        "model.model_config.fbank_dim": "bins",
        "model.model_config.emb_size": "dimension",
        "model.model_config.embed_dim": "dimension",
        "model.model_config.channel": "channels",
        "model.model_config.baseWidth": "width",
        "model.model_config.scale": "scale",
        "model.model_config.expansion": "expansion",
        "feature_extractor.args.mean_nor": "subtract_mean",
        "feature_extractor.args.n_mels": "bins",
        "feature_extractor.args.sample_rate": "sample_rate",
        "embedding_model.obj": "model",
        "embedding_model.args.feat_dim": "bins",
        "embedding_model.args.input_size": "bins",
        "embedding_model.args.embedding_size": "dimension",
        "embedding_model.args.lin_neurons": "dimension",
        "embedding_model.args.channels": "layers",
        "embedding_model.args.m_channels": "channels",
        "embedding_model.args.baseWidth": "width",
        "embedding_model.args.scale": "scale",
        "embedding_model.args.expansion": "expansion",
        "embedding_model.args.two_emb_layer": "second_embedding",
    },
)
