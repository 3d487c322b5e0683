"""Key maps: our names of tensors, theirs, and how a tensor changes on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from voxangle.errors import CheckpointError

__all__ = ["AFFINE", "NORM", "STATISTICS", "WEIGHT", "Key", "columns", "module", "squeezed", "translate"]

WEIGHT = ("weight",)
AFFINE = ("weight", "bias")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
NORM = AFFINE + STATISTICS

Change = Callable[[Tensor], Tensor]


class Key(NamedTuple):
    """Where one of our tensors comes from.

    Attributes:
        ours: its name.
        theirs: the name of the tensor that it is made of; several may be made of one.
        change: makes it; None where it is the same.
    """

    ours: str
    theirs: str
    change: Change | None = None


def module(ours: str, theirs: str, tensors: Iterable[str], change: Change | None = None) -> Iterator[Key]:
    """Keys of a module's tensors, which have the same names within it here and there."""
    for tensor in tensors:
        yield Key(f"{ours}.{tensor}", f"{theirs}.{tensor}", change)


def squeezed(tensor: Tensor) -> Tensor:
    """The weights of a linear layer, from those of a convolution of single frames: (D, C, 1) to (D, C)."""
    return tensor.squeeze(-1) if tensor.ndim > 1 else tensor


def columns(start: int, stop: int | None, *, squeeze: bool = False) -> Change:
    """Some of the input channels of a layer of single frames."""
    return lambda tensor: squeezed(tensor[:, start:stop]) if squeeze else tensor[:, start:stop]


def translate(
    keys: Iterable[Key],
    theirs: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    passed_over: Callable[[str], bool],
) -> dict[str, Tensor]:
    """Our tensors, made of theirs.

    A counter of batches that is missing counts as zero: it matters to no embedding, and old files have none.

    Args:
        keys: the map.
        theirs: their tensors.
        expected: ours, for their shapes and types.
        passed_over: says of a name of theirs whether it may be left unread.

    Raises:
        CheckpointError: tensors are missing, there are others, or shapes differ; all are listed.
    """
    made: dict[str, Tensor] = {}
    read: set[str] = set()
    missing, misshapen = [], []
    for key in keys:
        tensor, wanted = theirs.get(key.theirs), expected[key.ours]
        read.add(key.theirs)
        if tensor is None:
            if key.theirs.endswith("num_batches_tracked"):
                made[key.ours] = torch.zeros(wanted.shape, dtype=wanted.dtype)
            else:
                missing.append(key.theirs)
            continue
        changed = _changed(tensor, key.change)
        if changed is None or changed.shape != wanted.shape:
            misshapen.append(f"{key.theirs} {tuple(tensor.shape)} (for {tuple(wanted.shape)})")
        else:
            made[key.ours] = changed.to(wanted.dtype).clone()
    extra = [name for name in theirs if name not in read and not passed_over(name)]
    problems = {"missing": missing, "of another shape": misshapen, "unknown": extra}
    listed = "; ".join(
        f"{what} ({len(names)}): {', '.join(dict.fromkeys(names))}"
        for what, names in problems.items()
        if names
    )
    if listed:
        raise CheckpointError(f"these tensors do not fit: {listed}")
    return made


def _changed(tensor: Tensor, change: Change | None) -> Tensor | None:
    try:
        return tensor if change is None else change(tensor)
    except (IndexError, RuntimeError):  # of too few dimensions to be changed
        return None
