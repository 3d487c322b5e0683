"""Any table of recordings: a CSV with at least the columns ``path`` and ``speaker``, and trial lists beside it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path

from voxangle.corpora.corpus import Corpus
from voxangle.data import Manifest, Trials, Utterance
from voxangle.errors import CorpusError, nearest

__all__ = ["read"]

_REQUIRED = ("path", "speaker")
_STANDARD_NAME = "utterances.csv"


def read(root: Path) -> Corpus:
    """The recordings that a CSV names, and the trial lists ``trials/*.txt`` beside it.

    Columns: ``path`` (relative to the CSV, or absolute) and ``speaker`` are required; ``split``
    (else all rows are one split ``all``), ``utterance`` (else the path is the key), ``corpus`` (the speaker
    becomes ``corpus/speaker``), ``session``, ``language``, ``gender``, ``channel``, ``start`` and ``seconds``
    are taken where they are there; others are ignored.

    Args:
        root: the CSV, or the folder that holds ``utterances.csv`` (or one CSV of another name).

    Raises:
        CorpusError: no such CSV; or a column, a value or a key in it is wrong (file and line are named); or
            a speaker stands in more than one split.
        TrialError: a trial list cannot be read, or names an utterance that the table does not have.
    """
    path = _csv_of(Path(root).resolve())
    splits: dict[str, list[Utterance]] = {}
    split_of: dict[str, tuple[str, int]] = {}
    line_of: dict[str, int] = {}
    for line, row in _rows(path):
        utterance, split = _utterance(path, line, row), row.get("split") or "all"
        first_split, first_line = split_of.setdefault(utterance.speaker, (split, line))
        if first_split != split:
            raise CorpusError(
                f"{path}, line {line}: speaker '{utterance.speaker}' is in split '{split}' here and in "
                f"'{first_split}' on line {first_line}; a speaker must stay within one split"
            )
        if line_of.setdefault(utterance.utterance, line) != line:
            raise CorpusError(
                f"{path}, line {line}: utterance '{utterance.utterance}' is there already, on line "
                f"{line_of[utterance.utterance]}; give segments of one file keys in a column 'utterance'"
            )
        splits.setdefault(split, []).append(utterance)
    if not splits:
        raise CorpusError(f"{path}: the table has no rows")
    return Corpus(
        name=path.parent.name if path.name == _STANDARD_NAME else path.stem,
        splits={split: Manifest.of(utterances, path.parent) for split, utterances in splits.items()},
        trials={
            trial_list.stem: Trials.read(trial_list, known=line_of)
            for trial_list in sorted((path.parent / "trials").glob("*.txt"))
        },
    )


def _csv_of(root: Path) -> Path:
    if root.is_file():
        return root
    if not root.is_dir():
        raise CorpusError(
            f"{root}: no such table; name a CSV file, or the folder that holds {_STANDARD_NAME}"
        )
    if (root / _STANDARD_NAME).is_file():
        return root / _STANDARD_NAME
    tables = sorted(root.glob("*.csv"))
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables) or "none"
        raise CorpusError(f"{root}: holds no {_STANDARD_NAME} and not just one other CSV (found: {found})")
    return tables[0]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row by column, with the number of its line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            for name in _REQUIRED:
                if name not in columns:
                    raise CorpusError(f"{path}, line 1: has no column '{name}'{nearest(name, columns)}")
            for values in reader:
                if not values:
                    continue
                if len(values) != len(columns):
                    raise CorpusError(
                        f"{path}, line {reader.line_num}: has {len(values)} values for {len(columns)} columns"
                    )
                yield reader.line_num, dict(zip(columns, values, strict=True))
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: not a CSV ({error})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error})") from error


def _utterance(path: Path, line: int, row: Mapping[str, str]) -> Utterance:
    for name in _REQUIRED:
        if not row[name]:
            raise CorpusError(f"{path}, line {line}: the {name} is empty")
    corpus = row.get("corpus")
    return Utterance(
        utterance=row.get("utterance") or row["path"],
        speaker=f"{corpus}/{row['speaker']}" if corpus else row["speaker"],
        path=row["path"],
        start=_seconds(path, line, row, "start"),
        seconds=_seconds(path, line, row, "seconds"),
        session=row.get("session", ""),
        language=row.get("language", ""),
        gender=row.get("gender", ""),
        channel=row.get("channel", ""),
    )


def _seconds(path: Path, line: int, row: Mapping[str, str], name: str) -> float:
    text = row.get(name, "").strip()
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = float("nan")
    if not isfinite(seconds) or seconds < 0:
        raise CorpusError(f"{path}, line {line}: '{text}' in column '{name}' is not a number of seconds >= 0")
    return seconds
