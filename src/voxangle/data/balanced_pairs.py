"""Trials in which how and in what a person was recorded says nothing of whether both sides are one person.

A calibration reads its trials as evidence: where one channel has many speakers and another few, pairs of the first are
mostly non-targets and pairs of the second mostly targets, and whatever tells the channels apart (how long recordings
are, how wide their band is) would be learnt as evidence of one voice, which it is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from voxangle.data.manifest import Manifest
from voxangle.data.pair_sets import PairSet
from voxangle.data.trials import Trials
from voxangle.errors import CorpusError

__all__ = ["balanced_trials"]

Numbers = np.ndarray[Any, np.dtype[np.int64]]

_MOST_TARGETS = 100_000


def balanced_trials(manifest: Manifest, name: str, *, per_target: int = 3, seed: int = 0) -> Trials:
    """Target pairs, and for each so many non-target pairs of the same language and channel on either side.

    The pairs fall into strata by what languages and channels their two sides have. Where a stratum has fewer
    non-target pairs than it should, target pairs of it are left out instead, so that the classes have one mixture of
    strata; one without non-target pairs is in no trial.

    Args:
        manifest: the utterances to pair; what it does not know counts as one language or channel.
        name: what to call the list.
        per_target: non-target trials for each target trial, at least one.
        seed: of the draw. All target pairs stand up to 100,000 of them.

    Raises:
        CorpusError: no stratum has pairs of both classes.
    """
    random = np.random.default_rng(seed)
    labels, rows = manifest.labels(), np.arange(len(manifest))
    settings = np.unique([f"{u.language}\0{u.channel}" for u in manifest], return_inverse=True)[1]
    targets = PairSet(rows, len(rows), alike=[labels], apart=[]).sample(_MOST_TARGETS, random)
    sides = np.sort(settings[np.stack(np.divmod(targets, len(rows)))], axis=0)
    strata, of_target = np.unique(sides, axis=1, return_inverse=True)
    chosen = [np.empty(0, np.int64)]
    for number, (one, other) in enumerate(strata.T):
        of_stratum = targets[of_target == number]
        # Of one setting, pairs within it; of two, pairs that have one side in each.
        apart = [labels] if one == other else [labels, settings]
        others = PairSet(rows[np.isin(settings, (one, other))], len(rows), alike=[], apart=apart)
        kept = min(len(of_stratum), len(others) // per_target)
        if kept:
            chosen += [
                random.choice(of_stratum, kept, replace=False),
                others.sample(kept * per_target, random),
            ]
    pairs = np.sort(np.concatenate(chosen))
    if not pairs.size:
        raise CorpusError(
            f"among the {len(manifest)} recordings for the list '{name}' no language and channel has both a speaker "
            f"with two recordings and {per_target} pairs of different speakers; give more speakers or recordings"
        )
    first, second = np.divmod(pairs, len(rows))
    keys = manifest.table["utterance"].to_pylist()
    return Trials.numbered(name, keys, first, second, labels[first] == labels[second])
