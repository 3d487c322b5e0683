"""What a corpus is to the rest of the house: manifests by split, and trial lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        notes: what must be said wherever a figure on this corpus is shown, a line each.
        list_notes: by name of a list in ``trials``, what must be said wherever a figure on that list is shown.
        left_out: by name of a list that is there but cannot be used, why.
    """

    name: str
    splits: Mapping[str, Manifest]
    trials: Mapping[str, Trials] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    list_notes: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def remarks(self) -> tuple[str, ...]:
        """All there is to say of the corpus and of all its lists, a line each."""
        return (*self.notes, *dict.fromkeys(self.list_notes.values()), *self.lines_on_left_out())

    def lines_on_left_out(self, lists: Iterable[str] | None = None) -> tuple[str, ...]:
        """A line on each list that is left out, or on those of them that are named here."""
        named = self.left_out if lists is None else [name for name in lists if name in self.left_out]
        return tuple(f"the list {name} was left out: {self.left_out[name]}" for name in named)
