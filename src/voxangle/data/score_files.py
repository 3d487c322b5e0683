"""Scores as any toolkit writes them: lines of text, matched with the trials of a list."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from voxangle.data.trials import Trials
from voxangle.errors import TrialError

__all__ = ["read_scores"]

_LABELS = {"1": True, "0": False, "target": True, "nontarget": False}
_FORMS = "'KEY KEY SCORE', 'KEY KEY SCORE LABEL' or 'SCORE KEY KEY'"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Lines(NamedTuple):
    """Columns of a file of scores, as they are written."""

    enrol: pa.ChunkedArray
    test: pa.ChunkedArray
    score: pa.ChunkedArray
    label: pa.ChunkedArray | None


def read_scores(path: str | Path, trials: Trials) -> NDArray[np.float64]:
    """The score of each trial of a list, from a file in any order.

    All lines have one form: ``KEY KEY SCORE`` (Kaldi, SpeechBrain), ``KEY KEY SCORE LABEL`` with ``target`` and
    ``nontarget`` or ``1`` and ``0`` (WeSpeaker), or ``SCORE KEY KEY`` (VoxSRC). White space separates them; where a
    key contains some, tabs do. The enrolment is the first key.

    Args:
        path: of the file.
        trials: the list; the file has a score for each of its pairs and for no other.

    Returns:
        Shape (trials,), in the order of the list.

    Raises:
        TrialError: the file is missing, empty or of another form; a score is no finite number; a pair stands twice,
            is not in the list, or is missing; or a label is not that of the list.
    """
    path = Path(path)
    lines = _read(path)
    scores = _numbers(path, lines.score)
    row_of_pair = _matched(path, lines, trials)
    if lines.label is not None:
        _require_labels(path, lines.label, row_of_pair, trials)
    return scores[row_of_pair]


def _read(path: Path) -> _Lines:
    try:
        text = path.read_bytes().removeprefix(_BYTE_ORDER_MARK).replace(b"\r\n", b"\n")
    except FileNotFoundError as error:
        raise TrialError(f"{path}: no such file of scores") from error
    except OSError as error:
        raise TrialError(f"{path}: cannot be read as a file of scores ({error})") from error
    if not text.strip():
        raise TrialError(f"{path}: the file of scores is empty")
    table = _columns(text)
    if table is None:
        # Some people align their columns, and leave blanks at the ends of lines.
        table = _columns(re.sub(rb"(?m)[ \t]+", b" ", re.sub(rb"(?m)^[ \t]+|[ \t]+$", b"", text)))
    if table is None:
        number, line = _first_odd_line(path, text)
        raise TrialError(
            f"{path}, line {number}: expected {_FORMS}, as on all other lines; found '{line[:80]}'"
        )
    columns = table.columns
    first_is_number = pc.all(pc.match_substring_regex(columns[0].slice(0, 100), _NUMBER)).as_py()
    third_is_number = pc.all(pc.match_substring_regex(columns[2].slice(0, 100), _NUMBER)).as_py()
    if first_is_number and not third_is_number and len(columns) == 3:
        return _Lines(columns[1], columns[2], columns[0], None)
    return _Lines(columns[0], columns[1], columns[2], columns[3] if len(columns) == 4 else None)


_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$|^[-+]?(?i:nan|inf|infinity)$"


def _columns(text: bytes) -> pa.Table | None:
    """The words between single separators, where all lines have three, or all have four."""
    delimiter = "\t" if b"\t" in text else " "
    words = text.lstrip(b"\n").partition(b"\n")[0].count(delimiter.encode()) + 1
    if words not in (3, 4):
        return None
    names = [str(place) for place in range(words)]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            pa_csv.ReadOptions(column_names=names),
            pa_csv.ParseOptions(delimiter=delimiter, quote_char=False),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    empty = any(pc.any(pc.equal(column, "")).as_py() for column in table.columns)
    return None if empty else table


def _first_odd_line(path: Path, text: bytes) -> tuple[int, str]:
    """The first line that has not as many words as the first one, or neither three nor four."""
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TrialError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error
    expected = None
    for number, line in enumerate(io.StringIO(decoded), start=1):
        words = len(line.split())
        if words and (words not in (3, 4) or words != (expected or words)):
            return number, line.strip()
        expected = expected or words or None
    return 1, decoded.strip().partition("\n")[0]


def _numbers(path: Path, column: pa.ChunkedArray) -> NDArray[np.float64]:
    is_number = pc.match_substring_regex(column, _NUMBER)
    if not pc.all(is_number).as_py():
        row = pc.index(is_number, False).as_py()
        raise TrialError(f"{path}, score {row + 1}: '{column[row]}' is no number; expected {_FORMS}")
    # Arrow reads neither a plus sign nor every spelling of infinity.
    plain = pc.replace_substring_regex(column, r"^\+", "")
    values = pc.cast(plain, pa.float64()).to_numpy()
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise TrialError(
            f"{path}, score {bad[0] + 1}: '{column[int(bad[0])]}' is no finite number ({bad.size:,} of {values.size:,} "
            "are not); look at the embeddings it came from"
        )
    scores: NDArray[np.float64] = values
    return scores


def _matched(path: Path, lines: _Lines, trials: Trials) -> NDArray[np.int64]:
    """Shape (trials,): where each trial's score stands in the file."""
    place = {key: number for number, key in enumerate(trials.keys)}
    enrol, test = (_places(column, place) for column in (lines.enrol, lines.test))

    def pair(row: int) -> str:
        return f"'{lines.enrol[row]}' and '{lines.test[row]}'"

    asked = trials.enrol * len(place) + trials.test
    given = np.where((enrol < 0) | (test < 0), -1, enrol * len(place) + test)
    order = np.argsort(given, kind="stable")
    given = given[order]
    twice = np.flatnonzero((given[1:] == given[:-1]) & (given[1:] >= 0))
    if twice.size:
        first, again = sorted(order[twice[0] : twice[0] + 2].tolist())
        raise TrialError(
            f"{path}, scores {first + 1} and {again + 1}: {pair(first)} stand twice ({twice.size:,} such line(s)); "
            "keep one score a pair"
        )
    found = np.minimum(np.searchsorted(given, asked), given.size - 1)
    missing = np.flatnonzero(given[found] != asked)
    if missing.size:
        keys, one = trials.keys, missing[0]
        raise TrialError(
            f"{path}: no score of {missing.size:,} of the {asked.size:,} trials of '{trials.name}', such as "
            f"'{keys[trials.enrol[one]]}' and '{keys[trials.test[one]]}'"
            + _hint(pair, given.size, enrol, test, trials, place)
        )
    known = np.zeros(given.size, bool)
    known[found] = True
    if not known.all():
        row = int(order[~known].min())
        raise TrialError(
            f"{path}, score {row + 1}: {pair(row)} are no trial of '{trials.name}' "
            f"({np.count_nonzero(~known):,} of {given.size:,} scores are of no trial); give the list that was scored, "
            "or remove these lines"
        )
    return order[found]


