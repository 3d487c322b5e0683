"""RIRS_NOISES (OpenSLR 28): room impulse responses and noises for augmentation.

T. Ko, V. Peddinti, D. Povey, M. L. Seltzer, S. Khudanpur, "A study on data augmentation of reverberant speech for
robust speech recognition", ICASSP 2017. Licence: Apache 2.0.

Layout, 16 kHz wav, some with many channels, and the splits that are made of it:

- ``RIRS_NOISES/simulated_rirs/{small,medium,large}room/ROOM/*.wav``: 60,000, split ``simulated-rirs``;
- ``RIRS_NOISES/real_rirs_isotropic_noises/*.wav``: 325 measured rooms (RWCP, REVERB 2014, AIR), split ``real-rirs``,
  and 92 noises, told apart by "noise" in their names, split ``isotropic-noises``;
- ``RIRS_NOISES/pointsource_noises/*.wav``: 843, split ``pointsource-noises``. They are MUSAN's Freesound noises.

A recipe takes the folder as ``augment.rirs``.
"""

from __future__ import annotations

from pathlib import Path

from voxangle.corpora.completeness import Completeness, Published, Tally, inspect
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.notes import notes_of
from voxangle.corpora.openslr import Archive, Release
from voxangle.corpora.sounds import sounds
from voxangle.corpora.walk import files_below, place_of_corpus
from voxangle.data import Manifest
from voxangle.errors import CorpusError

__all__ = ["NAME", "PUBLISHED", "RELEASE", "check", "get", "read"]

NAME = "rirs-noises"
_FOLDER = "RIRS_NOISES"
RELEASE = Release(
    NAME,
    28,
    {
        NAME: Archive(
            "rirs_noises.zip",
            "e6f48e257286e05de56413b4779d8ffb",
            _FOLDER,
            bytes=1_311_166_223,
            unpacked=4_000_000_000,
        )
    },
)
"""Nobody publishes how much it is unpacked; this is a guess on the safe side."""
get = RELEASE.get
_SOURCE = "openslr.org/28"
PUBLISHED = {
    "simulated-rirs": Published(1, 60_000, None, _SOURCE),
    "real-rirs": Published(1, 325, None, _SOURCE),
    "isotropic-noises": Published(1, 92, None, _SOURCE),
    "pointsource-noises": Published(1, 843, None, _SOURCE),
}
"""Files of each kind in the archive, 61,260 in all."""

_PARTS = ("simulated_rirs", "real_rirs_isotropic_noises", "pointsource_noises")


def read(root: Path) -> Corpus:
    """The kinds that are there, each as a split; needs no network.

    Args:
        root: the folder ``RIRS_NOISES``, or the one above it.

    Raises:
        CorpusError: it is not there, or is empty.
    """
    tally = Tally()
    top, kinds = _found(place_of_corpus(root), tally)
    remark = f"Sounds for augmentation, without speakers; set augment.rirs to {top} in a recipe."
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
    simulated, measured, pointsource = (list(files_below(top / part, {".wav"}, tally)) for part in _PARTS)
    kinds = {
        "simulated-rirs": simulated,
        "real-rirs": [file for file in measured if "noise" not in file.stem],
        "isotropic-noises": [file for file in measured if "noise" in file.stem],
        "pointsource-noises": pointsource,
    }
    if not any(kinds.values()):
        raise CorpusError(f"{top}: holds no *.wav; the archive is not unpacked to the end: unpack it again")
    return top, sounds(NAME, top, kinds)


def _top(root: Path) -> Path:
    # The archive holds a folder RIRS_NOISES, and `get` unpacks it into another.
    for top in (root, root / _FOLDER, root / _FOLDER / _FOLDER):
        if any((top / part).is_dir() for part in _PARTS):
            return top
    if root.name in _PARTS and root.is_dir():
        raise CorpusError(f"{root}: is one part of {_FOLDER} only; name the folder above it, {root.parent}")
    raise CorpusError(
        f"{root}: holds no folder {', '.join(_PARTS)}; name the folder {_FOLDER}, or fetch it with "
        f"`voxangle corpora get {NAME}`"
    )
