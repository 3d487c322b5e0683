"""Kaldi data folders: ``wav.scp`` and ``utt2spk``, and what else stands beside them.

The format: https://kaldi-asr.org/doc/data_prep.html. Licence: that of the recordings.

Of each folder these are read, all but the first two where they are there:

- ``wav.scp``: ``RECORDING FILE``. Commands (``sox ... |``) and offsets into archives (``wav.ark:123``) are refused;
- ``utt2spk``: ``UTTERANCE SPEAKER``;
- ``segments``: ``UTTERANCE RECORDING START END`` in seconds, END -1 for the recording's end. An utterance's session is
  then its recording; without segments each recording is an utterance, of an unknown session (as is one under the
  recording's own name);
- ``spk2gender``, ``utt2lang``;
- ``utt2dur``, ``reco2dur``: seconds; where they are missing, preparing measures;
- ``trials``: ``UTTERANCE UTTERANCE target|nontarget`` (or any form that ``Trials.read`` takes).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from voxangle.corpora.columns import Columns
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.disjoint import check_disjoint
from voxangle.corpora.genders import gender_of
from voxangle.corpora.listed_paths import absolute
from voxangle.corpora.own_lists import Named
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest, Trials
from voxangle.errors import CorpusError, TrialError

__all__ = ["read"]

_ARCHIVE_OFFSET = r"^.+\.ark(\.\w+)?:\d+(\[.*\])?$"
# A channel may stand at the end.
_SEGMENT = r"^(?P<recording>\S+)\s+(?P<start>\S+)\s+(?P<end>\S+)(?:\s+\S+)?$"
_TO_THE_END = -1
_NAMED = 5
_LINES = 2**14  # at a time as objects


class _Table(NamedTuple):
    """Lines ``KEY VALUE`` of a file: keys, each once; their values; the number of each line."""

    path: Path
    keys: pa.Array
    values: pa.Array
    lines: NDArray[np.int32]

    def of(self, keys: pa.Array) -> pa.Array:
        """The values of these keys, null where there is none."""
        return self.values.take(pc.index_in(keys, self.keys))

    def place(self, row: int) -> str:
        """Where a row stands."""
        return f"{self.path}, line {self.lines[row]}"


class _Stretches(NamedTuple):
    """Utterances by key: their recording, and where they begin and how long they last in it, in seconds."""

    keys: pa.Array
    recordings: pa.Array
    start: pa.Array
    seconds: pa.Array


def read(root: Path) -> Corpus:
    """The utterances of a data folder, or of each data folder in a folder.

    Utterances without a speaker, and speakers' utterances without a recording, are left out, counted and named in the
    notes. A trial list that cannot be read, or names an utterance that no split has, is left out with the reason.

    Args:
        root: a data folder (with ``wav.scp`` in it), whose utterances become the split ``all``; or a folder that holds
            several, each of which becomes a split of its name (``data`` or the one above it).

    Raises:
        CorpusError: no ``wav.scp`` is there; a file of the folder is missing or a line of it is wrong (file and line
            are named); a recording is a command or lies in an archive; or a speaker stands in two splits.
    """
    root = place_of_corpus(root)
    notes: list[str] = []
    folders = _folders(root)
    unrecorded: set[str] = set()
    splits = {split: _manifest(folder, notes, unrecorded) for split, folder in folders.items()}
    check_disjoint(splits, folders)
    trials, left_out = _trials(folders.values(), splits.values(), unrecorded)
    return Corpus(root.name, splits, trials, tuple(notes), left_out=left_out)


def _trials(
    folders: Iterable[Path], splits: Iterable[Manifest], unrecorded: Container[str]
) -> tuple[dict[str, Trials], dict[str, str]]:
    """The trial lists whose utterances are all there, and why another is left out."""
    lists = [folder / "trials" for folder in folders if (folder / "trials").is_file()]
    known = {key for manifest in splits for key in manifest.column("utterance")} if lists else set()
    trials: dict[str, Trials] = {}
    left_out: dict[str, str] = {}
    for path in lists:
        name = path.parent.name
        try:
            read = replace(Trials.read(path), name=name)
        except TrialError as error:
            left_out[name] = str(error)
            continue
        named = Named.of(read.utterances, known)
        if not named.missing:
            trials[name] = read
            continue
        lost = sum(key in unrecorded for key in named.missing)
        cause = f"; {lost:,} of them stand in utt2spk, and have no recording in wav.scp" if lost else ""
        left_out[name] = f"{path}: {named.fault}{cause}"
    return trials, left_out


def _folders(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; name a Kaldi data folder, with wav.scp and utt2spk in it")
    if (root / "wav.scp").is_file():
        return {"all": root}
    for top in (root, root / "data"):
        if folders := {path.parent.name: path.parent for path in sorted(top.glob("*/wav.scp"))}:
            return folders
    above = f": name {root.parent}" if (root.parent / "wav.scp").is_file() else ""
    raise CorpusError(
        f"{root}: holds no wav.scp, nor does a folder in it; name a Kaldi data folder, or the one that holds "
        f"several{above}"
    )


def _manifest(folder: Path, notes: list[str], unrecorded: set[str]) -> Manifest:
    """A folder's utterances; what is left out goes to the notes, those without a recording to ``unrecorded`` too."""
    files, speaker_of = _recordings(folder / "wav.scp"), _table(folder / "utt2spk")
    genders = _optional(folder / "spk2gender")
    genders = genders._replace(values=pa.array(map(gender_of, genders.values.to_pylist()), pa.string()))
    segments = _segments(folder / "segments")
    stretches = segments or _whole(folder, files)
    has_speaker = pc.is_in(stretches.keys, speaker_of.keys)
    unspoken = stretches.keys.filter(pc.invert(has_speaker))
    has_file = pc.is_in(stretches.recordings, files.keys)
    cut_from_none = stretches.keys.filter(pc.and_(has_speaker, pc.invert(has_file)))
    recordings_gone = pc.unique(stretches.recordings.filter(pc.invert(has_file)))
    kept = pc.and_(has_speaker, has_file)
    unheard = speaker_of.keys.filter(pc.invert(pc.is_in(speaker_of.keys, stretches.keys)))
    if not pc.all(kept).as_py():
        stretches = _Stretches(*(column.filter(kept) for column in stretches))
    keys, recordings, start, seconds = stretches
    if not len(keys):
        raise CorpusError(
            f"{folder}: no utterance of utt2spk has a recording in wav.scp; the files belong to different data"
        )
    unrecorded.update(cut_from_none.to_pylist(), unheard.to_pylist())
    place = "line in segments" if segments else "recording in wav.scp"
    gone = (
        f"are cut from {len(recordings_gone):,} recording(s) that wav.scp has not ({_some(recordings_gone)})"
    )
    for what, left in (
        (f"in utt2spk have no {place}", unheard),
        (f"of segments {gone}", cut_from_none),
        ("have no speaker in utt2spk", unspoken),
    ):
        if len(left):
            notes.append(f"{folder.name}: {len(left):,} utterance(s) {what} ({_some(left)}); left out.")
    speakers = speaker_of.of(keys)
    columns = Columns()
    columns.add(
        keys,
        files.of(recordings),
        speaker=speakers,
        start=start,
        seconds=seconds,
        session=pc.if_else(pc.equal(recordings, keys), "", recordings),
        language=pc.fill_null(_optional(folder / "utt2lang").of(keys), ""),
        gender=pc.fill_null(genders.of(speakers), ""),
    )
    return columns.manifest(folder)


