"""Where a corpus lies, and the files below a folder."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from pathlib import Path

from voxangle.corpora.completeness import BROKEN_LINKS, LOCKED, NOT_UTF8, SECOND_WAY, Tally
from voxangle.errors import CorpusError

__all__ = ["entries", "files_below", "is_folder", "is_text", "place_of_corpus"]


def place_of_corpus(root: Path) -> Path:
    """Where a corpus lies, absolute and without links.

    Raises:
        CorpusError: the name is not UTF-8 (no manifest could hold its paths), or is a link that leads to itself.
    """
    try:
        place = Path(root).resolve()
    except (OSError, RuntimeError) as error:
        raise CorpusError(f"{root}: leads nowhere ({error}); name the folder itself") from error
    if not is_text(str(place)):
        raise CorpusError(f"{os.fsencode(place)!r}: the name is not UTF-8; rename the folder")
    return place


def files_below(root: Path, suffixes: Container[str], tally: Tally) -> Iterator[Path]:
    """The files below ``root`` with one of the suffixes but hidden ones, in no order.

    Links to folders are followed; those that lead back into ``root`` or above it are not: what they lead to is read
    where it lies.

    Args:
        root: where to begin.
        suffixes: in lower case with their dot.
        tally: is told what is left out, and why.
    """
    if not root.is_dir():
        if root.is_symlink():
            tally.add(BROKEN_LINKS, str(root))
        return
    top = root.resolve()
    met: set[Path] = set()

    def is_a_second_way(link: str) -> bool:
        target = Path(link).resolve()
        if target in met or top.is_relative_to(target) or _is_seen_below(target, top):
            return True
        met.add(target)
        return False

    folders = [root]
    while folders:
        for entry in entries(folders.pop(), tally):
            if is_folder(entry):
                if entry.is_symlink() and is_a_second_way(entry.path):
                    tally.add(SECOND_WAY, entry.path)
                else:
                    folders.append(Path(entry.path))
            elif os.path.splitext(entry.name)[1].lower() not in suffixes:  # noqa: PTH122 - a million times
                if entry.is_symlink() and not Path(entry.path).exists():
                    tally.add(BROKEN_LINKS, entry.path)
            elif is_text(entry.path):
                yield Path(entry.path)
            else:
                tally.add(NOT_UTF8, entry.path)


def entries(folder: Path, tally: Tally) -> list[os.DirEntry[str]]:
    """What a folder holds, sorted by name, without hidden entries; a stat is spent on links only."""
    try:
        with os.scandir(folder) as found:
            return sorted((e for e in found if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError:
        tally.add(LOCKED, str(folder))
        return []


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def is_text(path: str) -> bool:
    """Whether a path is UTF-8."""
    try:
        return path.isascii() or bool(path.encode())
    except UnicodeEncodeError:
        return False


def _is_seen_below(target: Path, top: Path) -> bool:
    return target.is_relative_to(top) and not any(
        part.startswith(".") for part in target.relative_to(top).parts
    )
