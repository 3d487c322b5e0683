"""Trial lists and lists of models as people have them: lines of text, in one of three forms."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from voxangle.errors import TrialError

__all__ = ["TrialLines", "read_models", "read_trial_lines"]

_BYTES_A_BLOCK = 1 << 23

Numbers = np.ndarray[Any, np.dtype[np.int32]]


class _Form(NamedTuple):
    """Where the label of a line stands, and what it is called."""

    label: int
    values: dict[str, bool]
    shown: str


_NUMBERS = {"0": False, "1": True}
# In this order: the first that fits every line of a file is the file's.
_FORMS = (
    _Form(0, _NUMBERS, "'1 KEY KEY' (target) or '0 KEY KEY' (non-target)"),
    _Form(2, _NUMBERS, "'KEY KEY 1' (target) or 'KEY KEY 0' (non-target)"),
    _Form(2, {"nontarget": False, "target": True}, "'KEY KEY target' or 'KEY KEY nontarget'"),
)


@dataclass(frozen=True)
class TrialLines:
    """The lines of a trial list: numbers of words, so that memory does not hold a key for each line.

    Attributes:
        path: of the file.
        words: the keys by number (and other words of the file).
        enrol: shape (trials,), numbers of the enrolment keys.
        test: shape (trials,), numbers of the test keys.
        target: shape (trials,), bool.
        line: shape (trials,), where each trial stands in the file, from 1.
    """

    path: Path
    words: list[str]
    enrol: Numbers
    test: Numbers
    target: np.ndarray[Any, np.dtype[np.bool_]]
    line: Numbers


def read_trial_lines(path: Path) -> TrialLines:
    """Read a list in the form that all of its lines have; see ``Trials.read``.

    Raises:
        TrialError: the file is missing or empty, or a line has not the form of those before it.
    """
    words: dict[str, int] = {}
    columns = [np.empty((3, 0), np.int32)]
    places = [np.empty(0, np.int32)]
    broken: tuple[int, str] | None = None
    for first_line, text in _blocks(path, "trial list"):
        regular = _regular(text, words)
        if regular is not None:
            columns.append(regular)
            places.append(np.arange(first_line, first_line + regular.shape[1], dtype=np.int32))
            continue
        some, where, broken = _any(path, first_line, text, words)
        columns.append(some)
        places.append(where)
        if broken:
            break
    table, line = np.concatenate(columns, axis=1), np.concatenate(places)
    del columns, places
    if not line.size and not broken:
        raise TrialError(f"{path}: the trial list is empty; write or fetch it again, or remove it")

    known = list(words)
    fitting = [_first_misfit(form, table, known) for form in _FORMS]
    count = max(fitting)
    form = _FORMS[fitting.index(count)]
    if count < line.size:
        broken = int(line[count]), " ".join(known[number] for number in table[:, count])
    if broken:
        expected = f"{form.shown} as on the lines before" if count else "; or ".join(f.shown for f in _FORMS)
        raise TrialError(f"{path}, line {broken[0]}: expected {expected}, found '{broken[1][:80]}'")
    enrol, test = np.delete(np.arange(3), form.label)
    return TrialLines(
        path, known, table[enrol], table[test], _labels(form, known)[table[form.label]] == 1, line
    )


def read_models(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Read lines ``MODEL KEY KEY ...`` (Kaldi's ``spk2utt``; CN-Celeb's ``enroll.map``) between white space.

    Raises:
        TrialError: the file is missing or empty, a model has no utterance, or stands twice (the line is named).
    """
    path = Path(path)
    models: dict[str, tuple[str, ...]] = {}
    for first_line, text in _blocks(path, "list of models"):
        for number, line in _lines(path, first_line, text):
            if not line.strip():
                continue
            model, *keys = line.split()
            if not keys:
                raise TrialError(f"{path}, line {number}: the model '{model}' has no utterance")
            if model in models:
                raise TrialError(
                    f"{path}, line {number}: the model '{model}' is there already; give its utterances on one line"
                )
            models[model] = tuple(keys)
    if not models:
        raise TrialError(f"{path}: the list of models is empty; write or fetch it again")
    return models