def _some(keys: pa.Array) -> str:
    """The first few."""
    return ", ".join(keys[:_NAMED].to_pylist()) + (", ..." if len(keys) > _NAMED else "")


def _recordings(path: Path) -> _Table:
    """The file of each recording."""
    files = _table(path)
    row = pc.index(pc.ends_with(files.values, "|"), True).as_py()
    if row >= 0:
        raise CorpusError(
            f"{files.place(row)}: the recording '{files.keys[row]}' is a command ({str(files.values[row])[:60]}), and "
            "commands out of files are not run; write the audio to files and name these. Where you trust the commands: "
            'mkdir wav; while read -r id command; do sh -c "${command%|}" < /dev/null > "wav/$id.wav"; done '
            "< wav.scp"
        )
    row = pc.index(pc.match_substring_regex(files.values, _ARCHIVE_OFFSET), True).as_py()
    if row >= 0:
        raise CorpusError(
            f"{files.place(row)}: the recording '{files.keys[row]}' lies in an archive "
            f"({str(files.values[row])[-60:]}); write the audio to one file a recording and name these (Kaldi's "
            "wav-copy does it)"
        )
    return files._replace(values=absolute(files.values, path))


def _whole(folder: Path, files: _Table) -> _Stretches:
    """Each recording as an utterance."""
    lengths = []
    for name in ("utt2dur", "reco2dur"):
        durations = _optional(folder / name)
        numbers = pa.array(_seconds(durations, durations.values))
        lengths.append(durations._replace(values=numbers).of(files.keys))
    return _Stretches(files.keys, files.keys, pa.repeat(0.0, len(files.keys)), pc.coalesce(*lengths, 0.0))


