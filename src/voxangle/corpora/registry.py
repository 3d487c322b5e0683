"""The corpora that voxangle knows by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from voxangle.corpora import (
    audio_folder,
    cnceleb,
    cnceleb1,
    cnceleb2,
    common_voice,
    debian_voices,
    folder,
    kaldi,
    lhotse_manifests,
    librispeech,
    mini_librispeech,
    musan,
    rirs_noises,
    table,
    voxceleb1,
    voxceleb2,
)
from voxangle.corpora.completeness import Completeness
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.download import OnProgress, Tell
from voxangle.errors import CorpusError, nearest
from voxangle.storage import cache_folder

__all__ = ["CORPORA", "CorpusReader", "corpus_folder", "corpus_reader"]


class Check(Protocol):
    """Whether a corpus is all there; ``headers`` reads every file's header too."""

    def __call__(self, root: Path, *, headers: bool = False) -> Completeness:
        """Look at the corpus in ``root``."""


class Get(Protocol):
    """Fetches a corpus, or goes on where it was cut off."""

    def __call__(
        self,
        root: Path,
        on_progress: OnProgress | None = None,
        *,
        subsets: Sequence[str] = (),
        mirrors: Sequence[str] = (),
        tell: Tell | None = None,
    ) -> None:
        """Fetch into ``root`` the subsets (all by default), from the mirrors before any other address."""


YOURS = "yours"


@dataclass(frozen=True)
class CorpusReader:
    """One kind of corpus.

    Attributes:
        name: what recipes and the command line call it.
        summary: one line on what it is.
        licence: its licence, or whose it is.
        read: the corpus from its folder or file, without network.
        get: fetches it into a folder, where it can be fetched.
        how_to_get: what a person must do where it cannot: addresses and commands.
        check: whether all that was published is there.
    """

    name: str
    summary: str
    licence: str
    read: Callable[[Path], Corpus]
    get: Get | None = None
    how_to_get: str = ""
    check: Check | None = None

    @property
    def is_published(self) -> bool:
        """Whether others made it, under a licence of theirs; else it is a layout for recordings of your own."""
        return self.licence != YOURS


CORPORA: dict[str, CorpusReader] = {
    reader.name: reader
    for reader in (
        CorpusReader(
            debian_voices.NAME,
            "20 voices, 13 languages, prompts and stories; Debian packages by apt-get, 320 MB",
            "CC BY-SA 3.0, CC BY 3.0, GPL-2, BSD (by package)",
            debian_voices.read,
            debian_voices.get,
        ),
        CorpusReader(
            mini_librispeech.NAME,
            "read English, 7 h; OpenSLR 31 by download, 460 MB",
            "CC BY 4.0",
            mini_librispeech.read,
            mini_librispeech.get,
        ),
        CorpusReader(
            voxceleb1.NAME,
            "1,251 celebrities in interviews, 352 h; trial lists O, E and H",
            "CC BY 4.0 (annotation); given on request",
            voxceleb1.read,
            how_to_get=voxceleb1.HOW_TO_GET,
            check=voxceleb1.check,
        ),
        CorpusReader(
            voxceleb2.NAME,
            "6,112 celebrities in interviews, 2,400 h, m4a or converted",
            "CC BY 4.0 (annotation); given on request",
            voxceleb2.read,
            how_to_get=voxceleb2.HOW_TO_GET,
            check=voxceleb2.check,
        ),
        CorpusReader(
            cnceleb1.NAME,
            "997 Chinese celebrities in 11 genres; both enrolment rules; OpenSLR 82 by download, 22 GB",
            cnceleb.LICENCE,
            cnceleb1.read,
            cnceleb1.get,
            check=cnceleb1.check,
        ),
        CorpusReader(
            cnceleb2.NAME,
            "1,996 Chinese celebrities in 11 genres, for training; OpenSLR 82 by download, 75 to 90 GB",
            cnceleb.LICENCE,
            cnceleb2.read,
            cnceleb2.get,
            check=cnceleb2.check,
        ),
        CorpusReader(
            librispeech.NAME,
            "read English, 982 h, 2,484 speakers; OpenSLR 12 by download, 60 GB",
            "CC BY 4.0",
            librispeech.read,
            librispeech.get,
            check=librispeech.check,
        ),
        CorpusReader(
            common_voice.NAME,
            "sentences read by volunteers, any languages of a release; client_id as speaker",
            "CC0 1.0; agreed terms forbid finding out who speaks",
            common_voice.read,
            how_to_get=common_voice.HOW_TO_GET,
            check=common_voice.check,
        ),
        CorpusReader(
            musan.NAME,
            "music, speech and noise for augmentation, 109 h; OpenSLR 17 by download, 11 GB",
            "CC BY 4.0; files by their LICENSE",
            musan.read,
            musan.get,
            check=musan.check,
        ),
        CorpusReader(
            rirs_noises.NAME,
            "rooms and noises for augmentation; OpenSLR 28 by download, 1.3 GB",
            "Apache 2.0",
            rirs_noises.read,
            rirs_noises.get,
            check=rirs_noises.check,
        ),
        CorpusReader(
            "folder",
            "your own recordings: SPEAKER/UTTERANCE.wav (or flac, mp3 ...)",
            YOURS,
            folder.read,
        ),
        CorpusReader(
            "table",
            "your own recordings: a CSV or Parquet of paths and speakers, with trial lists",
            YOURS,
            table.read,
        ),
        CorpusReader("kaldi", "Kaldi data folders: wav.scp, utt2spk, segments, trials", YOURS, kaldi.read),
        CorpusReader(
            "lhotse",
            "lhotse manifests: recordings with supervisions, or cuts",
            YOURS,
            lhotse_manifests.read,
        ),
        CorpusReader(
            "audio-folder",
            "Hugging Face data sets on disk: metadata, folders of labels, Parquet or Arrow",
            YOURS,
            audio_folder.read,
        ),
    )
}


def corpus_reader(name: str) -> CorpusReader:
    """The corpus of that name.

    Raises:
        CorpusError: there is none; the message names the nearest.
    """
    if name not in CORPORA:
        raise CorpusError(f"unknown corpus '{name}'{nearest(name, CORPORA)}")
    return CORPORA[name]


def corpus_folder(name: str) -> Path:
    """Where the corpus of that name is fetched to: ``corpora/NAME`` in the cache."""
    return cache_folder() / "corpora" / name
