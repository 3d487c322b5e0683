"""Is a corpus all there? What was published against what is on disk, and what is wrong with the rest."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from voxangle.audio import AudioInfo, probe
from voxangle.data import Manifest
from voxangle.data.rates import upsampling_note
from voxangle.errors import AudioError

__all__ = [
    "ABSENT_SPEAKERS",
    "ARCHIVES",
    "BOTH_FORMS",
    "BROKEN_LINKS",
    "EMPTY",
    "LOCKED",
    "MISSING",
    "NOT_UTF8",
    "NO_RECORDINGS",
    "OUTSIDE",
    "SECOND_WAY",
    "STRAY",
    "TINY",
    "TWICE",
    "UNLISTED",
    "UNREADABLE",
    "Completeness",
    "Fault",
    "FaultKind",
    "ListFound",
    "Part",
    "Published",
    "Tally",
    "inspect",
]

_EXAMPLES = 10
_TINY_BYTES = 1024
_OVERSHOOT = 0.1  # in seconds, as ``voxangle.audio.load`` has it


@dataclass(frozen=True)
class FaultKind:
    """One way in which a file or a folder is not as it should be.

    Attributes:
        what: the thing in words, after a count.
        cure: what to do about it.
        harmless: nothing is lost by it; worth saying all the same.
    """

    what: str
    cure: str
    harmless: bool = False


ABSENT_SPEAKERS = FaultKind("speaker(s) of the corpus's own list not on disk", "unpack the corpus again")
ARCHIVES = FaultKind(
    "archive(s) or piece(s) of one beside the audio",
    "if the counts fall short, one was not joined or unpacked to the end; else remove them",
    harmless=True,
)
BOTH_FORMS = FaultKind(
    "utterance(s) in two formats", "none needed: wav is read before flac, flac before m4a", harmless=True
)
BROKEN_LINKS = FaultKind("link(s) that lead nowhere", "mount or put back what they lead to, or remove them")
EMPTY = FaultKind("empty file(s) (0 bytes)", "unpack, convert or fetch them again")
LOCKED = FaultKind("folder(s) that may not be looked into", "give yourself the right to (chmod u+rx)")
MISSING = FaultKind("utterance(s) of the corpus's own lists not on disk", "unpack the corpus again")
NOT_UTF8 = FaultKind("file(s) whose name is not UTF-8", "rename them; they are left out")
NO_RECORDINGS = FaultKind("speaker(s) without a recording", "unpack the corpus again")
OUTSIDE = FaultKind(
    "utterance(s) that begin or end past the end of their file",
    "compare starts and lengths with the files, which may be cut off or others; preparing leaves them out",
)
SECOND_WAY = FaultKind(
    "link(s) to folders that are read where they lie", "none needed: each is read once", harmless=True
)
STRAY = FaultKind(
    "recording(s) or folder(s) at the wrong depth or with another name than the layout has",
    "move or rename them",
)
TINY = FaultKind(f"file(s) under {_TINY_BYTES} bytes, too small for speech", "unpack or fetch them again")
TWICE = FaultKind("utterance(s) found in two places", "remove one copy; the first by path is read")
UNLISTED = FaultKind(
    "speaker(s) on disk whom the corpus's own list has not",
    "the list was cut off or is another's: fetch it again",
)
UNREADABLE = FaultKind("file(s) that cannot be read as audio", "unpack, convert or fetch them again")


@dataclass(frozen=True)
class Fault:
    """How often one thing is wrong, and where first.

    Attributes:
        kind: what is wrong.
        count: how often, in all.
        examples: the first few files, folders or keys.
    """

    kind: FaultKind
    count: int
    examples: tuple[str, ...]

    @property
    def brief(self) -> str:
        """The count, the first example and the cure, for where there is no room."""
        return f"{self.count:,} {self.kind.what}, first {self.examples[0]}: {self.kind.cure}"

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count:,} {self.kind.what}: {', '.join(self.examples)}{more}; {self.kind.cure}"


class Tally:
    """Counts faults while a tree is walked, and keeps the first few of each kind."""

    def __init__(self) -> None:
        self._counts: Counter[FaultKind] = Counter()
        self._examples: dict[FaultKind, list[str]] = defaultdict(list)

    def add(self, kind: FaultKind, example: str, count: int = 1) -> None:
        """One more (or ``count`` more) of this kind, seen at ``example``."""
        self._counts[kind] += count
        if len(self._examples[kind]) < _EXAMPLES:
            # A name that is not UTF-8 must be printable all the same.
            self._examples[kind].append(os.fsencode(example).decode("utf-8", "backslashreplace"))

    def faults(self) -> tuple[Fault, ...]:
        """What was counted, in the order in which each kind was first met."""
        return tuple(Fault(kind, count, tuple(self._examples[kind])) for kind, count in self._counts.items())


@dataclass(frozen=True)
class Published:
    """What a part of a corpus should hold.

    Attributes:
        speakers: how many.
        utterances: how many.
        hours: how many, None where no source says.
        source: where these counts are published.
    """

    speakers: int
    utterances: int
    hours: float | None
    source: str


@dataclass(frozen=True)
class Part:
    """One part of a corpus: found against published.

    Attributes:
        name: the split's.
        speakers: found on disk.
        utterances: found on disk.
        hours: by the files' headers; None where those were not read.
        published: what should be there; None where nothing was published.
    """

    name: str
    speakers: int
    utterances: int
    hours: float | None
    published: Published | None

    @classmethod
    def of(
        cls, name: str, manifest: Manifest, published: Published | None, hours: float | None = None
    ) -> Part:
        """What a manifest holds, against what was published."""
        return cls(name, len(manifest.speakers()), len(manifest), hours, published)

    @property
    def whole(self) -> bool:
        """Whether just what was published is on disk: one too many may hide one that is missing."""
        return self.published is None or (self.speakers, self.utterances) == (
            self.published.speakers,
            self.published.utterances,
        )

    def __str__(self) -> str:
        hours = "" if self.hours is None else f", {self.hours:,.1f} h"
        found = f"{self.name}: {self.speakers:,} speakers, {self.utterances:,} utterances{hours}"
        if self.published is None:
            return found
        hours = "" if self.published.hours is None else f" / {self.published.hours:,.1f} h"
        return (
            f"{found}; published: {self.published.speakers:,} / {self.published.utterances:,}{hours} "
            f"({self.published.source})"
        )


@dataclass(frozen=True)
class ListFound:
    """A list that belongs to a corpus (of trials, enrolments or speakers), as it is on disk.

    Attributes:
        name: what it is called.
        state: whether it is there, and whole, in words.
        sound: whether nothing is wrong with it. A list that is not there is not wrong: who trains needs none.
    """

    name: str
    state: str
    sound: bool = True

    def __str__(self) -> str:
        return f"list {self.name}: {self.state}"


@dataclass(frozen=True)
class Completeness:
    """Whether a corpus is all there.

    Attributes:
        corpus: its name.
        root: where it was looked for.
        parts: its parts, each found against published.
        faults: what is wrong, counted.
        lists: its lists, each found against published.
        sampling: how many files have this rate in Hz and so many channels; empty where no headers were read.
    """

    corpus: str
    root: Path
    parts: tuple[Part, ...]
    faults: tuple[Fault, ...]
    lists: tuple[ListFound, ...] = ()
    sampling: Mapping[tuple[int, int], int] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing or broken; lists may be absent."""
        return (
            all(part.whole for part in self.parts)
            and all(fault.kind.harmless for fault in self.faults)
            and all(one.sound for one in self.lists)
        )

    def __str__(self) -> str:
        verdict = "whole" if self.whole else "NOT whole"
        rows = [
            f"{self.corpus} at {self.root}: {verdict}",
            *self.parts,
            *self.lists,
            *self.faults,
            *_described(self.sampling),
        ]
        return "\n  ".join(str(row) for row in rows)


