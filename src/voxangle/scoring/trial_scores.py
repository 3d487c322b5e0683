"""Scored trials: all that a report, a comparison or a calibration needs of an evaluation, as one Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from voxangle.errors import VoxangleError
from voxangle.storage import atomic_write

__all__ = ["TrialScores", "with_both_classes"]

_LIST = b"voxangle.trials_sha256"
_CONDITION = "condition: "


@dataclass(frozen=True, eq=False)
class TrialScores:
    """The scores of one system on one list, and what is known of each trial.

    Attributes:
        scores: shape (trials,), in the order of the list; higher means more alike.
        target: shape (trials,), true where both sides are one speaker.
        keys: of utterances, and of models where a list has some.
        enrol: shape (trials,), places in ``keys``.
        test: shape (trials,), places in ``keys``.
        speaker: shape (keys,), numbers of speakers.
        speakers: their names by number; empty where only target trials tell who is who.
        session: shape (keys,), numbers of sessions, unique over speakers; ``None`` where they are not known.
        conditions: masks, shape (trials,), by name of the condition.
        llrs: shape (trials,), natural log-likelihood ratios of calibrated scores; ``None`` where there is no
            calibration.
        trials_sha256: of the list (``Trials.sha256``).
    """

    scores: NDArray[np.floating[Any]]
    target: NDArray[np.bool_]
    keys: tuple[str, ...]
    enrol: NDArray[np.int64]
    test: NDArray[np.int64]
    speaker: NDArray[np.int64]
    speakers: tuple[str, ...] = ()
    session: NDArray[np.int64] | None = None
    conditions: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    llrs: NDArray[np.floating[Any]] | None = None
    trials_sha256: str = ""

    def __len__(self) -> int:
        return len(self.target)

    @property
    def of_targets(self) -> NDArray[np.floating[Any]]:
        """Scores of the target trials."""
        return self.scores[self.target]

    @property
    def of_nontargets(self) -> NDArray[np.floating[Any]]:
        """Scores of the non-target trials."""
        return self.scores[~self.target]

    @property
    def enrol_speaker(self) -> NDArray[np.int64]:
        """Shape (trials,), numbers of the speakers enrolled."""
        return self.speaker[self.enrol]

    @property
    def test_speaker(self) -> NDArray[np.int64]:
        """Shape (trials,), numbers of the speakers tested."""
        return self.speaker[self.test]

    def speakers_present(self) -> int:
        """How many speakers stand in the trials."""
        there = np.zeros(int(self.speaker.max()) + 1, dtype=bool)
        there[self.enrol_speaker] = there[self.test_speaker] = True
        return int(np.count_nonzero(there))

    def write(self, path: str | Path) -> None:
        """Write a row a trial as Parquet, atomically.

        Columns ``enrol``, ``test``, ``target``, ``score`` and ``llr``; ``enrol_speaker`` and ``test_speaker`` (names,
        or numbers where there are no names); ``enrol_session`` and ``test_session`` (numbers); and a column of truth
        values for each condition. What is not known has no column.
        """
        keys = pa.array(self.keys, pa.string())
        columns: dict[str, Any] = {
            "enrol": pa.DictionaryArray.from_arrays(self.enrol.astype(np.int32), keys),
            "test": pa.DictionaryArray.from_arrays(self.test.astype(np.int32), keys),
            "target": self.target,
            "score": self.scores,
        }
        if self.llrs is not None:
            columns["llr"] = self.llrs
        for side, places in (("enrol", self.enrol), ("test", self.test)):
            who = self.speaker[places].astype(np.int32)
            columns[f"{side}_speaker"] = (
                pa.DictionaryArray.from_arrays(who, pa.array(self.speakers, pa.string()))
                if self.speakers
                else who
            )
            if self.session is not None:
                columns[f"{side}_session"] = self.session[places].astype(np.int32)
        columns |= {f"{_CONDITION}{name}": mask for name, mask in self.conditions.items()}
        table = pa.table(columns).replace_schema_metadata({_LIST: self.trials_sha256.encode()})
        with atomic_write(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def read(cls, path: str | Path) -> TrialScores:
        """Read what ``write`` wrote.

        Raises:
            VoxangleError: the file is missing or not of that form.
        """
        try:
            table = pq.read_table(path)
            keys, (enrol, test) = _numbered(table[side] for side in ("enrol", "test"))
            names, who = _numbered((table[f"{side}_speaker"] for side in ("enrol", "test")), ascending=True)
            named = pa.types.is_string(pc.dictionary_encode(table["enrol_speaker"]).type.value_type)
            return cls(
                table["score"].to_numpy(),
                table["target"].to_numpy(),
                tuple(keys),
                enrol,
                test,
                _by_key(len(keys), (enrol, test), who),
                tuple(names) if named else (),
                _by_key(
                    len(keys),
                    (enrol, test),
                    [table[f"{side}_session"].to_numpy() for side in ("enrol", "test")],
                )
                if "enrol_session" in table.column_names
                else None,
                {
                    name.removeprefix(_CONDITION): table[name].to_numpy()
                    for name in table.column_names
                    if name.startswith(_CONDITION)
                },
                table["llr"].to_numpy() if "llr" in table.column_names else None,
                (table.schema.metadata or {}).get(_LIST, b"").decode(),
            )
        except FileNotFoundError as error:
            raise VoxangleError(f"{path}: no such file of trial scores") from error
        except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
            raise VoxangleError(f"{path}: not a file of trial scores ({error}); evaluate again") from error


def with_both_classes(
    mask: NDArray[np.bool_], target: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], Literal["", "targets", "nontargets"]]:
    """A part of a list that has error rates: one without trials of a class is set against all of that class.

    Args:
        mask: shape (trials,), the part.
        target: shape (trials,), true where both sides are one speaker.

    Returns:
        The trials of that part, and the class that was taken whole, if one was.
    """
    if not (mask & target).any():
        return mask | target, "targets"
    if not (mask & ~target).any():
        return mask | ~target, "nontargets"
    return mask, ""


def _numbered(
    columns: Iterable[pa.ChunkedArray], *, ascending: bool = False
) -> tuple[list[Any], list[NDArray[np.int64]]]:
    """The distinct values of columns, by appearance or ascending, and each column as numbers of these."""
    number: dict[Any, int] = {}
    numbers = []
    for column in columns:
        values = column.combine_chunks()
        coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        indices = coded.indices.to_numpy()
        # A dictionary may hold words that no row has: they would become keys of nothing.
        used = np.unique(indices)
        words = coded.dictionary.take(pa.array(used)).to_pylist()
        places = np.zeros(len(coded.dictionary), np.int64)
        places[used] = [number.setdefault(word, len(number)) for word in words]
        numbers.append(places[indices])
    if ascending:
        order = sorted(number)
        rank = np.array([number[word] for word in order]).argsort()
        return order, [rank[column] for column in numbers]
    return list(number), numbers


def _by_key(
    keys: int, sides: Iterable[NDArray[np.int64]], values: Iterable[NDArray[Any]]
) -> NDArray[np.int64]:
    """What is the same on every trial of a key, by key."""
    found = np.zeros(keys, np.int64)
    for side, column in zip(sides, values, strict=True):
        found[side] = column
    return found
