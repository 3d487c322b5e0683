"""Kaldi data folders: ``wav.scp`` and ``utt2spk``, and what else stands beside them.

The format: https://kaldi-asr.org/doc/data_prep.html. Licence: that of the recordings.

Of each folder these are read, all but the first two where they are there:

- ``wav.scp``: ``RECORDING FILE``. Commands (``sox ... |``) and offsets into archives (``wav.ark:123``) are refused;
- ``utt2spk``: ``UTTERANCE SPEAKER``;
- ``segments``: ``UTTERANCE RECORDING START END`` in seconds, END -1 for the recording's end. An utterance's session is
  then its recording; without segments each recording is an utterance, of an unknown session;
- ``spk2gender``, ``utt2lang``;
- ``utt2dur``, ``reco2dur``: seconds; where they are missing, preparing measures;
- ``trials``: ``UTTERANCE UTTERANCE target|nontarget`` (or any form that ``Trials.read`` takes).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from voxangle.corpora.corpus import Corpus
from voxangle.corpora.disjoint import check_disjoint
from voxangle.corpora.genders import gender_of
from voxangle.corpora.listed_paths import resolver
from voxangle.data import Manifest, Trials, Utterance
from voxangle.errors import CorpusError

__all__ = ["read"]

_ARCHIVE_OFFSET = re.compile(r".+\.ark(\.\w+)?:\d+(\[.*\])?")


def read(root: Path) -> Corpus:
    """The utterances of a data folder, or of each data folder in a folder.

    Utterances without a speaker, and speakers' utterances without a recording, are left out, and counted in the notes.

    Args:
        root: a data folder (with ``wav.scp`` in it), whose utterances become the split ``all``; or a folder that holds
            several, each of which becomes a split of its name (``data`` or the one above it).

    Raises:
        CorpusError: no ``wav.scp`` is there; a file of the folder is missing or a line of it is wrong (file and line
            are named); a recording is a command or lies in an archive; or a speaker stands in two splits.
        TrialError: a trial list cannot be read, or names an utterance that no split has.
    """
    root = Path(root).resolve()
    splits: dict[str, Manifest] = {}
    notes: list[str] = []
    folders = _folders(root)
    for split, folder in folders.items():
        rows = _utterances(folder, notes)
        splits[split] = Manifest.of(rows, folder)
    check_disjoint(splits, folders)
    known = {key for manifest in splits.values() for key in manifest.column("utterance")}
    trials = {
        name: replace(Trials.read(folder / "trials", known=known), name=name)
        for name, folder in ((folder.name, folder) for folder in folders.values())
        if (folder / "trials").is_file()
    }
    return Corpus(root.name, splits, trials, " ".join(notes))


@dataclass(frozen=True)
class _Entry:
    """A line ``KEY VALUE``."""

    line: int
    value: str


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


def _utterances(folder: Path, notes: list[str]) -> list[Utterance]:
    files = _recordings(folder / "wav.scp")
    speakers = _table(folder / "utt2spk")
    genders = _optional(folder / "spk2gender")
    languages = _optional(folder / "utt2lang")
    durations = {**_optional(folder / "reco2dur"), **_optional(folder / "utt2dur")}
    rows = []
    if (folder / "segments").is_file():
        for key, entry in _table(folder / "segments").items():
            place = f"{folder / 'segments'}, line {entry.line}"
            recording, start, seconds = _segment(place, entry.value)
            if recording in files and key in speakers:
                rows.append(Utterance(key, "", files[recording], start, seconds, session=recording))
    else:
        rows = [
            Utterance(key, "", file, seconds=_seconds(f"{folder}, duration of '{key}'", durations[key].value))
            if key in durations
            else Utterance(key, "", file)
            for key, file in files.items()
            if key in speakers
        ]
    if not rows:
        raise CorpusError(
            f"{folder}: no utterance of utt2spk has a recording in wav.scp; the files belong to different data"
        )
    _count_left_out(folder, speakers, files, rows, notes)
    return [
        replace(
            row,
            speaker=(speaker := speakers[row.utterance].value),
            gender=gender_of(genders[speaker].value) if speaker in genders else "",
            language=languages[row.utterance].value if row.utterance in languages else "",
        )
        for row in rows
    ]


def _recordings(path: Path) -> dict[str, str]:
    entries = _table(path)
    for key, entry in entries.items():
        if entry.value.endswith("|"):
            raise CorpusError(
                f"{path}, line {entry.line}: the recording '{key}' is a command ({entry.value[:60]}), and commands out "
                "of files are not run; write the audio to files and name these. Where you trust the commands: "
                'mkdir wav; while read -r id command; do sh -c "${command%|}" < /dev/null > "wav/$id.wav"; done '
                "< wav.scp"
            )
        if _ARCHIVE_OFFSET.fullmatch(entry.value):
            raise CorpusError(
                f"{path}, line {entry.line}: the recording '{key}' lies in an archive ({entry.value[-60:]}); write the "
                "audio to one file a recording and name these (Kaldi's wav-copy does it)"
            )
    absolute = resolver([entry.value for entry in entries.values()], path)
    return {key: absolute(entry.value) for key, entry in entries.items()}


def _segment(place: str, text: str) -> tuple[str, float, float]:
    """(recording, start, seconds); seconds 0 for all to the end."""
    parts = text.split()
    if len(parts) not in {3, 4}:  # a channel may stand at the end
        raise CorpusError(f"{place}: expected UTTERANCE RECORDING START END, found '... {text[:60]}'")
    start = _seconds(place, parts[1])
    if float(_number(parts[2])) == -1:
        return parts[0], start, 0.0
    end = _seconds(place, parts[2])
    if end <= start:
        raise CorpusError(f"{place}: the segment ends ({end:g} s) before it begins ({start:g} s)")
    return parts[0], start, round(end - start, 6)


def _seconds(place: str, text: str) -> float:
    seconds = _number(text)
    if not isfinite(seconds) or seconds < 0:
        raise CorpusError(f"{place}: '{text}' is not a number of seconds >= 0")
    return seconds


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _optional(path: Path) -> dict[str, _Entry]:
    return _table(path) if path.is_file() else {}


def _table(path: Path) -> dict[str, _Entry]:
    """Lines ``KEY VALUE`` by key."""
    entries: dict[str, _Entry] = {}
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                key, _, value = line.strip().replace("\t", " ", 1).partition(" ")
                if not key:
                    continue
                if not value.strip():
                    raise CorpusError(f"{path}, line {number}: '{key}' stands alone; expected KEY VALUE")
                if key in entries:
                    raise CorpusError(
                        f"{path}, line {number}: '{key}' is there already, on line {entries[key].line}"
                    )
                entries[key] = _Entry(number, value.strip())
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such file; a Kaldi data folder has wav.scp and utt2spk") from error
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: is not UTF-8 ({error}); convert it, for instance with iconv -f latin1 -t utf-8"
        ) from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    if not entries:
        raise CorpusError(f"{path}: is empty")
    return entries


def _count_left_out(
    folder: Path,
    speakers: Mapping[str, _Entry],
    files: Collection[str],
    rows: Collection[Utterance],
    notes: list[str],
) -> None:
    taken = {row.utterance for row in rows}
    segmented = (folder / "segments").is_file()
    spoken = _table(folder / "segments") if segmented else files
    for what, left in (
        ("in utt2spk have no recording", [key for key in speakers if key not in taken]),
        ("have no speaker in utt2spk", [key for key in spoken if key not in speakers]),
    ):
        if left:
            notes.append(
                f"{folder.name}: {len(left):,} utterance(s) {what} (the first: {left[0]}); left out."
            )
