"""From a recipe's corpus to what a run trains and validates on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from voxangle.corpora import corpus_folder, corpus_reader
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.prepared import prepare_split
from voxangle.data import Manifest, Trials
from voxangle.data.batches import LabelledRecordings
from voxangle.data.mislabelled import Mislabelled
from voxangle.data.pairs import trials_of
from voxangle.data.shard_reader import ShardRecordings
from voxangle.data.shards import Shards
from voxangle.data.splicing import Spliced
from voxangle.errors import CorpusError
from voxangle.recipe import DataConfig

__all__ = ["Material", "divide", "gather_material", "open_shards", "read_corpora", "some_of_each"]

Rows = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Material:
    """What a run learns from, and what it is watched on.

    Attributes:
        training: recordings of the training speakers; ``Mislabelled`` where the recipe swaps labels.
        validation: recordings of the held-out speakers, or None.
        validation_trials: trials among them, or None.
        notes: what a person should know: recordings and speakers left out, and why.
    """

    training: LabelledRecordings
    validation: LabelledRecordings | None
    validation_trials: Trials | None
    notes: tuple[str, ...]


def gather_material(config: DataConfig, on_progress: Callable[[int, int], None] | None = None) -> Material:
    """Read and prepare the corpora of a recipe, leave out what it asks to, hold out validation speakers.

    Raises:
        CorpusError: a corpus cannot be reached, there are too few speakers, or nothing is left.
    """
    if config.shards:
        shards = open_shards(config.shards, config)
        where = f"{shards.place.address}/left_out.csv"
        notes = [f"{len(shards.left_out)} recordings were left out of the shards ({where})"]
        return divide([ShardRecordings(shards)], config, notes if shards.left_out else [])
    notes = []
    prepared: list[LabelledRecordings] = []
    for corpus, split in read_corpora(config):
        ready = prepare_split(corpus, split, on_progress=on_progress)
        prepared.append(ready)
        if ready.left_out:
            first = ready.left_out[0]
            notes.append(
                f"{len(ready.left_out)} recordings cannot be used and are left out, such as {first.path}: "
                f"{first.cause} (all of them: {ready.folder / 'left_out.csv'})"
            )
    return divide(prepared, config, notes)


def read_corpora(config: DataConfig) -> list[tuple[Corpus, str]]:
    """The corpora that a recipe names, as they are on disk, each with the split to train on.

    Raises:
        CorpusError: one of them is unknown or cannot be reached.
    """
    found = []
    for source in config.sources:
        corpus = corpus_reader(source.corpus).read(source.root or corpus_folder(source.corpus))
        found.append(
            (corpus, source.split or ("train" if "train" in corpus.splits else next(iter(corpus.splits))))
        )
    return found


def open_shards(url: str, config: DataConfig) -> Shards:
    """The shards at a place, which must be of the corpus and split of a recipe.

    Raises:
        CorpusError: there are none, or they were written of something else.
        MissingExtraError: the place needs fsspec.
    """
    shards = Shards.open(url)
    corpus, _, split = shards.source.partition("/")
    if shards.source and (corpus != config.corpus or split != (config.split or split)):
        wanted = f"corpus '{config.corpus}'" + (f", split '{config.split}'" if config.split else "")
        raise CorpusError(
            f"{url}: shards of corpus '{corpus}', split '{split}'; the recipe wants {wanted}. Correct data.shards, or "
            "data.corpus and data.split"
        )
    return shards


def divide(sources: Sequence[LabelledRecordings], config: DataConfig, notes: Sequence[str] = ()) -> Material:
    """Join what is to be joined, leave out what is asked to, hold out validation speakers, swap labels of the rest.

    Args:
        sources: the recordings of each corpus.
        config: what is asked.
        notes: what is known already.

    Raises:
        CorpusError: two corpora share a key, there are too few speakers, nothing is left, or labels cannot be swapped.
    """
    notes = list(notes)
    recordings = sources[0]
    if len(sources) > 1 or config.join_seconds:
        try:
            recordings = Spliced.of(sources, config.join_seconds)
        except CorpusError as error:
            raise CorpusError(f"{_names(config)} cannot be trained on together: {error}") from error
        before = sum(len(source.samples) for source in sources)
        if len(recordings.samples) < before:
            notes.append(
                f"{before} recordings were joined to {len(recordings.samples)}, of {config.join_seconds:g} s or more "
                "where a speaker has as much on one channel"
            )
    manifest = recordings.manifest
    long_enough = manifest.column("seconds") >= config.minimum_seconds
    if not long_enough.all():
        notes.append(
            f"{(~long_enough).sum()} recordings shorter than {config.minimum_seconds} s are left out"
        )
    labels = manifest.labels()
    counts = np.bincount(labels[long_enough], minlength=labels.max() + 1)
    few = (counts > 0) & (counts < config.minimum_recordings)
    if few.any():
        notes.append(
            f"{few.sum()} speakers with fewer than {config.minimum_recordings} recordings are left out"
        )
    keep = long_enough & ~few[labels]

    usable = manifest.where(keep)
    if len(usable.speakers()) < 2:
        raise CorpusError(
            f"{_names(config)}: {len(usable.speakers())} speaker(s) to train on, at "
            "least two are needed; add recordings of others, or lower data.minimum_seconds and "
            "data.minimum_recordings"
        )
    held_out = _validation_speakers(usable, config.validation_speakers)
    watched = pc.is_in(manifest.table["speaker"], pa.array(sorted(held_out), pa.string())).to_numpy()
    training: LabelledRecordings = recordings.where(keep & ~watched)
    single = int((np.bincount(training.manifest.labels()) == 1).sum())
    if single:
        notes.append(
            f"{single} of {len(training.manifest.speakers())} speakers have one recording: their positives are other "
            "crops of it"
        )
    if config.swapped_labels:
        training = Mislabelled.of(training, config.swapped_labels)
        notes.append(
            f"{training.wrong.sum()} of {len(training.wrong)} training recordings have the label of another speaker, "
            "as data.swapped_labels asks"
        )
    if not held_out:
        return Material(training, None, None, tuple(notes))
    validation = recordings.where(some_of_each(labels, keep & watched, config.validation_recordings))
    trials = trials_of(validation.manifest, "validation")
    return Material(training, validation, trials, tuple(notes))


def _names(config: DataConfig) -> str:
    """The corpora and splits of a recipe, for a message."""
    return " + ".join(
        f"corpus '{source.corpus}'" + (f", split '{source.split}'" if source.split else "")
        for source in config.sources
    )


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


def some_of_each(labels: Rows, eligible: Mask, count: int) -> Mask:
    """Up to ``count`` eligible recordings of each speaker, spread evenly over what there is."""
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels[eligible]):
        rows = np.flatnonzero(eligible & (labels == label))
        chosen[rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]] = True
    return chosen
