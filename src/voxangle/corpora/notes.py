"""What must be said wherever a figure on an incomplete corpus is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from voxangle.corpora.completeness import Part, Published, Tally
from voxangle.data import Utterance

__all__ = ["notes_of"]


def notes_of(
    corpus: str,
    splits: Mapping[str, Sequence[Utterance]],
    published: Mapping[str, Published],
    tally: Tally,
    remarks: Iterable[str] = (),
) -> str:
    """What the parts on disk lack against what was published, what was counted, and other remarks, in sentences.

    A part that is not there at all is no lack: who evaluates needs no training part.
    """
    sentences = []
    for split, rows in splits.items():
        part = Part(split, len({row.speaker for row in rows}), len(rows), None, published.get(split))
        if not part.whole:
            sentences.append(f"Not all there, {part}; `voxangle corpora check {corpus}` says more.")
    sentences += [f"{fault}." for fault in tally.faults()]
    sentences += remarks
    return f"{corpus}: {' '.join(sentences)}" if sentences else ""
