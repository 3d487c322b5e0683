"""Which recordings stand in which batch: P speakers x K recordings, planned an epoch at a time."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from voxangle.errors import CorpusError, RecipeError

__all__ = ["SpeakerSampler"]

Rows = np.ndarray[Any, np.dtype[np.int64]]

_KEPT_PLANS = 2  # a prefetching reader asks for the next epoch while this one still ends


class SpeakerSampler:
    """Batches of P speakers x K recordings, a pure function of (seed, epoch, step, rank).

    The batch is the global one, over all ranks: each rank draws ``speakers / world_size`` of its
    speakers, and the ranks' rows in order of rank are the rows that a single process would draw. In an
    epoch every speaker comes equally often (up to one), never twice in a batch; a speaker's recordings
    come equally often (up to one), and those of one batch are different ones wherever the speaker has
    at least K. Nothing is remembered between calls, so that a run goes on in mid-epoch from the step's
    number alone.

    With ``alike`` the speakers of a batch are of one kind as far as there are enough of it: no negative is told
    apart by the kind, such as the language or the channel. All else holds as without.

    Args:
        labels: shape (utterances,), int64; the speaker of each row.
        speakers: P, speakers a batch over all ranks.
        recordings: K, recordings a speaker; they are consecutive rows of the batch.
        seed: of every shuffle, >= 0.
        alike: shape (utterances,), int64; the kind of each row. A speaker is of the kind of most of its rows, of the
            least one among those of as many. None: all are of one kind.
        rank: of this process, in [0, world_size).
        world_size: number of processes; divides ``speakers``.

    Raises:
        CorpusError: all utterances are by one speaker, or there are none.
        RecipeError: P or K is below 1, P does not divide over the ranks, or there are fewer than P speakers.
    """

    def __init__(
        self,
        labels: Rows,
        *,
        speakers: int,
        recordings: int,
        seed: int,
        alike: Rows | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        names, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if len(names) < 2:
            raise CorpusError(
                f"a speaker encoder cannot be trained on {len(names)} speaker(s): it learns from what tells "
                "speakers apart; add recordings of others (at least two speakers)"
            )
        if speakers < 1 or recordings < 1:
            raise RecipeError(
                f"a batch of {speakers} speakers x {recordings} recordings is empty; both must be at least 1"
            )
        if len(names) < speakers:
            raise RecipeError(
                f"a batch needs {speakers} different speakers, but the corpus has {len(names)}; "
                f"set the speakers of a batch to {len(names)} or fewer"
            )
        if speakers % world_size:
            raise RecipeError(
                f"{speakers} speakers a batch do not divide evenly over {world_size} processes; "
                f"set the speakers of a batch to a multiple of {world_size}"
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not in [0, {world_size})")
        self.speakers = speakers
        self.recordings = recordings
        self._seed = seed
        self._by_speaker = np.split(np.argsort(index, kind="stable"), np.cumsum(counts)[:-1])
        self._kinds = (
            None
            if alike is None
            else np.array([np.bincount(alike[rows]).argmax() for rows in self._by_speaker])
        )
        self._steps = max(1, len(labels) // (speakers * recordings))
        share = speakers // world_size
        self._mine = slice(rank * share, (rank + 1) * share)
        self._plans: dict[int, Rows] = {}
        self._planning = threading.Lock()

    def __len__(self) -> int:
        """Steps an epoch: utterances // (P * K), at least 1."""
        return self._steps

    @property
    def batch_rows(self) -> int:
        """Rows of the global batch, P * K."""
        return self.speakers * self.recordings

    @property
    def first_row(self) -> int:
        """Where this rank's rows begin in the global batch."""
        return int(self._mine.start) * self.recordings

    def batch(self, epoch: int, step: int) -> Rows:
        """This rank's rows of a batch, shape (P / world_size * K,), int64: K consecutive ones a speaker.

        Raises:
            IndexError: the epoch has no such step.
        """
        if not 0 <= step < self._steps:
            raise IndexError(f"step {step} is not in [0, {self._steps}), the steps of an epoch")
        return self._plan(epoch)[step, self._mine].reshape(-1)

    def _plan(self, epoch: int) -> Rows:
        with self._planning:
            if epoch not in self._plans:
                while len(self._plans) >= _KEPT_PLANS:
                    del self._plans[next(iter(self._plans))]
                self._plans[epoch] = self._make_plan(epoch)
            return self._plans[epoch]

    def _make_plan(self, epoch: int) -> Rows:
        """All rows of an epoch, shape (steps, P, K)."""
        random = np.random.default_rng(np.random.SeedSequence((self._seed, epoch), spawn_key=(0,)))
        count = len(self._by_speaker)
        turns = _shuffled_cycles(random, count, self.speakers, self._steps * self.speakers, self._kinds)
        plan = np.empty((len(turns), self.recordings), np.int64)
        turns_of = np.split(
            np.argsort(turns, kind="stable"),
            np.cumsum(np.bincount(turns, minlength=len(self._by_speaker)))[:-1],
        )
        for rows, mine in zip(self._by_speaker, turns_of, strict=True):
            drawn = _shuffled_cycles(random, len(rows), self.recordings, len(mine) * self.recordings)
            plan[mine] = rows[drawn].reshape(-1, self.recordings)
        batches = plan.reshape(self._steps, self.speakers, self.recordings)
        # Batches of one kind follow upon each other, for a cycle takes kind after kind.
        return batches if self._kinds is None else random.permutation(batches)


def _shuffled_cycles(
    random: np.random.Generator, items: int, group: int, total: int, kinds: Rows | None = None
) -> Rows:
    """``total`` draws from ``range(items)``, a shuffled cycle after another; ``group`` divides ``total``.

    A group has no repeats, or where ``items < group``, every item equally often (up to one). Given the items'
    ``kinds``, shape (items,), a cycle takes one kind after another.
    """
    cycles = -(-total // items)
    decks = random.permuted(np.broadcast_to(np.arange(items), (cycles, items)), axis=1)
    if kinds is not None:
        for deck in decks:
            turn = random.permutation(kinds.max() + 1)
            deck[:] = deck[np.argsort(turn[kinds[deck]], kind="stable")]
    starts = np.arange(0, total, group)
    cut = (starts % items > 0) & ((starts + group) % items > 0)
    for start in starts[cut & (starts // items < (starts + group) // items)].tolist():
        # The group takes the end of one cycle and the beginning of a later one: they must not overlap.
        first, gone = divmod(start, items)
        last, taken = divmod(start + group, items)
        _bar(decks[last], decks[first, gone:], min(gone, taken))
    return decks.reshape(-1)[:total]


def _bar(deck: Rows, barred: Rows, first: int) -> None:
    """Reorder ``deck`` in place so that its ``first`` items are none of the ``barred``."""
    if not np.isin(deck[:first], barred).any():
        return
    allowed = np.flatnonzero(~np.isin(deck, barred))[:first]
    deck[:] = np.concatenate([deck[allowed], np.delete(deck, allowed)])
