"""Conditions: the parts of a trial list that a manifest tells apart, each to be measured on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from voxangle.data.manifest import Manifest
from voxangle.data.trials import Trials
from voxangle.errors import TrialError

__all__ = ["Conditions", "conditions"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]
_COLUMNS = ("gender", "language", "session", "channel")


@dataclass(frozen=True, eq=False)
class Conditions(Mapping[str, Mask]):
    """Masks of trials by the name of a condition.

    Attributes:
        trials: how many trials the list has.
        masks: shape (trials,) each.
        unknown: by column (``gender``, ..., ``duration``), how many trials are in none of its conditions.
    """

    trials: int
    masks: Mapping[str, Mask] = field(repr=False)
    unknown: Mapping[str, int]

    def __getitem__(self, name: str) -> Mask:
        return self.masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.masks)

    def __len__(self) -> int:
        return len(self.masks)


def conditions(
    trials: Trials, manifest: Manifest, *, duration_edges: Sequence[float] = (2.0, 5.0, 10.0)
) -> Conditions:
    """The conditions of each trial, from what the manifest says of its two sides.

    ``same X`` and ``cross X`` for gender, language, session and channel: whether both sides have one value, or two.
    ``< 2 s``, ``2-5 s``, ``5-10 s`` and ``>= 10 s``: by the shorter side; a band has its lower edge and not its
    upper one. What is empty in the manifest (0 for a duration) is unknown, and the trial is in neither condition.

    A model is compared through its utterances: ``same`` where all of them have the value of the test utterance,
    ``cross`` where none has; where some have it, or one is unknown, so is the trial. Its duration is their sum.

    Values are compared as they are written: sessions and channels should have names that are unique over the
    corpora of the manifest.

    Args:
        trials: the list.
        manifest: has every utterance of the list.
        duration_edges: of the bands, in seconds, ascending and above 0.

    Returns:
        Masks by name, in the order above (with bands by ``duration_edges``); they may be empty.

    Raises:
        TrialError: an utterance of the list is not in the manifest.
    """
    edges = np.asarray(duration_edges, dtype=np.float64)
    if not edges.size or edges[0] <= 0 or not (np.diff(edges) > 0).all() or not np.isfinite(edges).all():
        raise ValueError(f"duration edges must be > 0 and ascend, got {duration_edges}")
    row = _rows(trials, manifest)
    masks: dict[str, Mask] = {}
    unknown: dict[str, int] = {}
    for column in _COLUMNS:
        values = manifest.table[column].combine_chunks().take(row).dictionary_encode()
        words = values.dictionary.to_pylist()
        code = values.indices.to_numpy().astype(np.int64)
        if "" in words:
            code[code == words.index("")] = -1
        same, cross = _compared(trials, code, len(words))
        masks[f"same {column}"], masks[f"cross {column}"] = same, cross
        unknown[column] = len(trials) - int(np.count_nonzero(same | cross))

    seconds = manifest.column("seconds")[row.to_numpy()]
    shorter = np.minimum(_enrolment_seconds(trials, seconds)[trials.enrol], seconds[trials.test])
    band = np.where(shorter > 0, np.searchsorted(edges, shorter, side="right"), -1)
    for i, name in enumerate(_band_names(edges)):
        masks[name] = band == i
    unknown["duration"] = int(np.count_nonzero(band < 0))
    return Conditions(len(trials), masks, unknown)


def _rows(trials: Trials, manifest: Manifest) -> pa.Array:
    """Where the list's utterances stand in the manifest."""
    keys = pa.array(trials.utterances, pa.string())
    row = pc.index_in(keys, value_set=manifest.table["utterance"].combine_chunks())
    if row.null_count:
        first = trials.utterances[pc.index(pc.is_null(row), True).as_py()]
        raise TrialError(
            f"{trials.name}: the manifest has no utterance '{first}' ({row.null_count} of the "
            f"{len(trials.utterances)} utterances of the list are not in it); correct the list or the manifest"
        )
    return row


def _compared(trials: Trials, code: np.ndarray[Any, np.dtype[np.int64]], values: int) -> tuple[Mask, Mask]:
    """Where both sides have one value, and where they have two; ``code`` is -1 where the value is unknown."""
    utterances = len(trials.utterances)
    test = code[trials.test]
    known = test >= 0
    if not trials.models:
        enrol = code[trials.enrol]
        known &= enrol >= 0
        alike = enrol == test
        return known & alike, known & ~alike
    # How many utterances of each enrolment have each value: the pairs that occur, sorted, and their counts.
    sizes = np.array([1] * utterances + [len(members) for members in trials.models.values()])
    members = np.concatenate([np.arange(utterances), *trials.models.values()])
    enrolment = np.repeat(np.arange(sizes.size), sizes)
    known &= np.bincount(enrolment, code[members] < 0, sizes.size)[trials.enrol] == 0
    pair, count = np.unique(enrolment * (values + 1) + code[members], return_counts=True)
    asked = trials.enrol * (values + 1) + test
    place = np.minimum(np.searchsorted(pair, asked), pair.size - 1)
    having = np.where(pair[place] == asked, count[place], 0)
    return known & (having == sizes[trials.enrol]), known & (having == 0)


def _enrolment_seconds(
    trials: Trials, seconds: np.ndarray[Any, np.dtype[np.float64]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """By key; 0 where unknown."""
    of_models = [
        float(seconds[members].sum()) if (seconds[members] > 0).all() else 0.0
        for members in trials.models.values()
    ]
    return np.concatenate([seconds, of_models])


def _band_names(edges: np.ndarray[Any, np.dtype[np.float64]]) -> list[str]:
    between = [f"{low:g}-{high:g} s" for low, high in pairwise(edges)]
    return [f"< {edges[0]:g} s", *between, f">= {edges[-1]:g} s"]
