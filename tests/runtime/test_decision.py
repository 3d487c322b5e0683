"""Decisions by Bayes' rule against the costs written out, and by a threshold of the score."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxangle.errors import VoxangleError
from voxangle.runtime.card import Calibration, Threshold
from voxangle.runtime.decision import BayesRule, decide

shares = st.floats(0.001, 0.999)
costs = st.floats(0.01, 100.0)


class Card:
    """A card of a model that decides."""

    name = "model"
    thresholds = (
        Threshold(name="eer", value=0.4, source="forty trials"),
        Threshold(name="far-1%", value=0.6, source="forty trials"),
    )
    calibration: Calibration | None = None


class BareCard(Card):
    thresholds = ()


@given(prior=shares, c_miss=costs, c_fa=costs, ratio=st.floats(-20, 20))
def test_it_takes_the_answer_that_costs_less(prior: float, c_miss: float, c_fa: float, ratio: float) -> None:
    rule = BayesRule(prior=prior, c_miss=c_miss, c_fa=c_fa)
    of_one, of_two = prior * math.exp(ratio), 1 - prior
    rejecting, accepting = c_miss * of_one, c_fa * of_two
    if not math.isclose(rejecting, accepting, rel_tol=1e-9):
        decision = decide(Card(), 0.5, ratio, rule)
        assert decision.same_voice is (rejecting > accepting)
        assert decision.by == "log_likelihood_ratio"
        assert decision.threshold == rule.threshold
    assert rule.probability(ratio) == pytest.approx(of_one / (of_one + of_two), rel=1e-9)


def test_the_threshold_of_a_stated_prior_and_costs() -> None:
    assert BayesRule().threshold == 0
    assert BayesRule(prior=0.01, c_miss=1, c_fa=10).threshold == pytest.approx(math.log(990))


@pytest.mark.parametrize(("ratio", "probability"), [(1e6, 1.0), (-1e6, 0.0), (0.0, 0.25)])
def test_no_ratio_is_too_large_for_a_probability(ratio: float, probability: float) -> None:
    assert BayesRule(prior=0.25).probability(ratio) == pytest.approx(probability)


def test_a_ratio_at_the_threshold_is_accepted() -> None:
    rule = BayesRule(prior=0.1)
    assert decide(Card(), 0.0, rule.threshold, rule).same_voice is True
    assert decide(Card(), 0.4, None, rule).same_voice is True


@pytest.mark.parametrize(
    ("ratio", "asked", "name", "same"),
    [(3.0, "far-1%", "far-1%", False), (-3.0, "0.45", "given", True), (None, None, "eer", True)],
)
def test_a_threshold_of_the_score_decides_where_it_is_asked_for_or_nothing_else_can(
    ratio: float | None, asked: str | None, name: str, same: bool
) -> None:
    decision = decide(Card(), 0.5, ratio, BayesRule(), asked)
    assert (decision.by, decision.name, decision.same_voice) == ("score", name, same)


def test_without_any_threshold_there_is_no_decision() -> None:
    decision = decide(BareCard(), 0.5, None, BayesRule())
    assert decision.same_voice is None
    assert "--threshold" in decision.why


def test_a_threshold_that_is_none() -> None:
    with pytest.raises(VoxangleError, match=r"threshold far-9%: .* the model's: eer, far-1%"):
        decide(Card(), 0.5, 1.0, BayesRule(), "far-9%")


@pytest.mark.parametrize(
    ("given_values", "message"),
    [
        ({"prior": 0.0}, "^--prior 0: input should be greater than 0"),
        ({"prior": 1.0}, "^--prior 1: input should be less than 1"),
        ({"prior": math.nan}, "^--prior nan: "),
        ({"c_miss": 0.0}, "^--c-miss 0: input should be greater than 0"),
        ({"c_fa": -3.0, "prior": None}, "^--c-fa -3: input should be greater than 0"),
        ({"c_fa": math.inf}, "^--c-fa inf: "),
    ],
)
def test_what_is_no_prior_or_cost(given_values: dict[str, float | None], message: str) -> None:
    with pytest.raises(VoxangleError, match=message):
        BayesRule.check(**given_values)


def test_what_is_not_given_is_assumed() -> None:
    rule = BayesRule.check(prior=None, c_miss=None, c_fa=10.0)
    assert rule == BayesRule(prior=0.5, c_miss=1.0, c_fa=10.0)
    assert rule.model_fields_set == {"c_fa"}
