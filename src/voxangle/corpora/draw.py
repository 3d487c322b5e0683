"""Drawing a fixed subset: the same on every machine and Python, whatever the order of the items."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["draw"]

T = TypeVar("T")


def draw(items: Iterable[T], count: int, *, seed: str, key: Callable[[T], str] = str) -> list[T]:
    """At most ``count`` of the items, in pseudo-random order.

    An item's place depends on its key and the seed alone: an item more or less in another release of a corpus
    changes no other item's luck, which a random generator's stream would.
    """

    def luck(item: T) -> bytes:
        return hashlib.blake2b(f"{seed}\0{key(item)}".encode(), digest_size=16).digest()

    return sorted(items, key=luck)[:count]
