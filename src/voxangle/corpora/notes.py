"""What must be said wherever a figure on an incomplete corpus is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from voxangle.corpora.completeness import Part, Published, Tally
from voxangle.data import Manifest

__all__ = ["notes_of"]


def notes_of(
    corpus: str,
    splits: Mapping[str, Manifest],
    published: Mapping[str, Published],
    tally: Tally,
    remarks: Iterable[str] = (),
) -> tuple[str, ...]:
    """What the parts on disk lack against what was published, what was counted, and other remarks, a line each.

    A part that is not there at all is no lack: who evaluates needs no training part.
    """
    lines = []
    for split, manifest in splits.items():
        part = Part.of(split, manifest, published.get(split))
        if not part.whole:
            lines.append(f"{_verdict(part)}, {part}; `voxangle corpora check {corpus}` says more.")
    lines += [f"{fault.brief}." for fault in tally.faults()]
    return tuple(f"{corpus}: {line}" for line in (*lines, *remarks))


def _verdict(part: Part) -> str:
    published = part.published
    if published and part.speakers >= published.speakers and part.utterances >= published.utterances:
        return "More than was published"
    return "Not all there"
