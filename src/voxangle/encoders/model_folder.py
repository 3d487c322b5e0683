"""A model on disk: ``model.safetensors`` (weights, no pickle) and ``model.json`` (card and checksum)."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from voxangle.config import Config
from voxangle.encoders.card import ModelCard
from voxangle.encoders.encoder import Encoder
from voxangle.encoders.registry import build_encoder
from voxangle.errors import CheckpointError
from voxangle.storage import atomic_write

__all__ = ["read_model", "write_model"]

FORMAT = 1
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"


class _Description(Config):
    format: int = Field(ge=1, le=FORMAT)
    weights_sha256: str
    card: ModelCard


def write_model(folder: str | Path, encoder: Encoder, card: ModelCard) -> None:
    """Write the weights and the card into ``folder``, made if missing; a model there is replaced.

    Both files are on disk before either takes its name, so that a full disk leaves the previous model as it was.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    folder = Path(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    weights = safetensors.torch.save(tensors, metadata={"encoder": card.encoder.model_dump_json()})
    description = _Description(format=FORMAT, weights_sha256=_sha256(weights), card=card)
    with atomic_write(folder / DESCRIPTION) as temporary:
        _write_through(temporary, description.model_dump_json(indent=2).encode() + b"\n")
        with atomic_write(folder / WEIGHTS) as temporary_weights:
            temporary_weights.write_bytes(weights)


def read_model(path: str | Path) -> tuple[ModelCard, Encoder, str]:
    """Card, encoder on the CPU, and the weights' SHA-256, of a model folder or of a run folder that holds ``model``.

    No random number is drawn.

    Raises:
        CheckpointError: there is no model, it is broken or of a newer format, or its weights are of another
            architecture or another model.
    """
    folder = _model_folder(Path(path))
    description = _read_description(folder / DESCRIPTION)
    file = folder / WEIGHTS
    weights = _read(file)
    try:
        tensors = safetensors.torch.load(weights)
    except SafetensorError as error:
        raise CheckpointError(
            f"{file}: broken or truncated ({error}); copy or save the model again"
        ) from error
    with torch.device("meta"):
        encoder = build_encoder(description.card.encoder)
    _check_architecture(file, description.card, encoder, tensors)
    if _sha256(weights) != description.weights_sha256:
        raise CheckpointError(
            f"{file}: not the weights that {DESCRIPTION} describes (their SHA-256 differs); "
            "copy both files of one model again"
        )
    encoder.load_state_dict(tensors, assign=True)
    return description.card, encoder, description.weights_sha256


def _model_folder(path: Path) -> Path:
    for folder in (path, path / "model"):
        if (folder / DESCRIPTION).exists() or (folder / WEIGHTS).exists():
            return folder
    raise CheckpointError(
        f"{path}: no model here; name a folder with {DESCRIPTION} and {WEIGHTS}, or a run that has finished "
        "training (it keeps them in 'model')"
    )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{file}: missing; a model is {WEIGHTS} and {DESCRIPTION} together") from error
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error


def _read_description(file: Path) -> _Description:
    content = _read(file)
    try:
        raw = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{file}: not valid JSON ({error}); copy or save the model again") from error
    if _is_newer(raw):
        raise CheckpointError(
            f"{file}: format {raw['format']} is newer than this voxangle reads ({FORMAT}); upgrade voxangle"
        )
    try:
        return _Description.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{file}: not a model's description ({where}: {first['msg']})") from error


def _is_newer(raw: Any) -> bool:
    return isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT


def _check_architecture(file: Path, card: ModelCard, encoder: Encoder, tensors: dict[str, Tensor]) -> None:
    expected, found = _layout(encoder.state_dict()), _layout(tensors)
    if expected == found:
        return
    differing = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    first = differing[0]
    raise CheckpointError(
        f"{file}: weights of another architecture: {DESCRIPTION} says {card.encoder.model_dump_json()}, "
        f"the weights were saved as {_saved_as(file)}; {len(differing)} tensors differ, the first is "
        f"'{first}': expected {expected.get(first, 'none')}, found {found.get(first, 'none')}"
    )


def _layout(tensors: dict[str, Tensor]) -> dict[str, str]:
    return {name: f"{tensor.dtype} {tuple(tensor.shape)}" for name, tensor in tensors.items()}


def _saved_as(file: Path) -> str:
    with safe_open(file, framework="pt") as weights:
        metadata: dict[str, str] = weights.metadata() or {}
    return metadata.get("encoder", "something unnamed")


def _write_through(file: Path, content: bytes) -> None:
    with file.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