def _hint(
    pair: Callable[[int], str],
    lines: int,
    enrol: NDArray[np.int64],
    test: NDArray[np.int64],
    trials: Trials,
    place: dict[str, int],
) -> str:
    """What may be wrong where scores are missing."""
    unknown = np.flatnonzero((enrol < 0) | (test < 0))
    if unknown.size == lines:
        return (
            f"; the file names none of its keys, for instance {pair(0)}: are the keys written in another way?"
        )
    turned = np.isin(trials.test * len(place) + trials.enrol, enrol * len(place) + test)
    if turned.all():
        return "; all of them are there the other way round: the enrolment stands first"
    return "; score the whole list, or give the list that was scored"


def _places(column: pa.ChunkedArray, place: dict[str, int]) -> NDArray[np.int64]:
    """By row the number of its key, -1 for one that the list does not have."""
    coded = pc.dictionary_encode(column).combine_chunks()
    numbers = np.array([place.get(word, -1) for word in coded.dictionary.to_pylist()], np.int64)
    by_row: NDArray[np.int64] = numbers[coded.indices.to_numpy()]
    return by_row


def _require_labels(
    path: Path, column: pa.ChunkedArray, row_of_pair: NDArray[np.int64], trials: Trials
) -> None:
    coded = pc.dictionary_encode(column).combine_chunks()
    words = coded.dictionary.to_pylist()
    if strange := [word for word in words if word not in _LABELS]:
        raise TrialError(f"{path}: '{strange[0]}' is no label; expected one of {', '.join(_LABELS)}")
    label = np.array([_LABELS[word] for word in words])[coded.indices.to_numpy()[row_of_pair]]
    wrong = np.flatnonzero(label != trials.target)
    if wrong.size:
        one, keys = wrong[0], trials.keys
        raise TrialError(
            f"{path}, score {row_of_pair[one] + 1}: '{keys[trials.enrol[one]]}' and '{keys[trials.test[one]]}' are a "
            f"{'target' if label[one] else 'non-target'} trial here, and the contrary in '{trials.name}' "
            f"({wrong.size:,} such trials); give the list that was scored"
        )
