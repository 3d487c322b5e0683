"""What a corpus is to the rest of the house: manifests by split, and trial lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from voxangle.data import Manifest, Trials

__all__ = ["Corpus"]


@dataclass(frozen=True)
class Corpus:
    """A corpus as read from disk.

    Attributes:
        name: its name in tables and caches.
        splits: manifests by split (``train``, ``eval`` ... or ``all``); speakers never cross splits.
        trials: trial lists by name; their keys are utterances of the splits.
        notes: what must be said wherever a figure on this corpus is shown.
    """

    name: str
    splits: Mapping[str, Manifest]
    trials: Mapping[str, Trials] = field(default_factory=dict)
    notes: str = ""
