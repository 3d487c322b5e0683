"""Files below a folder, through links, each folder once."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from pathlib import Path

from voxangle.errors import CorpusError

__all__ = ["files_below"]


def files_below(root: Path, suffixes: Container[str] | None = None) -> Iterator[Path]:
    """All files below ``root`` but hidden ones, in no order; links to folders are followed, except to those above.

    Args:
        root: where to begin.
        suffixes: of the files to look at, in lower case with their dot; None for any.

    Raises:
        CorpusError: the name of one of them is not UTF-8.
    """
    for folder, subfolders, names in os.walk(root, followlinks=True):
        here = Path(folder).resolve()
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and not here.is_relative_to((Path(folder) / name).resolve())
        ]
        for name in names:
            if not name.startswith(".") and (suffixes is None or Path(name).suffix.lower() in suffixes):
                yield Path(_checked(os.path.join(folder, name)))  # noqa: PTH118 - a million times


def _checked(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"the name {os.fsencode(path)!r} is not UTF-8; rename the file or its folder"
        ) from error
    return path
