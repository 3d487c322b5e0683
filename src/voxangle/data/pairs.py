"""Trials made from a manifest, so that channel and language do not give the answer away."""

from __future__ import annotations

import numpy as np

from voxangle.data.manifest import Manifest
from voxangle.data.trials import Trials
from voxangle.errors import CorpusError

__all__ = ["trials_of"]


def trials_of(manifest: Manifest, name: str, *, nontargets: int = 100_000, seed: int = 0) -> Trials:
    """All target pairs of a manifest, and non-target pairs of one language and channel.

    Two people recorded in different languages or through different channels are told apart without listening to
    their voices; where no pair of speakers shares both, all pairs of speakers stand.

    Args:
        manifest: the utterances to pair.
        name: what to call the list.
        nontargets: non-target trials at most, drawn evenly.
        seed: of that draw.

    Raises:
        CorpusError: there is no target or no non-target pair.
    """
    first, second = np.triu_indices(len(manifest), k=1)
    labels = manifest.labels()
    target = labels[first] == labels[second]
    condition = [f"{u.language}\0{u.channel}" for u in manifest]
    alike = np.unique(condition, return_inverse=True)[1]
    fair = ~target & (alike[first] == alike[second])
    if not fair.any():
        fair = ~target
    if not target.any() or not fair.any():
        missing = "target (a speaker with two recordings)" if fair.any() else "non-target (a second speaker)"
        raise CorpusError(f"no {missing} pair among the {len(manifest)} recordings for the list '{name}'")
    others = np.flatnonzero(fair)
    if len(others) > nontargets:
        others = np.random.default_rng(seed).choice(others, nontargets, replace=False)
    chosen = np.sort(np.concatenate([np.flatnonzero(target), others]))
    keys = tuple(manifest.column("utterance"))
    return Trials(name, keys, first[chosen], second[chosen], target[chosen])
