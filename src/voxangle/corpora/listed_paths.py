"""Paths as lists of files have them: relative to a folder that the list does not name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from voxangle.errors import CorpusError

__all__ = ["resolver"]

_LEVELS = 5
_TRIED = 100


def resolver(paths: Sequence[str], listing: Path) -> Callable[[str], str]:
    """How to make the paths of a list absolute.

    Such lists are written by scripts, and their paths are relative to where a script was run: somewhere above the
    list. It is found by trying: the nearest folder above the list from which one of the first 100 paths leads to a
    file, else the current folder.

    Raises:
        CorpusError: no folder will do; the message names those that were tried.
    """
    relative = [path for path in paths if not os.path.isabs(path)]  # noqa: PTH117 - a million times
    if not relative:
        return str
    places = [*listing.parents[:_LEVELS], Path.cwd()]
    for place in places:
        if any((place / path).exists() for path in relative[:_TRIED]):
            return lambda path: str(place / path)
    raise CorpusError(
        f"{listing}: its paths are relative (the first: {relative[0]}) and lead nowhere from "
        f"{', '.join(map(str, dict.fromkeys(places)))}; run the command in the folder that they are relative to, or "
        "write absolute paths"
    )
