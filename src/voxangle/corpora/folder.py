"""Any folder of recordings laid out ``speaker/utterance.ext`` or ``speaker/session/utterance.ext``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from voxangle.audio import AUDIO_SUFFIXES, probe
from voxangle.corpora.corpus import Corpus
from voxangle.data import Manifest, Utterance
from voxangle.errors import AudioError, CorpusError

__all__ = ["read"]


def read(root: Path) -> Corpus:
    """The recordings below ``root``, as one split ``all``.

    The first folder below the root is the speaker, what stands between it and the file the session; the key
    of an utterance is its path relative to the root. Files that are not audio by their suffix and hidden
    ones are ignored. Durations are taken from the headers; a file whose header cannot be read keeps 0
    seconds, and preparing says what is wrong with it.

    Raises:
        CorpusError: the folder is missing or holds no recordings, or a recording lies outside the speakers'
            folders.
        MissingExtraError: its files need the ``media`` extra.
    """
    root = Path(root).resolve()
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; it should hold recordings as speaker/utterance.wav")
    paths = sorted(_recordings(root))
    if not paths:
        raise CorpusError(
            f"{root}: holds no recordings; expected speaker/utterance.ext with one of the suffixes "
            f"{', '.join(sorted(AUDIO_SUFFIXES))}"
        )
    unnameable = next((path for path in paths if not _is_text(path)), None)
    if unnameable is not None:
        raise CorpusError(
            f"{root}: the name {os.fsencode(unnameable)!r} is not UTF-8; rename the file or its folder"
        )
    stray = next((path for path in paths if len(path.parts) == 1), None)
    if stray is not None:
        raise CorpusError(
            f"{root / stray}: lies in no speaker's folder; expected speaker/utterance.ext, so move it into "
            "one, or name the folder above as the corpus"
        )
    with ThreadPoolExecutor() as pool:
        seconds = list(pool.map(_seconds, [root / path for path in paths]))
    utterances = [
        Utterance(
            utterance=path.as_posix(),
            speaker=path.parts[0],
            path=path.as_posix(),
            seconds=duration,
            session="/".join(path.parts[1:-1]),
        )
        for path, duration in zip(paths, seconds, strict=True)
    ]
    return Corpus(name=root.name, splits={"all": Manifest.of(utterances, root)})


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _recordings(root: Path) -> Iterator[Path]:
    # Collections are often assembled from links to folders, which Path.rglob passes over.
    for folder, subfolders, names in os.walk(root, followlinks=True):
        here = Path(folder).resolve()
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and not here.is_relative_to((Path(folder) / name).resolve())
        ]
        for name in names:
            if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield (Path(folder) / name).relative_to(root)


def _seconds(path: Path) -> float:
    try:
        return probe(path).seconds
    except AudioError:
        return 0.0
