"""Speakers never cross splits: who trains a model must not evaluate it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from voxangle.data import Manifest
from voxangle.errors import CorpusError

__all__ = ["check_disjoint"]


def check_disjoint(splits: Mapping[str, Manifest], places: Mapping[str, Path]) -> None:
    """Check that no speaker is in two splits.

    Args:
        splits: by name.
        places: where each split lies, for the message.

    Raises:
        CorpusError: a speaker is in two.
    """
    split_of: dict[str, str] = {}
    for split, manifest in splits.items():
        for speaker in manifest.speakers():
            other = split_of.setdefault(speaker, split)
            if other != split:
                raise CorpusError(
                    f"speaker '{speaker}' is in {places[other]} and in {places[split]}, and a speaker must stay within "
                    "one split. Name just one of them as the corpus, or put those that belong together into a "
                    "folder of their own"
                )
