"""Batches hold neighbours in length, lose nothing and keep nothing waiting for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from voxangle.runtime.batching import LikeLengths


class Item(NamedTuple):
    samples: int
    number: int


def batched(lengths: list[int], batch: int, ahead: int) -> Iterator[list[Item]]:
    waiting = LikeLengths[Item](batch)
    for number, samples in enumerate(lengths):
        waiting.add(Item(samples, number))
        while waiting.samples > ahead:
            yield waiting.leave()
    while len(waiting):
        yield waiting.leave()
    assert waiting.samples == 0


@given(st.lists(st.integers(1, 50)), st.integers(1, 100), st.integers(0, 300))
def test_every_item_leaves_once_in_a_batch_of_bounded_size(
    lengths: list[int], batch: int, ahead: int
) -> None:
    batches = list(batched(lengths, batch, ahead))
    assert sorted(item.number for one in batches for item in one) == list(range(len(lengths)))
    for one in batches:
        assert [item.samples for item in one] == sorted(item.samples for item in one)
        assert len(one) == 1 or len(one) * one[-1].samples <= batch
    assert batches == list(batched(lengths, batch, ahead))


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 100))
def test_the_one_that_waited_longest_is_in_the_next_batch(lengths: list[int], batch: int) -> None:
    waiting = set(range(len(lengths)))
    for one in batched(lengths, batch, 10**9):
        assert min(waiting) in {item.number for item in one}
        waiting -= {item.number for item in one}


def test_neighbours_share_a_batch_to_both_sides() -> None:
    (first, *_) = batched([10, 1, 11, 9, 30, 13], 40, 10**9)
    assert [item.samples for item in first] == [9, 10, 11]


def test_little_of_a_batch_is_padding() -> None:
    """Lengths as VoxCeleb's: 4 s and more, 8.2 s on average."""
    lengths = (16_000 * (4 + np.random.default_rng(0).exponential(4.2, 4000))).astype(int).tolist()
    padded = sum(len(one) * one[-1].samples for one in batched(lengths, 30 * 16_000, 1200 * 16_000))
    assert 1 - sum(lengths) / padded < 0.012
