"""Nothing may be learnt from who is tested."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from voxangle.data import Trials
from voxangle.errors import TrialError

__all__ = ["require_unseen"]


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

    Raises:
        TrialError: a speaker of the list, or an utterance, is among those learnt from.
    """
    tested = {speakers[key] for key in trials.utterances if key in speakers} if speakers else set()
    found = (
        (tested, sorted(tested.intersection(learnt_speakers)), "speakers"),
        (trials.utterances, sorted(set(trials.utterances).intersection(keys)), "utterances"),
    )
    for whole, seen, of in found:
        if seen:
            raise TrialError(
                f"{trials.name}: {len(seen):,} of its {len(whole):,} {of}, such as '{seen[0]}', are also among those "
                f"of {what}, and nothing may be learnt from who is tested; take others, such as the training set's"
            )
