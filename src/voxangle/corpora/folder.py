"""Any folder of recordings laid out ``speaker/utterance.ext`` or ``speaker/session/utterance.ext``."""

from __future__ import annotations

from pathlib import Path

from voxangle.audio import AUDIO_SUFFIXES
from voxangle.corpora.completeness import STRAY, Tally
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.durations import durations
from voxangle.corpora.notes import notes_of
from voxangle.corpora.split_names import SPLIT_NAMES
from voxangle.corpora.walk import files_below, place_of_corpus
from voxangle.data import Manifest, Utterance
from voxangle.errors import CorpusError

__all__ = ["read"]


def read(root: Path) -> Corpus:
    """The recordings below ``root``, as one split ``all``.

    The first folder below the root is the speaker, what stands between it and the file the session; the key
    of an utterance is its path relative to the root. Files that are not audio by their suffix and hidden
    ones are ignored. Durations are taken from the headers; a file whose header cannot be read keeps 0
    seconds, and preparing says what is wrong with it. What is left out, as recordings that lie in no speaker's folder,
    is counted in the notes.

    Raises:
        CorpusError: the folder is missing or holds no recordings, none of them lies in a speaker's folder, or these
            are called like splits.
        MissingExtraError: its files need the ``media`` extra.
    """
    root = place_of_corpus(root)
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; it should hold recordings as speaker/utterance.wav")
    tally = Tally()
    paths = sorted(path.relative_to(root) for path in files_below(root, AUDIO_SUFFIXES, tally))
    if not paths:
        met = "".join(f". There are {fault.brief}" for fault in tally.faults())
        raise CorpusError(
            f"{root}: holds no recordings; expected speaker/utterance.ext with one of the suffixes "
            f"{', '.join(sorted(AUDIO_SUFFIXES))}{met}"
        )
    stray = [path for path in paths if len(path.parts) == 1]
    paths = [path for path in paths if len(path.parts) > 1]
    if not paths:
        raise CorpusError(
            f"{root / stray[0]}: lies in no speaker's folder, nor does another of the {len(stray):,} recording(s); "
            "expected speaker/utterance.ext, so move them into such folders, or name the folder above as the corpus"
        )
    for path in stray:
        tally.add(STRAY, str(root / path))
    speakers = sorted({path.parts[0] for path in paths})
    below = {path.parts[1] for path in paths if len(path.parts) > 2}
    if below and all(speaker.lower() in SPLIT_NAMES for speaker in speakers):
        raise CorpusError(
            f"{root}: its folders are called {', '.join(speakers)}, so they are no speakers; name one of them as the "
            "corpus, or read all as the corpus 'audio-folder', which takes them for splits"
        )
    remark = (
        f"All {len(paths):,} recordings are one speaker's, '{speakers[0]}', as no folder is beside that; if the "
        f"{len(below):,} folders in it are the speakers, name {root / speakers[0]} as the corpus."
    )
    remarks = [remark] if len(speakers) == 1 and len(below) > 1 else []
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
    return Corpus(
        root.name, {"all": Manifest.of(utterances, root)}, notes=notes_of(root.name, {}, {}, tally, remarks)
    )
