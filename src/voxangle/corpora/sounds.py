"""Collections of sounds that are nobody's voice to be told apart: noises, music, rooms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from voxangle.corpora.corpus import Corpus
from voxangle.corpora.durations import durations
from voxangle.data import Manifest, Utterance

__all__ = ["sounds"]


def sounds(
    name: str, root: Path, kinds: Mapping[str, Iterable[Path]], published: Mapping[str, int], notes: str
) -> Corpus:
    """A corpus with a split a kind, so that sounds are listed, checked and prepared as speech is.

    No speakers are known: all files of a kind carry one label, ``NAME/KIND``. So nobody can train or evaluate
    speakers on them by mistake, for which two are needed.

    Args:
        name: of the collection.
        root: the folder that the paths are made relative to.
        kinds: files by kind; a kind without any is left out.
        published: how many there should be of each kind.
        notes: on the collection; what is missing is added.
    """
    splits = {}
    said = [notes]
    for kind, paths in kinds.items():
        files = sorted(paths)
        if files:
            splits[kind] = Manifest.of(
                (
                    Utterance(
                        utterance=path.relative_to(root).as_posix(),
                        speaker=f"{name}/{kind}",
                        path=path.relative_to(root).as_posix(),
                        seconds=seconds,
                        channel=path.parent.name,
                    )
                    for path, seconds in zip(files, durations(files), strict=True)
                ),
                root,
            )
        if len(files) < published[kind]:
            said.append(f"Incomplete: {kind} has {len(files):,} of {published[kind]:,} files.")
    return Corpus(name, splits, notes=" ".join(said))
