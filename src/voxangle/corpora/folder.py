"""Any folder of recordings laid out ``speaker/utterance.ext`` or ``speaker/session/utterance.ext``."""

from __future__ import annotations

from pathlib import Path

from voxangle.audio import AUDIO_SUFFIXES
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.durations import durations
from voxangle.corpora.walk import files_below
from voxangle.data import Manifest, Utterance
from voxangle.errors import CorpusError

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
    paths = sorted(path.relative_to(root) for path in files_below(root, AUDIO_SUFFIXES))
    if not paths:
        raise CorpusError(
            f"{root}: holds no recordings; expected speaker/utterance.ext with one of the suffixes "
            f"{', '.join(sorted(AUDIO_SUFFIXES))}"
        )
    stray = next((path for path in paths if len(path.parts) == 1), None)
    if stray is not None:
        raise CorpusError(
            f"{root / stray}: lies in no speaker's folder; expected speaker/utterance.ext, so move it into "
            "one, or name the folder above as the corpus"
        )
    seconds = durations(root / path for path in paths)
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
