"""From another toolkit's checkpoint to a model of ours that gives the same embeddings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor

from voxangle.audio import SAMPLE_RATE
from voxangle.config import first_problem
from voxangle.encoders.card import ModelCard, Origin
from voxangle.encoders.encoder import Encoder
from voxangle.encoders.foreign.keys import translate
from voxangle.encoders.foreign.layout import Layout, Shapes, Toolkit
from voxangle.encoders.foreign.redimnet import REDIMNET
from voxangle.encoders.foreign.settings import look_up, read_licence, read_settings
from voxangle.encoders.foreign.speechbrain import SPEECHBRAIN
from voxangle.encoders.foreign.threedspeaker import THREEDSPEAKER
from voxangle.encoders.foreign.weights import Weights, find_weights, read_weights
from voxangle.encoders.foreign.wespeaker import WESPEAKER
from voxangle.encoders.model_files import write_model
from voxangle.encoders.registry import build_encoder
from voxangle.errors import CheckpointError, nearest
from voxangle.features import build_filterbank

__all__ = ["TOOLKITS", "Converted", "convert", "import_model"]

TOOLKITS: dict[str, Toolkit] = {
    "speechbrain": SPEECHBRAIN,
    "wespeaker": WESPEAKER,
    "3dspeaker": THREEDSPEAKER,
    "redimnet": REDIMNET,
}


class Converted(NamedTuple):
    """A model made of another toolkit's checkpoint.

    Attributes:
        encoder: with its weights, in evaluation mode, on the CPU.
        card: what it is and where it came from.
        left_out: names of the tensors of a classifier, which no embedding needs.
    """

    encoder: Encoder
    card: ModelCard
    left_out: tuple[str, ...]


def import_model(toolkit: str, path: str | Path, out: str | Path, *, name: str | None = None) -> Converted:
    """Convert another toolkit's checkpoint, and write it as a model folder.

    Args:
        toolkit: a name in ``TOOLKITS``.
        path: its file of weights, or the folder with it and its config.
        out: the folder to write; a model there is replaced.
        name: of the model; None for that of the file or folder.

    Raises:
        CheckpointError: the toolkit is unknown, or the checkpoint is not one of its that we can compute.
        StorageError: the folder cannot be written.
    """
    converted = convert(toolkit, path, name=name)
    write_model(out, converted.encoder, converted.card)
    return converted


def convert(toolkit: str, path: str | Path, *, name: str | None = None) -> Converted:
    """The model that another toolkit's checkpoint holds; see ``import_model``."""
    if toolkit not in TOOLKITS:
        raise CheckpointError(f"no toolkit '{toolkit}'{nearest(toolkit, TOOLKITS)}")
    kit, path = TOOLKITS[toolkit], Path(path)
    weights = read_weights(find_weights(path, kit.files))
    if broken := [name for name, tensor in weights.tensors.items() if not tensor.isfinite().all()]:
        raise CheckpointError(
            f"{weights.file}: {len(broken)} tensors hold values that are not finite, such as '{broken[0]}'; get the "
            "model's file again, or an earlier checkpoint of its training"
        )
    layout = _layout(toolkit, weights)
    configs = [(weights.file, weights.settings), *read_settings(weights.file.parent, kit.configs)]
    settings = {key: value for _, config in reversed(configs) for key, value in config.items()}
    try:
        config = layout.config(Shapes(weights.tensors))
        filterbank = layout.filterbank(config, settings)
        card = ModelCard(
            name=name or _name(path, weights.file),
            encoder=config,
            filterbank=filterbank,
            origin=Origin(
                toolkit=kit.title,
                file=weights.file.name,
                sha256=weights.sha256,
                licence=read_licence(weights.file.parent, [config for _, config in configs]),
            ),
        )
        for file, stated in configs:
            _contradict(file, stated, kit, {**layout.facts(config), **_facts(card)})
        with torch.device("meta"):
            encoder = build_encoder(config)
        passed_over = re.compile(f"{layout.classifier}|{layout.ignored}")
        fixed = layout.fixed(config)
        witnesses = layout.witnesses(build_filterbank(filterbank))
        made = translate(
            layout.keys(config),
            weights.tensors,
            encoder.state_dict(),
            lambda theirs: theirs in witnesses or passed_over.fullmatch(theirs) is not None,
        )
        _agree(weights.tensors, witnesses)
    except ValidationError as error:
        raise CheckpointError(
            f"{weights.file}: tells settings that no {layout.title} here has ({first_problem(error)})"
        ) from error
    except CheckpointError as error:
        raise CheckpointError(_located(str(error), weights.file, kit, layout)) from error
    encoder.load_state_dict({**made, **fixed}, assign=True)
    classifier = re.compile(layout.classifier)
    left_out = tuple(theirs for theirs in weights.tensors if classifier.fullmatch(theirs))
    return Converted(encoder.eval(), card, left_out)


def _layout(toolkit: str, weights: Weights) -> Layout:
    """The layout whose marks the tensors bear."""
    bearing = {
        name: layout
        for name, kit in TOOLKITS.items()
        for layout in kit.layouts
        if all(mark in weights.tensors for mark in layout.marks)
    }
    if toolkit in bearing:
        return bearing[toolkit]
    others = [f"{TOOLKITS[name].title}'s {layout.title} (`{name}`)" for name, layout in bearing.items()]
    kit = TOOLKITS[toolkit]
    known = ", ".join(
        f"{layout.title}, where '{mark}' is missing"
        for layout in kit.layouts
        for mark in [next(mark for mark in layout.marks if mark not in weights.tensors)]
    )
    first = ", ".join(f"'{name}'" for name in list(weights.tensors)[:3])
    raise CheckpointError(
        f"{weights.file}: not an encoder of {kit.title} that can be read ({known}); "
        + (f"its tensors are named as {' or '.join(others)}" if others else f"its tensors begin with {first}")
    )


def _facts(card: ModelCard) -> dict[str, Any]:
    settings = {f"features.{key}": value for key, value in card.filterbank.model_dump().items()}
    return {**settings, **card.encoder.model_dump(), "sample_rate": SAMPLE_RATE}


def _contradict(file: Path, settings: Mapping[str, Any], kit: Toolkit, facts: Mapping[str, Any]) -> None:
    """Refuse a config that says other than what is so."""
    for path, fact in kit.says.items():
        stated = look_up(settings, path)
        if stated is None or fact not in facts:
            continue
        so = facts[fact]
        if isinstance(so, re.Pattern):
            if not (isinstance(stated, str) and so.fullmatch(stated)):
                raise CheckpointError(f"{file.name} says {path}: {stated}; expected {so.pattern}")
        elif stated != so:
            cause = (
                f"only models for {SAMPLE_RATE} Hz can be used"
                if fact == "sample_rate"
                else f"expected {so}, as the weights and this architecture have it"
            )
            raise CheckpointError(f"{file.name} says {path}: {stated}; {cause}")


def _agree(tensors: Mapping[str, Tensor], witnesses: Mapping[str, Tensor]) -> None:
    for name, expected in witnesses.items():
        found = tensors.get(name)
        if found is not None and not (
            found.shape == expected.shape and torch.allclose(found.float(), expected, atol=1e-4)
        ):
            raise CheckpointError(f"'{name}' is not of the features that the config describes")


def _located(message: str, file: Path, kit: Toolkit, layout: Layout) -> str:
    return f"{file}: as {kit.title}'s {layout.title}: {message}"


def _name(path: Path, file: Path) -> str:
    return path.resolve().name if path.is_dir() else file.stem
