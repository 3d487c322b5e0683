"""Batches of like lengths out of a stream, so that little of a batch is padding."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Generic, Protocol, TypeVar

__all__ = ["LikeLengths", "Sized"]


class Sized(Protocol):
    """What is batched."""

    @property
    def samples(self) -> int:
        """Its length."""


S = TypeVar("S", bound=Sized)


class LikeLengths(Generic[S]):
    """Items that wait for others of like length.

    A batch is the item that waited longest with its nearest neighbours in length, so nothing waits for ever. What is
    in a batch depends on the items and their order alone, never on time.

    Args:
        batch: samples of a batch at most, padding counted; one longer item goes alone.

    Attributes:
        samples: of all items that wait.
    """

    def __init__(self, batch: int) -> None:
        self.samples = 0
        self._batch = batch
        self._arrivals = 0
        self._waiting: dict[int, S] = {}  # by arrival
        self._by_length: list[tuple[int, int]] = []  # (samples, arrival), sorted

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: S) -> None:
        """Let an item wait."""
        self._waiting[self._arrivals] = item
        insort(self._by_length, (item.samples, self._arrivals))
        self._arrivals += 1
        self.samples += item.samples

    def leave(self) -> list[S]:
        """Take the next batch, the shortest item first."""
        oldest = next(iter(self._waiting))
        place = bisect_left(self._by_length, (self._waiting[oldest].samples, oldest))
        begin, end = self._around(place)
        chosen = self._by_length[begin:end]
        del self._by_length[begin:end]
        self.samples -= sum(samples for samples, _ in chosen)
        return [self._waiting.pop(arrival) for _, arrival in chosen]

    def _around(self, place: int) -> tuple[int, int]:
        """The places that go with one: it grows to the side that costs less padding while there is room."""
        lengths = self._by_length
        begin, end = place, place + 1
        while True:
            longest, rows = lengths[end - 1][0], end - begin + 1
            up = end < len(lengths) and rows * lengths[end][0] <= self._batch
            down = begin > 0 and rows * longest <= self._batch
            # A longer item pads all that are there, a shorter one is padded alone.
            if up and not (
                down and longest - lengths[begin - 1][0] < (lengths[end][0] - longest) * (rows - 1)
            ):
                end += 1
            elif down:
                begin -= 1
            else:
                return begin, end
