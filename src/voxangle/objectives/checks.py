"""What the public functions demand of their arguments: a ValueError names the argument, its value and its range."""

from __future__ import annotations

import math
from typing import Any, get_args

import torch
from torch import Tensor

__all__ = [
    "demand_choice",
    "demand_constant",
    "demand_cosine_margin",
    "demand_count",
    "demand_embeddings",
    "demand_labels",
    "demand_margin",
    "demand_positive",
    "demand_prototypes",
    "demand_scalar",
    "demand_tensor",
]

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def demand_tensor(value: object, name: str) -> None:
    """Refuse what is not a tensor: arrays and lists have no gradient to give."""
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{name} must be a torch.Tensor, got {type(value).__module__}.{type(value).__qualname__}"
        )


def demand_embeddings(embeddings: Tensor, name: str = "embeddings") -> None:
    """Refuse what is not a floating-point (N, D) with N and D of at least 1."""
    demand_tensor(embeddings, name)
    if not embeddings.is_floating_point():
        raise ValueError(f"{name} must be floating-point, got {embeddings.dtype}")
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise ValueError(f"{name} must have shape (N, D) with N, D >= 1, got {tuple(embeddings.shape)}")


def demand_labels(labels: Tensor, samples: int, *, classes: int | None = None) -> None:
    """Refuse what is not (N,) integers, in [0, classes) where there are classes (not looked at under compilation)."""
    demand_tensor(labels, "labels")
    if labels.dtype not in _INTEGERS:
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    if labels.shape != (samples,):
        raise ValueError(
            f"labels must have shape ({samples},), one for each embedding, got {tuple(labels.shape)}"
        )
    if classes is None or torch.compiler.is_compiling():  # looking at values would break the compiled graph
        return
    low, high = (int(edge) for edge in labels.aminmax())
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels must lie in [0, {classes}), one number for each prototype, got {low if low < 0 else high}"
        )


def demand_prototypes(
    prototypes: Tensor, embeddings: Tensor, name: str = "prototypes", *, subcentres: bool = True
) -> None:
    """Refuse what is not (C, D), or (C, K, D) where sub-centres are allowed, of the embeddings' dimension."""
    demand_tensor(prototypes, name)
    if not prototypes.is_floating_point():
        raise ValueError(f"{name} must be floating-point, got {prototypes.dtype}")
    allowed = (2, 3) if subcentres else (2,)
    if prototypes.ndim not in allowed or 0 in prototypes.shape or prototypes.shape[-1] != embeddings.shape[1]:
        dimension = embeddings.shape[1]
        shape = f"(C, {dimension}) or (C, K, {dimension})" if subcentres else f"(C, {dimension})"
        raise ValueError(
            f"{name} must have shape {shape} for embeddings of dimension {dimension}, got "
            f"{tuple(prototypes.shape)}"
        )


def demand_margin(margin: float, name: str = "margin") -> None:
    """Refuse an angle outside [0, pi / 2)."""
    if not 0 <= margin < math.pi / 2:
        raise ValueError(f"{name} must lie in [0, pi / 2) radians, got {margin}")


def demand_cosine_margin(margin: float, *, below: float = 2.0) -> None:
    """Refuse a margin, in units of cosine, outside [0, below): cosines differ by 2 at most."""
    if not 0 <= margin < below:
        raise ValueError(f"margin must lie in [0, {below:g}), in units of cosine, got {margin}")


def demand_scalar(value: Tensor, name: str) -> None:
    """Refuse what is not a tensor of one floating-point number."""
    demand_tensor(value, name)
    if not value.is_floating_point() or value.numel() != 1:
        raise ValueError(f"{name} must be one floating-point number, got {value.dtype} {tuple(value.shape)}")


def demand_positive(value: float, name: str) -> None:
    """Refuse what is not a finite number above 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be finite and > 0, got {value}")


def demand_constant(value: float | Tensor, name: str) -> None:
    """Refuse a number that wants a gradient where none is given."""
    if isinstance(value, Tensor) and value.requires_grad:
        raise ValueError(
            f"{name} must be a constant, got a tensor that requires a gradient: it would get none"
        )


def demand_count(value: int, name: str) -> None:
    """Refuse what is not an integer of at least 1."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}")


def demand_choice(value: object, name: str, choices: Any) -> None:
    """Refuse what is not one of the choices, a ``Literal``."""
    if value not in (allowed := get_args(choices)):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
