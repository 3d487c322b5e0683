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

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
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
    genders = {speaker: gender_of(word) for speaker, word in _optional(folder / "spk2gender").items()}
    languages = _optional(folder / "utt2lang")
    stretches = _segments(folder / "segments") or _whole(folder, files)
    rows = [
        Utterance(
            utterance=key,
            speaker=(speaker := speakers[key]),
            path=files[recording],
            start=start,
            seconds=seconds,
            session=recording if recording != key else "",
            language=languages.get(key, ""),
            gender=genders.get(speaker, ""),
        )
        for key, (recording, start, seconds) in stretches.items()
        if key in speakers and recording in files
    ]
    if not rows:
        raise CorpusError(
            f"{folder}: no utterance of utt2spk has a recording in wav.scp; the files belong to different data"
        )
    taken = {row.utterance for row in rows}
    for what, left in (
        ("in utt2spk have no recording", [key for key in speakers if key not in taken]),
        ("have no speaker in utt2spk", [key for key in stretches if key not in speakers]),
    ):
        if left:
            notes.append(
                f"{folder.name}: {len(left):,} utterance(s) {what} (the first: {left[0]}); left out."
            )
    return rows


def _recordings(path: Path) -> dict[str, str]:
    files = _table(path)
    for key, file in files.items():
        if file.endswith("|"):
            raise CorpusError(
                f"{_place(path, key)}: the recording '{key}' is a command ({file[:60]}), and commands out of files are "
                "not run; write the audio to files and name these. Where you trust the commands: "
                'mkdir wav; while read -r id command; do sh -c "${command%|}" < /dev/null > "wav/$id.wav"; done '
                "< wav.scp"
            )
        if ".ark" in file and _ARCHIVE_OFFSET.fullmatch(file):
            raise CorpusError(
                f"{_place(path, key)}: the recording '{key}' lies in an archive ({file[-60:]}); write the audio to one "
                "file a recording and name these (Kaldi's wav-copy does it)"
            )
    absolute = resolver(list(files.values()), path)
    return {key: absolute(file) for key, file in files.items()}


def _whole(folder: Path, files: Iterable[str]) -> dict[str, tuple[str, float, float]]:
    """Each recording as an utterance: (recording, start, seconds)."""
    durations = {}
    for name in ("reco2dur", "utt2dur"):
        path = folder / name
        for key, text in _optional(path).items():
            durations[key] = _seconds(path, key, text)
    return {key: (key, 0.0, durations.get(key, 0.0)) for key in files}


def _segments(path: Path) -> dict[str, tuple[str, float, float]]:
    """By utterance (recording, start, seconds), with seconds 0 for all to the end; nothing without the file."""
    segments = {}
    for key, text in _optional(path).items():
        parts = text.split()
        if len(parts) not in {3, 4}:  # a channel may stand at the end
            raise CorpusError(
                f"{_place(path, key)}: expected UTTERANCE RECORDING START END, found '{key} {text[:60]}'"
            )
        start = _seconds(path, key, parts[1])
        if _number(parts[2]) == -1:
            segments[key] = parts[0], start, 0.0
            continue
        end = _seconds(path, key, parts[2])
        if end <= start:
            raise CorpusError(
                f"{_place(path, key)}: the segment ends ({end:g} s) before it begins ({start:g} s)"
            )
        segments[key] = parts[0], start, round(end - start, 6)
    return segments


def _seconds(path: Path, key: str, text: str) -> float:
    seconds = _number(text)
    if not isfinite(seconds) or seconds < 0:
        raise CorpusError(f"{_place(path, key)}: '{text}' is not a number of seconds >= 0")
    return seconds


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _optional(path: Path) -> dict[str, str]:
    return _table(path) if path.is_file() else {}


def _table(path: Path) -> dict[str, str]:
    """Lines ``KEY VALUE`` by key, in their order."""
    values: dict[str, str] = {}
    for number, key, value in _lines(path):
        if not value:
            raise CorpusError(f"{path}, line {number}: '{key}' stands alone; expected KEY VALUE")
        if key in values:
            raise CorpusError(f"{path}, line {number}: '{key}' is there already: {_place(path, key)}")
        values[key] = value
    if not values:
        raise CorpusError(f"{path}: is empty")
    return values


def _place(path: Path, key: str) -> str:
    """Where a key first stands; looked up when it is needed for a message, not kept for a million lines."""
    return next(f"{path}, line {number}" for number, one, _ in _lines(path) if one == key)


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
