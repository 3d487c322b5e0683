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
) -> str:
    """What the parts on disk lack against what was published, what was counted, and other remarks, in sentences.

    A part that is not there at all is no lack: who evaluates needs no training part.
    """
    sentences = []
    for split, manifest in splits.items():
        part = Part.of(split, manifest, published.get(split))
        if not part.whole:
            sentences.append(f"Not all there, {part}; `voxangle corpora check {corpus}` says more.")
    sentences += [f"{fault.brief}." for fault in tally.faults()]
    sentences += remarks
    return f"{corpus}: {' '.join(sentences)}" if sentences else ""
