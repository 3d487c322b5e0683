"""What validation trials say about deciding: thresholds, and scores as log-likelihood ratios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from voxangle.encoders.card import Calibration, Threshold
from voxangle.errors import TrialError
from voxangle.metrics import SortedScores, fit_calibration
from voxangle.runtime.card import Ranges
from voxangle.runtime.measures import RecordingMeasures

__all__ = ["Decision", "decide_by"]

_FALSE_ACCEPTANCES = (0.01, 0.001)
_ALARMS = 10  # false acceptances that a rate must stand on


class Decision(NamedTuple):
    """What a card says of deciding; see ``ModelCard``."""

    thresholds: tuple[Threshold, ...] = ()
    calibration: Calibration | None = None


def decide_by(scores: SortedScores, trials: str, recordings: Sequence[RecordingMeasures] = ()) -> Decision:
    """Thresholds and calibration by trials of speakers who were not trained on.

    Thresholds are at the equal error rate, and at 1 % and 0.1 % false acceptances where these are 10 trials or more.
    The calibration is missing where a class has too few trials (``FEWEST_TRIALS``), or scores do not rise with
    likeness.

    Args:
        scores: of the trials.
        trials: what they are, for a person to read.
        recordings: what was measured of those in the trials.
    """
    counted = f"{scores.target.size + scores.nontarget.size} {trials}"
    equal = scores.eer()
    thresholds = [
        Threshold(
            name="eer",
            value=equal.threshold,
            source=f"equal error rate on {counted}",
            false_acceptance=equal.rate,
            false_rejection=equal.rate,
        )
    ]
    for most in _FALSE_ACCEPTANCES:
        if most * scores.nontarget.size >= _ALARMS:
            point = scores.at_fpr(most)
            thresholds.append(
                Threshold(
                    name=f"far-{100 * most:g}%",
                    value=point.threshold,
                    source=f"{100 * most:g} % false acceptances on {counted}",
                    false_acceptance=float((scores.nontarget >= point.threshold).mean()),
                    false_rejection=point.rate,
                )
            )
    return Decision(tuple(thresholds), _calibration(scores, counted, recordings))


def _calibration(
    scores: SortedScores, counted: str, recordings: Sequence[RecordingMeasures]
) -> Calibration | None:
    try:
        fit = fit_calibration(scores)
    except TrialError:
        return None
    if fit.scale <= 0:
        return None
    return Calibration(
        scale=fit.scale,
        offset=fit.offset,
        source=f"logistic regression on {counted}",
        ranges=Ranges.of(recordings),
    )
