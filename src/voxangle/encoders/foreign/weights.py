"""Reading another toolkit's file of weights without ever running what is in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from voxangle.errors import CheckpointError

__all__ = ["Weights", "find_weights", "read_weights"]

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
# What torch's restricted reader says: of a name it does not call, of something else, and before it goes on about both.
_CALLED = re.compile(r"GLOBAL ([\w.]+)")
_TOLD = re.compile(r"WeightsUnpickler error: ?([^\n]*)")
_FIRST_LINE = re.compile(r"([^\n]*)")
CURE = "save the model's state_dict() alone, with torch.save or as .safetensors"


class Weights(NamedTuple):
    """A file of weights.

    Attributes:
        file: where it is.
        sha256: of the file.
        tensors: by the names that the toolkit gives them.
        settings: what else the file holds, plain data all.
    """

    file: Path
    sha256: str
    tensors: dict[str, Tensor]
    settings: dict[str, Any]


def find_weights(path: Path, usual: Sequence[str]) -> Path:
    """The file of weights that is meant by ``path``: itself, or the one in that folder.

    Args:
        path: a file or a folder.
        usual: the names that the toolkit gives such a file, the best one first.

    Raises:
        CheckpointError: there is none, or there are several with unusual names.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise CheckpointError(f"{path}: there is no such file or folder")
    for name in usual:
        if (path / name).is_file():
            return path / name
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if len(files) == 1:
        return files[0]
    if not files:
        raise CheckpointError(f"{path}: no file of weights in this folder ({', '.join(SUFFIXES)})")
    names = ", ".join(file.name for file in files)
    raise CheckpointError(f"{path}: several files could be the weights ({names}); name one of them")


def read_weights(file: Path) -> Weights:
    """The tensors of a file that torch.save or safetensors wrote, on the CPU.

    A pickle is read by torch's restricted reader, which makes tensors and plain data and calls nothing else.

    Raises:
        CheckpointError: the file is truncated, is no such file, or holds more than tensors and plain data.
    """
    try:
        sha256 = _sha256(file)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error
    if file.suffix == ".safetensors":
        return Weights(file, sha256, _load(file, safetensors.torch.load_file), {})
    content = _load(file, lambda path: torch.load(path, map_location="cpu", weights_only=True))
    settings: dict[str, Any] = {}
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        settings = {str(key): value for key, value in content.items() if key != "state_dict"}
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{file}: holds no dictionary of tensors but {_kind(content)}; {CURE}")
    strange = [
        f"'{name}' ({_kind(value)})" for name, value in content.items() if not isinstance(value, Tensor)
    ]
    if strange:
        raise CheckpointError(f"{file}: not everything in it is a tensor: {', '.join(strange[:5])}; {CURE}")
    tensors = {str(name): tensor.detach() for name, tensor in content.items()}
    if all(name.startswith("module.") for name in tensors):  # saved from within DataParallel
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return Weights(file, sha256, tensors, settings)


def _load(file: Path, load: Any) -> Any:
    try:
        return load(file)
    except Exception as error:
        # A broken file can make a reader raise nearly anything.
        if called := _CALLED.search(str(error)):
            raise CheckpointError(
                f"{file}: refused, since it holds more than tensors and plain data ({called[1]}); nothing in it was "
                f"run. If you trust it, {CURE}"
            ) from error
        told = _TOLD.search(str(error)) or _FIRST_LINE.match(str(error))
        cause = told[1] if told and told[1] else type(error).__name__
        raise CheckpointError(f"{file}: broken, truncated or no file of weights ({cause})") from error


def _kind(value: object) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else f"a {type(value).__name__}"


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
