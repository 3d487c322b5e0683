"""Durations of many recordings, by their headers."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from voxangle.audio import probe
from voxangle.errors import AudioError

__all__ = ["durations"]


def durations(files: Iterable[Path]) -> list[float]:
    """Seconds of each file, in their order; 0 where a header cannot be read.

    A zero is no verdict: preparing decodes the file, and names and leaves out what it cannot use.

    Raises:
        MissingExtraError: a file needs the ``media`` extra.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_seconds, files))


def _seconds(file: Path) -> float:
    try:
        return probe(file).seconds
    except AudioError:
        return 0.0
