"""How often a caller may ask: a bucket of tokens each (the leaky bucket as a meter, ITU-T I.371)."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Buckets"]

_CALLERS = 10_000  # remembered; of more, those who were away longest begin anew with a full bucket


class Buckets:
    """A bucket for each caller: a request takes a token, and tokens come back evenly.

    Args:
        per_minute: tokens that come back.
        burst: the most tokens in a bucket, which is full at first.
        clock: seconds, never going back.
    """

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._full: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # tokens, and when they were counted

    def take(self, caller: str) -> int:
        """Take a token.

        Returns:
            0 where there was one; else in how many whole seconds there will be.
        """
        now = self._clock()
        tokens, counted = self._full.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - counted) * self._per_second)
        missing = 1 - tokens
        if missing <= 0:
            tokens -= 1
        self._full[caller] = tokens, now
        if len(self._full) > _CALLERS:
            self._full.popitem(last=False)
        return 0 if missing <= 0 else math.ceil(missing / self._per_second)
