"""Calibrations fitted, judged on speakers they did not see, and used on lists."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.metrics import SortedScores, act_dcf, cllr, fit_calibration, fit_linear
from voxangle.runtime.card import Calibration, Card
from voxangle.runtime.measures import RecordingMeasures, measure_waveform
from voxangle.scoring.calibration import (
    LlrFigures,
    calibrate,
    calibrated,
    cross_validated,
    lessons_of_the_list,
    measure_embedded,
)

Floats = NDArray[np.float64]
SPEAKERS, EACH = 12, 9


def recording(speech: float, magnitude: float = 30.0) -> RecordingMeasures:
    return RecordingMeasures(speech, 0.0, -20.0, magnitude)


def held_out(*, seed: int = 0) -> tuple[Trials, NDArray[np.int64], dict[str, RecordingMeasures], Floats]:
    """All pairs of recordings of twelve speakers, the more alike the longer both are; speakers, measures, scores."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(SPEAKERS), EACH)
    keys = tuple(f"s{who}/u{row}" for row, who in enumerate(speaker))
    speech = np.exp(random.uniform(-1, 2, len(keys)))
    measures = {key: recording(float(s)) for key, s in zip(keys, speech, strict=True)}
    enrol, test = np.triu_indices(len(keys), 1)
    target = speaker[enrol] == speaker[test]
    trials = Trials("held-out", keys, enrol.astype(np.int64), test.astype(np.int64), target)
    worse = np.log(np.minimum(speech[enrol], speech[test]))
    scores = random.normal(0.5 * target + 0.1 * worse, 0.15)
    return trials, speaker, measures, scores


def card(calibration: Calibration | None) -> Card:
    return cast("Card", SimpleNamespace(name="mine", thresholds=(), calibration=calibration))


def test_the_score_alone_is_calibrated_as_the_affine_map_says() -> None:
    trials, speaker, measures, scores = held_out()
    fitted = calibrate(scores, trials, speaker, measures, prior=0.1, source="held-out trials").calibration
    affine = fit_calibration(SortedScores.of(scores[trials.target], scores[~trials.target]), prior=0.1)
    assert (fitted.scale, fitted.offset) == pytest.approx(affine)
    assert (fitted.weights, fitted.prior, fitted.source) == ({}, 0.1, "held-out trials")
    llrs = calibrated(card(fitted), scores, None, trials)
    assert llrs.dtype == np.float32
    np.testing.assert_allclose(llrs, affine.scale * scores + affine.offset, atol=1e-5)


def test_a_measure_that_tells_something_has_a_weight_and_lowers_the_cost() -> None:
    trials, speaker, measures, scores = held_out()
    plain = calibrate(scores, trials, speaker, measures, source="x")
    fitted = calibrate(scores, trials, speaker, measures, measures=["speech"], source="x")
    assert fitted.calibration.weights["speech"] < 0  # of two equal scores the one of less speech says more
    costs = [LlrFigures.of(one.llrs, trials.target, [0.5]).cllr for one in (plain, fitted)]
    assert costs[1] < 0.97 * costs[0]
    llrs = calibrated(card(fitted.calibration), scores, measures, trials)
    for place in (0, 17, 400):
        sides = [measures[trials.keys[side[place]]] for side in (trials.enrol, trials.test)]
        one = fitted.calibration.log_likelihood_ratio(float(scores[place]), *sides)
        assert llrs[place] == pytest.approx(one, abs=1e-4)


def test_ranges_are_those_of_the_recordings() -> None:
    trials, speaker, measures, scores = held_out()
    ranges = calibrate(scores, trials, speaker, measures, source="x").calibration.ranges
    assert ranges is not None
    expected = np.quantile([one.speech for one in measures.values()], [0.01, 0.99])
    assert (ranges.speech.low, ranges.speech.high) == pytest.approx(tuple(expected))


def test_no_trial_is_judged_by_a_fit_that_knew_one_of_its_speakers() -> None:
    trials, speaker, _, scores = held_out()
    enrol, test = speaker[trials.enrol], speaker[trials.test]
    llrs = cross_validated(scores[None], trials.target, enrol, test)
    # Whatever the trials of a speaker say, those of the speaker are judged as before, relative to one another.
    for who in (0, 5):
        of_one = (enrol == who) | (test == who)
        changed = scores.copy()
        changed[of_one] = -10 * changed[of_one]
        again = cross_validated(changed[None], trials.target, enrol, test)
        for trial in np.flatnonzero(of_one)[::40]:
            # A line through the trial's two scores is the map that judged it: the same line as before.
            near = np.flatnonzero((enrol == enrol[trial]) & (test == test[trial]))
            old = np.polyfit(scores[near], llrs[near], 1)
            new = np.polyfit(changed[near], again[near], 1)
            np.testing.assert_allclose(new, old, rtol=1e-6)


def test_every_trial_is_judged_by_its_five_hands_written_out() -> None:
    trials, speaker, _, scores = held_out()
    enrol, test = speaker[trials.enrol], speaker[trials.test]
    hand = np.random.default_rng(3).permutation(SPEAKERS) % 5
    llrs = cross_validated(scores[None], trials.target, enrol, test, prior=0.2, seed=3)
    for trial in range(0, len(trials), 97):
        away = (hand[enrol[trial]], hand[test[trial]])
        others = np.array(
            [hand[a] not in away and hand[b] not in away for a, b in zip(enrol, test, strict=True)]
        )
        fit = fit_linear(scores[None, others], trials.target[others], prior=0.2)
        assert llrs[trial] == pytest.approx(fit.llrs(scores[None, trial : trial + 1])[0], rel=1e-9)


