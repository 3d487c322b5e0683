"""Work done a little ahead of its reader, by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["worked_ahead"]

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def worked_ahead(
    call: Callable[[T], R], items: Iterable[T], threads: int, *, each: int = 4
) -> Iterator[Iterator[R]]:
    """The results of a call in the items' order, of which ``each`` a thread are worked out before they are asked for.

    Leaving the context cancels what has not begun.
    """
    pending: deque[Future[R]] = deque()

    def stream() -> Iterator[R]:
        for item in items:
            pending.append(pool.submit(call, item))
            if len(pending) > each * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        try:
            yield stream()
        finally:
            for future in pending:
                future.cancel()
