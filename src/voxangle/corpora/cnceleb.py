"""What CN-Celeb1 and CN-Celeb2 share: ``data/idNNNNN/GENRE-SESSION-NUMBER.flac`` trees, and OpenSLR 82."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from voxangle.corpora.completeness import Tally
from voxangle.corpora.tree import Layout, layout_of, recordings, speaker_number
from voxangle.data import Utterance
from voxangle.errors import CorpusError

__all__ = [
    "LICENCE",
    "cnceleb_layout",
    "is_cnceleb1",
    "is_cnceleb2",
    "key_of",
    "no_speakers",
    "speech_of",
    "utterances_of",
]

LICENCE = "CC BY-SA 4.0"

_LANGUAGE = "zh"
# The two number their speakers apart.
_FIRST_OF_CNCELEB2 = 10_000


def is_cnceleb1(speaker: str) -> bool:
    """Whether ``idNNNNN`` is a speaker of CN-Celeb1: below id10000."""
    return speaker_number(speaker) < _FIRST_OF_CNCELEB2


def is_cnceleb2(speaker: str) -> bool:
    """Whether ``idNNNNN`` is a speaker of CN-Celeb2: id10000 and up."""
    return not is_cnceleb1(speaker)


def cnceleb_layout(root: Path) -> Layout:
    """Search ``root``, or the folder above where it is ``data``, ``dev`` or ``eval`` itself.

    Raises:
        CorpusError: there is no such folder, or it is one speaker's.
    """
    return layout_of(root.parent if root.name in {"data", "dev", "eval"} else root)


def key_of(path: str) -> str:
    """The key of an utterance: its path below ``data`` or ``eval``, always with the suffix ``.wav``.

    The lists of the release name ``.wav``, the release holds ``.flac``.
    """
    return str(PurePosixPath(path).with_suffix(".wav"))


def utterances_of(
    speakers: Mapping[str, Sequence[Path]],
    root: Path,
    corpus: str,
    tally: Tally,
    keep: Callable[[str], bool] = lambda _: True,
) -> Iterator[Utterance]:
    """The utterances below the speakers' folders whose key ``keep`` takes, sorted."""
    for speaker, folders in speakers.items():
        for _, name, path in recordings(folders, root, tally, sessions=False):
            if keep(key := f"{speaker}/{name}.wav"):
                yield speech_of(key, f"{corpus}-{speaker}", path, name)


def speech_of(key: str, speaker: str, path: str, name: str) -> Utterance:
    """An utterance whose file is called ``GENRE-SESSION-NUMBER``.

    Sessions are counted within a speaker's genre, so ``GENRE-SESSION`` names one. The genre is the channel: it decides
    on microphone, room, and manner of speaking at once, and a pair across genres is CN-Celeb's cross-channel trial.
    """
    genre, _, rest = name.partition("-")
    session, _, number = rest.partition("-")
    if not (genre and session and number):
        genre = session = ""
    return Utterance(
        key,
        speaker,
        path,
        session=f"{genre}-{session}" if genre else "",
        language=_LANGUAGE,
        channel=genre,
    )


def no_speakers(root: Path, layout: Layout, which: str, how_to_get: str) -> CorpusError:
    """What to raise where none of the corpus's speakers is there."""
    return CorpusError(
        f"{root}: expected data/idNNNNN/GENRE-SESSION-NUMBER.flac (or .wav) of {which} at most five folders below, "
        f"found {layout.contents()}.\n{how_to_get}"
    )
