"""The lists that come with a corpus: whether one on disk is whole, and of the same release as the recordings."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from voxangle.data import Trials

__all__ = ["Named", "length_fault", "state_of"]


@dataclass(frozen=True)
class Named:
    """What a list names, and how much of it is not on disk.

    Attributes:
        keys: of utterances, each once.
        missing: those that are not on disk, in the same order.
    """

    keys: Sequence[str]
    missing: Sequence[str]

    @classmethod
    def of(cls, keys: Sequence[str], known: Container[str]) -> Named:
        """What a list names, where the corpus has these keys."""
        return cls(keys, [key for key in keys if key not in known])

    @property
    def foreign(self) -> bool:
        """Whether nothing that the list names is there."""
        return bool(self.keys) and len(self.missing) == len(self.keys)

    @property
    def fault(self) -> str:
        """How many are missing, with an example; empty where none is."""
        if not self.missing:
            return ""
        another = (
            ", so it is the list of another release, or its recordings were not unpacked"
            if self.foreign
            else ""
        )
        return (
            f"{len(self.missing):,} of its {len(self.keys):,} utterances are not on disk, such as "
            f"{self.missing[0]}{another}"
        )


def length_fault(trials: Trials, count: int, targets: int) -> str:
    """How a list's length differs from that published, empty where it does not.

    Args:
        trials: the list.
        count: how many trials are published.
        targets: how many of those are targets.
    """
    found = int(trials.target.sum())
    if (len(trials), found) == (count, targets):
        return ""
    verdict = "cut off, or filtered" if len(trials) < count else "another list than the published one"
    return (
        f"{verdict}: it has {len(trials):,} trials, {found:,} of them targets; published are {count:,} and "
        f"{targets:,}"
    )


def state_of(size: str, *faults: str) -> str:
    """What to say of a list that was read: its faults, or that it is whole and how large."""
    return "; ".join(fault for fault in faults if fault) or f"whole, {size}"