def _blocks(path: Path, what: str) -> Iterator[tuple[int, bytes]]:
    """The file in pieces of whole lines, each with the number of its first line."""
    try:
        with path.open("rb") as file:
            yield from _whole_lines(file)
    except FileNotFoundError as error:
        raise TrialError(f"{path}: no such {what}") from error
    except OSError as error:
        raise TrialError(f"{path}: cannot be read as a {what} ({error})") from error


def _whole_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    line, rest = 1, file.read(3).removeprefix(b"\xef\xbb\xbf")  # the mark that Windows editors put first
    while read := file.read(_BYTES_A_BLOCK):
        text, newline, rest = (rest + read).rpartition(b"\n")
        if newline:
            yield line, text + newline
            line += _line_ends(text + newline)
    if rest:
        yield line, rest


def _regular(text: bytes, words: dict[str, int]) -> Numbers | None:
    """Shape (3, lines): the numbers of the words, where one separator stands between three words on each line.

    ``None`` for any other text, and then ``_any`` tells: this is but the fast way to the same.
    """
    text = text.replace(b"\r\n", b"\n")
    if b"\r" in text:
        return None
    names, kind = ["0", "1", "2"], pa.dictionary(pa.int32(), pa.string())
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
            pa_csv.ParseOptions(delimiter="\t" if b"\t" in text else " ", quote_char=False),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(names, kind)),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != text.count(b"\n") + (not text.endswith(b"\n")):
        return None
    columns = [column.combine_chunks() for column in table.columns]
    vocabularies = [column.dictionary.to_pylist() for column in columns]
    if any(word.split() != [word] for vocabulary in vocabularies for word in vocabulary):
        return None
    return np.stack(
        [
            _numbers(vocabulary, words)[column.indices.to_numpy()]
            for vocabulary, column in zip(vocabularies, columns, strict=True)
        ]
    )


def _any(
    path: Path, first_line: int, text: bytes, words: dict[str, int]
) -> tuple[Numbers, Numbers, tuple[int, str] | None]:
    """What ``_regular`` gives, the lines' numbers, and the first line that is not three words (there it ends)."""
    rows, places, broken = [], [], None
    for number, line in _lines(path, first_line, text):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 3:
            parts = line.strip("\n").split("\t")
        if len(parts) != 3 or not all(parts):
            broken = number, line.strip()
            break
        rows.append(_numbers(parts, words))
        places.append(number)
    return np.array(rows, np.int32).reshape(-1, 3).T, np.array(places, np.int32), broken


def _lines(path: Path, first_line: int, text: bytes) -> Iterator[tuple[int, str]]:
    # Lines end where an editor ends them; str.splitlines would also break at form feeds and the like.
    try:
        yield from enumerate(io.StringIO(text.decode("utf-8"), newline=None), start=first_line)
    except UnicodeDecodeError as error:
        line = first_line + _line_ends(text[: error.start])
        raise TrialError(
            f"{path}, line {line}: cannot be read, it is not UTF-8 ({error.reason}); convert it, for instance with "
            "iconv -f latin1 -t utf-8"
        ) from error


def _line_ends(text: bytes) -> int:
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")


def _numbers(keys: list[str], words: dict[str, int]) -> Numbers:
    return np.array([words.setdefault(key, len(words)) for key in keys], np.int32)


def _labels(form: _Form, words: list[str]) -> np.ndarray[Any, np.dtype[np.int8]]:
    """By number of the word: 1 for target, 0 for non-target, -1 for what is no label."""
    return np.array([form.values.get(word, -1) for word in words], np.int8)


def _first_misfit(form: _Form, table: Numbers, words: list[str]) -> int:
    misfits = _labels(form, words)[table[form.label]] < 0
    return int(np.argmax(misfits)) if misfits.any() else misfits.size
