"""How a toolkit lays out one architecture, and what it takes to tell its size from the shapes alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from voxangle.encoders.encoder import BaseEncoderConfig
from voxangle.encoders.foreign.keys import Key
from voxangle.errors import CheckpointError
from voxangle.features import BaseFilterbank, BaseFilterbankConfig

__all__ = ["Layout", "Shapes", "Toolkit"]


class Shapes:
    """Shapes of tensors by name.

    Args:
        tensors: the tensors.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def size(self, name: str, dimension: int) -> int:
        """Length of one dimension of a tensor.

        Raises:
            CheckpointError: there is no such tensor, or it has fewer dimensions.
        """
        if name not in self._tensors:
            raise CheckpointError(f"'{name}' is missing, which the size of the model is told by")
        shape = tuple(self._tensors[name].shape)
        if dimension >= len(shape):
            raise CheckpointError(f"'{name}' has the shape {shape}, and so tells no size")
        return shape[dimension]

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._tensors

    def count(self, pattern: str, first: int = 0) -> int:
        """How many places from ``first`` on there are, where ``{}`` stands for the place in a name."""
        place = first
        while pattern.format(place) in self._tensors:
            place += 1
        return place - first

    def places(self, prefix: str) -> list[int]:
        """The numbers that stand behind a prefix, in order."""
        found = (re.match(rf"{re.escape(prefix)}(\d+)\.", name) for name in self._tensors)
        return sorted({int(match[1]) for match in found if match})


def _nothing(_config: Any) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Layout:
    """One architecture as a toolkit lays it out.

    Attributes:
        title: what people call the architecture.
        marks: names of tensors that are there, all of them, in this layout alone.
        config: our settings, of the shapes.
        keys: the key map, of our settings.
        filterbank: the features, of our settings and of theirs.
        facts: what a config beside the weights must say, by the names that ``Toolkit.says`` uses; beside these
            all of our settings are facts. A pattern stands for whatever it matches.
        fixed: our tensors that theirs lack.
        witnesses: their tensors that the features must agree with, of the filterbank.
        classifier: pattern of the names of a classifier's weights, which are left out.
        ignored: pattern of the names of constants, which are left out without a word.
    """

    title: str
    marks: tuple[str, ...]
    config: Callable[[Shapes], BaseEncoderConfig]
    keys: Callable[[Any], Iterable[Key]]
    filterbank: Callable[[BaseEncoderConfig, Mapping[str, Any]], BaseFilterbankConfig]
    facts: Callable[[Any], Mapping[str, Any]] = _nothing
    fixed: Callable[[Any], Mapping[str, Tensor]] = _nothing
    witnesses: Callable[[BaseFilterbank], Mapping[str, Tensor]] = _nothing
    classifier: str = r"(projection|classifier)\..*"
    ignored: str = r"(?!)"


@dataclass(frozen=True)
class Toolkit:
    """A toolkit whose models can be read.

    Attributes:
        title: what people call it.
        layouts: the architectures.
        files: its usual names of files of weights, the best one first.
        configs: its names of configs beside them.
        says: what the values in its configs are, ``{dotted path: fact}``.
    """

    title: str
    layouts: tuple[Layout, ...]
    files: tuple[str, ...]
    configs: tuple[str, ...]
    says: Mapping[str, str] = field(default_factory=dict)
