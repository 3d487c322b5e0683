"""From a recipe's corpus to what a run trains and validates on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxangle.corpora import corpus_folder, corpus_reader
from voxangle.corpora.prepared import prepare_split
from voxangle.data import Manifest, Trials
from voxangle.data.pairs import trials_of
from voxangle.data.prepare import Prepared
from voxangle.errors import CorpusError
from voxangle.recipe import DataConfig

__all__ = ["Material", "gather_material"]

Rows = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Material:
    """What a run learns from, and what it is watched on.

    Attributes:
        training: prepared recordings of the training speakers.
        validation: prepared recordings of the held-out speakers, or None.
        validation_trials: trials among them, or None.
        notes: what a person should know: recordings and speakers left out, and why.
    """

    training: Prepared
    validation: Prepared | None
    validation_trials: Trials | None
    notes: tuple[str, ...]


def gather_material(config: DataConfig, on_progress: Callable[[int, int], None] | None = None) -> Material:
    """Read and prepare the corpus of a recipe, leave out what it asks to, hold out validation speakers.

    Raises:
        CorpusError: the corpus cannot be reached, has too few speakers, or nothing of it is left.
    """
    reader = corpus_reader(config.corpus)
    corpus = reader.read(config.root or corpus_folder(config.corpus))
    split = config.split or ("train" if "train" in corpus.splits else next(iter(corpus.splits)))
    prepared = prepare_split(corpus, split, on_progress=on_progress)
    manifest = prepared.manifest
    notes = []
    if prepared.left_out:
        first = prepared.left_out[0]
        notes.append(
            f"{len(prepared.left_out)} recordings cannot be used and are left out, such as {first.path}: "
            f"{first.cause} (all of them: {prepared.folder / 'left_out.csv'})"
        )

    long_enough = manifest.column("seconds") >= config.minimum_seconds
    if not long_enough.all():
        notes.append(
            f"{(~long_enough).sum()} recordings shorter than {config.minimum_seconds} s are left out"
        )
    labels = manifest.labels()
    recordings = np.bincount(labels[long_enough], minlength=labels.max() + 1)
    few = (recordings > 0) & (recordings < config.minimum_recordings)
    if few.any():
        notes.append(
            f"{few.sum()} speakers with fewer than {config.minimum_recordings} recordings are left out"
        )
    keep = long_enough & ~few[labels]

    usable = manifest.where(keep)
    if len(usable.speakers()) < 2:
        raise CorpusError(
            f"corpus '{corpus.name}', split '{split}': {len(usable.speakers())} speaker(s) to train on, at "
            "least two are needed; add recordings of others, or lower data.minimum_seconds and "
            "data.minimum_recordings"
        )
    held_out = _validation_speakers(usable, config.validation_speakers)
    watched = np.isin(manifest.column("speaker"), list(held_out))
    training = prepared.where(keep & ~watched)
    single = int((np.bincount(training.manifest.labels()) == 1).sum())
    if single:
        notes.append(
            f"{single} of {len(training.manifest.speakers())} speakers have one recording: their positives are other "
            "crops of it"
        )
    if not held_out:
        return Material(training, None, None, tuple(notes))
    validation = prepared.where(_some_of_each(labels, keep & watched, config.validation_recordings))
    trials = trials_of(validation.manifest, "validation")
    return Material(training, validation, trials, tuple(notes))


def _validation_speakers(manifest: Manifest, count: int) -> set[str]:
    """Speakers with two recordings or more, chosen by a hash of their names: alike for every seed and order."""
    if count == 0:
        return set()
    names, recordings = np.unique(manifest.column("speaker").astype(str), return_counts=True)
    able = [str(name) for name in names[recordings > 1]]
    if len(names) - count < 2 or len(able) < count or count < 2:
        raise CorpusError(
            f"{count} validation speakers cannot be held out: of {len(names)} speakers {len(able)} have two "
            "recordings, at least two must be held out and two stay for training; change data.validation_speakers "
            "(0 for none)"
        )
    return set(sorted(able, key=lambda name: hashlib.sha256(name.encode()).digest())[:count])


def _some_of_each(labels: Rows, eligible: Mask, count: int) -> Mask:
    """Up to ``count`` eligible recordings of each speaker, spread evenly over what there is."""
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels[eligible]):
        rows = np.flatnonzero(eligible & (labels == label))
        chosen[rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]] = True
    return chosen
