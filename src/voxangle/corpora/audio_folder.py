"""Data sets of Hugging Face ``datasets`` on disk: an AudioFolder, or tables with the recordings in them.

The layouts: https://huggingface.co/docs/datasets/audio_dataset. Licence: that of the data set (its README says).

1. Metadata: ``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet``, in the root or in each split's folder, with a
   column ``file_name`` (relative to the metadata) and one that says who speaks.
2. Folders of labels, without metadata: ``[SPLIT/]SPEAKER/*.wav``.
3. Parquet (as downloaded from a hub) or Arrow files (``save_to_disk``) with a column of recordings and one that says
   who speaks. Recordings that are bytes in them are written once to files in the cache.

The speaker's column is the first there is of ``speaker``, ``speaker_id``, ``spk_id``, ``spk``, ``speaker_name``,
``client_id``; taken where they are there: ``gender`` or ``sex``, ``language`` or ``locale``, ``session`` or
``chapter_id``. The libraries of Hugging Face are not needed.

Splits are called ``train``, ``validation`` and ``test``, by the name of a folder or the beginning of a table's name;
what has none is the split ``all``. Such splits are often made for speech recognition and share speakers: then all is
read as one split ``all``, and the notes say so.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from voxangle.audio import AUDIO_SUFFIXES
from voxangle.corpora.completeness import Tally
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.durations import durations
from voxangle.corpora.embedded import extracted, rows_of, table_schema
from voxangle.corpora.genders import gender_of
from voxangle.corpora.notes import notes_of
from voxangle.corpora.rows import read_rows
from voxangle.corpora.split_names import SPLIT_NAMES
from voxangle.corpora.walk import files_below, place_of_corpus
from voxangle.data import Manifest, Utterance
from voxangle.errors import CorpusError

__all__ = ["read"]

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SPEAKER = ("speaker", "speaker_id", "spk_id", "spk", "speaker_name", "client_id")
_GENDER = ("gender", "sex")
_LANGUAGE = ("language", "locale")
_SESSION = ("session", "chapter_id")
_SUFFIXES = AUDIO_SUFFIXES | {".csv", ".jsonl", ".parquet", ".arrow"}


class _Found(NamedTuple):
    split: str
    row: Utterance
    table: str = ""


def read(root: Path) -> Corpus:
    """The recordings of a data set; needs no network.

    An utterance's key is its file's name relative to the root, or as a table has it.

    Args:
        root: the data set's folder, or one split's.

    Raises:
        CorpusError: the folder has none of the layouts, no column says who speaks, or a row is not as it should be.
        MissingExtraError: its files need the ``media`` extra.
        StorageError: recordings are to be written to the cache, and it cannot be written.
    """
    root = place_of_corpus(root)
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; name the folder of a data set")
    tally = Tally()
    files = sorted(files_below(root, _SUFFIXES, tally))
    notes: list[str] = []
    if metadata := [path for path in files if path.name in _METADATA]:
        found = [one for path in metadata for one in _of_metadata(path, root)]
    elif tables := [path for path in files if _is_table(path)]:
        found = _with_own_keys([one for path in tables for one in _of_table(path, root, notes)])
    else:
        found = _of_labels([path for path in files if path.suffix.lower() in AUDIO_SUFFIXES], root)
        if above := next((root.parent / name for name in _METADATA if (root.parent / name).is_file()), None):
            notes.append(f"{above} is not read, and may say more: name the folder it is in.")
    if not found:
        met = "".join(f". There are {fault.brief}" for fault in tally.faults())
        raise CorpusError(
            f"{root}: holds no data set; expected {' or '.join(_METADATA)}, or [SPLIT/]SPEAKER/*.wav, or *.parquet or "
            f"*.arrow with a column of recordings{met}"
        )
    splits = {split: Manifest.of(rows, root) for split, rows in _by_split(found, notes).items()}
    return Corpus(root.name, splits, notes=notes_of(root.name, {}, {}, tally, notes))


def _of_metadata(path: Path, root: Path) -> list[_Found]:
    rows = list(read_rows(path, ("file_name",)))
    speaker = _speaker_column(path, rows[0][1]) if rows else ""
    found = []
    place_of: dict[str, str] = {}
    for place, row in rows:
        for column in ("file_name", speaker):
            if not row.get(column):
                raise CorpusError(f"{path}, {place}: the {column} is empty")
        file = Path(os.path.normpath(path.parent / row["file_name"]))
        key = os.path.relpath(file, root)
        if place_of.setdefault(key, place) != place:
            raise CorpusError(
                f"{path}, {place}: '{key}' is there already, on {place_of[key]}; remove one of them"
            )
        found.append(_Found(_split_of(file, root), _utterance(key, key, row[speaker], row)))
    return _timed(found, root)


def _of_labels(files: Iterable[Path], root: Path) -> list[_Found]:
    found = []
    for file in files:
        label, key = file.parent.name, file.relative_to(root).as_posix()
        if file.parent == root or label.lower() in SPLIT_NAMES:
            raise CorpusError(
                f"{file}: lies in no speaker's folder, and no {_METADATA[0]} says who speaks; expected "
                "[SPLIT/]SPEAKER/*.wav"
            )
        found.append(_Found(_split_of(file, root), Utterance(key, label, key)))
    return _timed(found, root)


def _of_table(path: Path, root: Path, notes: list[str]) -> list[_Found]:
    schema = table_schema(path)
    audio = next((field.name for field in schema if _holds_recordings(field.type)), None)
    if audio is None:
        raise CorpusError(
            f"{path}: has no column of recordings (bytes and path; its columns: {', '.join(schema.names)}); where they "
            "are paths, read it as a table: --root with the corpus 'table'"
        )
    speaker = _speaker_column(path, schema.names)
    plain = [
        name for name in (speaker, *_GENDER, *_LANGUAGE, *_SESSION) if name in schema.names and name != audio
    ]
    classes = _classes(schema)
    table = path.relative_to(root).with_suffix("").as_posix()
    found, empty = [], 0
    values = rows_of(path, plain)
    for number, (recording, row) in enumerate(zip(extracted(path, audio), values, strict=True), start=1):
        words = {name: _word(value, classes.get(name)) for name, value in row.items()}
        if not words[speaker]:
            raise CorpusError(f"{path}, row {number}: the {speaker} is empty")
        if recording.file is None and not recording.name:
            empty += 1
            continue
        file = recording.file or _referred(recording.name, path, root)
        key = Path(recording.name).name or f"{table}/{number}"
        row_found = _utterance(key, str(file), words[speaker], words)
        found.append(_Found(_split_of(path, root), row_found, f"{table}/{number}"))
    if empty:
        notes.append(f"{table}: {empty:,} row(s) without a recording; left out.")
    return _timed(found, root)


def _is_table(path: Path) -> bool:
    # `datasets` leaves what it has computed beside its tables as cache-*.arrow.
    return path.suffix in {".parquet", ".arrow"} and not path.name.startswith("cache-")


def _holds_recordings(kind: pa.DataType) -> bool:
    names = {field.name for field in kind} if pa.types.is_struct(kind) else set()
    return {"bytes", "path"} <= names


def _speaker_column(path: Path, columns: Iterable[str]) -> str:
    known = list(columns)
    for name in _SPEAKER:
        if name in known:
            return name
    raise CorpusError(
        f"{path}: no column says who speaks (its columns: {', '.join(known)}); expected one called "
        f"{', '.join(_SPEAKER)}"
    )


def _classes(schema: pa.Schema) -> Mapping[str, list[str]]:
    """The names of the classes of columns that hold their numbers (``datasets.ClassLabel``)."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: feature["names"]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError):
        return {}


