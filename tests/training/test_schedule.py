"""Learning rate, margin and contrast as functions of the step."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from voxangle.training import ScheduleConfig
from voxangle.training.schedule import contrast_is_on, lr_factor, margin_ramp

SCHEDULE = ScheduleConfig(steps=1000, warm_up=0.1, final_lr=0.02, margin_from=0.2, margin_until=0.4)


def test_the_learning_rate_warms_up_then_falls_along_a_cosine() -> None:
    assert lr_factor(SCHEDULE, 0) == pytest.approx(0.01)
    assert lr_factor(SCHEDULE, 49) == pytest.approx(0.5)
    assert lr_factor(SCHEDULE, 99) == pytest.approx(1.0)
    assert lr_factor(SCHEDULE, 100) == pytest.approx(1.0)
    middle = lr_factor(SCHEDULE, 100 + 899 // 2)
    assert middle == pytest.approx(0.51, abs=0.002)
    assert lr_factor(SCHEDULE, 999) == pytest.approx(0.02)
    falling = [lr_factor(SCHEDULE, step) for step in range(100, 1000)]
    assert falling == sorted(falling, reverse=True)


def test_the_shortest_run_has_a_learning_rate() -> None:
    assert lr_factor(ScheduleConfig(steps=1), 0) > 0
    assert all(0 < lr_factor(ScheduleConfig(steps=3, warm_up=0.9), step) <= 1 for step in range(3))


def test_the_margin_rises_between_its_shares() -> None:
    assert margin_ramp(SCHEDULE, 0) == 0
    assert margin_ramp(SCHEDULE, 200) == 0
    assert margin_ramp(SCHEDULE, 300) == pytest.approx(0.5)
    assert margin_ramp(SCHEDULE, 400) == 1
    assert margin_ramp(SCHEDULE, 999) == 1
    always = ScheduleConfig(steps=10, margin_from=0, margin_until=0)
    assert margin_ramp(always, 0) == 1


def test_a_margin_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValidationError, match="swap them"):
        ScheduleConfig(steps=10, margin_from=0.5, margin_until=0.4)


def test_contrast_enters_after_its_share() -> None:
    on = [contrast_is_on(0.25, SCHEDULE, step) for step in range(1000)]
    assert on.index(True) == 250
    assert all(on[250:])
    assert contrast_is_on(0.0, SCHEDULE, 0)
    assert not math.isnan(lr_factor(SCHEDULE, 5))
