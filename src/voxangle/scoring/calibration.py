"""Calibration of a model: fitted on held-out trials, judged on trials of speakers it was not fitted on, and used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.data import Trials
from voxangle.errors import TrialError, nearest
from voxangle.metrics import SortedScores, act_dcf, cllr, fit_linear
from voxangle.runtime.card import Calibration, Card, Ranges
from voxangle.runtime.measures import (
    TRIAL_MEASURES,
    RecordingMeasures,
    measure_waveform,
    trial_columns,
)

__all__ = [
    "FEWEST_SPEAKERS",
    "Fitted",
    "LlrFigures",
    "calibrate",
    "calibrated",
    "cross_validated",
    "lessons_of_the_list",
    "measure_embedded",
    "require_measures",
]

FEWEST_SPEAKERS = 5
"""That trials to calibrate by must have: each fifth is judged by the others."""

_BY_DESIGN = 0.2

OnProgress = Callable[[int, int], None]
ByKey = Mapping[str, RecordingMeasures]
Floats = NDArray[np.floating[Any]]


class Fitted(NamedTuple):
    """A calibration, and what it is worth.

    Attributes:
        calibration: fitted on all trials.
        llrs: shape (trials,), natural logarithms; each by a fit that knew neither of its speakers.
    """

    calibration: Calibration
    llrs: NDArray[np.float64]


class LlrFigures(NamedTuple):
    """What log-likelihood ratios cost where they are believed, and what they would at best.

    Attributes:
        cllr: in bits, at most 1 where they are of any use.
        min_cllr: in bits, of the best map that keeps their order.
        act_dcf: by prior of a target trial, at the Bayes threshold of equal costs.
        min_dcf: by prior, at the best threshold.
    """

    cllr: float
    min_cllr: float
    act_dcf: dict[float, float]
    min_dcf: dict[float, float]

    @classmethod
    def of(cls, llrs: Floats, target: NDArray[np.bool_], priors: Sequence[float]) -> LlrFigures:
        """The figures of trials, shape (trials,) each."""
        of_targets, of_nontargets = llrs[target], llrs[~target]
        ordered = SortedScores.of(of_targets, of_nontargets)
        return cls(
            cllr(of_targets, of_nontargets),
            ordered.min_cllr(),
            {prior: act_dcf(of_targets, of_nontargets, p_target=prior) for prior in priors},
            {prior: ordered.min_dcf(p_target=prior).rate for prior in priors},
        )


def calibrated(card: Card, scores: Floats, recordings: ByKey | None, trials: Trials) -> NDArray[np.float32]:
    """Scores of a model as log-likelihood ratios, by the calibration on its card.

    Args:
        card: of the model.
        scores: shape (trials,): cosines of embeddings as they are, of which alone the calibration knows.
        recordings: what was measured of the utterances, by key (``measure_embedded``); may be None
            where the calibration has no weights for it.
        trials: the list.

    Returns:
        Shape (trials,), natural logarithms.

    Raises:
        TrialError: the model has no calibration, or an utterance was not measured that has to be.
    """
    fit = card.calibration
    if fit is None:
        raise TrialError(f"the model '{card.name}' has no calibration; `voxangle calibrate` fits one")
    columns = _columns(tuple(fit.weights), recordings or {}, trials)
    return fit.log_likelihood_ratios(scores, columns).astype(np.float32)


def calibrate(
    scores: Floats,
    trials: Trials,
    speaker: NDArray[np.int64],
    recordings: ByKey,
    *,
    measures: Sequence[str] = (),
    prior: float = 0.5,
    source: str,
) -> Fitted:
    """Fit a model's calibration.

    Args:
        scores: shape (trials,), cosines.
        trials: of speakers whom the model was not trained on.
        speaker: shape (keys,), numbers of the speakers of ``trials.keys``.
        recordings: what was measured of the utterances, by key.
        measures: names of ``TRIAL_MEASURES`` that have a weight beside the score.
        prior: of a target trial, in (0, 1): where the map shall be best.
        source: what the trials are, for a person to read.

    Raises:
        TrialError: there is no such measure, there are too few trials or speakers, a column has the same value in all
            trials, or scores do not rise with likeness.
    """
    require_measures(measures)
    columns = np.concatenate([scores[None].astype(np.float64), _columns(measures, recordings, trials)])
    names = ("score", *measures)
    fit = fit_linear(columns, trials.target, prior=prior, names=names)
    if fit.weights[0] <= 0:
        raise TrialError(
            f"{trials.name}: scores do not rise with likeness (their weight is {fit.weights[0]:.3g}) and cannot be "
            "calibrated; look at the labels of the trials, and whether this is the model meant"
        )
    llrs = cross_validated(
        columns, trials.target, speaker[trials.enrol], speaker[trials.test], prior=prior, names=names
    )
    return Fitted(
        Calibration(
            scale=float(fit.weights[0]),
            offset=fit.offset,
            source=source,
            weights=dict(zip(measures, fit.weights[1:].tolist(), strict=True)),
            prior=prior,
            ranges=Ranges.of(_measured(recordings, trials)),
            trials_sha256=trials.sha256(),
        ),
        llrs,
    )


def lessons_of_the_list(measures: Sequence[str], recordings: ByKey, trials: Trials) -> list[str]:
    """What must be said of measures that tell the classes of a list apart without any voice.

    Recordings of target and of non-target trials should be alike in all but who speaks. Where a measure's mean differs
    between the classes by more than a fifth of its standard deviation, it is the making of the list that its weight
    learns, such as that of one channel more non-target pairs were listed than of another.
    """
    notes = []
    for name, column in zip(measures, _columns(measures, recordings, trials), strict=True):
        gap = float(column[trials.target].mean() - column[~trials.target].mean())
        if np.ptp(column) and abs(gap) > _BY_DESIGN * column.std():
            more = "more" if gap > 0 else "less"
            notes.append(
                f"target trials have {more} {name} than non-target trials, by {abs(gap) / column.std():.2f} standard "
                "deviations: its weight learns how the list was made; leave it out, or give a list in which both "
                "classes are of the same recordings"
            )
    return notes


def require_measures(names: Sequence[str]) -> None:
    """Refuse a name that is none of ``TRIAL_MEASURES`` with a TrialError."""
    for name in names:
        if name not in TRIAL_MEASURES:
            raise TrialError(f"there is no measure '{name}' to calibrate by{nearest(name, TRIAL_MEASURES)}")


def cross_validated(
    columns: Floats,
    target: NDArray[np.bool_],
    enrol_speaker: NDArray[np.int64],
    test_speaker: NDArray[np.int64],
    *,
    prior: float = 0.5,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Log-likelihood ratios of trials, shape (T,), each by a fit (``fit_linear``) that knew neither of its speakers.

    The speakers are dealt to five hands. For each pair of hands, and for each hand with itself, the map is fitted on
    the trials among the speakers of all others: fifteen fits judge every trial once.

    Args:
        columns: shape (K, T).
        target: shape (T,), which are target trials.
        enrol_speaker: shape (T,), numbers.
        test_speaker: shape (T,), numbers.
        prior: of a target trial, at which the maps are fitted.
        names: of the columns, for the errors.
        seed: of the dealing.

    Raises:
        TrialError: there are fewer than five speakers, or too few trials among those of three hands.
    """
    who, sides = np.unique(np.stack([enrol_speaker, test_speaker]), return_inverse=True)
    if len(who) < FEWEST_SPEAKERS:
        raise TrialError(
            f"the trials have {len(who)} speakers, at least {FEWEST_SPEAKERS} are needed: a calibration is judged "
            "on others than it was fitted on; give trials of more speakers"
        )
    hands = np.random.default_rng(seed).permutation(len(who)) % FEWEST_SPEAKERS
    enrol, test = hands[sides.reshape(2, -1)]
    llrs = np.empty(target.size)
    for one, other in combinations_with_replacement(range(FEWEST_SPEAKERS), 2):
        judged = ((enrol == one) & (test == other)) | ((enrol == other) & (test == one))
        if not judged.any():
            continue
        fitted = ~np.isin(enrol, (one, other)) & ~np.isin(test, (one, other))
        try:
            fit = fit_linear(columns[:, fitted], target[fitted], prior=prior, names=names)
        except TrialError as error:
            raise TrialError(f"among the speakers of a part of the trials, {error}") from error
        llrs[judged] = fit.llrs(columns[:, judged])
    return llrs


