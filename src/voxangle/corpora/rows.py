"""Rows of a table, whatever it is written in: CSV, TSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from voxangle.corpora.column_names import meant_by
from voxangle.errors import CorpusError, nearest

__all__ = ["SUFFIXES", "Row", "read_rows", "seconds_of"]

Row = dict[str, str]
"""The text of each column; empty where there is no value."""

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def read_rows(path: Path, required: Sequence[str] = ()) -> Iterator[tuple[str, Row]]:
    """Each row, with its place in the file: ``line 3``, or ``row 2`` in Parquet (counted from 1).

    Columns that no text can stand for (bytes, lists, structures) are passed over.

    Raises:
        CorpusError: the file cannot be read as a table, or lacks a required column.
    """
    form = {".jsonl": _json_lines, ".parquet": _parquet}.get(path.suffix.lower(), _separated)
    try:
        yield from form(path, required)
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as error:
        cure = "write it again"
        if isinstance(error, UnicodeDecodeError):
            cure = "convert it to UTF-8, for instance with iconv -f latin1 -t utf-8"
        raise CorpusError(f"{path}: cannot be read as a table ({error}); {cure}") from error


def seconds_of(path: Path, place: str, row: Row, column: str) -> float:
    """The seconds in a column of a row; 0 where it has none.

    Raises:
        CorpusError: not a number of seconds >= 0.
    """
    text = row.get(column, "").strip()
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = float("nan")
    if not isfinite(seconds) or seconds < 0:
        raise CorpusError(f"{path}, {place}: '{text}' in column '{column}' is not a number of seconds >= 0")
    return seconds


def _separated(path: Path, required: Sequence[str]) -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        try:
            columns = [name.strip() for name in next(reader, [])]
            _require(f"{path}, line 1", required, columns)
            for values in reader:
                if not values:
                    continue
                if len(values) != len(columns):
                    raise CorpusError(
                        f"{path}, line {reader.line_num}: has {len(values)} values for {len(columns)} columns; was "
                        "the file written to the end, and are values with commas quoted?"
                    )
                yield f"line {reader.line_num}", dict(zip(columns, values, strict=True))
        except csv.Error as error:
            raise CorpusError(f"{path}, line {reader.line_num}: not a CSV ({error})") from error


def _json_lines(path: Path, required: Sequence[str]) -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                content = json.loads(line)
            except ValueError as error:
                raise CorpusError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(content, dict):
                raise CorpusError(f"{path}, line {number}: not a JSON object {{...}}")
            row = {key: _text(value) for key, value in content.items() if not isinstance(value, dict | list)}
            _require(f"{path}, line {number}", required, row)
            yield f"line {number}", row


def _parquet(path: Path, required: Sequence[str]) -> Iterator[tuple[str, Row]]:
    with pq.ParquetFile(path) as file:
        columns = [field.name for field in file.schema_arrow if _is_plain(field.type)]
        _require(str(path), required, columns)
        number = 0
        for batch in file.iter_batches(columns=columns):
            for values in batch.to_pylist():
                number += 1
                yield f"row {number}", {column: _text(value) for column, value in values.items()}


def _require(place: str, required: Sequence[str], columns: Sequence[str] | Row) -> None:
    if required and not columns:
        raise CorpusError(f"{place}: is empty; write it again, with the columns {', '.join(required)}")
    for name in required:
        if name not in columns:
            alike = next(
                (f"; did you mean '{column}'?" for column in columns if meant_by(column) == name), ""
            )
            raise CorpusError(f"{place}: has no column '{name}'{alike or nearest(name, columns)}")


def _is_plain(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _text(value: object) -> str:
    return "" if value is None else str(value)
