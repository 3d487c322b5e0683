"""LibriSpeech (OpenSLR 12): a thousand hours of read English out of LibriVox audiobooks.

V. Panayotov, G. Chen, D. Povey, S. Khudanpur, "LibriSpeech: an ASR corpus based on public domain audio books",
ICASSP 2015. Licence: CC BY 4.0. 2,484 speakers, 292,367 utterances, 982 h, 16 kHz.

Layout: ``LibriSpeech/SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac`` with ``LibriSpeech/SPEAKERS.TXT``. No
speaker is in two subsets. The subsets that are there make three splits: ``train`` (train-clean-100,
train-clean-360, train-other-500), ``dev`` (dev-clean, dev-other) and ``eval`` (test-clean, test-other). To train
or evaluate on one subset only, name its folder as the root.

A chapter is a session. LibriSpeech has no trial lists of its own; two are drawn from ``eval``, the same on every
machine: ``all-pairs`` and ``same-gender`` (non-targets within a gender; where SPEAKERS.TXT is there). Target
trials pair different chapters of a speaker where there are several. Limits: clean reading, and a speaker's chapters
often share the microphone.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from voxangle.audio import AUDIO_SUFFIXES
from voxangle.corpora.columns import Columns
from voxangle.corpora.completeness import (
    BROKEN_LINKS,
    NOT_UTF8,
    STRAY,
    UNLISTED,
    Completeness,
    Published,
    Tally,
    inspect,
)
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.draw import draw
from voxangle.corpora.genders import gender_of
from voxangle.corpora.notes import notes_of
from voxangle.corpora.openslr import Archive, Release
from voxangle.corpora.walk import entries, is_folder, is_text, place_of_corpus
from voxangle.data import Manifest, Trials, Utterance
from voxangle.errors import CorpusError

__all__ = [
    "NAME",
    "PUBLISHED",
    "RELEASE",
    "SUBSETS",
    "check",
    "get",
    "read",
    "subset_manifest",
    "trial_lists",
]

NAME = "librispeech"
SUBSETS = {
    "train": ("train-clean-100", "train-clean-360", "train-other-500"),
    "dev": ("dev-clean", "dev-other"),
    "eval": ("test-clean", "test-other"),
}
RELEASE = Release(
    NAME,
    12,
    {
        subset: Archive(f"{subset}.tar.gz", md5, subset, size)
        for subset, md5, size in (
            ("dev-clean", "42e2234ba48799c1f50f24a7926300a1", 337_926_286),
            ("dev-other", "c8d0bcc9cca99d4f8b62fcc847357931", 314_305_928),
            ("test-clean", "32fa31d27d2e1cad72775fee3f4849a9", 346_663_984),
            ("test-other", "fb5a50374b501bb3bac4815ee91d3135", 328_757_843),
            ("train-clean-100", "2a93770f6d5c6c964bc36631d331a522", 6_387_309_499),
            ("train-clean-360", "c0e676e450a7ff2f54aeade5171606fa", 23_049_477_885),
            ("train-other-500", "d1a0fd59409feb2c614ce4d30c387708", 30_593_501_606),
        )
    },
)
"""Sizes as Kaldi's egs/librispeech/s5/local/download_and_untar.sh checks them."""
get = RELEASE.get
_SOURCE = "the paper's table 1; utterances counted in the archives"
PUBLISHED = {
    "dev-clean": Published(40, 2_703, 5.4, _SOURCE),
    "dev-other": Published(33, 2_864, 5.3, _SOURCE),
    "test-clean": Published(40, 2_620, 5.4, _SOURCE),
    "test-other": Published(33, 2_939, 5.1, _SOURCE),
    "train-clean-100": Published(251, 28_539, 100.6, _SOURCE),
    "train-clean-360": Published(921, 104_014, 363.6, _SOURCE),
    "train-other-500": Published(1_166, 148_688, 496.7, _SOURCE),
}

_UTTERANCES_A_SPEAKER = 12
_TARGETS_A_SPEAKER = 100
_NONTARGETS_A_PAIR = 10
_LIMITS = "Clean read speech; a speaker's chapters often share the microphone, so error rates are optimistic."


def read(root: Path) -> Corpus:
    """Read the subsets that are there; needs no network. Durations are left to preparing.

    Args:
        root: what ``get`` made, a ``LibriSpeech`` folder or the one above it, or one subset's folder.

    Raises:
        CorpusError: no subset is there, or one is empty.
    """
    root, tally = place_of_corpus(root), Tally()
    found = _found(root, tally)
    splits = {
        split: Manifest(pa.concat_tables(manifest.table for manifest in there), root)
        for split, subsets in SUBSETS.items()
        if (there := [found[subset] for subset in subsets if subset in found])
    }
    trials = {}
    if "eval" in splits:
        trials = trial_lists(splits["eval"], seed=NAME, utterances=_UTTERANCES_A_SPEAKER)
    return Corpus(NAME, splits, trials, notes_of(NAME, found, PUBLISHED, tally, [_LIMITS]))


def check(root: Path, *, headers: bool = False) -> Completeness:
    """Whether the subsets that are there are whole.

    Args:
        root: as for ``read``.
        headers: read every file's header too, for hours and unreadable files.

    Raises:
        CorpusError: no subset is there, or one is empty.
    """
    root, tally = place_of_corpus(root), Tally()
    found = _found(root, tally)
    published = {subset: PUBLISHED[subset] for subset in found}
    return inspect(NAME, root, found, published, tally, headers=headers)


