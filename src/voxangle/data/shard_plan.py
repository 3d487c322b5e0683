"""Which recordings of shards stand in which batch: known before a byte of audio is read.

Each epoch shuffles the shards and cuts their sequence into as many stretches as there are ranks, between
groups and of equal numbers of tuples (up to one group). A rank reads its stretch in order; the recordings of a group,
shuffled, make tuples of K, which wait in a buffer of bounded size. Each batch takes P tuples of different
speakers from random places of the buffer.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise, repeat
from typing import Any, NamedTuple

import numpy as np

from voxangle.errors import CorpusError, RecipeError

__all__ = ["Batch", "ShardPlanner"]

Rows = np.ndarray[Any, np.dtype[np.int64]]


class Batch(NamedTuple):
    """The rows of a batch, one array of 1 to K different ones for each speaker in it."""

    tuples: list[Rows]


class _Stretch(NamedTuple):
    """What a rank reads in an epoch: its rows in reading order, and where each tuple of them begins."""

    rows: Rows
    starts: Rows
    speakers: list[int]

    def tuple(self, number: int) -> Rows:
        end = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.rows)
        return self.rows[self.starts[number] : end]


class ShardPlanner:
    """Batches of P speakers x K recordings from shards, a pure function of (seed, epoch, step, rank, world_size).

    Guarantees:

    - Over all ranks every utterance stands in exactly one batch of an epoch, the incomplete ones at its end
      included (``whole=False``).
    - A batch has P / world_size different speakers a rank, each with K different recordings; with fewer only
      where a group has less than K left over: the last group of a speaker, or each where K does not divide
      ``Shards.together``.
    - The buffer holds ``buffer`` recordings and the rest of a group, and more only where those are by fewer than P
      speakers: never with the shards that ``write_shards`` wrote, which spaces a speaker's groups evenly,
      unless the corpus has few speakers or one of them a large share of it. A speaker's recordings in far
      shards wait for nobody: each group makes its own tuples.
    - In training (``whole=True``) all ranks do the same number of steps, the least that one of them can fill; the
      few tuples beyond are left out in this epoch, others in the next.

    A speaker comes as often as there are recordings by them (``SpeakerSampler`` draws all equally often). At
    VoxCeleb2's size, an epoch with P = 128, K = 2 is planned in 2 s, has 0.6 % tuples with fewer than K and leaves
    out 0.01 %.

    Args:
        labels: shape (utterances,), int64; the speaker of each row.
        groups: shape (utterances,), int64, not decreasing, one speaker each (``Shards.groups``).
        shards: shape (utterances,), int64, not decreasing (``Shards.shard_of``).
        speakers: P, over all ranks.
        recordings: K.
        seed: of every shuffle, >= 0.
        world_size: number of processes that divide the corpus; divides ``speakers``.
        buffer: recordings that wait to be drawn.

    Raises:
        CorpusError: all utterances are by one speaker while batches need more, or there are none.
        RecipeError: P, K or ``buffer`` is below 1, P does not divide over the ranks, or there are fewer speakers.
    """

    def __init__(
        self,
        labels: Rows,
        groups: Rows,
        shards: Rows,
        *,
        speakers: int,
        recordings: int,
        seed: int,
        world_size: int = 1,
        buffer: int = 4096,
    ) -> None:
        if speakers < 1 or recordings < 1 or buffer < 1:
            raise RecipeError(
                f"a batch of {speakers} speakers x {recordings} recordings from a buffer of {buffer} is empty; "
                "all three must be at least 1"
            )
        if speakers % world_size:
            raise RecipeError(
                f"{speakers} speakers a batch do not divide evenly over {world_size} processes; "
                f"set the speakers of a batch to a multiple of {world_size}"
            )
        if not len(labels):
            raise CorpusError("there is no utterance to draw from")
        if (known := len(np.unique(labels))) < speakers:
            raise RecipeError(
                f"a batch needs {speakers} different speakers, but the shards have {known}; "
                f"set the speakers of a batch to {known} or fewer"
            )
        self._begins = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
        self._counts = np.diff(np.append(self._begins, len(groups)))
        self._speaker = np.asarray(labels, np.int64)[self._begins]
        self._shard = np.asarray(shards, np.int64)[self._begins]
        self._share = speakers // world_size
        self._recordings = recordings
        self._seed = seed
        self._world_size = world_size
        self._capacity = max(1, buffer // recordings)

    def batches(self, epoch: int, rank: int, *, whole: bool = True) -> list[Batch]:
        """A rank's batches of an epoch, in order.

        Args:
            epoch: counted from 0.
            rank: in [0, world_size).
            whole: only complete batches, as many as every rank can fill; else all, the incomplete ones too.

        Raises:
            RecipeError: ``whole``, and no complete batch can be filled.
        """
        if not 0 <= rank < self._world_size:
            raise ValueError(f"rank {rank} is not in [0, {self._world_size})")
        stretches = self._stretches(epoch, rank)
        drawn = {
            r: list(self._draw(stretch.speakers, epoch, r))
            for r, stretch in enumerate(stretches)
            if whole or r == rank
        }
        steps = len(drawn[rank])
        if whole:
            steps = min(sum(len(tuples) == self._share for tuples in ranks) for ranks in drawn.values())
            if not steps:
                raise RecipeError(
                    f"the shards do not fill one batch of {self._share * self._world_size} speakers x "
                    f"{self._recordings} recordings on each of {self._world_size} processes; use fewer "
                    "speakers a batch, or fewer processes"
                )
        mine = stretches[rank]
        return [Batch([mine.tuple(t) for t in tuples]) for tuples in drawn[rank][:steps]]

    def reading_order(self, epoch: int, rank: int) -> Rows:
        """The rows that a rank reads in an epoch, in the order in which they lie: shape (its utterances,), int64."""
        return np.concatenate(
            [
                np.arange(begin, begin + count)
                for begin, count in zip(*self._groups_of(epoch)[rank], strict=True)
            ]
            or [np.empty(0, np.int64)]
        )

    def _order(self, epoch: int) -> Rows:
        """The groups of all ranks in reading order."""
        random = np.random.default_rng(np.random.SeedSequence((self._seed, epoch), spawn_key=(2,)))
        place = random.permutation(int(self._shard.max()) + 1)
        return np.argsort(place[self._shard], kind="stable")

    def _cuts(self, order: Rows) -> list[slice]:
        """Each rank's stretch of the groups."""
        tuples = np.cumsum(-(-self._counts[order] // self._recordings))
        ends = np.searchsorted(
            tuples, tuples[-1] * np.arange(1, self._world_size) / self._world_size, "right"
        )
        edges = [0, *ends.tolist(), len(order)]
        return [slice(a, b) for a, b in pairwise(edges)]

    def _groups_of(self, epoch: int) -> list[tuple[list[int], list[int]]]:
        order = self._order(epoch)
        return [
            (self._begins[order[cut]].tolist(), self._counts[order[cut]].tolist())
            for cut in self._cuts(order)
        ]

    def _stretches(self, epoch: int, rank: int) -> list[_Stretch]:
        """Those of all ranks; only this rank's rows are shuffled within their groups."""
        order = self._order(epoch)
        random = np.random.default_rng(np.random.SeedSequence((self._seed, epoch), spawn_key=(3,)))
        stretches = []
        for r, cut in enumerate(self._cuts(order)):
            groups = order[cut]
            counts = self._counts[groups]
            of_row = np.repeat(np.arange(len(groups)), counts)
            within = np.arange(len(of_row)) - np.repeat(np.cumsum(counts) - counts, counts)
            rows = np.repeat(self._begins[groups], counts) + within
            shuffle = random.random(len(rows))
            if r == rank:
                rows = rows[np.lexsort((shuffle, of_row))]
            starts = np.flatnonzero(within % self._recordings == 0)
            speakers: list[int] = self._speaker[groups][of_row[starts]].tolist()
            stretches.append(_Stretch(rows, starts, speakers))
        return stretches

    def _draw(self, speakers: list[int], epoch: int, rank: int) -> Iterator[list[int]]:
        """Numbers of tuples, a batch after another; ``speakers`` has the speaker of each tuple."""
        seeds = np.random.SeedSequence((self._seed, epoch, rank, self._world_size), spawn_key=(4,))
        chance = _fractions(np.random.default_rng(seeds))
        waiting: list[int] = []
        read = 0
        while read < len(speakers):
            fill = min(len(speakers), read + max(0, self._capacity - len(waiting)))
            waiting.extend(range(read, fill))
            read = fill
            if read == len(speakers):
                break
            taken: dict[int, int] = {}
            passed: list[int] = []
            while len(taken) < self._share and (waiting or read < len(speakers)):
                if waiting:
                    place = int(next(chance) * len(waiting))
                    number, waiting[place] = waiting[place], waiting[-1]
                    del waiting[-1]
                else:
                    number, read = read, read + 1
                if taken.setdefault(speakers[number], number) != number:
                    passed.append(number)
            waiting += passed
            if len(taken) < self._share:
                waiting += taken.values()
                break
            yield list(taken.values())
        yield from self._empty(waiting, speakers, chance)

    def _empty(self, waiting: list[int], speakers: list[int], chance: Iterator[float]) -> Iterator[list[int]]:
        """Draw all that waits, first of the speakers who have the most: so the most batches are complete."""
        of_speaker: dict[int, list[int]] = {}
        for number in [number for _, number in sorted(zip(chance, waiting, strict=False))]:
            of_speaker.setdefault(speakers[number], []).append(number)
        while of_speaker:
            luck = {speaker: (-len(numbers), next(chance)) for speaker, numbers in of_speaker.items()}
            drawn = sorted(of_speaker, key=luck.__getitem__)[: self._share]
            yield [of_speaker[speaker].pop() for speaker in drawn]
            for speaker in drawn:
                if not of_speaker[speaker]:
                    del of_speaker[speaker]


def _fractions(random: np.random.Generator) -> Iterator[float]:
    return chain.from_iterable(random.random(4096).tolist() for _ in repeat(None))