def _described(sampling: Mapping[tuple[int, int], int]) -> list[str]:
    """A line on rates and channels, where they are mixed or a rate is low."""
    rates: Counter[int] = Counter()
    for (rate, _), count in sampling.items():
        rates[rate] += count
    low = upsampling_note(rates)
    if len(sampling) < 2 and not low:
        return []
    counts = (
        f"{rate:,} Hz{ {1: '', 2: ' stereo'}.get(channels, f' {channels} channels') }: {count:,}"
        for (rate, channels), count in sorted(sampling.items())
    )
    return [f"files by rate: {', '.join(counts)}" + (f"; {low}" if low else "")]


def inspect(
    corpus: str,
    root: Path,
    parts: Mapping[str, Manifest],
    published: Mapping[str, Published],
    tally: Tally,
    *,
    headers: bool = False,
) -> Completeness:
    """Count what a reader found, and look at every file's size.

    Args:
        corpus: its name.
        root: where it was looked for.
        parts: what was found, by part.
        published: what should be there, by part.
        tally: the faults that the reader met on its way; what is found here is added to it.
        headers: read every file's header as well, for hours, rates and channels, for files that are not audio and
            for utterances that are not within their file; minutes for a large corpus.

    Raises:
        MissingExtraError: headers are asked for, and the files need an extra that is not installed.
    """
    found = []
    sampling: Counter[tuple[int, int]] = Counter()
    for name in dict.fromkeys([*published, *parts]):
        if name not in parts:
            found.append(Part(name, 0, 0, None, published[name]))
            continue
        manifest = parts[name]
        paths = dict.fromkeys(manifest.table["path"].to_pylist())
        sound = [path for path in paths if _weighed(_file(manifest, path), tally)]
        hours = None
        if headers:
            seconds = _seconds(manifest, sound, sampling, tally)
            _find_outside(manifest, seconds, tally)
            hours = sum(seconds.values()) / 3600
        found.append(Part.of(name, manifest, published.get(name), hours))
    return Completeness(corpus, root, tuple(found), tally.faults(), sampling=sampling)


