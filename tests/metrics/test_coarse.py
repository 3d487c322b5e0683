from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from voxangle.metrics import OperatingPoint, SortedScores
from voxangle.metrics.coarse import Bins

Scores = NDArray[np.float64]

tied_scores = st.lists(st.integers(-8, 8), min_size=1, max_size=40).map(lambda x: np.array(x, dtype=float))
free_scores = st.lists(st.floats(-1, 1), min_size=1, max_size=40).map(np.array)
any_floats = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40).map(np.array)
single_floats = st.lists(
    st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=40
).map(lambda x: np.array(x, dtype=np.float32))
any_scores = tied_scores | free_scores | any_floats | single_floats
rates = st.floats(0, 1)


@pytest.fixture(scope="module", autouse=True)
def few_bins_even_for_few_scores() -> Iterator[None]:
    with mock.patch.multiple("voxangle.metrics.coarse", _BINS=7, _FEW=0, _CHUNK=5):
        yield


def figures(target: Scores, nontarget: Scores, p: float, most: float) -> list[OperatingPoint]:
    scores = SortedScores.of(target, nontarget)
    return [scores.eer(), scores.min_dcf(p_target=p), scores.at_fpr(most), scores.eer(convex_hull=True)]


@given(any_scores, any_scores, st.floats(0.001, 0.999), rates)
@example(np.array([1e308, 0.0]), np.array([-1e308]), 0.5, 0.5)
@example(np.array([5e-324, 0.0]), np.array([0.0]), 0.5, 0.5)
def test_bins_change_no_figure(target: Scores, nontarget: Scores, p: float, most: float) -> None:
    by_bins = figures(target, nontarget, p, most)
    with mock.patch("voxangle.metrics.coarse._FEW", 1000):
        assert figures(target, nontarget, p, most) == by_bins


@given(any_scores)
def test_no_higher_score_is_in_a_lower_bin(scores: Scores) -> None:
    bins = Bins.over(scores)
    place = bins.of(np.sort(scores))
    assert np.all(np.diff(place.astype(int)) >= 0)
    assert place[0] == 0
    assert place[-1] < bins.count
    assert bins.counts(scores).tolist() == np.bincount(place, minlength=bins.count).tolist()


@given(any_scores, st.integers(0, 7), st.integers(0, 7))
def test_the_scores_of_some_bins_are_those_scores_sorted(scores: Scores, one: int, other: int) -> None:
    bins = Bins.over(scores)
    first, last = sorted((one, other))
    place = bins.of(scores)
    expected = np.sort(scores[(place >= first) & (place < last)])
    np.testing.assert_array_equal(bins.within(scores, first, last), expected)


def test_classes_of_two_precisions_share_their_bins() -> None:
    target, nontarget = np.array([0.1, 0.5, 0.9], np.float32), np.array([0.1, 0.2, 0.7])
    assert figures(target, nontarget, 0.1, 0.5) == figures(target.astype(float), nontarget, 0.1, 0.5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_bins_of_any_precision(dtype: type) -> None:
    scores = np.linspace(-60_000, 60_000, 100).astype(dtype)
    assert Bins.over(scores).counts(scores).sum() == 100
    assert np.count_nonzero(Bins.over(scores).counts(scores)) == 7


def test_only_what_a_figure_needs_is_sorted() -> None:
    generator = np.random.default_rng(0)
    target, nontarget = generator.normal(1.5, 1, 4_000), generator.normal(-1.5, 1, 60_000)
    with mock.patch("voxangle.metrics.coarse._BINS", 1 << 10):
        scores = SortedScores.of(target, nontarget)
        scores.eer()
        scores.min_dcf()
        scores.at_fpr(0.001)
    assert "target" not in vars(scores)
    assert "nontarget" not in vars(scores)


def test_scores_that_a_far_outlier_keeps_together_are_sorted_once() -> None:
    generator = np.random.default_rng(0)
    target, nontarget = generator.normal(1.5, 1, 400), np.append(generator.normal(-1.5, 1, 6_000), -1e9)
    scores = SortedScores.of(target, nontarget)
    equal, least = scores.eer(), scores.min_dcf()
    assert "target" in vars(scores)
    with mock.patch("voxangle.metrics.coarse._FEW", 1 << 20):
        assert (equal, least) == (
            SortedScores.of(target, nontarget).eer(),
            SortedScores.of(target, nontarget).min_dcf(),
        )
