"""A model on disk: a folder of ``model.safetensors`` and ``model.json``, or one ``.safetensors`` that holds both.

Neither holds a pickle. The description (card and checksum) is JSON; in one file it stands in the header's metadata.
The checksum is of the tensors (names, types, shapes, values), so that a model keeps it in either form.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from voxangle.config import Config, first_problem
from voxangle.encoders.card import ModelCard
from voxangle.encoders.encoder import Encoder
from voxangle.encoders.registry import build_encoder
from voxangle.errors import CheckpointError
from voxangle.storage import atomic_write

__all__ = [
    "DESCRIPTION",
    "WEIGHTS",
    "StoredModel",
    "copy_model",
    "read_model",
    "rewrite_card",
    "write_model",
]

FORMAT = 2
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
SUFFIX = ".safetensors"
LISTED = 5  # tensors of a kind that an error names


class _Description(Config):
    format: int = Field(ge=FORMAT, le=FORMAT)
    weights_sha256: str
    card: ModelCard


class StoredModel(NamedTuple):
    """A model that was read.

    Attributes:
        card: what it says about itself.
        encoder: with its weights, float32, on the CPU.
        weights_sha256: of its tensors as they are stored.
    """

    card: ModelCard
    encoder: Encoder
    weights_sha256: str


def write_model(path: str | Path, encoder: Encoder, card: ModelCard, *, half: bool = False) -> None:
    """Write a model; what was there is replaced.

    In a folder both files are on disk before either takes its name, so that a full disk leaves the previous model
    as it was.

    Args:
        path: ``NAME.safetensors`` for one file; else a folder, made if missing.
        encoder: its weights are written.
        card: what it says about itself.
        half: store matrices and kernels as float16, in half the space; norms and biases stay float32. These are other
            weights: the card loses its metrics, and keeps thresholds and calibration, which a rounding to 11 bits
            does not move by more than their own uncertainty.

    Raises:
        CheckpointError: a weight is too large for float16.
        StorageError: the disk is full, or the place cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    if half:
        tensors, card = _halved(tensors, card)
    _write(Path(path), tensors, card)


def copy_model(path: str | Path, out: str | Path, *, half: bool = False) -> ModelCard:
    """Write the model at ``path`` once more, from either form to either, its tensors as they are stored.

    Args:
        path: as for ``read_model``.
        out: as for ``write_model``.
        half: halve the tensors that are not yet; see ``write_model``.

    Returns:
        The card that was written.

    Raises:
        CheckpointError: there is no whole model, or a weight is too large for float16.
        StorageError: the place cannot be written.
    """
    read = _read(Path(path))
    tensors, card = read.tensors, read.description.card
    if half:
        tensors, card = _halved(tensors, card)
    _write(Path(out), tensors, card)
    return card


def rewrite_card(path: str | Path, card: ModelCard) -> None:
    """Give the model at ``path`` another card; its weights stay as they are.

    Raises:
        CheckpointError: there is no whole model.
        StorageError: it cannot be written.
    """
    read = _read(Path(path))
    fields = ("encoder", "filterbank", "sample_rate")
    if any(getattr(card, field) != getattr(read.description.card, field) for field in fields):
        raise CheckpointError(
            f"{read.place}: a card of another encoder or of other features does not fit its weights"
        )
    _write(read.place, read.tensors, card)


def read_model(path: str | Path) -> StoredModel:
    """The model in a file, in a folder, or in the folder ``model`` of a run. No random number is drawn.

    Raises:
        CheckpointError: there is no model, it is a pickle, it is broken or of another format, its weights are not
            those of its architecture, or not those it describes.
    """
    _, description, tensors, encoder = _read(Path(path))
    types = {name: tensor.dtype for name, tensor in encoder.state_dict().items()}
    encoder.load_state_dict({name: tensor.to(types[name]) for name, tensor in tensors.items()}, assign=True)
    return StoredModel(description.card, encoder, description.weights_sha256)


def _place_of(path: Path) -> Path:
    """Where the model is that ``path`` means: a file, a folder, or the folder ``model`` of a run.

    Raises:
        CheckpointError: there is none.
    """
    if path.name in (WEIGHTS, DESCRIPTION) and (path.parent / DESCRIPTION).exists():
        return path.parent
    if path.suffix.lower() == ".onnx":
        raise CheckpointError(
            f"{path}: an exported model, to be used as it is; name the one it was made from"
        )
    if path.is_file():
        return path
    for folder in (path, path / "model"):
        if (folder / DESCRIPTION).exists() or (folder / WEIGHTS).exists():
            return folder
    raise CheckpointError(
        f"{path}: no model here; name a folder with {DESCRIPTION} and {WEIGHTS}, a model in one {SUFFIX}, or a run "
        "that has finished training (it keeps them in 'model')"
    )


def _write(place: Path, tensors: Mapping[str, Tensor], card: ModelCard) -> None:
    if place.suffix.lower() == ".onnx":
        raise CheckpointError(
            f"{place}: a model is a folder or one {SUFFIX}; `voxangle export onnx` makes the other"
        )
    description = _Description(format=FORMAT, weights_sha256=_sha256(tensors), card=card)
    if place.suffix == SUFFIX:
        content = safetensors.torch.save(dict(tensors), metadata={"voxangle": description.model_dump_json()})
        with atomic_write(place) as temporary:
            temporary.write_bytes(content)
        return
    content = safetensors.torch.save(dict(tensors), metadata={"encoder": card.encoder.model_dump_json()})
    with atomic_write(place / DESCRIPTION) as temporary:
        _write_through(temporary, description.model_dump_json(indent=2).encode() + b"\n")
        with atomic_write(place / WEIGHTS) as temporary_weights:
            temporary_weights.write_bytes(content)


