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
from collections.abc import Iterable, Sequence
from pathlib import Path

from voxangle.audio import AUDIO_SUFFIXES
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.download import OnProgress, extract_tar
from voxangle.corpora.draw import draw
from voxangle.corpora.durations import durations
from voxangle.corpora.genders import gender_of
from voxangle.corpora.openslr import fetch_archive
from voxangle.data import Manifest, Trials, Utterance
from voxangle.errors import CorpusError

__all__ = ["MD5", "NAME", "PUBLISHED", "SUBSETS", "get", "read", "subset_utterances", "trial_lists"]

NAME = "librispeech"
SUBSETS = {
    "train": ("train-clean-100", "train-clean-360", "train-other-500"),
    "dev": ("dev-clean", "dev-other"),
    "eval": ("test-clean", "test-other"),
}
MD5 = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}
PUBLISHED = {
    "dev-clean": (40, 2_703),
    "dev-other": (33, 2_864),
    "test-clean": (40, 2_620),
    "test-other": (33, 2_939),
    "train-clean-100": (251, 28_539),
    "train-clean-360": (921, 104_014),
    "train-other-500": (1_166, 148_688),
}
"""Speakers and utterances of each subset."""

_UTTERANCES_A_SPEAKER = 12
_TARGETS_A_SPEAKER = 100
_NONTARGETS_A_PAIR = 10
_NOTES = (
    "LibriSpeech: clean read speech; a speaker's chapters often share the microphone, so error rates are "
    "optimistic."
)


def get(
    root: Path,
    on_progress: OnProgress | None = None,
    *,
    subsets: Iterable[str] = MD5,
    base: str | None = None,
) -> None:
    """Download and unpack subsets under ``root``; resumed, checked, and not fetched again once there.

    All of them are 60 GB of archives, and about as much unpacked; an archive goes once it is unpacked.

    Args:
        root: where the subsets' folders go.
        on_progress: told the archive and its bytes.
        subsets: which.
        base: the ``resources`` folder to take them from; by default ``$VOXANGLE_OPENSLR``, else OpenSLR's mirrors.

    Raises:
        CorpusError: no mirror can be reached, or a checksum is wrong.
        StorageError: the disk is full.
    """
    root = Path(root)
    for subset in subsets:
        if not (root / subset).is_dir():
            archive = fetch_archive(
                12, f"{subset}.tar.gz", root, md5=MD5[subset], on_progress=on_progress, base=base
            )
            extract_tar(archive, root / subset)
            archive.unlink()


def read(root: Path) -> Corpus:
    """Read the subsets that are there; needs no network.

    Args:
        root: what ``get`` made, a ``LibriSpeech`` folder or the one above it, or one subset's folder.

    Raises:
        CorpusError: no subset is there, or one is empty.
    """
    root = Path(root).resolve()
    folders = _subset_folders(root)
    splits: dict[str, Manifest] = {}
    notes = [_NOTES]
    for split, subsets in SUBSETS.items():
        rows: list[Utterance] = []
        for subset in subsets:
            if subset in folders:
                found = subset_utterances(folders[subset], root)
                notes += _missing(subset, found)
                rows += found
        if rows:
            splits[split] = Manifest.of(rows, root)
    trials = {}
    if "eval" in splits:
        trials = trial_lists(splits["eval"], seed=NAME, utterances=_UTTERANCES_A_SPEAKER)
    return Corpus(NAME, splits, trials, " ".join(notes))


def subset_utterances(folder: Path, root: Path) -> list[Utterance]:
    """The utterances of one subset's folder, ``SPEAKER/CHAPTER/UTTERANCE.flac``, with paths relative to ``root``.

    Raises:
        CorpusError: there are none.
    """
    files = sorted(
        file
        for file in folder.glob("*/*/*")
        if file.suffix.lower() in AUDIO_SUFFIXES and not file.name.startswith(".")
    )
    if not files:
        raise CorpusError(
            f"{folder}: no SPEAKER/CHAPTER/UTTERANCE.flac; the archive is not unpacked, or not to the end: "
            "unpack it again"
        )
    genders = _genders(folder.parent / "SPEAKERS.TXT")
    return [
        Utterance(
            utterance=file.stem,
            speaker=f"librispeech-{file.parts[-3]}",
            path=str(file.relative_to(root)),
            seconds=seconds,
            session=file.parts[-2],
            language="en",
            gender=genders.get(file.parts[-3], ""),
            channel="librivox",
        )
        for file, seconds in zip(files, durations(files), strict=True)
    ]


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
        raise CorpusError(
            f"{root}: holds no subset of LibriSpeech ({', '.join(PUBLISHED)}); name the folder LibriSpeech, or "
            f"fetch it with `voxangle corpora get {NAME}`"
        )
    return folders


def _missing(subset: str, found: Sequence[Utterance]) -> list[str]:
    speakers, utterances = PUBLISHED[subset]
    if len(found) >= utterances:
        return []
    here = len({row.speaker for row in found})
    return [
        f"Incomplete: {subset} has {len(found):,} of {utterances:,} utterances, {here} of {speakers:,} speakers."
    ]


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