def _word(value: object, names: list[str] | None) -> str:
    if names and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return "" if value is None else str(value)


def _referred(name: str, table: Path, root: Path) -> Path:
    places = (table.parent / name, root / name)
    return next((place for place in places if place.exists()), places[0])


def _utterance(key: str, path: str, speaker: str, row: Mapping[str, str]) -> Utterance:
    return Utterance(
        utterance=key,
        speaker=speaker,
        path=path,
        session=_first(row, _SESSION),
        language=_first(row, _LANGUAGE),
        gender=gender_of(_first(row, _GENDER)),
    )


def _first(row: Mapping[str, str], names: Iterable[str]) -> str:
    return next((row[name] for name in names if row.get(name)), "")


def _timed(found: list[_Found], root: Path) -> list[_Found]:
    seconds = durations(root / one.row.path for one in found)
    return [
        one._replace(row=replace(one.row, seconds=length)) for one, length in zip(found, seconds, strict=True)
    ]


def _split_of(path: Path, root: Path) -> str:
    folders = Path(os.path.relpath(path, root)).parts[:-1]
    beginning = re.split(r"[-_.]", path.name)[0] if _is_table(path) else ""
    names = (name.lower() for name in (*folders, beginning))
    return next((SPLIT_NAMES[name] for name in names if name in SPLIT_NAMES), "all")


def _with_own_keys(found: list[_Found]) -> list[_Found]:
    """A name that several rows have is no key: theirs are table and row."""
    count = Counter(one.row.utterance for one in found)
    return [
        one if count[one.row.utterance] == 1 else one._replace(row=replace(one.row, utterance=one.table))
        for one in found
    ]


def _by_split(found: Iterable[_Found], notes: list[str]) -> dict[str, list[Utterance]]:
    splits: dict[str, list[Utterance]] = {}
    split_of: dict[str, set[str]] = {}
    for one in found:
        splits.setdefault(one.split, []).append(one.row)
        split_of.setdefault(one.row.speaker, set()).add(one.split)
    shared = sum(len(of) > 1 for of in split_of.values())
    if not shared:
        return splits
    notes.append(
        f"{shared:,} of {len(split_of):,} speakers are in more than one of {', '.join(splits)}: "
        "read as one split 'all'."
    )
    return {"all": [row for rows in splits.values() for row in rows]}