def _file(manifest: Manifest, path: str) -> str:
    return os.path.join(manifest.root, path)  # noqa: PTH118 - a million times


def _weighed(path: str, tally: Tally) -> bool:
    """Whether the file is large enough to be looked into."""
    try:
        size = os.stat(path).st_size  # noqa: PTH116 - a million times
    except OSError as error:
        tally.add(UNREADABLE, f"{path} ({error.strerror})")
        return False
    if size < _TINY_BYTES:
        tally.add(TINY if size else EMPTY, path)
    return size >= _TINY_BYTES


def _seconds(
    manifest: Manifest, paths: Iterable[str], sampling: Counter[tuple[int, int]], tally: Tally
) -> dict[str, float]:
    """The length of each file by its header; rates and channels are counted, and what is not audio."""

    def header(path: str) -> tuple[str, AudioInfo | AudioError]:
        try:
            return path, probe(_file(manifest, path))
        except AudioError as error:
            return path, error

    seconds = {}
    with ThreadPoolExecutor() as pool:
        for path, info in pool.map(header, paths):
            if isinstance(info, AudioError):
                tally.add(UNREADABLE, str(info))
            else:
                seconds[path] = info.seconds
                sampling[info.sample_rate, info.channels] += 1
    return seconds


def _find_outside(manifest: Manifest, seconds_of: Mapping[str, float], tally: Tally) -> None:
    """Count the utterances that ``load`` would find to be not within their file."""
    start, seconds = manifest.table["start"].to_numpy(), manifest.table["seconds"].to_numpy()
    if not (start.any() or seconds.any()):
        return
    length = np.array([seconds_of.get(path, np.inf) for path in manifest.table["path"].to_pylist()])
    outside = (start >= length) | (start + seconds > length + _OVERSHOOT)
    for row in np.flatnonzero(outside):
        key, path = (manifest.table[name][row].as_py() for name in ("utterance", "path"))
        end = f"{start[row] + seconds[row]:.2f}" if seconds[row] else "the end"
        tally.add(OUTSIDE, f"{key} ({start[row]:.2f} to {end} of the {length[row]:.2f} s of {path})")