def measure_embedded(
    embeddings: Mapping[str, Floats],
    read: Callable[[str], Floats],
    on_progress: OnProgress | None = None,
) -> dict[str, RecordingMeasures]:
    """Measure the recordings that were embedded, by key.

    Args:
        embeddings: (D,), by key, as the model gives them.
        read: the samples of a key, at 16 kHz.
        on_progress: called with (recordings done, recordings in all).

    Raises:
        AudioError: a recording cannot be used.
    """
    measured = {}
    for key, embedding in embeddings.items():
        measured[key] = measure_waveform(read(key), embedding)
        if on_progress is not None:
            on_progress(len(measured), len(embeddings))
    return measured


def _columns(names: Sequence[str], recordings: ByKey, trials: Trials) -> NDArray[np.float64]:
    """Measures of trials, shape (names, trials)."""
    if not names:
        return np.empty((0, len(trials)))
    measured = _measured(recordings, trials)
    models = [
        RecordingMeasures.joined([measured[place] for place in members]) for members in trials.models.values()
    ]
    return trial_columns(names, [*measured, *models], trials.enrol, trials.test)


def _measured(recordings: ByKey, trials: Trials) -> list[RecordingMeasures]:
    """Those of the utterances of a list, in its order."""
    missing = [key for key in trials.utterances if key not in recordings]
    if missing:
        raise TrialError(
            f"{trials.name}: '{missing[0]}' was not measured ({len(missing)} of the {len(trials.utterances)} "
            "utterances), and the calibration asks for more than scores; give the recordings, not embeddings alone"
        )
    return [recordings[key] for key in trials.utterances]