def subset_manifest(folder: Path, root: Path, tally: Tally) -> Manifest:
    """The utterances of one subset's folder, ``SPEAKER/CHAPTER/UTTERANCE.flac``, of unknown duration.

    Args:
        folder: the subset's.
        root: what paths are to be relative to.
        tally: is told what is left out, and why.

    Raises:
        CorpusError: there are none, or two have one name.
    """
    genders = _genders(folder.parent / "SPEAKERS.TXT")
    columns = Columns()
    place_of: dict[str, str] = {}
    speakers, stray = _listed(folder, tally)
    for speaker in speakers:
        chapters, misplaced = _listed(folder / speaker, tally)
        stray += misplaced
        if genders and speaker not in genders:
            tally.add(UNLISTED, speaker)
        for chapter in chapters:
            place = (folder / speaker / chapter).relative_to(root).as_posix()
            deeper, names = _listed(folder / speaker / chapter, tally)
            stray += [str(folder / speaker / chapter / name) for name in deeper]
            # By name without suffix: of a recording in two formats the first is taken.
            files = {Path(name).stem: Path(name).name for name in reversed(names)}
            keys = sorted(files)
            for key in keys:
                if place_of.setdefault(key, place) != place:
                    raise CorpusError(
                        f"{root / place / files[key]}: '{key}' is there in {root / place_of[key]} too; LibriSpeech's "
                        "files are called SPEAKER-CHAPTER-NUMBER: read others as the corpus 'folder'"
                    )
            columns.add(
                keys,
                [f"{place}/{files[key]}" for key in keys],
                speaker=f"librispeech-{speaker}",
                session=chapter,
                language="en",
                gender=genders.get(speaker, ""),
                channel="librivox",
            )
    for path in stray:
        tally.add(STRAY, path)
    if not len(columns):
        raise CorpusError(
            f"{folder}: no SPEAKER/CHAPTER/UTTERANCE.flac; the archive is not unpacked, or not to the end: "
            "unpack it again"
        )
    return columns.manifest(root)


def trial_lists(manifest: Manifest, *, seed: str, utterances: int) -> dict[str, Trials]:
    """``all-pairs``, and where every gender is known ``same-gender``; a list without both classes is left out.

    Args:
        manifest: whose utterances are paired.
        seed: of the drawing; the same seed draws the same pairs everywhere.
        utterances: of a speaker that are drawn from, at most.
    """
    rows = list(manifest)
    lists = {"all-pairs": _pairs(rows, seed, utterances, same_gender=False)}
    if all(row.gender for row in rows):
        lists["same-gender"] = _pairs(rows, seed, utterances, same_gender=True)
    return {
        name: Trials.of(name, pairs)
        for name, pairs in lists.items()
        if len({target for target, _, _ in pairs}) == 2
    }


def _found(root: Path, tally: Tally) -> dict[str, Manifest]:
    """The subsets that are there."""
    return {subset: subset_manifest(folder, root, tally) for subset, folder in _subset_folders(root).items()}


def _subset_folders(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; fetch it with `voxangle corpora get {NAME}`")
    if root.name in PUBLISHED and not (root / "LibriSpeech").is_dir():
        return {root.name: root}
    folders = {}
    for subset in PUBLISHED:
        places = (root / subset / "LibriSpeech" / subset, root / "LibriSpeech" / subset, root / subset)
        if folder := next((place for place in places if place.is_dir()), None):
            folders[subset] = folder
    if not folders:
        near = [place.parent for subset in PUBLISHED for place in root.glob(f"*/{subset}")]
        raise CorpusError(
            f"{root}: holds no subset of LibriSpeech ({', '.join(PUBLISHED)}); name "
            f"{near[0] if near else 'the folder LibriSpeech'}, or fetch it with `voxangle corpora get {NAME}`"
        )
    return folders


def _listed(folder: Path, tally: Tally) -> tuple[list[str], list[str]]:
    """The names of the folders in a folder, and the paths of the recordings in it, sorted."""
    folders, files = [], []
    for entry in entries(folder, tally):
        is_audio = Path(entry.name).suffix.lower() in AUDIO_SUFFIXES
        if is_folder(entry) or is_audio:
            if not is_text(entry.path):
                tally.add(NOT_UTF8, entry.path)
            elif is_audio:
                files.append(entry.path)
            else:
                folders.append(entry.name)
        elif not Path(entry.path).exists():
            tally.add(BROKEN_LINKS, entry.path)
    return folders, files


def _genders(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    # ;ID  |SEX| SUBSET           |MINUTES| NAME
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = (line.split("|") for line in lines if line[:1] != ";")
    return {row[0].strip(): gender_of(row[1]) for row in rows if len(row) > 1}


def _pairs(
    rows: Iterable[Utterance], seed: str, utterances: int, *, same_gender: bool
) -> list[tuple[bool, str, str]]:
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for row in rows:
        by_speaker[row.speaker].append(row)
    drawn = {
        speaker: draw(own, utterances, seed=seed, key=lambda row: row.utterance)
        for speaker, own in sorted(by_speaker.items())
    }
    trials = []
    for own in drawn.values():
        pairs = list(itertools.combinations(own, 2))
        across = [(a, b) for a, b in pairs if a.session != b.session]
        trials += _drawn(True, across or pairs, _TARGETS_A_SPEAKER, seed)
    for a, b in itertools.combinations(drawn.values(), 2):
        if not same_gender or a[0].gender == b[0].gender:
            trials += _drawn(False, itertools.product(a, b), _NONTARGETS_A_PAIR, seed)
    return trials


def _drawn(
    target: bool, pairs: Iterable[tuple[Utterance, Utterance]], count: int, seed: str
) -> list[tuple[bool, str, str]]:
    keys = ((a.utterance, b.utterance) for a, b in pairs)
    return [(target, a, b) for a, b in draw(keys, count, seed=seed, key=" ".join)]
