"""Paths as lists of files have them: relative to a folder that the list does not name."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from voxangle.errors import CorpusError

__all__ = ["absolute"]

_LEVELS = 5
_TRIED = 100


def absolute(paths: pa.Array, listing: Path) -> pa.Array:
    """The paths of a list, made absolute.

    Such lists are written by scripts, and their paths are relative to where a script was run: somewhere above the
    list. It is found by trying: the nearest folder above the list from which one of the first 100 paths leads to a
    file, else the current folder.

    Raises:
        CorpusError: no folder will do; the message names those that were tried.
    """
    is_relative = pc.invert(pc.starts_with(paths, "/"))
    relative = paths.filter(is_relative)[:_TRIED].to_pylist()
    if not relative:
        return paths
    places = [*listing.parents[:_LEVELS], Path.cwd()]
    for place in places:
        if any((place / path).exists() for path in relative):
            prefix = os.path.join(place, "")  # noqa: PTH118 - with its slash
            return pc.if_else(is_relative, pc.binary_join_element_wise(prefix, paths, ""), paths)
    raise CorpusError(
        f"{listing}: its paths are relative (the first: {relative[0]}) and lead nowhere from "
        f"{', '.join(map(str, dict.fromkeys(places)))}; run the command in the folder that they are relative to, or "
        "write absolute paths"
    )