def _segments(path: Path) -> _Stretches | None:
    """What the file says, with seconds 0 for all to the recording's end; None without the file."""
    if not path.is_file():
        return None
    table = _table(path)
    parts = pc.extract_regex(table.values, _SEGMENT)
    row = pc.index(pc.is_null(parts), True).as_py()
    if row >= 0:
        raise CorpusError(
            f"{table.place(row)}: expected UTTERANCE RECORDING START END, found '{table.keys[row]} "
            f"{str(table.values[row])[:60]}'"
        )
    start = _seconds(table, parts.field("start"))
    end = _seconds(table, parts.field("end"), unless=_TO_THE_END)
    to_the_end = end == _TO_THE_END
    if (before := (end <= start) & ~to_the_end).any():
        row = int(before.argmax())
        raise CorpusError(
            f"{table.place(row)}: the segment ends ({end[row]:g} s) before it begins ({start[row]:g} s)"
        )
    seconds = np.where(to_the_end, 0.0, np.round(end - start, 6))
    return _Stretches(table.keys, parts.field("recording"), pa.array(start), pa.array(seconds))


def _seconds(table: _Table, texts: pa.Array, *, unless: float | None = None) -> NDArray[np.float64]:
    """The numbers that stand there; ``unless`` is one that need not be a number of seconds."""
    numbers = np.fromiter(map(_number, texts.to_pylist()), np.float64, len(texts))
    wrong = ~(np.isfinite(numbers) & (numbers >= 0) | (numbers == unless))
    if wrong.any():
        row = int(wrong.argmax())
        raise CorpusError(f"{table.place(row)}: '{texts[row]}' is not a number of seconds >= 0")
    return numbers


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _optional(path: Path) -> _Table:
    """The table, without lines where there is no such file."""
    nothing = pa.array([], pa.string())
    return _table(path) if path.is_file() else _Table(path, nothing, nothing, np.zeros(0, np.int32))


def _table(path: Path) -> _Table:
    """The lines of a file, in their order."""
    stream = _lines(path)
    keys, values, lines = [], [], []
    while some := list(islice(stream, _LINES)):
        number, key, value = zip(*some, strict=True)
        lines.append(np.array(number, np.int32))
        keys.append(pa.array(key, pa.string()))
        values.append(pa.array(value, pa.string()))
    if not keys:
        raise CorpusError(f"{path}: is empty")
    # One after the other, that the pieces of one are free before the next is joined.
    keys = pa.concat_arrays(keys)
    values = pa.concat_arrays(values)
    table = _Table(path, keys, values, np.concatenate(lines))
    row = pc.index(pc.equal(table.values, ""), True).as_py()
    if row >= 0:
        raise CorpusError(f"{table.place(row)}: '{table.keys[row]}' stands alone; expected KEY VALUE")
    first = pc.index_in(table.keys, table.keys).to_numpy()
    if (again := first < np.arange(len(first))).any():
        row = int(again.argmax())
        raise CorpusError(
            f"{table.place(row)}: '{table.keys[row]}' is there already: {table.place(first[row])}"
        )
    return table


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """(number, key, value) of each line that is not empty."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if parts := line.split(maxsplit=1):
                    yield number, parts[0], parts[1].rstrip() if len(parts) > 1 else ""
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such file; a Kaldi data folder has wav.scp and utt2spk") from error
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: is not UTF-8 ({error}); convert it, for instance with iconv -f latin1 -t utf-8"
        ) from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
