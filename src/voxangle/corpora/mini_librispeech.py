"""Mini LibriSpeech (OpenSLR 31): read English out of LibriVox audiobooks, for machines without apt.

``train-clean-5`` (about 5 h, 333 MB) trains, ``dev-clean-2`` (about 2 h, 126 MB) evaluates; their speakers are
disjoint. V. Panayotov, G. Chen, D. Povey, S. Khudanpur, "LibriSpeech: an ASR corpus based on public domain audio
books", ICASSP 2015; the small subset is Kaldi's. Licence: CC BY 4.0.

Layout: ``LibriSpeech/SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac`` with ``LibriSpeech/SPEAKERS.TXT``. A
chapter is a session: target trials pair different chapters of a speaker where there are several. Two lists:
``all-pairs`` (non-targets between any two speakers) and ``same-gender`` (non-targets within a gender, harder; only
where SPEAKERS.TXT is there). Limits: clean reading, a speaker's chapters often share the microphone.

``$VOXANGLE_OPENSLR`` names a mirror of OpenSLR's ``resources`` folder to use instead of the public ones.
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from voxangle import audio
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.download import OnProgress, extract_tar, fetch
from voxangle.corpora.draw import draw
from voxangle.data import Manifest, Trials, Utterance
from voxangle.errors import AudioError, CorpusError

__all__ = ["MD5", "MIRRORS", "NAME", "SUBSETS", "get", "read"]

NAME = "mini-librispeech"
SUBSETS = {"train": "train-clean-5", "eval": "dev-clean-2"}
MD5 = {
    "train-clean-5": "5df7d4e78065366204ca6845bb08f490",
    "dev-clean-2": "6d7ab67ac6a1d2c993d050e16d61080d",
}
MIRRORS = (
    "https://www.openslr.org/resources",
    "https://openslr.trmal.net/resources",
    "https://openslr.elda.org/resources",
)

_UTTERANCES_A_SPEAKER = 40
_TARGETS_A_SPEAKER = 100
_NONTARGETS_A_PAIR = 10
_NOTES = (
    "mini-librispeech: clean read speech of few speakers; a speaker's chapters often share the microphone, so "
    "error rates are optimistic."
)


def get(root: Path, on_progress: OnProgress | None = None, *, base: str | None = None) -> None:
    """Download and unpack both subsets under ``root``; resumed, checked, and not fetched again once there.

    Args:
        root: where the subsets' folders go.
        on_progress: told the archive and its bytes.
        base: the ``resources`` folder to take them from; by default ``$VOXANGLE_OPENSLR``, else ``MIRRORS``.

    Raises:
        CorpusError: no mirror can be reached, or a checksum is wrong.
        StorageError: the disk is full.
    """
    root = Path(root)
    own = base or os.environ.get("VOXANGLE_OPENSLR")
    for subset in SUBSETS.values():
        if (root / subset).is_dir():
            continue
        file = f"{subset}.tar.gz"
        urls = [f"{mirror.rstrip('/')}/31/{file}" for mirror in ([own] if own else MIRRORS)]
        archive = fetch(urls, root / file, md5=MD5[subset], on_progress=on_progress)
        extract_tar(archive, root / subset)
        archive.unlink()


def read(root: Path) -> Corpus:
    """Read what ``get`` fetched, or a ``LibriSpeech`` folder with both subsets; needs no network.

    Raises:
        CorpusError: a subset is missing or empty.
    """
    root = Path(root)
    rows = {split: list(_utterances(root, subset)) for split, subset in SUBSETS.items()}
    splits = {split: Manifest.of(utterances, root) for split, utterances in rows.items()}
    lists = {"all-pairs": _trials(rows["eval"], same_gender=False)}
    if all(utterance.gender for utterance in rows["eval"]):
        lists["same-gender"] = _trials(rows["eval"], same_gender=True)
    trials = {name: Trials.of(name, pairs) for name, pairs in lists.items() if _both_classes(pairs)}
    return Corpus(NAME, splits, trials, _NOTES)


def _folder(root: Path, subset: str) -> Path:
    for folder in (root / subset / "LibriSpeech" / subset, root / "LibriSpeech" / subset, root / subset):
        if folder.is_dir():
            return folder
    raise CorpusError(f"{root}: {subset} is not there; fetch it with `voxangle corpora get {NAME}`")


def _utterances(root: Path, subset: str) -> Iterator[Utterance]:
    folder = _folder(root, subset)
    genders = _genders(folder.parent / "SPEAKERS.TXT")
    files = sorted(folder.glob("*/*/*.flac"))
    if not files:
        raise CorpusError(
            f"{folder}: no SPEAKER/CHAPTER/UTTERANCE.flac; remove {root / subset} and run "
            f"`voxangle corpora get {NAME}`"
        )
    for file in files:
        speaker, chapter = file.parts[-3:-1]
        yield Utterance(
            utterance=file.stem,
            speaker=f"librispeech-{speaker}",
            path=str(file.relative_to(root)),
            seconds=_seconds(file),
            session=chapter,
            language="en",
            gender=genders.get(speaker, ""),
            channel="librivox",
        )


def _genders(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    # ;ID  |SEX| SUBSET           |MINUTES| NAME
    rows = (line.split("|") for line in path.read_text(encoding="utf-8").splitlines() if line[:1] != ";")
    return {row[0].strip(): row[1].strip().lower() for row in rows if len(row) > 1}


def _seconds(file: Path) -> float:
    try:
        return audio.probe(file).seconds
    except AudioError:
        # Unknown here; preparing decodes the file, and reports and leaves out what it cannot.
        return 0.0


def _trials(utterances: Iterable[Utterance], *, same_gender: bool) -> list[tuple[bool, str, str]]:
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_speaker[utterance.speaker].append(utterance)
    drawn = {
        speaker: draw(rows, _UTTERANCES_A_SPEAKER, seed=NAME, key=lambda row: row.utterance)
        for speaker, rows in sorted(by_speaker.items())
    }
    trials = []
    for rows in drawn.values():
        pairs = list(itertools.combinations(rows, 2))
        across = [(a, b) for a, b in pairs if a.session != b.session]
        trials += _drawn(True, across or pairs, _TARGETS_A_SPEAKER)
    for a, b in itertools.combinations(drawn.values(), 2):
        if not same_gender or a[0].gender == b[0].gender:
            trials += _drawn(False, itertools.product(a, b), _NONTARGETS_A_PAIR)
    return trials


def _drawn(
    target: bool, pairs: Iterable[tuple[Utterance, Utterance]], count: int
) -> list[tuple[bool, str, str]]:
    keys = ((a.utterance, b.utterance) for a, b in pairs)
    return [(target, a, b) for a, b in draw(keys, count, seed=NAME, key=" ".join)]


def _both_classes(pairs: list[tuple[bool, str, str]]) -> bool:
    return len({target for target, _, _ in pairs}) == 2
