"""Collections of sounds that are nobody's voice to be told apart: noises, music, rooms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from voxangle.data import Manifest, Utterance

__all__ = ["sounds"]


def sounds(name: str, root: Path, kinds: Mapping[str, Iterable[Path]]) -> dict[str, Manifest]:
    """Manifests of sounds by kind, so that they are listed, checked and prepared as speech is.

    No speakers are known: all files of a kind carry one label, ``NAME/KIND``. So nobody can train or evaluate
    speakers on them by mistake, for which two are needed. The channel is the folder, which says where a sound is from.
    Durations are left to preparing.

    Args:
        name: of the collection.
        root: the folder that the paths are made relative to.
        kinds: files by kind; a kind without any is left out.
    """
    return {
        kind: Manifest.of((_sound(path.relative_to(root), f"{name}/{kind}") for path in sorted(paths)), root)
        for kind, paths in kinds.items()
        if paths
    }


def _sound(path: Path, label: str) -> Utterance:
    key = path.as_posix()
    return Utterance(utterance=key, speaker=label, path=key, channel=path.parent.name)
