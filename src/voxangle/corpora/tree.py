"""Trees of celebrity speech, ``.../idNNNNN/...``, wherever below the given folder they begin."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxangle.corpora.completeness import (
    ARCHIVES,
    BOTH_FORMS,
    BROKEN_LINKS,
    NO_RECORDINGS,
    NOT_UTF8,
    STRAY,
    TWICE,
    Tally,
)
from voxangle.corpora.walk import entries, is_folder, is_text
from voxangle.errors import CorpusError

__all__ = ["Layout", "beside", "layout_of", "lines_of", "recordings", "speaker_number"]

# Best first, where an utterance is there in several: what decodes fastest loses nothing against its source.
_SUFFIXES = {suffix: rank for rank, suffix in enumerate((".wav", ".flac", ".m4a", ".ogg", ".opus", ".mp3"))}
_SPEAKER = re.compile(r"id\d{5}")
_ARCHIVE = re.compile(r"(_part[a-z]{2}|\.zip|\.tar|\.t?gz|\.gz[a-z]{2}|\.part)$")
_DEPTH = 5


@dataclass(frozen=True)
class Layout:
    """Where the speakers' folders of a tree are.

    Attributes:
        root: the folder that was searched.
        speakers: the folders of each speaker, sorted; several where the audio is there in several formats.
        archives: archives, and pieces of archives, on the way.
        seen: the folders on the way that are no speaker's, from the root down.
    """

    root: Path
    speakers: Mapping[str, Sequence[Path]]
    archives: tuple[Path, ...]
    seen: tuple[Path, ...]

    def of(self, belongs: Callable[[str], bool]) -> dict[str, Sequence[Path]]:
        """The speakers for whom ``belongs`` holds, with their folders."""
        return {speaker: folders for speaker, folders in self.speakers.items() if belongs(speaker)}

    def report_archives(self, tally: Tally) -> None:
        """Count the archives."""
        for archive in self.archives:
            tally.add(ARCHIVES, str(archive))

    def contents(self) -> str:
        """What there was instead of what was looked for, for a message."""
        if self.speakers:
            names = list(self.speakers)
            return f"{len(names):,} speakers of another corpus ({names[0]} ... {names[-1]})"
        if self.archives:
            some = ", ".join(path.name for path in self.archives[:3])
            return f"archives that are not unpacked ({some})"
        names = sorted(os.fsencode(path.name).decode("utf-8", "replace") for path in self.root.iterdir())
        found = f"{', '.join(names[:5])}{' ...' if len(names) > 5 else ''}" if names else "nothing"
        above = self.root.parent
        inside = f" (within a speaker's folder: name the one above it, {above.parent})"
        return found + (inside if _SPEAKER.fullmatch(above.name) else "")


def speaker_number(speaker: str) -> int:
    """NNNNN of ``idNNNNN``."""
    return int(speaker[2:])


def layout_of(root: Path, tally: Tally) -> Layout:
    """Find the folders called ``idNNNNN`` at most five levels below ``root``.

    Links to folders are followed, each folder once.

    Args:
        root: where to search.
        tally: is told of links that lead nowhere, folders that may not be listed, and recordings beside speakers.

    Raises:
        CorpusError: there is no such folder, or it is one speaker's.
    """
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; name the one that the corpus was unpacked to")
    if _SPEAKER.fullmatch(root.name):
        raise CorpusError(
            f"{root}: is the folder of one speaker; name the folder above as the corpus, {root.parent}"
        )
    speakers: dict[str, list[Path]] = defaultdict(list)
    archives: list[Path] = []
    seen: list[Path] = []
    met: set[tuple[int, int]] = set()
    level = [root]
    for _ in range(_DEPTH):
        below: list[Path] = []
        for folder in level:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in met:
                continue
            met.add((status.st_dev, status.st_ino))
            seen.append(folder)
            files, holds_speakers = [], False
            for entry in entries(folder, tally):
                if is_folder(entry):
                    is_speaker = _SPEAKER.fullmatch(entry.name) is not None
                    (speakers[entry.name] if is_speaker else below).append(Path(entry.path))
                    holds_speakers |= is_speaker
                elif _ARCHIVE.search(entry.name):
                    archives.append(Path(entry.path))
                elif not entry.is_symlink() or Path(entry.path).exists():
                    files.append(entry)
                else:
                    tally.add(BROKEN_LINKS, entry.path)
            for entry in files if holds_speakers else ():
                if _is_audio(entry):
                    tally.add(STRAY, entry.path)
        level = below
    return Layout(root, dict(sorted(speakers.items())), tuple(archives), tuple(seen))


def recordings(
    folders: Iterable[Path], root: Path, tally: Tally, *, sessions: bool
) -> list[tuple[str, str, str]]:
    """The recordings of one speaker, sorted.

    An utterance that is there in several formats is taken as wav before flac before m4a, but never as an empty
    file where another is not.

    Args:
        folders: the speaker's.
        root: what paths are to be relative to.
        tally: is told what is left out, and why.
        sessions: whether a level of folders, one a session, lies between the speaker and the recordings.

    Returns:
        (session, name without suffix, path) of each; the session is empty without that level.
    """
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for folder in folders:
        before = len(found)
        any_there = False
        for session, name, path in _files(folder, tally, sessions=sessions):
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a million times
            rank = _SUFFIXES.get(suffix.lower())
            if rank is None:
                continue
            any_there = True
            if not is_text(path):
                tally.add(NOT_UTF8, path)
                continue
            other = found.setdefault((session, stem), (rank, path))
            if other[1] != path:
                tally.add(TWICE if other[0] == rank else BOTH_FORMS, path)
                if _better((rank, path), other):
                    found[session, stem] = (rank, path)
        if not any_there and len(found) == before:
            tally.add(NO_RECORDINGS, str(folder))
    prefix = len(os.path.join(root, ""))  # noqa: PTH118
    return sorted((session, stem, path[prefix:]) for (session, stem), (_, path) in found.items())


def beside(layout: Layout, name: str) -> Path | None:
    """A file of that name in the corpus's folders above the speakers', else beside the corpus."""
    places = [*layout.seen, layout.root.parent, layout.root.parent / "meta", layout.root.parent / "lists"]
    return next((place / name for place in places if (place / name).is_file()), None)


def lines_of(path: Path) -> list[str]:
    """The lines of a small list, stripped, empty ones left out.

    Raises:
        CorpusError: it cannot be read as text, or is empty.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be read as a list ({error}); unpack or fetch it again") from error
    if not lines:
        raise CorpusError(f"{path}: the list is empty; unpack or fetch it again")
    return lines


def _files(folder: Path, tally: Tally, *, sessions: bool) -> Iterator[tuple[str, str, str]]:
    """(session, file name, path) of all files at the right depth."""
    for entry in entries(folder, tally):
        if is_folder(entry):
            if sessions:
                for _, name, path in _files(Path(entry.path), tally, sessions=False):
                    yield entry.name, name, path
            else:
                tally.add(STRAY, entry.path)
        elif entry.is_symlink() and not _is_audio(entry) and not Path(entry.path).exists():
            tally.add(BROKEN_LINKS, entry.path)
        elif not sessions:
            yield "", entry.name, entry.path
        elif _is_audio(entry):
            tally.add(STRAY, entry.path)


def _is_audio(entry: os.DirEntry[str]) -> bool:
    return Path(entry.name).suffix.lower() in _SUFFIXES


def _better(one: tuple[int, str], other: tuple[int, str]) -> bool:
    if one[0] == other[0]:
        return False
    return (_is_empty(one[1]), one[0]) < (_is_empty(other[1]), other[0])


def _is_empty(path: str) -> bool:
    try:
        return not Path(path).stat().st_size
    except OSError:
        return True
