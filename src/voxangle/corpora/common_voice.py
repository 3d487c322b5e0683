"""Common Voice (Mozilla): sentences read by volunteers on their own devices, in hundreds of languages.

R. Ardila et al., "Common Voice: A Massively-Multilingual Speech Corpus", LREC 2020. Licence: CC0 1.0; whoever
downloads it agrees not to try to find out who a speaker is, and not to hand the recordings on.

Layout: ``cv-corpus-VERSION-DATE/LANGUAGE/{clips/*.mp3, validated.tsv, clip_durations.tsv, ...}``.

One split, ``all``: the clips of ``validated.tsv``, which two listeners or more found right. The official train, dev and
test are made for speech recognition: they drop most of a speaker's clips, and a speaker may be in one of them in one
language and in another in the next. ``client_id`` is the speaker, the same one across languages; of its 128
hexadecimal digits the first 32 are kept. It is an account or a browser, not exactly a person: a family may share one,
and who comes back without logging in gets another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from voxangle.corpora.completeness import TWICE, Completeness, FaultKind, Tally, inspect
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.genders import gender_of
from voxangle.corpora.notes import notes_of
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest
from voxangle.data.manifest import SCHEMA
from voxangle.errors import CorpusError, nearest

__all__ = ["HOW_TO_GET", "NAME", "check", "read"]

NAME = "common-voice"

HOW_TO_GET = """\
Choose a language and a release at https://commonvoice.mozilla.org/datasets (which leads to
https://mozilladatacollective.com), accept the terms, and unpack the archive:

  tar -xf cv-corpus-VERSION-DATE-LANGUAGE.tar.gz    # into cv-corpus-VERSION-DATE/LANGUAGE/

