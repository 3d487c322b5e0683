"""What VoxCeleb1 and VoxCeleb2 share: ``idNNNNN/VIDEO/SEGMENT`` trees, and the speakers' table beside them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxangle.corpora.columns import Columns
from voxangle.corpora.completeness import ABSENT_SPEAKERS, UNLISTED, ListFound, Tally
from voxangle.corpora.genders import gender_of
from voxangle.corpora.tree import Layout, beside, layout_of, recordings, speaker_number
from voxangle.data import Manifest
from voxangle.errors import CorpusError

__all__ = [
    "ADDRESS",
    "META",
    "SpeakerRow",
    "is_voxceleb1",
    "is_voxceleb2",
    "manifests_of",
    "meta_found",
    "speaker_table",
    "voxceleb_layout",
]

ADDRESS = "https://mm.kaist.ac.kr/datasets/voxceleb/"
"""Where access is asked for; the addresses at robots.ox.ac.uk that public recipes name refuse since 2024."""

META = f"{ADDRESS}meta/"
"""Where the speakers' tables and the trial lists are, free to fetch."""

# The two number their speakers apart.
_FIRST_OF_VOXCELEB1 = 10_001


@dataclass(frozen=True)
class SpeakerRow:
    """What ``vox1_meta.csv`` or ``vox2_meta.csv`` says of a speaker.

    Attributes:
        gender: ``f``, ``m`` or empty.
        part: ``dev`` or ``test``.
    """

    gender: str
    part: str


def is_voxceleb1(speaker: str) -> bool:
    """Whether ``idNNNNN`` is a speaker of VoxCeleb1: id10001 and up."""
    return speaker_number(speaker) >= _FIRST_OF_VOXCELEB1


def is_voxceleb2(speaker: str) -> bool:
    """Whether ``idNNNNN`` is a speaker of VoxCeleb2: below id10001."""
    return not is_voxceleb1(speaker)


def voxceleb_layout(root: Path, how_to_get: str, tally: Tally) -> Layout:
    """Find the speakers, or say what was found instead.

    Raises:
        CorpusError: there are none.
    """
    layout = layout_of(root, tally)
    if layout.speakers:
        return layout
    raise CorpusError(
        f"{root}: expected idNNNNN/VIDEO/SEGMENT.wav (or .m4a) at most five folders below, found "
        f"{layout.contents()}. (Release 1.0 of VoxCeleb1, with names for speakers, is not read: its trial lists "
        f"are others.)\n{how_to_get}"
    )


def speaker_table(layout: Layout, name: str) -> dict[str, SpeakerRow]:
    """The speakers' table of that name by speaker, empty where it is not there.

    VoxCeleb1's separates its columns by tabs (ID, VGGFace1 ID, Gender, Nationality, Set), VoxCeleb2's by commas
    and spaces (ID, VGGFace2 ID, Gender, Set). A nationality is no language, and is not used as one.

    Raises:
        CorpusError: the table has no column ``Gender`` or ``Set``.
    """
    path = beside(layout, name)
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{path}: cannot be read as a table ({error}); fetch it again from {META}{name}"
        ) from error
    delimiter = "\t" if "\t" in text else ","
    rows = [[value.strip() for value in row] for row in csv.reader(text.splitlines(), delimiter=delimiter)]
    header = rows[0] if rows else []
    if "Gender" not in header or "Set" not in header:
        raise CorpusError(
            f"{path}, line 1: expected the columns of VoxCeleb's {name}, with 'Gender' and 'Set'; found "
            f"'{delimiter.join(header)[:80]}'. Fetch it again from {META}{name}"
        )
    gender, part = header.index("Gender"), header.index("Set")
    return {
        row[0]: SpeakerRow(gender_of(row[gender]), row[part].lower())
        for row in rows[1:]
        if len(row) == len(header)
    }


def meta_found(
    layout: Layout, name: str, table: Mapping[str, SpeakerRow], published: int, belongs: Callable[[str], bool]
) -> ListFound:
    """Whether the speakers' table is there, and whole.

    Args:
        layout: where it was looked for.
        name: of the file.
        table: what stands in it.
        published: how many speakers it should have.
        belongs: whether a speaker is the corpus's.
    """
    if beside(layout, name) is None:
        return ListFound(name, f"absent, so genders are unknown: get it from {META}{name}")
    here = layout.of(belongs)
    if table and not any(speaker in here for speaker in table):
        state = f"of another release: none of its {len(table):,} speakers is on disk"
        return ListFound(name, f"{state}, such as {next(iter(table))}", sound=False)
    if len(table) == published:
        return ListFound(name, f"whole, {published:,} speakers")
    verdict = "cut off" if len(table) < published else "another table"
    return ListFound(
        name, f"{verdict}: it has {len(table):,} speakers; published are {published:,}", sound=False
    )


def manifests_of(
    speakers: Mapping[str, Sequence[Path]],
    layout: Layout,
    corpus: str,
    split_of: Mapping[str, str],
    table: Mapping[str, SpeakerRow],
    tally: Tally,
) -> dict[str, Manifest]:
    """The utterances of some speakers by split, sorted.

    The key is ``idNNNNN/VIDEO/SEGMENT.wav``, as trial lists name it, whatever the format on disk: results on m4a
    and on what was converted from it are compared trial by trial. The video is the session.

    Args:
        speakers: their folders.
        layout: where those were found.
        corpus: its name, which stands before the speakers'.
        split_of: the split of each speaker.
        table: their genders, where known.
        tally: is told what is left out, and why.
    """
    splits = {"train": Columns(), "eval": Columns()}
    for speaker, folders in speakers.items():
        found = recordings(folders, layout.root, tally, sessions=True)
        splits[split_of[speaker]].add(
            [f"{speaker}/{video}/{segment}.wav" for video, segment, _ in found],
            [path for _, _, path in found],
            speaker=f"{corpus}-{speaker}",
            session=[video for video, _, _ in found],
            gender=table[speaker].gender if speaker in table else "",
        )
    parts = {table[speaker].part for speaker in speakers if speaker in table}
    for speaker in speakers if table else ():
        if speaker not in table:
            tally.add(UNLISTED, speaker)
    for speaker, row in table.items():
        # A part that is not here at all was not unpacked on purpose.
        if row.part in parts and speaker not in speakers:
            tally.add(ABSENT_SPEAKERS, speaker)
    return {split: columns.manifest(layout.root) for split, columns in splits.items() if columns}
