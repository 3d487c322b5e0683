"""Thresholds and calibration by validation trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voxangle.encoders import Embedder
from voxangle.metrics import SortedScores
from voxangle.recipe import Recipe
from voxangle.runtime.measures import RecordingMeasures
from voxangle.training.decision import decide_by
from voxangle.training.loop import train


def scores(targets: int, nontargets: int, gap: float = 0.5) -> SortedScores:
    generator = np.random.default_rng(0)
    return SortedScores.of(generator.normal(gap, 0.2, targets), generator.normal(0.0, 0.2, nontargets))


@pytest.mark.parametrize(
    ("nontargets", "names"),
    [(999, ["eer"]), (1000, ["eer", "far-1%"]), (10_000, ["eer", "far-1%", "far-0.1%"])],
)
def test_a_rate_is_offered_where_enough_trials_stand_for_it(nontargets: int, names: list[str]) -> None:
    assert [one.name for one in decide_by(scores(300, nontargets), "trials").thresholds] == names


def test_thresholds_have_the_rates_they_say() -> None:
    seen = scores(300, 20_000)
    for one in decide_by(seen, "trials").thresholds:
        assert one.source.endswith("on 20300 trials")
        if one.name == "eer":
            continue
        assert one.false_acceptance == np.mean(seen.nontarget >= one.value) <= float(one.name[4:-1]) / 100
        assert one.false_rejection == pytest.approx(np.mean(seen.target < one.value))


def test_the_calibration_is_that_of_the_scores() -> None:
    # ln p / q of normal(0.5, 0.2) against normal(0, 0.2) is 12.5 s - 3.125
    fit = decide_by(scores(50_000, 50_000), "trials").calibration
    assert fit.scale == pytest.approx(12.5, rel=0.03)
    assert fit.log_likelihood_ratio(0.25) == pytest.approx(0.0, abs=0.05)
    assert fit.source == "logistic regression on 100000 trials"


@pytest.mark.parametrize(("targets", "nontargets"), [(9, 300), (300, 9)])
def test_a_handful_of_trials_calibrates_nothing(targets: int, nontargets: int) -> None:
    assert decide_by(scores(targets, nontargets), "trials").calibration is None
    assert decide_by(scores(10, 10), "trials").calibration is not None


@pytest.mark.parametrize(
    "useless", [scores(300, 300, gap=-0.5), SortedScores.of(np.full(20, 0.1), np.full(20, 0.1))]
)
def test_scores_that_do_not_rise_with_likeness_are_not_calibrated(useless: SortedScores) -> None:
    assert decide_by(useless, "trials").calibration is None


def test_the_calibration_knows_what_the_recordings_were_like() -> None:
    recordings = [RecordingMeasures(float(n), 0.0, -20.0, 30.0) for n in range(101)]
    fit = decide_by(scores(300, 300), "trials", recordings).calibration
    assert fit is not None
    assert fit.ranges is not None
    assert (fit.ranges.speech.low, fit.ranges.speech.high) == pytest.approx((1, 99))
    few = decide_by(scores(300, 300), "trials", recordings[:99]).calibration
    assert few is not None
    assert few.ranges is None


def test_a_run_measures_what_it_was_validated_on(
    voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxangle.runtime.card._RECORDINGS", 8)  # all there are
    (tmp_path / "tiny.yaml").write_text(
        f"""
data: {{corpus: folder, root: {voices}, split: all, validation_speakers: 2}}
batch: {{speakers: 4, recordings: 2, seconds: 0.6}}
augment: {{views: 1}}
encoder: {{architecture: ecapa_tdnn, channels: 16, aggregation: 24, squeeze: 8, attention: 8, dimension: 12}}
schedule: {{steps: 2}}
"""
    )
    model = train(Recipe.read(tmp_path / "tiny.yaml"), tmp_path / "run")
    fit = Embedder.load(model, device="cpu").card.calibration
    assert fit is not None
    assert fit.ranges is not None
    assert fit.ranges.speech.high == pytest.approx(2.0, abs=0.1)
    assert 0 < fit.ranges.magnitude.low < fit.ranges.magnitude.high
