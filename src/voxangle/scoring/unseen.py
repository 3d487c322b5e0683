"""Nothing may be learnt from who is tested."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from voxangle.data import Trials
from voxangle.errors import TrialError

__all__ = ["require_unseen", "tested_among"]


def require_unseen(
    trials: Trials,
    speakers: Mapping[str, str] | None,
    *,
    keys: Collection[str],
    learnt_speakers: Collection[str],
    what: str,
) -> None:
    """The utterances that something is learnt from, and their speakers, are not those of a list.

    Args:
        trials: the list.
        speakers: who speaks in it, by key, where known.
        keys: of the utterances learnt from.
        learnt_speakers: of these utterances, where known.
        what: is learnt, such as ``the mean to subtract``.

    A key that ends like another, from a slash on, is the same recording below another folder.

    Raises:
        TrialError: a speaker of the list, or an utterance, is among those learnt from.
    """
    tested = {speakers[key] for key in trials.utterances if key in speakers} if speakers else set()
    found = (
        (tested, sorted(tested.intersection(learnt_speakers)), "speakers"),
        (trials.utterances, sorted(tested_among(trials.utterances, keys)), "utterances"),
    )
    for whole, seen, of in found:
        if seen:
            raise TrialError(
                f"{trials.name}: {len(seen):,} of its {len(whole):,} {of}, such as '{seen[0]}', are also among those "
                f"of {what}, and nothing may be learnt from who is tested; take others, such as the training set's"
            )


def tested_among(tested: Collection[str], learnt: Collection[str]) -> set[str]:
    """The tested keys that are learnt from, whatever folder either kind of key begins at."""
    tested, learnt = set(tested), set(learnt)
    seen = tested & learnt
    seen.update(ending for key in learnt for ending in _endings(key) if ending in tested)
    seen.update(key for key in tested if any(ending in learnt for ending in _endings(key)))
    return seen


def _endings(key: str) -> Iterator[str]:
    """What follows each slash, but for the bare name of a file: many folders have a `1.wav`."""
    place = key.find("/")
    while place >= 0:
        ending = key[place + 1 :]
        if "/" in ending:
            yield ending
        place = key.find("/", place + 1)
