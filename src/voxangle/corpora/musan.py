"""MUSAN (OpenSLR 17): music, speech and noise for augmentation, 109 hours.

D. Snyder, G. Chen, D. Povey, "MUSAN: A Music, Speech, and Noise Corpus", arXiv:1510.08484, 2015. Licence: CC BY 4.0
for the collection; the files are public domain or under Creative Commons licences, which each folder's LICENSE
lists.

Layout: ``musan/{speech,music,noise}/SOURCE/*.wav``, 16 kHz: 426 files of speech, 660 of music, 930 of noise. Each
kind is a split. A recipe takes the folder as ``augment.musan``.
"""

from __future__ import annotations

from pathlib import Path

from voxangle.audio import AUDIO_SUFFIXES
from voxangle.corpora.completeness import Completeness, Published, Tally, inspect
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.notes import notes_of
from voxangle.corpora.openslr import Archive, Release
from voxangle.corpora.sounds import sounds
from voxangle.corpora.walk import files_below, place_of_corpus
from voxangle.data import Manifest
from voxangle.errors import CorpusError

__all__ = ["NAME", "PUBLISHED", "RELEASE", "check", "get", "read"]

NAME = "musan"
RELEASE = Release(
    NAME,
    17,
    {
        NAME: Archive(
            "musan.tar.gz",
            "0c472d4fc0c5141eca47ad1ffeb2a7df",
            NAME,
            bytes=11_086_114_085,
            unpacked=12_700_000_000,
        )
    },
)
"""Unpacked by the hours: 109 h of 16 bits at 16 kHz are 12.6 GB."""
get = RELEASE.get
_SOURCE = "openslr.org/17"
PUBLISHED = {
    "speech": Published(1, 426, None, _SOURCE),
    "music": Published(1, 660, None, _SOURCE),
    "noise": Published(1, 930, None, _SOURCE),
}
"""Files of each kind in the archive."""


def read(root: Path) -> Corpus:
    """The kinds that are there, each as a split; needs no network.

    Args:
        root: the folder with ``speech``, ``music`` and ``noise`` in it, or one above that.

    Raises:
        CorpusError: none of the three is there, or they are empty.
    """
    tally = Tally()
    top, kinds = _found(place_of_corpus(root), tally)
    remark = f"Sounds for augmentation, without speakers; set augment.musan to {top} in a recipe."
    return Corpus(NAME, kinds, notes=notes_of(NAME, kinds, PUBLISHED, tally, [remark]))


def check(root: Path, *, headers: bool = False) -> Completeness:
    """Whether all of it is there; the label of a kind counts as one speaker.

    Args:
        root: as for ``read``.
        headers: read every file's header too, for hours and unreadable files.

    Raises:
        CorpusError: as ``read``.
    """
    tally = Tally()
    top, kinds = _found(place_of_corpus(root), tally)
    return inspect(NAME, top, kinds, PUBLISHED, tally, headers=headers)


def _found(root: Path, tally: Tally) -> tuple[Path, dict[str, Manifest]]:
    """The folder of the collection, and what is there of each kind."""
    top = _top(root)
    kinds = {kind: list(files_below(top / kind, AUDIO_SUFFIXES, tally)) for kind in PUBLISHED}
    if not any(kinds.values()):
        raise CorpusError(
            f"{top}: holds no recordings; expected noise/SOURCE/*.wav: unpack the archive again"
        )
    return top, sounds(NAME, top, kinds)


def _top(root: Path) -> Path:
    # The archive holds a folder musan, and `get` unpacks it into another.
    for top in (root, root / NAME, root / NAME / NAME):
        if any((top / kind).is_dir() for kind in PUBLISHED):
            return top
    if root.name in PUBLISHED and root.is_dir():
        raise CorpusError(f"{root}: is one kind of MUSAN only; name the folder above it, {root.parent}")
    raise CorpusError(
        f"{root}: holds no folder speech, music or noise; name the folder musan, or fetch it with "
        f"`voxangle corpora get {NAME}`"
    )
