"""Any table of recordings, CSV or Parquet, with the columns ``path`` and ``speaker``, and trial lists beside it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from voxangle.corpora.column_names import length_rule, meant_by
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.rows import Row, read_rows, seconds_of
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest, Trials, Utterance
from voxangle.errors import CorpusError

__all__ = ["read"]

_REQUIRED = ("path", "speaker")
_STANDARD_NAMES = ("utterances.csv", "utterances.parquet")
_SUFFIXES = (".csv", ".parquet")
_COLUMNS = {*(field.name for field in fields(Utterance)), "split", "corpus"}


def read(root: Path) -> Corpus:
    """The recordings that a table names, and the trial lists ``trials/*.txt`` beside it.

    Columns: ``path`` (relative to the table, or absolute) and ``speaker`` are required; ``split``
    (else all rows are one split ``all``), ``utterance`` (else the path is the key), ``corpus`` (the speaker
    becomes ``corpus/speaker``), ``session``, ``language``, ``gender`` and ``channel`` are taken where they are
    there. So are ``start`` and ``seconds``: where an utterance begins in its file and how long it lasts, both in
    seconds; without ``start`` it begins with the file, without ``seconds`` it goes to its end.

    Other columns are not read, and the notes name them. One whose name says where utterances begin, end or how
    long they last (``offset``, ``end``, ``duration`` ...) is refused where ``start`` or ``seconds`` itself is
    missing: other speech than meant would be read.

    Args:
        root: the table, or the folder that holds ``utterances.csv`` or ``utterances.parquet`` (or one table of
            another name).

    Raises:
        CorpusError: no such table; or a column, a value or a key in it is wrong (file and line are named); or
            a speaker stands in more than one split.
        TrialError: a trial list cannot be read, or names an utterance that the table does not have.
    """
    path = _table_of(place_of_corpus(root))
    splits: dict[str, list[Utterance]] = {}
    split_of: dict[str, tuple[str, str]] = {}
    place_of: dict[str, str] = {}
    unread: dict[str, str] = {}
    for place, row in read_rows(path, _REQUIRED):
        if not row.keys() <= _COLUMNS | unread.keys():
            unread = _unread(path, row) | unread
        utterance, split = _utterance(path, place, row), row.get("split") or "all"
        first_split, first_place = split_of.setdefault(utterance.speaker, (split, place))
        if first_split != split:
            raise CorpusError(
                f"{path}, {place}: speaker '{utterance.speaker}' is in split '{split}' here and in "
                f"'{first_split}' on {first_place}; a speaker must stay within one split"
            )
        if place_of.setdefault(utterance.utterance, place) != place:
            raise CorpusError(
                f"{path}, {place}: utterance '{utterance.utterance}' is there already, on "
                f"{place_of[utterance.utterance]}; give segments of one file keys in a column 'utterance'"
            )
        splits.setdefault(split, []).append(utterance)
    if not splits:
        raise CorpusError(f"{path}: the table has no rows")
    return Corpus(
        name=path.parent.name if path.name in _STANDARD_NAMES else path.stem,
        splits={split: Manifest.of(utterances, path.parent) for split, utterances in splits.items()},
        trials={
            trial_list.stem: Trials.read(trial_list, known=place_of)
            for trial_list in sorted((path.parent / "trials").glob("*.txt"))
        },
        notes=(f"{path.name}: columns that are not read: {', '.join(unread.values())}.",) if unread else (),
    )


def _table_of(root: Path) -> Path:
    if root.is_file():
        return root
    if not root.is_dir():
        raise CorpusError(
            f"{root}: no such table; name a CSV or Parquet file, or the folder that holds {_STANDARD_NAMES[0]}"
        )
    for name in _STANDARD_NAMES:
        if (root / name).is_file():
            return root / name
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables) or "none"
        near = [
            place for name in _STANDARD_NAMES for place in (*root.glob(f"*/{name}"), *root.parent.glob(name))
        ]
        cure = f"name the table itself, such as {min(near or tables)}" if near or tables else "write one"
        raise CorpusError(
            f"{root}: holds no {_STANDARD_NAMES[0]} and not just one other CSV or Parquet file (found: {found}); "
            f"{cure}"
        )
    return tables[0]


def _unread(path: Path, row: Row) -> dict[str, str]:
    """The columns that are not read, as a note names them.

    Raises:
        CorpusError: one of them seems to say which stretch of its file an utterance is.
    """
    others = {}
    for name in row:
        if name in _COLUMNS:
            continue
        meant = meant_by(name)
        if not meant or meant in row:
            others[name] = name
        elif meant not in {"start", "seconds"}:
            others[name] = f"{name} (call it {meant} to have it read)"
        else:
            raise CorpusError(
                f"{path}: the column '{name}' would not be read; {length_rule(name)}: add that column, or "
                f"give '{name}' another name if it means something else"
            )
    return others


def _utterance(path: Path, place: str, row: Row) -> Utterance:
    for name in _REQUIRED:
        if not row[name]:
            raise CorpusError(f"{path}, {place}: the {name} is empty")
    corpus = row.get("corpus")
    return Utterance(
        utterance=row.get("utterance") or row["path"],
        speaker=f"{corpus}/{row['speaker']}" if corpus else row["speaker"],
        path=row["path"],
        start=seconds_of(path, place, row, "start"),
        seconds=seconds_of(path, place, row, "seconds"),
        session=row.get("session", ""),
        language=row.get("language", ""),
        gender=row.get("gender", ""),
        channel=row.get("channel", ""),
    )
