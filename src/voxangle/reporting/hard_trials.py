"""The trials worth a listen: those that a system gets most wrong, and those on which two contradict each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from voxangle.reporting.players import Clips, Players, Sound
from voxangle.scoring import Result, TrialScores

__all__ = ["contradictions", "hardest", "trial_players"]

Places = NDArray[np.int64]


def hardest(trials: TrialScores, most: int) -> tuple[Places, Places]:
    """The target trials of the lowest and the non-target trials of the highest scores, the worst first.

    Of each pair of speakers (of each speaker, for target trials) only the worst, so that one bad voice or one wrong
    label does not fill the list.

    Returns:
        Places of target and of non-target trials in the list, at most ``most`` each.
    """
    targets, nontargets = np.flatnonzero(trials.target), np.flatnonzero(~trials.target)
    lowest = targets[np.argsort(trials.scores[targets], kind="stable")]
    highest = nontargets[np.argsort(-trials.scores[nontargets], kind="stable")]
    return _one_a_pair(trials, lowest)[:most], _one_a_pair(trials, highest)[:most]


def contradictions(first: Result, second: Result, most: int) -> tuple[Places, Places]:
    """Trials that one system decides rightly and the other wrongly, each at its own EER threshold.

    The surest first: scores are taken as distances from the threshold in standard deviations of the system's scores,
    and what counts is the lesser distance of the two. Of each pair of speakers only the surest.

    Returns:
        Places of the trials that the first system has right, and of those that the second has; at most ``most`` each.
    """
    trials = first.require_scores()
    one, other = _distances(first), _distances(second)
    right, also = ((distance >= 0) == trials.target for distance in (one, other))
    surest = np.argsort(-np.minimum(np.abs(one), np.abs(other)), kind="stable")
    alone, other_alone = surest[(right & ~also)[surest]], surest[(also & ~right)[surest]]
    return _one_a_pair(trials, alone)[:most], _one_a_pair(trials, other_alone)[:most]


def trial_players(lead: str, places: Places, systems: Mapping[str, Result], clip: Clips | None) -> Players:
    """Trials with the scores that systems give them, what is known of them, and both sides to listen to.

    Args:
        lead: what trials these are.
        places: of the trials in the list.
        systems: results with their scores, by what to call them.
        clip: gives the recordings; ``None`` for names alone.
    """
    trials = next(iter(systems.values())).require_scores()
    shown = []
    for number, place in enumerate(places.tolist(), start=1):
        scores = "; ".join(
            f"{f'{name}: ' if len(systems) > 1 else ''}score {result.require_scores().scores[place]:.3f}, threshold "
            f"{result.eer.threshold:.3f}"
            for name, result in systems.items()
        )
        known = [name for name, mask in trials.conditions.items() if mask[place]]
        conditions = f" ({', '.join(known)})" if known else ""
        text = f"{number}. {scores}{conditions}"
        sides = (("enrolment", trials.enrol[place]), ("test", trials.test[place]))
        shown.append((text, [_sound(trials, side, int(key), clip) for side, key in sides]))
    return Players(lead, shown)


def _sound(trials: TrialScores, side: str, key: int, clip: Clips | None) -> Sound:
    name = trials.keys[key]
    speaker = f", speaker {trials.speakers[trials.speaker[key]]}" if trials.speakers else ""
    label = f"{side}: {name}{speaker}"
    return Sound(label, clip(name) if clip else None, label)


def _distances(result: Result) -> NDArray[np.float64]:
    """From the threshold of the EER, in standard deviations of the scores; below it negative."""
    scores = result.require_scores().scores.astype(np.float64)
    return np.asarray((scores - result.eer.threshold) / (scores.std() or 1.0))


def _one_a_pair(trials: TrialScores, order: Places) -> Places:
    """The first trial of each pair of speakers, in the given order."""
    enrol, test = trials.enrol_speaker[order], trials.test_speaker[order]
    pair = np.minimum(enrol, test) * (int(trials.speaker.max()) + 1) + np.maximum(enrol, test)
    _, first = np.unique(pair, return_index=True)
    return order[np.sort(first)]