class _Read(NamedTuple):
    """What was found at a place, and the encoder that it fits, which has no weights yet."""

    place: Path
    description: _Description
    tensors: dict[str, Tensor]
    encoder: Encoder


def _read(path: Path) -> _Read:
    place = _place_of(path)
    one_file = place.is_file()
    file = place if one_file else place / WEIGHTS
    told = None if one_file else _content(place / DESCRIPTION)
    content = _content(file)
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise CheckpointError(f"{file}: {_no_tensors(content, error)}") from error
    metadata = _metadata(content)
    if told is None:
        if "voxangle" not in metadata:
            raise CheckpointError(
                f"{file}: tensors, but no model: {DESCRIPTION} is missing beside it, and nothing in it says what it "
                "is. Copy both files of a model, or `voxangle import` a model of another toolkit"
            )
        told = metadata["voxangle"].encode()
    description = _described(told, file if one_file else place / DESCRIPTION)
    encoder = _without_weights(description.card)
    _check_architecture(file, description.card, encoder, tensors, metadata.get("encoder"))
    if _sha256(tensors) != description.weights_sha256:
        raise CheckpointError(
            f"{file}: not the weights that "
            + ("it describes" if one_file else f"{DESCRIPTION} describes")
            + " (their SHA-256 differs); "
            + ("copy or save the model again" if one_file else "copy both files of one model again")
        )
    return _Read(place, description, tensors, encoder)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{file}: missing; a model is {WEIGHTS} and {DESCRIPTION} together") from error
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error


def _no_tensors(content: bytes, error: SafetensorError) -> str:
    """Why a file's content is no safetensors. A pickle is told by its first bytes; it is never opened."""
    if content.startswith((b"PK\x03\x04", b"\x80")):
        return (
            "a pickle or an archive of torch.save, which could run code and is never opened here; `voxangle import` "
            "takes weights out of those of other toolkits without running anything"
        )
    return f"broken or truncated, or no safetensors ({error}); copy or save the model again"


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata in a safetensors' header: 8 bytes of its length, then JSON; safetensors has checked both."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata


def _described(content: bytes, file: Path) -> _Description:
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: not valid JSON ({error}); copy or save the model again") from error
    number = raw.get("format") if isinstance(raw, dict) else None
    if type(number) is int and number != FORMAT:
        age, cure = (
            ("newer", "upgrade voxangle")
            if number > FORMAT
            else ("older", "make it again, by its train or import command")
        )
        raise CheckpointError(f"{file}: format {number} is {age} than this voxangle reads ({FORMAT}); {cure}")
    try:
        return _Description.model_validate(raw)
    except ValidationError as error:
        raise CheckpointError(
            f"{file}: not a model's description ({first_problem(error, 'the whole')})"
        ) from error


def _check_architecture(
    file: Path, card: ModelCard, encoder: Encoder, tensors: Mapping[str, Tensor], saved_as: str | None
) -> None:
    """Refuse tensors that are not the encoder's, naming those that are missing, extra or of another shape."""
    expected = encoder.state_dict()
    wrong = [
        f"'{name}' is {_form(tensors[name])} instead of {_form(expected[name])}"
        for name in expected.keys() & tensors.keys()
        if not _fits(tensors[name], expected[name])
    ]
    found = {
        "missing": [f"'{name}'" for name in expected if name not in tensors],
        "not of this encoder": sorted(f"'{name}'" for name in tensors if name not in expected),
        "of another form": sorted(wrong),
    }
    if any(found.values()):
        kinds = "; ".join(f"{kind}: {_listed(names)}" for kind, names in found.items() if names)
        raise CheckpointError(
            f"{file}: weights of another architecture: the card says {card.encoder.model_dump_json()}, "
            f"the weights were saved as {saved_as or 'something unnamed'}. Of {len(expected)} tensors, {kinds}"
        )


def _without_weights(card: ModelCard) -> Encoder:
    try:
        with torch.device("meta"):
            return build_encoder(card.encoder)
    except (RuntimeError, TypeError, OverflowError) as error:
        raise CheckpointError(
            f"the encoder of '{card.name}' cannot be built: its settings are out of all bounds"
        ) from error


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _fits(found: Tensor, expected: Tensor) -> bool:
    """Of its shape, and of its type or, if that is a float, of a shorter one."""
    shorter = expected.is_floating_point() and found.dtype in (torch.float16, torch.bfloat16)
    return found.shape == expected.shape and (found.dtype == expected.dtype or shorter)


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _halved(tensors: Mapping[str, Tensor], card: ModelCard) -> tuple[dict[str, Tensor], ModelCard]:
    halved = {
        name: tensor.half() if tensor.ndim > 1 and tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    if large := [name for name, tensor in halved.items() if not tensor.isfinite().all()]:
        raise CheckpointError(f"'{large[0]}' holds values too large for float16; save the model in float32")
    return halved, card.model_copy(update={"metrics": ()})


def _write_through(file: Path, content: bytes) -> None:
    with file.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    """Of the tensors by name: each one's name, type and shape in a line, then its values as they lie in memory."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {_form(tensor)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
