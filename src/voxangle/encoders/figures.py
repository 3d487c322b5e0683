"""What every encoder costs, counted on modules without memory."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from voxangle.encoders.encoder import BaseEncoderConfig
from voxangle.encoders.registry import ENCODERS, build_encoder

__all__ = ["Figures", "figures", "sizes"]

FRAMES = 200  # of 2 s, at 10 ms
SIZES: dict[str, tuple[dict[str, Any], ...]] = {
    "ecapa_tdnn": ({"channels": 512}, {"channels": 1024}),
    "eres2netv2": ({}, {"width": 24, "scale": 4, "expansion": 4}),
}
_PAPER = re.compile(r"arXiv (\d{4}\.\d{5})")


class Figures(NamedTuple):
    """An encoder's figures.

    Attributes:
        architecture: its name in recipes.
        settings: what is not at its default, as in recipes.
        parameters: how many there are.
        multiply_adds: of one recording of 200 frames (2 s, at 10 ms).
        dimension: length of an embedding.
        paper: the address of the paper.
    """

    architecture: str
    settings: str
    parameters: int
    multiply_adds: int
    dimension: int
    paper: str


def figures() -> list[Figures]:
    """Of every size of every encoder in ``ENCODERS``; nothing is computed but the counts."""
    return [_figures(name, given) for name, given in sizes()]


def sizes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Architecture and settings of each size: the choices of a setting that is called size or depth, else ``SIZES``."""
    for name, entry in ENCODERS.items():
        for field, info in entry.config.model_fields.items():
            if field in {"size", "depth"}:
                yield from ((name, {field: choice}) for choice in typing.get_args(info.annotation))
                break
        else:
            yield from ((name, given) for given in SIZES.get(name, ({},)))


def _figures(name: str, given: dict[str, Any]) -> Figures:
    entry = ENCODERS[name]
    config: BaseEncoderConfig = entry.config.model_validate({"architecture": name, **given})
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder = build_encoder(config).eval()
        encoder(torch.empty(1, FRAMES, config.bins))
    paper = _PAPER.search(inspect.getdoc(sys.modules[entry.config.__module__]) or "")
    return Figures(
        architecture=name,
        settings=", ".join(f"{key}: {value}" for key, value in given.items()),
        parameters=sum(parameter.numel() for parameter in encoder.parameters()),
        multiply_adds=counter.get_total_flops() // 2,
        dimension=config.dimension,
        paper=f"arxiv.org/abs/{paper[1]}" if paper else "",
    )
