"""ReDimNet as its authors save it (IDRnD/ReDimNet), and the parts of it that WeSpeaker's has too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from voxangle.encoders.encoder import BaseEncoderConfig
from voxangle.encoders.foreign.keys import AFFINE, NORM, WEIGHT, Key, columns, module
from voxangle.encoders.foreign.layout import Layout, Shapes, Toolkit
from voxangle.encoders.foreign.settings import look_up
from voxangle.encoders.redimnet import SIZES, ReDimNetConfig
from voxangle.errors import CheckpointError
from voxangle.features import BaseFilterbank, ReDimNetFilterbankConfig
from voxangle.features.redimnet import PRE_EMPHASIS

__all__ = ["REDIMNET", "redimnet_config", "redimnet_keys"]

BLOCKS = {"convnext_like": "convnext", "basic_resnet": "resnet", "basic_resnet_fwse": "resnet_fwse"}
ATTENTION_PARTS = {  # ours: theirs
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "mix": "attention.out_proj",
    "attention_norm": "layer_norm",
    "widen": "feed_forward.intermediate_dense",
    "narrow": "feed_forward.output_dense",
    "output_norm": "final_layer_norm",
}


def redimnet_config(shapes: Shapes, embed: str) -> ReDimNetConfig:
    """The settings that the shapes tell; ``embed`` is the name of the last layer."""
    channels = shapes.size("backbone.stem.0.weight", 0)
    signal = shapes.size("pool.linear2.weight", 0)
    before, block = channels, "convnext"
    groups: list[tuple[int, int]] = []
    kernels: list[int] = []
    stages: list[dict[str, Any]] = []
    while places := shapes.places(f"backbone.stage{len(stages)}."):
        names = [f"backbone.stage{len(stages)}.{place}" for place in places]
        pool = next(name for name in names if not shapes.has(f"{name}.w"))
        stride, wide = shapes.size(f"{pool}.weight", 2), shapes.size(f"{pool}.weight", 0)
        blocks = [name for name in names if _block(shapes, name) is not None]
        if blocks:
            block = _block(shapes, blocks[0]) or block
            convolution = "dwconvs.0" if block == "convnext" else "conv1"
            groups.append((wide, shapes.size(f"{blocks[0]}.conv_block.{convolution}.weight", 1)))
        contexts = [name for name in names if shapes.has(f"{name}.red_dim_conv.0.weight")]
        reduction = None
        if contexts:
            reduction = signal // shapes.size(f"{contexts[0]}.red_dim_conv.0.weight", 0)
            count = shapes.count(f"{contexts[0]}.tcm.{{}}.dwconvs.0.weight")
            kernels = [shapes.size(f"{contexts[0]}.tcm.{k}.dwconvs.0.weight", 2) for k in range(count)]
        after = before * stride
        stages.append(
            {"stride": stride, "blocks": len(blocks), "expansion": wide // after, "reduction": reduction}
        )
        before = after
    told = {
        "bins": signal // channels,
        "channels": channels,
        "block": block,
        "group": _group(groups),
        "stages": stages,
        "attention": shapes.size("pool.linear1.weight", 0),
        "dimension": shapes.size(f"{embed}.weight", 0),
        **({"kernels": kernels} if kernels else {}),
    }
    config = ReDimNetConfig.model_validate(told)
    for size, settings in SIZES.items():
        if all(getattr(config, name) == value for name, value in settings._asdict().items()):
            return config.model_copy(update={"size": size})
    return config


def redimnet_keys(config: ReDimNetConfig, sums: list[str], skip: int) -> Iterator[Key]:
    """The key map of all but the end.

    Args:
        config: our settings.
        sums: their name of the weights of each sum of signals.
        skip: how many places without weights a stage begins with.
    """
    yield from module("stem", "backbone.stem.0", AFFINE)
    yield from module("stem_norm", "backbone.stem.1", AFFINE)
    for place, theirs in enumerate(sums):
        yield Key(f"sums.{place}.scores", theirs)
    for index, stage in enumerate(config.stages):
        ours, theirs = f"stages.{index}", f"backbone.stage{index}"
        yield from module(f"{ours}.pool", f"{theirs}.{skip}", AFFINE)
        for block in range(stage.blocks):
            yield from _block_keys(
                config, f"{ours}.blocks.{block}", f"{theirs}.{skip + 1 + block}.conv_block"
            )
        place = skip + 1 + stage.blocks
        if stage.expansion > 1:
            yield from module(f"{ours}.narrow.convolution", f"{theirs}.{place}.0", AFFINE)
            yield from module(f"{ours}.narrow.norm", f"{theirs}.{place}.1", NORM)
            yield from module(f"{ours}.narrow.pointwise", f"{theirs}.{place}.3", AFFINE)
            place += 1
        if stage.reduction is not None:  # one place further on, behind the change to a signal
            yield from _context_keys(config, f"{ours}.context", f"{theirs}.{place + 1}")
    hidden, width = "pool.linear1", config.channels * config.bins
    yield Key("pooling.frame.weight", f"{hidden}.weight", columns(0, width))
    yield Key("pooling.context.weight", f"{hidden}.weight", columns(width, None, squeeze=True))
    yield Key("pooling.frame.bias", f"{hidden}.bias")
    yield from module("pooling.score", "pool.linear2", AFFINE)


def _group(convolutions: list[tuple[int, int]]) -> int:
    """Channels of a group, of the channels of each convolution and of its groups.

    A convolution of fewer channels than that has one group of them all, and so tells nothing.
    """
    parted = [within for channels, within in convolutions if within < channels]
    return min(parted, default=max((channels for channels, _ in convolutions), default=1))


def _block(shapes: Shapes, name: str) -> str | None:
    """The kind of a 2-D block; None if there is none of this name."""
    if shapes.has(f"{name}.conv_block.dwconvs.0.weight"):
        return "convnext"
    if shapes.has(f"{name}.conv_block.conv1.weight"):
        return "resnet_fwse" if shapes.has(f"{name}.conv_block.se.squeeze.weight") else "resnet"
    return None


def _block_keys(config: ReDimNetConfig, ours: str, theirs: str) -> Iterator[Key]:
    if config.block == "convnext":
        yield from _convnext_keys(ours, theirs)
        return
    for name, number in (("first", 1), ("second", 2)):
        yield from module(f"{ours}.{name}", f"{theirs}.conv{number}", WEIGHT)
        yield from module(f"{ours}.{name}_pointwise", f"{theirs}.conv{number}pw", AFFINE)
        yield from module(f"{ours}.{name}_norm", f"{theirs}.bn{number}", NORM)
    if config.block == "resnet_fwse":
        yield from module(f"{ours}.excitation.squeeze", f"{theirs}.se.squeeze", AFFINE)
        yield from module(f"{ours}.excitation.excite", f"{theirs}.se.exitation", AFFINE)


def _convnext_keys(ours: str, theirs: str) -> Iterator[Key]:
    yield from module(f"{ours}.convolution", f"{theirs}.dwconvs.0", AFFINE)
    yield from module(f"{ours}.norm", f"{theirs}.norm", NORM)
    yield from module(f"{ours}.pointwise", f"{theirs}.pwconv1", AFFINE)


def _context_keys(config: ReDimNetConfig, ours: str, theirs: str) -> Iterator[Key]:
    yield from module(f"{ours}.reduce", f"{theirs}.red_dim_conv.0", AFFINE)
    yield from module(f"{ours}.norm", f"{theirs}.red_dim_conv.1", AFFINE)
    for place in range(len(config.kernels)):
        yield from _convnext_keys(f"{ours}.blocks.{place}", f"{theirs}.tcm.{place}")
    for our_part, their_part in ATTENTION_PARTS.items():
        layer = f"{theirs}.tcm.{len(config.kernels)}"
        yield from module(f"{ours}.attention.{our_part}", f"{layer}.{their_part}", AFFINE)
    yield from module(f"{ours}.expand", f"{theirs}.exp_dim_conv", AFFINE)


def _keys(config: ReDimNetConfig) -> Iterator[Key]:
    sums = [f"backbone.stage{stage}.0.w" for stage in range(1, len(config.stages))]
    yield from redimnet_keys(config, [*sums, "backbone.fin_wght1d.w"], skip=2)
    yield from module("pooled_norm", "bn", NORM)
    yield from module("embed", "linear", AFFINE)


def _filterbank(config: BaseEncoderConfig, settings: Mapping[str, Any]) -> ReDimNetFilterbankConfig:
    shift = look_up(settings, "model_config.hop_length")
    if shift is None:
        raise CheckpointError(
            "no weight tells how many samples lie between frames, and no config says it: save a dictionary of "
            "'model_config' and 'state_dict', as the authors' checkpoints are, or put a config.yaml with "
            "'model_config: {hop_length: 240}' beside the weights"
        )
    stated = {
        ours: value
        for ours, theirs in (
            ("low_hz", "f_min"),
            ("high_hz", "f_max"),
            ("pre_emphasis", "do_preemph"),
            ("normalise", "norm_signal"),
        )
        if (value := look_up(settings, f"model_config.spec_params.{theirs}")) is not None
    }
    return ReDimNetFilterbankConfig.model_validate({"bins": config.bins, "shift": shift, **stated})


def _witnesses(filterbank: BaseFilterbank) -> Mapping[str, Tensor]:
    kept = dict(filterbank.named_buffers())
    return {
        "spec.torchfbank.1.flipped_filter": torch.tensor([[[-PRE_EMPHASIS, 1.0]]]),
        "spec.torchfbank.2.spectrogram.window": kept["window"],
        "spec.torchfbank.2.mel_scale.fb": kept["weights"],
    }


def _facts(config: ReDimNetConfig) -> Mapping[str, Any]:
    return {
        "context_block": "conv+att",
        "their_block": next(theirs for theirs, ours in BLOCKS.items() if ours == config.block),
        "pooling": "ASTP",
        "global_context": True,
        "embedding_norm": False,
        "features": re.compile("pt|pt_mel"),
        "n_fft": 512,
        "win_length": 400,
        "spec_norm": "mn",
        "tf_optimized": False,
    }


REDIMNET = Toolkit(
    title="ReDimNet",
    layouts=(
        Layout(
            title="ReDimNet",
            marks=("backbone.stem.0.weight", "backbone.fin_wght1d.w", "linear.weight"),
            config=lambda shapes: redimnet_config(shapes, "linear"),
            keys=_keys,
            filterbank=_filterbank,
            facts=_facts,
            witnesses=_witnesses,
            classifier=r"cls_head\..*",
            # The weight 1 of the first stage's sum, which is of one signal.
            ignored=r"backbone\.stage0\.0\.w",
        ),
    ),
    files=("model.pt",),
    configs=("config.yaml", "config.json"),
    says={
        "model_config.F": "bins",
        "model_config.C": "channels",
        "model_config.embed_dim": "dimension",
        "model_config.block_1d_type": "context_block",
        "model_config.block_2d_type": "their_block",
        "model_config.pooling_func": "pooling",
        "model_config.global_context_att": "global_context",
        "model_config.emb_bn": "embedding_norm",
        "model_config.feat_type": "features",
        "model_config.tf_optimized_arch": "tf_optimized",
        "model_config.spec_params.sample_rate": "sample_rate",
        "model_config.spec_params.n_fft": "n_fft",
        "model_config.spec_params.win_length": "win_length",
        "model_config.spec_params.spec_norm": "spec_norm",
    },
)
