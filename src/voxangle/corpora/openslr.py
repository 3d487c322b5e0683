"""OpenSLR (https://openslr.org), where many free corpora lie: its mirrors, and how a corpus is fetched from them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from voxangle.corpora.download import (
    BrokenArchiveError,
    OnProgress,
    Tell,
    extract_tar,
    extract_zip,
    fetch,
    free_bytes,
    partial_file,
    readable_bytes,
    remote_bytes,
    wrong_checksum,
)
from voxangle.errors import CorpusError, StorageError, nearest

__all__ = ["MIRRORS", "Archive", "Release"]

MIRRORS = (
    "https://www.openslr.org/resources",
    "https://openslr.trmal.net/resources",
    "https://openslr.elda.org/resources",
    "https://openslr.magicdatatech.com/resources",
)


@dataclass(frozen=True)
class Archive:
    """One archive, and what it is unpacked to.

    Attributes:
        file: its name, ending in ``.tar.gz`` or ``.zip``.
        md5: its checksum.
        folder: what it is unpacked to; there only when all of it is.
        bytes: its size; None where nobody publishes it and the server has to be asked.
        unpacked: about how many bytes it is unpacked; None for about as many, as compressed audio is.
        pieces: where it lies there in pieces, the name and the checksum of each, in order. Such checksums only
            tell which piece is at fault where the whole is: they need not come from the corpus's makers.
    """

    file: str
    md5: str
    folder: str
    bytes: int | None
    unpacked: int | None = None
    pieces: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """What is to be downloaded, in order."""
        return tuple(self.pieces) or (self.file,)

    def is_in(self, root: Path) -> bool:
        """Whether it is unpacked there."""
        folder = root / self.folder
        return folder.is_dir() and any(folder.iterdir())


@dataclass(frozen=True)
class Release:
    """What OpenSLR has of a corpus.

    Attributes:
        corpus: its name.
        resource: its number on OpenSLR.
        archives: by the name of the part of the corpus that they hold.
    """

    corpus: str
    resource: int
    archives: Mapping[str, Archive]

    def get(
        self,
        root: Path,
        on_progress: OnProgress | None = None,
        *,
        subsets: Sequence[str] = (),
        mirrors: Sequence[str] = (),
        tell: Tell | None = None,
    ) -> None:
        """Download and unpack archives under ``root``; resumed, checked, and not fetched again once there.

        An archive goes when it is unpacked. Pieces of one are never joined on the disk: at the most they and what
        is in them lie there together.

        Args:
            root: where the folders go.
            on_progress: told the archive and its bytes.
            subsets: the parts of the corpus that are wanted; all by default.
            mirrors: addresses like those of ``MIRRORS``, asked before ``$VOXANGLE_OPENSLR`` or else ``MIRRORS``.
            tell: told what is about to be fetched, and which address failed.

        Raises:
            CorpusError: an unknown part, no mirror can be reached, a checksum is wrong, or an archive is broken.
            StorageError: the disk has not enough room, or cannot be written.
        """
        root = Path(root)
        tell = tell or _to_nobody
        bases = _bases(mirrors)
        todo = [archive for archive in self._wanted(subsets) if not archive.is_in(root)]
        if not todo:
            tell(f"all of it is in {root}")
            return
        self._announce(todo, root, bases, tell)
        for archive in todo:
            paths = [
                fetch(
                    list(self._addresses(bases, file)),
                    root / file,
                    md5=None if archive.pieces else archive.md5,
                    on_progress=on_progress,
                    tell=tell,
                )
                for file in archive.files
            ]
            _unpack(archive, paths, root / archive.folder, on_progress, tell)
            for path in paths:
                path.unlink()

    def _wanted(self, subsets: Sequence[str]) -> list[Archive]:
        for subset in subsets:
            if subset not in self.archives:
                hint, known = nearest(subset, self.archives), ", ".join(sorted(self.archives))
                every = "" if known in hint else f" It has {known}."
                raise CorpusError(f"{self.corpus}: unknown subset '{subset}'{hint}{every}")
        return [archive for name, archive in self.archives.items() if not subsets or name in subsets]

    def _addresses(self, bases: Sequence[str], file: str) -> Iterator[str]:
        return (f"{base}/{self.resource}/{file}" for base in bases)

    def _announce(self, todo: Sequence[Archive], root: Path, bases: Sequence[str], tell: Tell) -> None:
        """Say what is about to be done, or that the disk has no room for it."""
        to_fetch = held = most = 0
        known = True
        for archive in todo:
            have = sum(_bytes_of(root / file) for file in archive.files)
            size = archive.bytes
            if size is None and not all((root / file).is_file() for file in archive.files):
                sizes = [remote_bytes(self._addresses(bases, file)) for file in archive.files]
                size = None if None in sizes else sum(filter(None, sizes))
                known &= size is not None
            size = max(size or 0, have)
            unpacked = archive.unpacked or size * 21 // 20  # files end in half-filled blocks
            to_fetch += size - have
            most = max(most, held + size - have + unpacked)
            held += unpacked - have
        what = ", ".join(archive.folder for archive in todo)
        if known:
            tell(
                f"{what}: {readable_bytes(to_fetch) if to_fetch else 'nothing'} to download, "
                f"{readable_bytes(most)} of disk needed until all is unpacked, into {root}"
            )
        else:
            tell(f"{what}: of unknown size, no server tells it, into {root}")
        if most > (free := free_bytes(root)):
            raise StorageError(
                f"{root}: {readable_bytes(most)} are needed until all is unpacked, and the disk has room for "
                f"{readable_bytes(free)}; free some space or choose another folder with --root"
                f"{', or take less with --subset' if len(todo) > 1 else ''}"
            )


def _unpack(
    archive: Archive, paths: Sequence[Path], folder: Path, on_progress: OnProgress | None, tell: Tell
) -> None:
    def judge(md5: str) -> None:
        if archive.pieces and md5 != archive.md5:
            _remove_wrong(archive, paths)
            tell(
                f"{archive.file}: the MD5 of the whole is {md5}, published is {archive.md5}; all pieces have "
                "theirs, so it is taken all the same"
            )

    if archive.file.endswith(".zip"):
        extract_zip(paths[0], folder)
        return
    try:
        extract_tar(paths, folder, judge=judge, on_progress=on_progress)
    except BrokenArchiveError:
        _remove_wrong(archive, paths)
        raise


def _remove_wrong(archive: Archive, pieces: Sequence[Path]) -> None:
    """Remove the pieces that are not what was published, so that the next call fetches these and no others."""
    wrong = [
        piece
        for piece in pieces
        if (md5 := archive.pieces.get(piece.name)) and wrong_checksum(piece, {"md5": md5})
    ]
    for piece in wrong:
        piece.unlink()
    if wrong:
        raise CorpusError(
            f"{archive.file}: broken; {', '.join(piece.name for piece in wrong)} came with another MD5 than was "
            f"published and is removed. Run the same command again: it fetches that anew and keeps the rest; if it "
            "comes out wrong twice, from another server with --mirror"
        )


def _bases(mirrors: Sequence[str]) -> list[str]:
    """Where to look, first the mirrors that were asked for."""
    for mirror in mirrors:
        if urlsplit(mirror).scheme not in {"http", "https"} or not urlsplit(mirror).netloc:
            raise CorpusError(
                f"'{mirror}' is no mirror: that is an address such as {MIRRORS[0]}, below which files lie as on "
                "OpenSLR. An archive that you have already needs none: put it into --root, and it is checked and "
                "unpacked"
            )
    own = os.environ.get("VOXANGLE_OPENSLR")
    return list(dict.fromkeys(base.rstrip("/") for base in (*mirrors, *([own] if own else MIRRORS))))


def _bytes_of(file: Path) -> int:
    """How much of a file is there."""
    return sum(path.stat().st_size for path in (file, partial_file(file)) if path.is_file())


def _to_nobody(_: str) -> None:
    pass
