"""Who speaks, where only a trial list is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxangle.data import Trials

__all__ = ["speakers_from_targets"]


def speakers_from_targets(trials: Trials) -> NDArray[np.int64]:
    """Speaker numbers of the utterances and models: those joined by a chain of target trials are one speaker.

    A model joins its utterances.

    An utterance of no target trial counts as a speaker of its own, so there may be fewer people than numbers.

    Returns:
        Shape (keys,), int64: the least index of an utterance (or model) of the same speaker.
    """
    speaker = np.arange(len(trials.keys))
    one, other = trials.enrol[trials.target], trials.test[trials.target]
    if trials.models:
        members = np.concatenate(list(trials.models.values()))
        sizes = [len(of_one) for of_one in trials.models.values()]
        models = np.repeat(np.arange(len(trials.utterances), len(speaker)), sizes)
        one, other = np.concatenate([one, models]), np.concatenate([other, members])
    while True:
        least = np.minimum(speaker[one], speaker[other])
        joined = speaker.copy()
        for side in (one, other):
            # The speaker's own entry is hooked, not the utterance's: a whole chain moves at once.
            np.minimum.at(joined, speaker[side], least)
        joined = joined[joined]
        if np.array_equal(joined, speaker):
            return speaker
        speaker = joined
