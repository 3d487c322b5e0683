from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxangle.metrics import Interval, PairedDifference
from voxangle.reporting import adjusted_by_holm, verdict
from voxangle.reporting.verdict import FEWEST_SPEAKERS

MINUS = "\N{MINUS SIGN}"


def difference(eer: float, low: float, high: float, speakers: int = 40) -> PairedDifference:
    return PairedDifference(
        eer=eer,
        eer_interval=Interval(low, high),
        min_dcf=(),
        min_dcf_intervals=(),
        first_better=0.5,
        speakers=speakers,
        replicates=1000,
        p_value=0.01,
        p_values=(),
    )


def test_the_system_that_errs_less_wins_where_the_interval_leaves_out_0() -> None:
    said = verdict(difference(-0.02, -0.03, -0.01), "new", "old")
    assert said.winner == "new"
    assert said.text == (
        f"new minus old is {MINUS}2.00 points of EER [{MINUS}3.00, {MINUS}1.00]; on these 40 speakers new errs less."
    )
    assert verdict(difference(0.02, 0.01, 0.03), "new", "old").winner == "old"


@pytest.mark.parametrize(("low", "high"), [(-0.01, 0.05), (0.0, 0.05), (-0.05, 0.0), (0.0, 0.0)])
def test_an_interval_that_holds_0_names_nobody(low: float, high: float) -> None:
    said = verdict(difference((low + high) / 2, low, high), "new", "old")
    assert said.winner is None
    assert "do not tell the two apart" in said.text


def test_speakers_who_are_not_known_name_nobody() -> None:
    said = verdict(difference(-0.02, -0.03, -0.01, 181), "new", "old", speakers_known=False)
    assert said.winner is None
    assert "181 groups of utterances that target trials join may be far fewer people" in said.text


def test_few_speakers_name_nobody() -> None:
    for speakers, winner in ((FEWEST_SPEAKERS - 1, None), (FEWEST_SPEAKERS, "new")):
        assert verdict(difference(-0.02, -0.03, -0.01, speakers), "new", "old").winner == winner
    assert "29 speakers are too few" in verdict(difference(-0.02, -0.03, -0.01, 29), "new", "old").text


@pytest.mark.parametrize(("adjusted", "winner"), [(0.049, "new"), (0.05, None), (0.2, None)])
def test_among_many_comparisons_the_adjusted_p_value_decides(adjusted: float, winner: str | None) -> None:
    said = verdict(difference(-0.02, -0.03, -0.01), "new", "old", adjusted_p=adjusted)
    assert said.winner == winner
    assert ("may be chance" in said.text) is (winner is None)


def test_holm_of_a_worked_example() -> None:
    # By hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, then no less than before.
    np.testing.assert_allclose(adjusted_by_holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_its_steps_reject(p_values: list[float], level: float) -> None:
    # Step down: the least against level / m, the next against level / (m - 1), until one is not below.
    rejected = set()
    for step, place in enumerate(np.argsort(p_values, kind="stable")):
        if min(1.0, (len(p_values) - step) * p_values[place]) > level:
            break
        rejected.add(int(place))
    adjusted = adjusted_by_holm(p_values)
    assert set(np.flatnonzero(adjusted <= level).tolist()) == rejected
    assert all(adjusted >= np.asarray(p_values))
