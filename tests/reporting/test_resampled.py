from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.reporting.toys import toy_result
from voxangle.reporting.resampled import counts_by_draw, det_band
from voxangle.scoring import TrialScores


@pytest.fixture(scope="module")
def trials() -> TrialScores:
    scores = toy_result(noise=1.5).scores
    assert scores is not None
    # One wrong label: a non-target trial of one speaker.
    target = scores.target.copy()
    target[np.flatnonzero(target)[0]] = False
    return replace(scores, target=target)


def test_counts_are_those_of_a_list_in_which_drawn_speakers_stand_as_often(trials: TrialScores) -> None:
    edges = np.array([-0.2, 0.1, float(trials.scores[5]), 0.8])
    counts = counts_by_draw(trials, trials.scores, edges, draws=6, seed=3)
    generator = np.random.default_rng(3)
    drawn = [np.ones(8), *generator.multinomial(8, np.full(8, 1 / 8), 6)]
    row = 0
    for weights in drawn:
        target, nontarget = np.zeros(5), np.zeros(5)
        for score, is_target, a, b in zip(
            trials.scores, trials.target, trials.enrol_speaker, trials.test_speaker, strict=True
        ):
            place = sum(score >= edge for edge in edges)
            if is_target:
                target[place] += weights[a]
            else:
                nontarget[place] += weights[a] if a == b else weights[a] * weights[b]
        if target.sum() and nontarget.sum():
            np.testing.assert_array_equal(counts.target[row], target)
            np.testing.assert_array_equal(counts.nontarget[row], nontarget)
            row += 1
    assert row == len(counts.target) == len(counts.nontarget)


def test_one_seed_gives_one_band(trials: TrialScores) -> None:
    fpr = np.array([0.01, 0.1, 0.3])
    one, same, other = (det_band(trials, fpr, draws=50, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (np.asarray(one) != np.asarray(other)).any()


def test_the_band_falls_holds_the_curve_and_is_wider_with_fewer_speakers() -> None:
    fpr = np.linspace(0.02, 0.6, 15)
    widths = []
    for speakers in (6, 24):
        scores = toy_result(speakers=speakers, noise=1.5).scores
        assert scores is not None
        low, high = det_band(scores, fpr, draws=200, seed=0)
        assert (np.diff(low) <= 1e-12).all()
        assert (np.diff(high) <= 1e-12).all()
        for rate, least, most in zip(fpr, low, high, strict=True):
            threshold = np.quantile(scores.of_nontargets, 1 - rate)
            missed = np.mean(scores.of_targets < threshold)
            assert least - 0.05 <= missed <= most + 0.05
        widths.append(np.mean(high - low))
    assert widths[1] < 0.8 * widths[0]
