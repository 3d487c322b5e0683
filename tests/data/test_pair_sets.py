"""Sets of pairs against the loop over all pairs."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxangle.data import pair_sets
from voxangle.data.pair_sets import PairSet

ROWS = 14
columns = st.lists(st.integers(0, 3), min_size=ROWS, max_size=ROWS).map(np.array)
some = st.lists(columns, max_size=3)


def naive(rows, alike, apart) -> list[tuple[int, int]]:
    return [
        (a, b)
        for a, b in combinations(sorted(rows), 2)
        if all(c[a] == c[b] for c in alike) and all(c[a] != c[b] for c in apart)
    ]


def as_tuples(pairs) -> list[tuple[int, int]]:
    return [divmod(int(pair), ROWS) for pair in pairs]


@given(rows=st.sets(st.integers(0, ROWS - 1)), alike=some, apart=some, at_once=st.sampled_from([3, 1 << 20]))
def test_all_pairs_are_those_of_the_loop_and_counted_without_it(rows, alike, apart, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_sets, "_AT_ONCE", at_once)
        pairs = PairSet(np.array(sorted(rows, reverse=True), dtype=np.int64), ROWS, alike, apart)
        expected = naive(rows, alike, apart)
        assert as_tuples(pairs.all()) == expected
        assert len(pairs) == len(expected)


@given(alike=some, apart=some, count=st.integers(0, 120), seed=st.integers(0, 9), few=st.booleans())
def test_a_sample_has_different_pairs_of_the_set(alike, apart, count, seed, few):
    with pytest.MonkeyPatch.context() as patch:
        if not few:
            patch.setattr(pair_sets, "_FEW", 0)
        pairs = PairSet(np.arange(ROWS), ROWS, alike, apart)
        sample = as_tuples(pairs.sample(count, np.random.default_rng(seed)))
    expected = naive(range(ROWS), alike, apart)
    assert len(sample) == len(set(sample)) == min(count, len(expected))
    assert set(sample) <= set(expected)


def test_draws_are_even_over_the_pairs():
    generator = np.random.default_rng(0)
    speaker, session = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 1, 2, 3, 3, 4, 5, 0])
    pairs = PairSet(np.arange(10), 10, [], [speaker, session])
    expected = naive(range(10), [], [speaker, session])
    drawn = pairs.draw(40_000, generator)
    counts = Counter((int(pair) // 10, int(pair) % 10) for pair in drawn)
    assert set(counts) == set(expected)
    shares = np.array(list(counts.values())) / drawn.size * len(expected)
    # Five standard deviations of a count of about 40 000 / 27.
    np.testing.assert_allclose(shares, 1, atol=5 * np.sqrt(len(expected) / drawn.size))


@given(speaker=columns, caps=st.lists(st.integers(1, 4), min_size=4, max_size=4), of_one=st.booleans())
def test_caps_are_kept_and_no_pair_with_room_is_left(speaker, caps, of_one):
    alike, apart = ([speaker], []) if of_one else ([], [speaker])
    pairs = PairSet(np.arange(ROWS), ROWS, alike, apart)
    left = np.array(caps)
    taken = as_tuples(
        pairs.sample_capped(1000, speaker, left, np.random.default_rng(0), without=np.empty(0, np.int64))
    )
    assert len(set(taken)) == len(taken)
    counts = Counter(s for pair in taken for s in {int(speaker[row]) for row in pair})
    assert [caps[s] - counts[s] for s in range(4)] == left.tolist()
    assert (left >= 0).all()
    for a, b in set(naive(range(ROWS), alike, apart)) - set(taken):
        assert left[speaker[a]] == 0 or left[speaker[b]] == 0


def test_a_million_utterances_are_counted_and_drawn_from_without_their_pairs():
    speaker = np.arange(1_000_000) % 5994
    pairs = PairSet(np.arange(speaker.size), speaker.size, [], [speaker])
    sizes = np.bincount(speaker)
    assert len(pairs) == (speaker.size**2 - int((sizes**2).sum())) // 2
    sample = pairs.sample(1000, np.random.default_rng(0))
    first, second = np.divmod(sample, speaker.size)
    assert np.unique(sample).size == 1000
    assert (speaker[first] != speaker[second]).all()