def test_figures_are_those_of_the_metrics() -> None:
    trials, speaker, measures, scores = held_out()
    llrs = calibrate(scores, trials, speaker, measures, source="x").llrs
    figures = LlrFigures.of(llrs, trials.target, [0.5, 0.05])
    target, nontarget = llrs[trials.target], llrs[~trials.target]
    assert figures.cllr == cllr(target, nontarget)
    assert figures.act_dcf == {p: act_dcf(target, nontarget, p_target=p) for p in (0.5, 0.05)}
    assert all(figures.min_dcf[p] <= figures.act_dcf[p] + 1e-12 for p in (0.5, 0.05))
    assert figures.min_cllr < figures.cllr


def test_a_model_enrolled_with_several_recordings_has_their_speech_together() -> None:
    models = {"m": ["a", "b"]}
    trials = Trials.of("models", [(True, "m", "c"), (False, "a", "c")], models=models)
    measures = {"a": recording(1.0), "b": recording(2.0), "c": recording(9.0)}
    fit = Calibration(scale=1.0, offset=0.0, source="x", weights={"speech": 1.0})
    llrs = calibrated(card(fit), np.zeros(2), measures, trials)
    np.testing.assert_allclose(llrs, np.log([3.0, 1.0]), rtol=1e-6)


def test_a_measure_that_the_making_of_a_list_gave_away_is_told() -> None:
    trials, _, measures, _ = held_out()
    assert lessons_of_the_list(["speech"], measures, trials) == []
    longer = {
        key: replace(one, speech=50.0) if key[1:].startswith("0/") else one for key, one in measures.items()
    }
    keep = ~trials.target | (np.char.startswith(np.array(trials.keys)[trials.enrol], "s0/"))
    unfair = Trials("unfair", trials.keys, trials.enrol[keep], trials.test[keep], trials.target[keep])
    (note,) = lessons_of_the_list(["speech", "magnitude"], longer, unfair)
    assert note.startswith("target trials have more speech than non-target trials, by ")


def changed(**changes: Any) -> dict[str, Any]:
    trials, speaker, measures, scores = held_out()
    whole = {"scores": scores, "trials": trials, "speaker": speaker, "recordings": measures, "source": "x"}
    return whole | {
        name: change(whole[name]) if callable(change) else change for name, change in changes.items()
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measures": ["speach"]}, r"no measure 'speach' to calibrate by; did you mean 'speech'"),
        ({"measures": ["magnitude"]}, "magnitude is the same in all trials"),
        ({"scores": lambda scores: -scores}, "held-out: scores do not rise with likeness"),
        ({"scores": np.zeros_like}, "all scores are equal"),
        ({"scores": lambda scores: np.where(scores > 0.5, np.nan, scores)}, "score of trial .* is nan"),
        ({"recordings": {}}, "held-out: 's0/u0' was not measured .108 of the 108"),
        ({"speaker": lambda speaker: speaker % 4}, "have 4 speakers, at least 5"),
    ],
)
def test_trials_that_nothing_can_be_calibrated_by(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrialError, match=message):
        calibrate(**changed(**changes))


def test_three_trials_calibrate_nothing() -> None:
    trials = Trials.of("three", [(True, "a", "b"), (False, "a", "c"), (False, "b", "c")])
    measures = {key: recording(3.0) for key in "abc"}
    with pytest.raises(TrialError, match="1 target and 2 non-target trials are too few"):
        calibrate(np.array([0.8, 0.1, 0.2]), trials, np.array([0, 0, 1]), measures, source="x")


def test_a_part_of_the_speakers_with_too_few_trials_is_told() -> None:
    trials, speaker, _, scores = held_out()
    keep = np.flatnonzero(~trials.target | (speaker[trials.enrol] == 0))
    enrol, test = speaker[trials.enrol[keep]], speaker[trials.test[keep]]
    with pytest.raises(TrialError, match="among the speakers of a part of the trials, 0 target"):
        cross_validated(scores[None, keep], trials.target[keep], enrol, test)


def test_a_model_without_calibration_and_recordings_that_were_not_measured() -> None:
    trials, _, measures, scores = held_out()
    with pytest.raises(TrialError, match="'mine' has no calibration; `voxangle calibrate`"):
        calibrated(card(None), scores, None, trials)
    fit = Calibration(scale=1.0, offset=0.0, source="x", weights={"speech": 1.0})
    with pytest.raises(TrialError, match="'s0/u0' was not measured"):
        calibrated(card(fit), scores, None, trials)
    del measures["s0/u3"]
    with pytest.raises(TrialError, match=r"'s0/u3' was not measured .1 of the 108"):
        calibrated(card(fit), scores, measures, trials)


def test_what_was_embedded_is_measured_by_key() -> None:
    random = np.random.default_rng(0)
    waveforms = {f"u{n}": 0.1 * random.standard_normal(16_000 * n).astype(np.float32) for n in (1, 2)}
    embeddings = {key: random.normal(size=4) for key in waveforms}
    counted: list[tuple[int, int]] = []
    measured = measure_embedded(embeddings, waveforms.__getitem__, lambda *done: counted.append(done))
    assert measured == {key: measure_waveform(waveforms[key], embeddings[key]) for key in waveforms}
    assert counted == [(1, 2), (2, 2)]
