"""Lhotse manifests: recordings with supervisions, or cuts, as JSON lines.

P. Żelasko, D. Povey, J. Trmal, S. Khudanpur, "Lhotse: a speech data representation library for the modern deep
learning ecosystem", NeurIPS Data-Centric AI Workshop 2021. Licence: that of the recordings.

The files are read as they are, without the lhotse library (it imports PyTorch and more than it declares). Their fields
are those of lhotse 1.x (https://lhotse.readthedocs.io): a supervision says who speaks from when to when on a recording;
a cut holds a stretch of a recording, and supervisions with times relative to its own beginning.

What a manifest of ours cannot say is left out, and counted in the notes: supervisions without a speaker, one channel of
several, mixed cuts (padded, joined, or augmented), recordings changed on the way (speed, tempo, volume ...), and audio
that is not a file of its own.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from voxangle.corpora.columns import Columns
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.disjoint import check_disjoint
from voxangle.corpora.genders import gender_of
from voxangle.corpora.listed_paths import absolute
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest, Utterance
from voxangle.errors import CorpusError

__all__ = ["read"]

_NAME = re.compile(
    r"(?P<before>.*?)[_-]?(?P<kind>recordings|supervisions|cuts)[_-]?(?P<after>.*)\.jsonl(\.gz)?"
)
# Resampling changes no time and is done by loading anyway.
_HARMLESS = {"Resample"}


class _LeftOutError(Exception):
    """Why a supervision has no place in a manifest."""


def read(root: Path) -> Corpus:
    """The supervisions of the manifests in a folder.

    ``recordings.jsonl.gz`` goes with ``supervisions.jsonl.gz``, and ``PREFIX_recordings_SPLIT.jsonl.gz`` with
    ``PREFIX_supervisions_SPLIT.jsonl.gz``; SPLIT is the split (``all`` without one). Cuts are read where the two are
    not there. Each supervision becomes an utterance, under its id; its recording is the session where it is one of
    several on that recording.

    Args:
        root: the folder with the manifests, or one file of cuts.

    Raises:
        CorpusError: no manifests are there, recordings have no supervisions beside them, a line is not as it should be
            (file and line are named), or a speaker stands in two splits.
    """
    root = place_of_corpus(root)
    counts: Counter[str] = Counter()
    manifests = _manifests(root)
    splits = {
        split: manifest for split, files in manifests.items() if len(manifest := _manifest(files, counts))
    }
    notes = "; ".join(f"{count:,} {why}" for why, count in counts.most_common())
    if not splits:
        raise CorpusError(f"{root}: no supervision in it can be used ({notes or 'there are none'})")
    check_disjoint(splits, {split: files[0] for split, files in manifests.items()})
    name = root.name if root.is_dir() else root.parent.name
    return Corpus(name, splits, notes=(f"Left out: {notes}.",) if notes else ())


def _manifests(root: Path) -> dict[str, tuple[Path, ...]]:
    """By split: a file of cuts, or one of recordings and one of supervisions."""
    if root.is_file():
        match = _NAME.fullmatch(root.name)
        if match is None or match["kind"] != "cuts":
            raise CorpusError(
                f"{root}: name the folder of the manifests, or a file cuts.jsonl or cuts.jsonl.gz"
            )
        return {match["after"] or "all": (root,)}
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; name the one that holds lhotse's manifests")
    found: dict[tuple[str, str], dict[str, Path]] = defaultdict(dict)
    for path in sorted(root.iterdir()):
        if match := _NAME.fullmatch(path.name):
            found[match["before"], match["after"]].setdefault(match["kind"], path)
    manifests: dict[str, tuple[Path, ...]] = {}
    for (before, after), kinds in found.items():
        # Two corpora in one folder may both have a split train.
        split = after or before or "all"
        split = f"{before}-{split}" if split in manifests else split
        if {"recordings", "supervisions"} <= set(kinds):
            manifests[split] = (kinds["recordings"], kinds["supervisions"])
        elif "cuts" in kinds:
            manifests[split] = (kinds["cuts"],)
    if manifests:
        return manifests
    if found:
        only = next(iter(next(iter(found.values())).values()))
        raise CorpusError(
            f"{only}: stands alone; recordings and supervisions are needed, under names that differ in that word only"
        )
    near = next(
        (path.parent for path in (*root.glob("*/*"), *root.parent.glob("*")) if _NAME.fullmatch(path.name)),
        None,
    )
    raise CorpusError(
        f"{root}: holds no recordings.jsonl.gz with supervisions.jsonl.gz, and no cuts.jsonl.gz (nor any *.jsonl of "
        f"these names); {f'name {near}' if near else 'other forms are converted by `lhotse copy`'}"
    )


def _manifest(files: tuple[Path, ...], counts: Counter[str]) -> Manifest:
    columns = Columns()
    columns.add_rows(_utterances(files, counts))
    manifest = columns.manifest(files[0].parent)
    table = manifest.table
    for name, of in (("session", _of_several), ("path", lambda paths: absolute(paths, files[0]))):
        table = table.set_column(table.column_names.index(name), name, of(table[name].combine_chunks()))
    return Manifest(table, manifest.root)


def _utterances(files: tuple[Path, ...], counts: Counter[str]) -> Iterator[Utterance]:
    pairs = _of_cuts(files[0], counts) if len(files) == 1 else _of_recordings(*files)
    seen: set[str] = set()
    for place, cut, recording, supervision in pairs:
        try:
            row = _utterance(recording, supervision, cut)
        except _LeftOutError as reason:
            counts[str(reason)] += 1
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise CorpusError(
                f"{place}: not as lhotse writes it ({type(error).__name__}: {error}); write it again"
            ) from error
        else:
            if row.utterance in seen and cut is not None:
                # Cuts may be windows: one supervision in several.
                row = replace(row, utterance=f"{row.utterance}@{cut['id']}")
            if row.utterance in seen:
                raise CorpusError(f"{place}: the id '{row.utterance}' is there already; ids must be unique")
            seen.add(row.utterance)
            yield row


def _of_recordings(
    recordings: Path, supervisions: Path
) -> Iterator[tuple[str, dict[str, Any] | None, dict[str, Any] | None, dict[str, Any]]]:
    by_id: dict[Any, dict[str, Any] | str] = {}
    for place, content in _lines(recordings):
        brief = _brief(content)
        if by_id.setdefault(content.get("id"), brief) != brief:
            raise CorpusError(
                f"{place}: the recording '{content['id']}' is there already, and is another; ids must be unique"
            )
    for place, supervision in _lines(supervisions):
        on = supervision.get("recording_id")
        recording = by_id.get(on)
        if isinstance(recording, str):
            recording = {"id": on, "sources": [{"type": "file", "channels": [0], "source": recording}]}
        yield place, None, recording, supervision


def _brief(recording: dict[str, Any]) -> dict[str, Any] | str:
    """Of an ordinary recording its path alone: of a million, as little as will do."""
    match recording:
        case {"sources": [{"type": "file", "channels": [0], "source": str(path)}]}:
            return recording if recording.get("transforms") else path
    return recording


def _of_cuts(
    path: Path, counts: Counter[str]
) -> Iterator[tuple[str, dict[str, Any] | None, dict[str, Any] | None, dict[str, Any]]]:
    for place, cut in _lines(path):
        if cut.get("type") not in {"MonoCut", "MultiCut", None}:
            counts["mixed or padding cut(s)"] += 1
            continue
        for supervision in cut.get("supervisions") or ():
            yield place, cut, cut.get("recording"), supervision


def _utterance(
    recording: Mapping[str, Any] | None, supervision: Mapping[str, Any], cut: Mapping[str, Any] | None
) -> Utterance:
    if recording is None:
        raise _LeftOutError("supervision(s) whose recording is not there")
    if not supervision.get("speaker"):
        raise _LeftOutError("supervision(s) without a speaker")
    if any(change["name"] not in _HARMLESS for change in recording.get("transforms") or ()):
        raise _LeftOutError("supervision(s) of recordings changed on the way (speed, tempo, volume ...)")
    path = _file(recording, supervision)
    start, length = float(supervision["start"]), float(supervision["duration"])
    if cut is not None:
        # Relative to the cut, beyond whose ends a supervision may reach.
        end = min(start + length, float(cut["duration"]))
        start = max(start, 0.0)
        start, length = start + float(cut["start"]), end - start
    if length <= 0:
        raise _LeftOutError("supervision(s) that are empty")
    return Utterance(
        utterance=str(supervision["id"]),
        speaker=str(supervision["speaker"]),
        path=path,
        start=round(start, 6),
        seconds=round(length, 6),
        session=str(recording["id"]),
        language=supervision.get("language") or "",
        gender=gender_of(supervision.get("gender") or ""),
    )


def _file(recording: Mapping[str, Any], supervision: Mapping[str, Any]) -> str:
    """The one file that has the supervision's channels, and no others."""
    wanted = supervision.get("channel", 0)
    channels = set(wanted) if isinstance(wanted, list) else {wanted}
    sources = [source for source in recording["sources"] if channels & set(source["channels"])]
    if len(sources) != 1 or set(sources[0]["channels"]) != channels:
        raise _LeftOutError(
            "supervision(s) of some channels of several (write each channel to a file of its own)"
        )
    if sources[0]["type"] != "file":
        raise _LeftOutError(f"supervision(s) whose audio is no file but of type '{sources[0]['type']}'")
    return str(sources[0]["source"])


def _of_several(sessions: pa.Array) -> pa.Array:
    """A session that one utterance alone has is none."""
    counts = pc.value_counts(sessions)
    several = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    return pc.if_else(pc.is_in(sessions, several), sessions, "")


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line, with its place."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    place = f"{path}, line {number}"
                    content = json.loads(line)
                    if not isinstance(content, dict):
                        raise CorpusError(f"{place}: not a JSON object {{...}}")
                    yield place, content
    except json.JSONDecodeError as error:
        raise CorpusError(f"{place}: not JSON ({error}); was the file written to the end?") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be read ({error}); write it again") from error
