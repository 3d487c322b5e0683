"""Where the prepared audio of a corpus lies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from voxangle.corpora.corpus import Corpus
from voxangle.data import Manifest
from voxangle.data.prepare import Prepared, already_prepared, prepare
from voxangle.errors import CorpusError, nearest
from voxangle.storage import cache_folder

__all__ = ["prepare_split", "prepared_split", "split_of"]


def split_of(corpus: Corpus, split: str) -> Manifest:
    """A split's manifest.

    Raises:
        CorpusError: the corpus has no such split.
    """
    if split not in corpus.splits:
        raise CorpusError(f"corpus '{corpus.name}' has no split '{split}'{nearest(split, corpus.splits)}")
    return corpus.splits[split]


def prepare_split(
    corpus: Corpus, split: str, *, on_progress: Callable[[int, int], None] | None = None
) -> Prepared:
    """Decode a split once into the cache; what is there already is used as it is.

    Args:
        corpus: as its reader gave it.
        split: one of its splits.
        on_progress: called with (utterances done, utterances in all).
    """
    manifest = split_of(corpus, split)
    return prepare(manifest, _folder(corpus, split), on_progress=on_progress)


def prepared_split(corpus: Corpus, split: str) -> Prepared | None:
    """A split as it was prepared before; None where it was not, or the corpus has changed since."""
    return already_prepared(split_of(corpus, split), _folder(corpus, split))


def _folder(corpus: Corpus, split: str) -> Path:
    place = hashlib.sha256(str(Path(corpus.splits[split].root).resolve()).encode()).hexdigest()[:8]
    return cache_folder() / "prepared" / f"{corpus.name}-{split}-{place}"
