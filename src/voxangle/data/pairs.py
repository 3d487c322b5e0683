"""Trials made from a manifest, so that channel and language do not give the answer away."""

from __future__ import annotations

import numpy as np

from voxangle.data.manifest import Manifest
from voxangle.data.pair_sets import PairSet
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
    labels = manifest.labels()
    alike = np.unique([f"{u.language}\0{u.channel}" for u in manifest], return_inverse=True)[1]
    rows = np.arange(len(manifest))
    target = PairSet(rows, len(rows), alike=[labels], apart=[])
    fair = PairSet(rows, len(rows), alike=[alike], apart=[labels])
    if not len(fair):
        fair = PairSet(rows, len(rows), alike=[], apart=[labels])
    if not len(target) or not len(fair):
        missing = "target (a speaker with two recordings)" if len(fair) else "non-target (a second speaker)"
        raise CorpusError(f"no {missing} pair among the {len(manifest)} recordings for the list '{name}'")
    others = fair.sample(nontargets, np.random.default_rng(seed))
    chosen = np.sort(np.concatenate([target.all(), others]))
    first, second = np.divmod(chosen, len(rows))
    keys = tuple(manifest.column("utterance"))
    return Trials(name, keys, first, second, labels[first] == labels[second])