Archives of one release unpacked in one folder are read as one corpus."""

_TABLE = "validated.tsv"
_DIGITS = 32
_OTHER_TABLES = ("train.tsv", "dev.tsv", "test.tsv", "other.tsv", "invalidated.tsv", "reported.tsv")
_DURATIONS = "clip_durations.tsv"
_REMARK = "a speaker is a client_id, which is an account or a browser and not exactly a person; some labels are wrong."

_HALF_UNPACKED = FaultKind("language(s) unpacked by half", "unpack their archives again")
_CONTRADICTED = FaultKind(
    f"clip(s) of more than one speaker by {_TABLE}", "unpack the archive again; they are left out"
)
_REPEATED = FaultKind(
    f"repeated line(s) of {_TABLE}", "none needed: each clip is read once, by its first line", harmless=True
)
_MEASURED = FaultKind(
    f"clip(s) with more than one duration in {_DURATIONS}",
    "none needed: preparing measures them",
    harmless=True,
)


def read(root: Path) -> Corpus:
    """The validated clips of every language below ``root``; needs no network.

    Durations are those of ``clip_durations.tsv`` (releases since 16.1); without it they are left to preparing. Broken
    and repeated lines of ``validated.tsv``, clips to which it gives two speakers, and languages that are there
    without it are passed over, and counted in the notes.

    Args:
        root: a language's folder, the release's that holds several, or the one above that.

    Raises:
        CorpusError: no language is there; a language is there in two releases; or a table is not as it should be.
    """
    tally = Tally()
    splits = {"all": _found(place_of_corpus(root), tally)}
    return Corpus(NAME, splits, notes=notes_of(NAME, splits, {}, tally, [_REMARK]))


def check(root: Path, *, headers: bool = False) -> Completeness:
    """Whether each language that is there has its table and every clip that this names.

    Args:
        root: as for ``read``.
        headers: read every file's header too, for hours, rates, and files that are unreadable or too short.

    Raises:
        CorpusError: as ``read``.
    """
    tally, root = Tally(), place_of_corpus(root)
    return inspect(NAME, root, {"all": _found(root, tally)}, {}, tally, headers=headers)


def _found(root: Path, tally: Tally) -> Manifest:
    folders = _languages(root, tally)
    table = pa.concat_tables([_clips(folder, root, tally) for folder in folders])
    if not table.num_rows:
        raise CorpusError(f"{folders[0] / _TABLE}: has no clips; unpack the archive again")
    table = _each_once(table, tally)
    if not table.num_rows:
        raise CorpusError(
            f"{folders[0] / _TABLE}: gives every clip to two speakers; unpack the archive again"
        )
    return Manifest(table, root)


def _each_once(table: pa.Table, tally: Tally) -> pa.Table:
    """The table with each clip once, by its first line, and without those to which lines give different speakers."""
    counts = pc.value_counts(table["utterance"])
    if len(counts) == table.num_rows:
        return table
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero(pc.is_in(table["utterance"], twice)).tolist():
        rows.setdefault(table["utterance"][row].as_py(), []).append(row)
    keep = np.ones(table.num_rows, dtype=bool)
    for key, same in rows.items():
        lines = table.take(same)
        keep[same[1:]] = False
        if len(lines["speaker"].unique()) > 1:
            keep[same[0]] = False
            tally.add(_CONTRADICTED, key)
        elif len(lines["path"].unique()) > 1:
            tally.add(TWICE, f"{lines['path'][0]} and {lines['path'][1]}")
        else:
            tally.add(_REPEATED, key, len(same) - 1)
    return table.filter(pa.array(keep))


def _languages(root: Path, tally: Tally) -> list[Path]:
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; it should hold LANGUAGE/{_TABLE} and LANGUAGE/clips")
    halves = []
    for above in ("", "*/", "*/*/"):
        folders = sorted(path.parent for path in root.glob(f"{above}{_TABLE}"))
        halves += _half_unpacked(root, above)
        if folders:
            break
    else:
        if halves:
            raise CorpusError(f"{root}: {halves[0]}; unpack the archive again")
        parent = f": name {root.parent}" if (root.parent / _TABLE).is_file() else ""
        raise CorpusError(
            f"{root}: holds no LANGUAGE/{_TABLE}; name a language's folder of Common Voice (with {_TABLE} and clips in "
            f"it), or the release's that holds several{parent}"
        )
    for half in halves:
        tally.add(_HALF_UNPACKED, half)
    by_name: dict[str, Path] = {}
    for folder in folders:
        other = by_name.setdefault(folder.name, folder)
        if other != folder:
            raise CorpusError(
                f"{folder}: '{folder.name}' is there in another release too, {other}, and a release holds the clips of "
                "those before it; name one release's folder"
            )
    return folders


def _half_unpacked(root: Path, above: str) -> list[str]:
    """The languages at a depth below ``root`` that have clips or other tables, and no table to read."""
    parts = {path.parent for name in ("clips", *_OTHER_TABLES) for path in root.glob(f"{above}{name}")}
    halves = []
    for folder in sorted(parts):
        if (folder / _TABLE).is_file():
            continue
        count = sum(1 for _ in (folder / "clips").glob("*.mp3"))
        what = f"clips/ without {_TABLE}, {count:,} clips not read" if count else f"no {_TABLE} and no clips"
        halves.append(f"{folder.name}: {what}")
    return halves


def _clips(folder: Path, root: Path, tally: Tally) -> pa.Table:
    """The clips of one language, as columns of a manifest."""
    broken: list[str] = []
    rows = _rows(folder / _TABLE, ("client_id", "path"), ("gender", "locale"), broken)
    told = pc.and_(pc.not_equal(rows["client_id"], ""), pc.not_equal(rows["path"], ""))
    broken += [str(path) for path in rows.filter(pc.invert(told))["path"]]
    kind = FaultKind(
        f"broken line(s) of {folder.name}/{_TABLE}", "unpack the archive again; they are passed over"
    )
    for line in broken:
        tally.add(kind, f"'{line[:60]}'")
    rows = rows.filter(told)
    # The first releases leave the suffix out.
    keys = pc.replace_substring_regex(rows["path"], r"\.mp3$", "")
    names = pc.binary_join_element_wise(keys, "mp3", ".")
    clips = (folder / "clips").relative_to(root).as_posix()
    empty = pa.repeat("", rows.num_rows)
    columns = {
        "utterance": keys,
        "speaker": pc.binary_join_element_wise(
            "cv", pc.utf8_slice_codeunits(rows["client_id"], 0, _DIGITS), "-"
        ),
        "session": empty,
        "language": pc.if_else(pc.equal(rows["locale"], ""), folder.name, rows["locale"]),
        "gender": _mapped(rows["gender"], gender_of),
        "channel": empty,
        "path": pc.binary_join_element_wise(clips, names, "/"),
        "start": pa.repeat(0.0, rows.num_rows),
        "seconds": _seconds(folder / _DURATIONS, names, tally),
    }
    return pa.table(columns, schema=SCHEMA)


def _seconds(path: Path, names: pa.ChunkedArray, tally: Tally) -> pa.Array | pa.ChunkedArray:
    """The duration of each clip; 0 where there is none or are two, or where it is no number."""
    if not path.is_file():
        return pa.repeat(0.0, len(names))
    # Two columns, of which the first has had several names.
    durations = _rows(path, ("duration[ms]",), (), [], all_columns=True)
    clips = durations.column(0)
    seconds = _mapped(durations["duration[ms]"], _milliseconds, pa.float64())
    each = (
        pa.table({"clip": clips, "seconds": seconds})
        .group_by("clip", use_threads=False)
        .aggregate([("seconds", "min"), ("seconds", "max")])
    )
    several = pc.not_equal(each["seconds_min"], each["seconds_max"])
    for clip in each["clip"].filter(several).to_pylist():
        tally.add(_MEASURED, str(clip))
    seconds = pc.if_else(several, 0.0, each["seconds_min"])
    return pc.fill_null(seconds.take(pc.index_in(names, each["clip"].combine_chunks())), 0.0)


def _milliseconds(text: str) -> float:
    try:
        return max(0.0, float(text) / 1000)
    except ValueError:
        return 0.0


def _mapped(
    column: pa.ChunkedArray, of: Callable[[str], object], kind: pa.DataType | None = None
) -> pa.Array:
    """A function of each value, called once for each different one."""
    encoded = column.combine_chunks().dictionary_encode()
    values = pa.array([of(value) for value in encoded.dictionary.to_pylist()], kind or pa.string())
    return values.take(encoded.indices)


def _rows(
    path: Path,
    required: Sequence[str],
    wanted: Sequence[str],
    broken: list[str],
    *,
    all_columns: bool = False,
) -> pa.Table:
    """Columns of a table as Common Voice writes it: a tab means a new value, and a quotation mark nothing.

    A wanted column that is not there is empty; lines with another number of values than there are columns go to
    ``broken``.
    """

    def pass_over(row: pa_csv.InvalidRow) -> str:
        broken.append(row.text)
        return "skip"

    try:
        with path.open(encoding="utf-8-sig") as file:
            columns = file.readline().rstrip("\r\n").split("\t")
        if columns == [""]:
            raise CorpusError(f"{path}: is empty; unpack the archive again")
        for name in required:
            if name not in columns:
                raise CorpusError(f"{path}, line 1: has no column '{name}'{nearest(name, columns)}")
        table = pa_csv.read_csv(
            path,
            pa_csv.ReadOptions(column_names=columns, skip_rows=1, use_threads=False),
            pa_csv.ParseOptions(delimiter="\t", quote_char=False, invalid_row_handler=pass_over),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys([*columns, *wanted], pa.string()),
                include_columns=columns if all_columns else [*required, *wanted],
                include_missing_columns=True,
            ),
        )
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error}); unpack the archive again") from error
    for name in wanted:
        table = table.set_column(table.column_names.index(name), name, pc.fill_null(table[name], ""))
    return table
