"""What CN-Celeb1 and CN-Celeb2 share: ``data/idNNNNN/GENRE-SESSION-NUMBER.flac`` trees, and OpenSLR 82."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from voxangle.corpora.columns import Columns
from voxangle.corpora.completeness import Tally
from voxangle.corpora.tree import Layout, layout_of, recordings, speaker_number
from voxangle.errors import CorpusError

__all__ = [
    "LANGUAGE",
    "LICENCE",
    "add_data",
    "cnceleb_layout",
    "genre_of",
    "is_cnceleb1",
    "is_cnceleb2",
    "key_of",
    "no_speakers",
    "session_of",
]

LICENCE = "CC BY-SA 4.0"

LANGUAGE = "zh"
"""Nearly all is Mandarin; the corpus does not say where not."""

# The two number their speakers apart.
_FIRST_OF_CNCELEB2 = 10_000


def is_cnceleb1(speaker: str) -> bool:
    """Whether ``idNNNNN`` is a speaker of CN-Celeb1: below id10000."""
    return speaker_number(speaker) < _FIRST_OF_CNCELEB2


def is_cnceleb2(speaker: str) -> bool:
    """Whether ``idNNNNN`` is a speaker of CN-Celeb2: id10000 and up."""
    return not is_cnceleb1(speaker)


def cnceleb_layout(root: Path, tally: Tally) -> Layout:
    """Search ``root``, or the folder above where it is ``data``, ``dev`` or ``eval`` itself.

    Raises:
        CorpusError: there is no such folder, or it is one speaker's.
    """
    return layout_of(root.parent if root.name in {"data", "dev", "eval"} else root, tally)


def key_of(path: str) -> str:
    """The key of an utterance: its path below ``data`` or ``eval``, always with the suffix ``.wav``.

    The lists of the release name ``.wav``, the release holds ``.flac``.
    """
    place = PurePosixPath(path)
    return str(place.with_suffix(".wav")) if place.name else path


def add_data(
    columns: Columns,
    speakers: Mapping[str, Sequence[Path]],
    root: Path,
    corpus: str,
    tally: Tally,
    keep: Callable[[str], bool] = lambda _: True,
) -> None:
    """Add the utterances below the speakers' folders whose key ``keep`` takes, sorted."""
    for speaker, folders in speakers.items():
        found = [
            (key, name, path)
            for _, name, path in recordings(folders, root, tally, sessions=False)
            if keep(key := f"{speaker}/{name}.wav")
        ]
        sessions = [session_of(name) for _, name, _ in found]
        columns.add(
            [key for key, _, _ in found],
            [path for _, _, path in found],
            speaker=f"{corpus}-{speaker}",
            session=sessions,
            language=LANGUAGE,
            channel=[genre_of(session) for session in sessions],
        )


def session_of(name: str) -> str:
    """``GENRE-SESSION`` of a file called ``GENRE-SESSION-NUMBER``, empty for any other.

    Sessions are counted within a speaker's genre, so only both together name one.
    """
    session, _, number = name.rpartition("-")
    genre, _, count = session.rpartition("-")
    return session if genre and count and number else ""


def genre_of(session: str) -> str:
    """``GENRE`` of ``GENRE-SESSION``.

    The genre is the channel: it decides on microphone, room and manner of speaking at once, and a pair across
    genres is CN-Celeb's cross-channel trial.
    """
    return session.rpartition("-")[0]


def no_speakers(root: Path, layout: Layout, which: str, how_to_get: str) -> CorpusError:
    """What to raise where none of the corpus's speakers is there."""
    return CorpusError(
        f"{root}: expected data/idNNNNN/GENRE-SESSION-NUMBER.flac (or .wav) of {which} at most five folders below, "
        f"found {layout.contents()}.\n{how_to_get}"
    )
