from __future__ import annotations

from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from voxangle.errors import TrialError
from voxangle.metrics.intervals import Differences, Replicates

MANY = 1_000_000  # speakers: Student's distribution is the normal one


def replicates(
    figure: float,
    draws: NDArray[np.float64],
    left_out: NDArray[np.float64] | None = None,
    noisy: NDArray[np.float64] | None = None,
    speakers: int = MANY,
    kind: type[Replicates] = Replicates,
) -> Any:
    """Of one figure."""
    return kind(
        np.array([figure]),
        draws[:, None],
        np.empty((0, 1)) if left_out is None else left_out[:, None],
        speakers,
        np.empty((2, 0, 1)) if noisy is None else np.stack([noisy, -noisy])[..., None],
    )


differences = partial(replicates, kind=Differences)


@pytest.mark.parametrize(("share", "low", "high"), [(0.5, 0.025, 0.975), (0.3, 0.00134, 0.81885)])
def test_the_ends_are_percentiles_shifted_by_twice_the_bias(share: float, low: float, high: float) -> None:
    # Efron: Phi(2 z0 -+ 1.95996), with z0 = Phi^-1(share of the replicates below the estimate).
    (interval,) = replicates(share, np.linspace(0, 1, 100_001)).intervals(0.95)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=2e-4)


def test_the_ends_lean_to_where_leaving_out_a_speaker_matters_most() -> None:
    # Four speakers of 19 without whom the figure falls by 19: d = 15 four times and -4 else, of no excess kurtosis, and
    # a = 0.0543.
    left_out = np.array([-19.0] * 4 + [0.0] * 15)
    (interval,) = replicates(0.5, np.linspace(0, 1, 100_001), left_out).intervals(0.95)
    # Phi(-1.95996 / (1 + 1.95996 a)) and Phi(1.95996 / (1 - 1.95996 a))
    assert (interval.low, interval.high) == pytest.approx((0.03824, 0.98586), abs=2e-4)


def test_where_few_speakers_make_the_errors_the_interval_is_that_of_as_few() -> None:
    # Two of 20, opposite ways: d = 1, -1 and 18 times 0, g = 20 / 2 - 3 = 7, nu = 1 / (1 / 19 + 7 / 40) = 4.3936.
    draws = np.array([NormalDist().inv_cdf(share) for share in np.arange(0.5, 20_000) / 20_000])
    left_out = np.array([-1.0, 1.0, *[0.0] * 18])
    reach = 2.6820 * np.sqrt(20 / 19)
    (interval,) = replicates(0, draws, left_out, speakers=20).intervals(0.95)
    assert (interval.low, interval.high) == pytest.approx((-reach, reach), rel=0.007)
    (p,) = differences(reach, draws + reach, left_out, speakers=20).p_values()
    assert p == pytest.approx(0.05, abs=0.001)


def test_a_difference_is_not_corrected_for_bias() -> None:
    (interval,) = differences(0.3, np.linspace(0, 1, 100_001)).intervals(0.95)
    assert (interval.low, interval.high) == pytest.approx((0.025, 0.975), abs=2e-4)


@pytest.mark.parametrize(("kind", "spared"), [(Replicates, 1), (Differences, 0)])
def test_draws_contract_by_what_noise_adds_to_their_variance(kind: type[Replicates], spared: int) -> None:
    draws = np.stack([np.linspace(-1, 1, 1001)] * 3, axis=1)
    for growth, contracted in ((1.0, 1.0), (1.36, 0.8), (5.0, np.sqrt(1 / 3)), (0.9, 1.0)):
        noisy = np.sqrt(growth) * np.stack([draws, -draws])
        intervals = kind(np.zeros(3), draws, np.empty((0, 3)), MANY, noisy).intervals(0.9)
        ends = [0.9] * spared + [0.9 * contracted] * (3 - spared)
        assert [one.high for one in intervals] == pytest.approx(ends, abs=0.003)


def test_the_noise_is_measured_against_the_draws_that_got_it() -> None:
    draws = np.concatenate([0.5 * np.linspace(-1, 1, 1001), np.linspace(-1, 1, 3003)])
    (interval,) = replicates(0, draws, noisy=0.5 * np.linspace(-1, 1, 1001)).intervals(0.8)
    (without,) = replicates(0, draws).intervals(0.8)
    assert interval == without


@pytest.mark.parametrize(("speakers", "quantile"), [(5, 2.7764), (11, 2.2281), (61, 2.0003)])
def test_the_fewer_the_speakers_the_wider_the_interval(speakers: int, quantile: float) -> None:
    draws = np.array([NormalDist().inv_cdf(share) for share in np.arange(0.5, 20_000) / 20_000])
    reach = quantile * np.sqrt(speakers / (speakers - 1))
    (interval,) = replicates(0, draws, speakers=speakers).intervals(0.95)
    assert (interval.low, interval.high) == pytest.approx((-reach, reach), rel=0.005)
    (p,) = differences(reach, draws + reach, speakers=speakers).p_values()
    assert p == pytest.approx(0.05, abs=0.001)


def test_of_one_speaker_all_is_possible() -> None:
    draws = np.linspace(1, 2, 100)
    (interval,) = replicates(1.5, draws, speakers=1).intervals(0.95)
    assert (interval.low, interval.high) == (1, 2)
    assert differences(1.5, draws, speakers=1).p_values() == [1]


finite = st.floats(-1, 1, allow_subnormal=False).map(lambda value: round(value, 2))


@settings(max_examples=60)
@given(
    st.lists(finite, min_size=30, max_size=120),
    finite,
    st.lists(finite, min_size=3, max_size=9),
    st.floats(0.2, 0.9),
    st.sampled_from([2, 3, 40, MANY]),
)
def test_the_p_value_is_below_5_per_cent_where_the_interval_leaves_out_0(
    draws: list[float], figure: float, left_out: list[float], level: float, speakers: int
) -> None:
    both = differences(figure, np.array(draws), np.array(left_out), speakers=speakers)
    (interval,), (p,) = both.intervals(level), both.p_values()
    assert 1 / (len(draws) + 1) <= p <= 1
    if abs(p - (1 - level)) > 1e-9:
        assert (p < 1 - level) == (interval.low > 0 or interval.high < 0)


def test_draws_cannot_tell_less_than_their_number_allows() -> None:
    draws = np.linspace(1, 2, 99)
    assert differences(1.5, draws).p_values() == [1 / 100]
    assert differences(-1.5, -draws).p_values() == [1 / 100]
    assert differences(0, 0 * draws).p_values() == [1]


def test_rounding_is_no_difference() -> None:
    draws = np.full(50, 1e-16)
    (interval,) = replicates(0, draws).intervals(0.95)
    assert (interval.low, interval.high) == (0, 0)
    assert differences(0, draws).p_values() == [1]


def test_draws_without_a_class_do_not_count() -> None:
    draws = np.array([np.nan, *np.linspace(0, 1, 101), np.nan])
    with_gaps, without = replicates(0.5, draws), replicates(0.5, draws[1:-1])
    assert with_gaps.used == 101
    assert with_gaps.intervals(0.95) == without.intervals(0.95)
    with pytest.raises(TrialError, match="too few speakers"):
        replicates(0.5, draws[:1]).intervals(0.95)
