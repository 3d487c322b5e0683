"""Systems fused on the trials of some people, and judged on others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from voxangle.errors import TrialError
from voxangle.metrics import eer
from voxangle.scoring import Fusion, TrialScores, fit_fusion

WORTH = np.array([2.0, 1.2, 0.8])


def systems(seed: int = 0, people: int = 60, first: int = 0, each: int = 4) -> list[TrialScores]:
    """Three systems that err each in its own way."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), each)
    enrol, test = np.triu_indices(len(who), 1)
    keep = (who[enrol] == who[test]) | (random.random(enrol.size) < 0.1)
    enrol, test = enrol[keep], test[keep]
    target = who[enrol] == who[test]
    noise = random.normal(size=(3, target.size))
    return [
        TrialScores(
            (worth * target + noise[k]).astype(np.float32),
            target,
            tuple(f"p{first + p}/{u}" for p in range(people) for u in range(each)),
            enrol,
            test,
            who,
            tuple(f"p{first + p}" for p in range(people)),
            trials_sha256=f"{seed} {first}",
        )
        for k, worth in enumerate(WORTH)
    ]


def test_weights_are_those_of_logistic_regression() -> None:
    held_out = systems()
    fusion = fit_fusion(held_out)
    target = held_out[0].target
    oracle = LogisticRegression(C=1e12, tol=1e-10, class_weight="balanced", max_iter=1000)
    oracle.fit(np.stack([one.scores for one in held_out], axis=1), target)
    np.testing.assert_allclose(fusion.scoring.weights, oracle.coef_[0], rtol=0.02)
    # Of Gaussians of variance 1 the ratio is exactly this.
    np.testing.assert_allclose(fusion.scoring.weights, WORTH, atol=0.25)
    assert fusion.scoring.offset == pytest.approx(-float(WORTH @ WORTH) / 2, abs=0.4)


def test_the_fused_scores_of_other_people_are_ratios_and_better_than_any_system() -> None:
    fusion, tested = fit_fusion(systems()), systems(seed=1, first=100)
    fused = fusion.apply(tested)
    expected = sum(
        w * one.scores.astype(np.float64) for w, one in zip(fusion.scoring.weights, tested, strict=True)
    )
    np.testing.assert_allclose(fused.scores, expected + fusion.scoring.offset, rtol=1e-5, atol=1e-5)
    assert fused.llrs is not None
    np.testing.assert_array_equal(fused.llrs, fused.scores)
    assert fused.keys == tested[0].keys

    def rate(of: TrialScores) -> float:
        return eer(of.of_targets, of.of_nontargets).rate

    assert rate(fused) < min(map(rate, tested))


def test_one_system_is_calibrated() -> None:
    fusion = fit_fusion(systems()[:1])
    assert fusion.apply(systems(seed=1, first=100)[:1]).llrs is not None


def test_nobody_who_is_tested_may_be_learnt_from() -> None:
    fusion = fit_fusion(systems(), names=("a", "b", "c"))
    with pytest.raises(
        TrialError, match=r"10 of the 60 speakers of these trials, such as 'p50', are also among"
    ):
        fusion.apply(systems(seed=1, first=50))
    nameless = [replace(one, speakers=()) for one in systems(seed=1, first=50)]
    with pytest.raises(
        TrialError, match=r"40 of the 240 utterances and models of these trials, such as 'p50/0'"
    ):
        fusion.apply(nameless)
    # One system that knows is enough.
    with pytest.raises(TrialError, match="speakers of these trials"):
        fusion.apply([*nameless[:2], systems(seed=1, first=50)[2]])


def without_sums(of: list[TrialScores]) -> list[TrialScores]:
    return [replace(one, trials_sha256="") for one in of]


def test_systems_of_two_lists_are_not_fused() -> None:
    one, other = systems(), systems(seed=1, first=100)
    with pytest.raises(TrialError, match=r"'a' and 'b' are scores of two lists"):
        fit_fusion([one[0], other[1]], names=("a", "b"))
    with pytest.raises(TrialError, match=r"two lists"):
        fit_fusion(without_sums([one[0], other[1]]))
    assert len(fit_fusion(without_sums(one)).scoring.weights) == 3
    fusion = fit_fusion(one)
    with pytest.raises(
        TrialError, match=r"2 systems, but the fusion is of 3 \(system 1, system 2, system 3\)"
    ):
        fusion.apply(other[:2])
    with pytest.raises(TrialError, match="there is none"):
        fit_fusion([])


def test_scores_that_are_not_finite_or_say_the_same_are_refused() -> None:
    whole = systems()
    broken: NDArray[np.float32] = whole[1].scores.copy()
    broken[4] = np.nan
    with pytest.raises(TrialError, match=r"'b': the score of trial 5 \('p0/\d' and 'p\d+/\d'\) is nan"):
        fit_fusion([whole[0], replace(whole[1], scores=broken)], names=("a", "b"))
    with pytest.raises(TrialError, match="a and b say the same"):
        fit_fusion([whole[0], replace(whole[0], scores=2 * whole[0].scores + 1)], names=("a", "b"))


def test_a_fusion_is_read_as_it_was_written(tmp_path: Path) -> None:
    fusion = fit_fusion(systems(), prior=0.1)
    fusion.write(tmp_path / "fusion.json")
    assert Fusion.read(tmp_path / "fusion.json") == fusion
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(TrialError, match=r"other\.json: not a fusion of voxangle: scoring"):
        Fusion.read(tmp_path / "other.json")
    with pytest.raises(TrialError, match=r"none\.json: there is no such file"):
        Fusion.read(tmp_path / "none.json")
