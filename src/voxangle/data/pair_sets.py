r"""Sets of pairs of utterances, counted exactly and drawn from evenly without ever being listed.

A set is given by what both sides have in common and by what tells them apart: target pairs share the speaker,
non-target pairs differ in the speaker, and rules add to either. With :math:`P(C)` the number of pairs that agree in
all columns :math:`C`, pairs that agree in :math:`A` and differ in each of :math:`D` are, by inclusion and exclusion,

.. math:: \sum_{S \subseteq D} (-1)^{|S|} P(A \cup S),

and :math:`P` is a sum of :math:`n (n - 1) / 2` over groups: time and memory grow with utterances, not with pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

__all__ = ["PairSet"]

Numbers = np.ndarray[Any, np.dtype[np.int64]]

_AT_ONCE = 1 << 20
_FEW = 1 << 22  # so many candidates are gone through one by one


class PairSet:
    """Pairs of rows that agree in some columns and differ in each of others.

    A pair is one number: ``first * rows_in_all + second``, its lesser row first.

    Args:
        rows: shape (n,), the rows that may be paired, each below ``rows_in_all``.
        rows_in_all: of the table.
        alike: columns, shape (rows_in_all,) each, in which both sides of a pair have one value.
        apart: columns, shape (rows_in_all,) each, in which they have two.
    """

    def __init__(
        self, rows: Numbers, rows_in_all: int, alike: Sequence[Numbers], apart: Sequence[Numbers]
    ) -> None:
        self._rows_in_all = rows_in_all
        group = _joint([column[rows] for column in alike], len(rows))
        columns = [column[rows] for column in apart] or [np.arange(len(rows))]
        self._count = sum(
            (1 - size % 2 * 2) * _pairs_within(_joint([group, *some], len(rows)))
            for size in range(len(columns) + 1)
            for some in combinations(columns, size)
        )
        # Candidates differ in the column that leaves the fewest; the other columns then reject some of them.
        runs = [_joint([group, column], len(rows)) for column in columns]
        chosen = max(range(len(runs)), key=lambda i: _pairs_within(runs[i]))
        order = np.lexsort((runs[chosen], group))
        self._rows = rows[order]
        self._group_start, group_size = _extents(group[order])
        self._run_start, self._run_size = _extents(runs[chosen][order])
        self._candidates = np.cumsum(group_size - self._run_size)
        self._others = [column[order] for i, column in enumerate(columns) if i != chosen]

    def __len__(self) -> int:
        return self._count

    @cached_property
    def few(self) -> bool:
        """Whether it is quick to go through all of them."""
        return self._ordered <= _FEW

    def all(self) -> Numbers:
        """Every pair once, ascending."""
        found = [pairs[forward] for pairs, forward in self._in_turn()]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)

    def draw(self, count: int, generator: np.random.Generator) -> Numbers:
        """Pairs drawn evenly and independently: about ``count``, and some may be the same."""
        if not self._count:
            return np.empty(0, np.int64)
        tries = max(1, round(count * self._ordered / (2 * self._count)))
        return self._pairs(generator.integers(self._ordered, size=min(tries, 4 * _AT_ONCE)))[0]

    def sample(self, count: int, generator: np.random.Generator) -> Numbers:
        """Different pairs, drawn evenly; all of them where there are no more than ``count``."""
        if count >= self._count:
            return self.all()
        if self.few or 2 * count > self._count or 8 * count > self._ordered:
            return generator.choice(self.all(), count, replace=False)
        chosen = np.empty(0, np.int64)
        while chosen.size < count:
            more = self.draw(count - chosen.size + 1000, generator)
            chosen = _each_once(np.concatenate([chosen, more]))[:count]
        return chosen

    def sample_capped(
        self,
        count: int,
        speaker: Numbers,
        left: Numbers,
        generator: np.random.Generator,
        *,
        without: Numbers,
    ) -> Numbers:
        """Different pairs in an even order, each taken that both of its speakers have room for.

        Where the set is not ``few``, there may be more than are found: ask again.

        Args:
            count: at most so many.
            speaker: shape (rows_in_all,), the speaker's number.
            left: shape (speakers,), of how many more pairs each may be; lessened by what is taken.
            generator: of the order.
            without: pairs that were taken before.
        """
        pairs = generator.permutation(self.all()) if self.few else self.draw(2 * count + 1000, generator)
        pairs = _each_once(pairs)
        return self._greedy(pairs[~np.isin(pairs, without)], count, speaker, left)

    def _greedy(self, pairs: Numbers, count: int, speaker: Numbers, left: Numbers) -> Numbers:
        taken = [np.empty(0, np.int64)]
        room = count
        while pairs.size and room:
            first, second = (speaker[row] for row in np.divmod(pairs, self._rows_in_all))
            # Fewer pairs come before than the speaker has room for: they cannot fill it.
            sides = np.stack([first, np.where(first == second, -1, second)], axis=1).ravel()
            early = (_rank(sides) < np.where(sides < 0, pairs.size, left[sides])).reshape(-1, 2).all(axis=1)
            chosen = np.flatnonzero(early)[:room]
            taken.append(pairs[chosen])
            room -= chosen.size
            np.subtract.at(left, first[chosen], 1)
            others = chosen[first[chosen] != second[chosen]]
            np.subtract.at(left, second[others], 1)
            rest = ~early & (left[first] > 0) & (left[second] > 0)
            pairs = pairs[rest]
        return np.concatenate(taken)

    @property
    def _ordered(self) -> int:
        """Candidates, each pair counted from both of its sides."""
        return int(self._candidates[-1]) if self._candidates.size else 0

    def _in_turn(self) -> Iterator[tuple[Numbers, np.ndarray[Any, np.dtype[np.bool_]]]]:
        for first in range(0, self._ordered, _AT_ONCE):
            yield self._pairs(np.arange(first, min(first + _AT_ONCE, self._ordered)))

    def _pairs(self, candidates: Numbers) -> tuple[Numbers, np.ndarray[Any, np.dtype[np.bool_]]]:
        """The pairs among these candidates, and whether each is seen from its first side."""
        here = np.searchsorted(self._candidates, candidates, side="right")
        before = np.where(here > 0, self._candidates[here - 1], 0)
        there = self._group_start[here] + candidates - before
        there += np.where(there >= self._run_start[here], self._run_size[here], 0)
        for column in self._others:
            fine = column[here] != column[there]
            here, there = here[fine], there[fine]
        one, other = self._rows[here], self._rows[there]
        return np.minimum(one, other) * self._rows_in_all + np.maximum(one, other), one < other


def _joint(columns: Sequence[Numbers], rows: int) -> Numbers:
    """One number for each combination of values that occurs, from 0."""
    joint = np.zeros(rows, np.int64)
    for column in columns:
        values, value = np.unique(column, return_inverse=True)
        joint = np.unique(joint * values.size + value, return_inverse=True)[1]
    return joint


def _pairs_within(group: Numbers) -> int:
    sizes = np.bincount(group)
    return int((sizes * (sizes - 1) // 2).sum())


def _extents(ordered: Numbers) -> tuple[Numbers, Numbers]:
    """Where the stretch of equal values around each place begins, and how long it is."""
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    sizes = np.diff(begins, append=ordered.size)
    return np.repeat(begins, sizes), np.repeat(sizes, sizes)


def _each_once(values: Numbers) -> Numbers:
    """The values in order of first appearance."""
    return values[np.sort(np.unique(values, return_index=True)[1])]


def _rank(values: Numbers) -> Numbers:
    """How many equal values stand before each."""
    order = np.argsort(values, kind="stable")
    begins = np.flatnonzero(np.diff(values[order], prepend=values.min(initial=0) - 1))
    sizes = np.diff(begins, append=values.size)
    rank = np.empty(values.size, np.int64)
    rank[order] = np.arange(values.size) - np.repeat(begins, sizes)
    return rank
