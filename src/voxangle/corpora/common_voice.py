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

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from voxangle.corpora.corpus import Corpus
from voxangle.corpora.genders import gender_of
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest
from voxangle.data.manifest import SCHEMA
from voxangle.errors import CorpusError, nearest

__all__ = ["HOW_TO_GET", "NAME", "read"]

NAME = "common-voice"

HOW_TO_GET = """\
Choose a language and a release at https://commonvoice.mozilla.org/datasets (which leads to
https://mozilladatacollective.com), accept the terms, and unpack the archive:

  tar -xf cv-corpus-VERSION-DATE-LANGUAGE.tar.gz    # into cv-corpus-VERSION-DATE/LANGUAGE/

Archives of one release unpacked in one folder are read as one corpus."""

_TABLE = "validated.tsv"
_DIGITS = 32
_NOTES = (
    "common-voice: a speaker is a client_id, which is an account or a browser and not exactly a person; some labels "
    "are wrong."
)


def read(root: Path) -> Corpus:
    """The validated clips of every language below ``root``; needs no network.

    Durations are those of ``clip_durations.tsv`` (releases since 16.1); without it they are left to preparing. Lines
    of ``validated.tsv`` that have not as many values as there are columns are passed over, and counted in the notes.

    Args:
        root: a language's folder, the release's that holds several, or the one above that.

    Raises:
        CorpusError: no language is there; a language is there in two releases; or a table is not as it should be.
    """
    root = place_of_corpus(root)
    folders = _languages(root)
    notes = [_NOTES]
    table = pa.concat_tables([_clips(folder, root, notes) for folder in folders])
    if not table.num_rows:
        raise CorpusError(f"{folders[0] / _TABLE}: has no clips; unpack the archive again")
    counts = pc.value_counts(table["utterance"])
    if len(counts) < table.num_rows:
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"]
        raise CorpusError(
            f"{root}: the clip '{twice}' is there more than once; name one release's folder, and if it is one, unpack "
            f"{_TABLE} again"
        )
    return Corpus(NAME, {"all": Manifest(table, root)}, notes=tuple(notes))


def _languages(root: Path) -> list[Path]:
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; it should hold LANGUAGE/{_TABLE} and LANGUAGE/clips")
    for pattern in (_TABLE, f"*/{_TABLE}", f"*/*/{_TABLE}"):
        folders = sorted(path.parent for path in root.glob(pattern))
        if folders:
            break
    else:
        above = f": name {root.parent}" if (root.parent / _TABLE).is_file() else ""
        raise CorpusError(
            f"{root}: holds no LANGUAGE/{_TABLE}; name a language's folder of Common Voice (with {_TABLE} and clips in "
            f"it), or the release's that holds several{above}"
        )
    by_name: dict[str, Path] = {}
    for folder in folders:
        other = by_name.setdefault(folder.name, folder)
        if other != folder:
            raise CorpusError(
                f"{folder}: '{folder.name}' is there in another release too, {other}, and a release holds the clips of "
                "those before it; name one release's folder"
            )
    return folders


def _clips(folder: Path, root: Path, notes: list[str]) -> pa.Table:
    """The clips of one language, as columns of a manifest."""
    broken: list[str] = []
    rows = _rows(folder / _TABLE, ("client_id", "path"), ("gender", "locale"), broken)
    told = pc.and_(pc.not_equal(rows["client_id"], ""), pc.not_equal(rows["path"], ""))
    broken += [str(path) for path in rows.filter(pc.invert(told))["path"]]
    if broken:
        notes.append(
            f"Passed over: {len(broken):,} broken line(s) of {folder.name}/{_TABLE} (the first: '{broken[0][:60]}')."
        )
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
        "seconds": _seconds(folder / "clip_durations.tsv", names),
    }
    return pa.table(columns, schema=SCHEMA)


def _seconds(path: Path, names: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The duration of each clip; 0 where there is none, or where it is no number."""
    if not path.is_file():
        return pa.repeat(0.0, len(names))
    # Two columns, of which the first has had several names.
    durations = _rows(path, ("duration[ms]",), (), [], all_columns=True)
    seconds = _mapped(durations["duration[ms]"], _milliseconds, pa.float64())
    where = pc.index_in(names, pc.unique(durations.column(0)))
    if len(pc.unique(durations.column(0))) < durations.num_rows:
        raise CorpusError(f"{path}: a clip is there more than once; unpack the archive again")
    return pc.fill_null(seconds.take(where), 0.0)


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
