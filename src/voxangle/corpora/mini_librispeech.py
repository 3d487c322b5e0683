"""Mini LibriSpeech (OpenSLR 31): read English out of LibriVox audiobooks, for machines without apt.

``train-clean-5`` (about 5 h, 333 MB) trains, ``dev-clean-2`` (about 2 h, 126 MB) evaluates; their speakers are
disjoint. V. Panayotov, G. Chen, D. Povey, S. Khudanpur, "LibriSpeech: an ASR corpus based on public domain audio
books", ICASSP 2015; the small subset is Kaldi's. Licence: CC BY 4.0.

Layout, sessions, trial lists and limits are those of ``voxangle.corpora.librispeech``.

``$VOXANGLE_OPENSLR`` names a mirror of OpenSLR's ``resources`` folder to use instead of the public ones, here and for
every other corpus of OpenSLR; ``--mirror`` one to ask before them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from voxangle.corpora.completeness import Tally
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.durations import durations
from voxangle.corpora.librispeech import subset_manifest, trial_lists
from voxangle.corpora.notes import notes_of
from voxangle.corpora.openslr import Archive, Release
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest
from voxangle.errors import CorpusError

__all__ = ["NAME", "RELEASE", "SUBSETS", "get", "read"]

NAME = "mini-librispeech"
SUBSETS = {"train": "train-clean-5", "eval": "dev-clean-2"}
RELEASE = Release(
    NAME,
    31,
    {
        subset: Archive(f"{subset}.tar.gz", md5, subset, size)
        for subset, md5, size in (
            ("train-clean-5", "5df7d4e78065366204ca6845bb08f490", 332_954_390),
            ("dev-clean-2", "6d7ab67ac6a1d2c993d050e16d61080d", 126_046_265),
        )
    },
)
get = RELEASE.get

_UTTERANCES_A_SPEAKER = 40
_LIMITS = (
    "Clean read speech of few speakers; a speaker's chapters often share the microphone, so error rates are "
    "optimistic."
)


def read(root: Path) -> Corpus:
    """Read what ``get`` fetched, or a ``LibriSpeech`` folder with both subsets; needs no network.

    Raises:
        CorpusError: a subset is missing or empty.
    """
    root, tally = place_of_corpus(root), Tally()
    splits = {
        split: _timed(subset_manifest(_folder(root, subset), root, tally))
        for split, subset in SUBSETS.items()
    }
    trials = trial_lists(splits["eval"], seed=NAME, utterances=_UTTERANCES_A_SPEAKER)
    return Corpus(NAME, splits, trials, notes_of(NAME, {}, {}, tally, [_LIMITS]))


def _timed(manifest: Manifest) -> Manifest:
    seconds = durations(manifest.files())
    rows = (replace(row, seconds=length) for row, length in zip(manifest, seconds, strict=True))
    return Manifest.of(rows, manifest.root)


def _folder(root: Path, subset: str) -> Path:
    for folder in (root / subset / "LibriSpeech" / subset, root / "LibriSpeech" / subset, root / subset):
        if folder.is_dir():
            return folder
    raise CorpusError(
        f"{root}: {subset} is not there; name the folder that holds {' and '.join(SUBSETS.values())}, or fetch them "
        f"with `voxangle corpora get {NAME}`"
    )
