"""The plan of batches from shards: nothing lost, nothing twice, the same whenever it is asked for."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from voxangle.corpora import folder as folder_corpus
from voxangle.data.shard_plan import ShardPlanner
from voxangle.data.shard_reader import ShardReader, ShardRecordings
from voxangle.data.shard_writer import write_shards
from voxangle.data.speeds import SpeedPerturbed
from voxangle.errors import CorpusError, RecipeError


def layout(speakers: int = 40, most: int = 30, together: int = 4, shards: int = 7):
    """Labels, groups and shards as the writer lays them out, uneven in every way."""
    random = np.random.default_rng(3)
    counts = random.integers(1, most, speakers)
    groups = [
        (place, speaker, min(together, count - first))
        for speaker, count in enumerate(counts)
        for first in range(0, count, together)
        for place in [(first / together + random.random()) / -(-count // together)]
    ]
    groups.sort()
    sizes = [size for _, _, size in groups]
    labels = np.repeat([speaker for _, speaker, _ in groups], sizes)
    number = np.repeat(np.arange(len(groups)), sizes)
    bounds = np.sort(random.choice(np.arange(1, len(groups)), shards - 1, replace=False))
    return labels, number, np.repeat(np.searchsorted(bounds, np.arange(len(groups)), "right"), sizes)


def rows_of(batches) -> list[int]:
    return list(chain.from_iterable(rows.tolist() for batch in batches for rows in batch.tuples))


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("recordings", [1, 2, 3, 4])
def test_every_utterance_comes_exactly_once_over_all_ranks(parts, recordings) -> None:
    labels, groups, shards = layout()
    planner = ShardPlanner(
        labels, groups, shards, speakers=12, recordings=recordings, seed=5, world_size=parts, buffer=60
    )
    for epoch in range(3):
        ranks = [planner.batches(epoch, rank, whole=False) for rank in range(parts)]
        assert sorted(chain.from_iterable(map(rows_of, ranks))) == list(range(len(labels)))
        loads = [sum(len(batch.tuples) for batch in rank) for rank in ranks]
        assert max(loads) - min(loads) <= 2 * -(-4 // recordings)


def test_a_batch_has_p_speakers_with_k_different_recordings() -> None:
    labels, groups, shards = layout()
    planner = ShardPlanner(labels, groups, shards, speakers=12, recordings=2, seed=5, world_size=3, buffer=80)
    ranks = [planner.batches(0, rank) for rank in range(3)]
    assert len({len(batches) for batches in ranks}) == 1
    for batch in chain.from_iterable(ranks):
        speakers = [set(labels[rows].tolist()) for rows in batch.tuples]
        assert all(len(names) == 1 for names in speakers)
        assert len(set.union(*speakers)) == len(batch.tuples) == 4
        for rows in batch.tuples:
            # Fewer than K only where the group has no more.
            assert len(set(rows.tolist())) == 2 or np.sum(groups == groups[rows[0]]) % 2 == 1


def test_few_are_left_out_of_the_whole_batches_and_others_each_time() -> None:
    labels, groups, shards = layout(speakers=60, most=60)
    planner = ShardPlanner(labels, groups, shards, speakers=8, recordings=2, seed=5, world_size=2, buffer=200)
    left = []
    for epoch in range(2):
        drawn = chain.from_iterable(rows_of(planner.batches(epoch, rank)) for rank in range(2))
        left.append(set(range(len(labels))) - set(drawn))
        assert len(left[-1]) < 0.03 * len(labels)
    assert left[0] != left[1]


def test_the_buffer_is_bounded() -> None:
    labels, groups, shards = layout(speakers=200, most=100)
    planner = ShardPlanner(labels, groups, shards, speakers=16, recordings=4, seed=5, buffer=400)
    place = np.empty(len(labels), np.int64)
    place[planner.reading_order(0, 0)] = np.arange(len(labels))
    read, drawn = 0, 0
    for batch in planner.batches(0, 0, whole=False):
        rows = np.concatenate(batch.tuples)
        read = max(read, int(place[rows].max()) + 1)
        assert read - drawn <= 400
        drawn += len(rows)


def test_batches_are_shuffled_anew_each_epoch_and_by_seed() -> None:
    labels, groups, shards = layout()

    def drawn(seed: int, epoch: int) -> list[int]:
        planner = ShardPlanner(labels, groups, shards, speakers=6, recordings=2, seed=seed, buffer=100)
        return rows_of(planner.batches(epoch, 0))

    assert drawn(1, 0) == drawn(1, 0)
    assert drawn(1, 0) != drawn(1, 1)
    assert drawn(1, 0) != drawn(2, 0)


def test_a_wish_that_cannot_be_met_is_named() -> None:
    labels, groups, shards = layout(speakers=4)

    def planner(**change):
        return ShardPlanner(
            labels, groups, shards, **{"speakers": 4, "recordings": 2, "seed": 0, "world_size": 1} | change
        )

    for wish in ({"speakers": 0}, {"recordings": 0}, {"buffer": 0}):
        with pytest.raises(RecipeError, match="must be at least 1"):
            planner(**wish)
    with pytest.raises(RecipeError, match="do not divide evenly over 3"):
        planner(world_size=3)
    with pytest.raises(RecipeError, match="5 different speakers, but the shards have 4"):
        planner(speakers=5)
    with pytest.raises(ValueError, match="rank 1 is not"):
        planner().batches(0, 1)
    empty = np.empty(0, np.int64)
    with pytest.raises(CorpusError, match="no utterance"):
        ShardPlanner(empty, empty, empty, speakers=1, recordings=1, seed=0)
    labels = groups = np.asarray([0] * 8 + [1, 2, 3])
    shards = np.zeros(11, np.int64)
    lopsided = planner(recordings=1, world_size=2)
    with pytest.raises(RecipeError, match="do not fill one batch of 4 speakers x 1 recordings on each of 2"):
        lopsided.batches(0, 0)


@pytest.fixture(scope="module")
def shards(voices, tmp_path_factory):
    manifest = folder_corpus.read(voices).splits["all"]
    keep = np.ones(len(manifest), dtype=bool)
    keep[[3, 9, 10]] = False
    return write_shards(
        manifest.where(keep), tmp_path_factory.mktemp("shards") / "all", together=2, shard_bytes=150_000
    )


def stream(shards, first: int = 0, *, epoch: int = 0, whole: bool = False, **settings):
    settings = {
        "speakers": 2,
        "recordings": 2,
        "seconds": 0.3,
        "seed": 1,
        "workers": 0,
        "buffer": 6,
    } | settings
    return list(ShardReader(shards, **settings).stream(epoch, first, whole=whole))


def assert_same(here, there) -> None:
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.rows.numpy(), other.rows.numpy())
        np.testing.assert_array_equal(one.labels.numpy(), other.labels.numpy())
        np.testing.assert_array_equal(one.waveforms.numpy(), other.waveforms.numpy())


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_every_utterance_is_read_exactly_once_by_all_ranks_and_workers(shards, ranks, workers) -> None:
    by_rank = [
        stream(shards, speakers=ranks, rank=rank, world_size=ranks, workers=workers) for rank in range(ranks)
    ]
    rows = []
    for batch in chain.from_iterable(by_rank):
        for mine in batch.rows.reshape(-1, 2).tolist():
            rows += sorted(set(mine))  # a recording that is alone in its group stands twice in its place
        assert batch.labels.tolist() == shards.manifest.labels()[batch.rows].tolist()
    assert sorted(rows) == list(range(len(shards)))
    if workers:
        for rank in range(ranks):
            assert_same(by_rank[rank], stream(shards, speakers=ranks, rank=rank, world_size=ranks))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("whole", [True, False])
def test_a_stream_taken_up_in_mid_epoch_is_the_rest_of_the_unbroken_one(shards, workers, whole) -> None:
    unbroken = stream(shards, epoch=3, whole=whole)
    assert len(unbroken) > 3
    for first in range(len(unbroken) + 1):
        assert_same(unbroken[first:], stream(shards, first, epoch=3, whole=whole, workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2])
def test_at_several_speeds_every_utterance_comes_once_at_each(shards, ranks, workers) -> None:
    speeds = (1.0, 0.9, 1.1)
    perturbed = SpeedPerturbed(ShardRecordings(shards), speeds)
    rows = []
    for rank in range(ranks):
        for batch in stream(
            shards, speakers=2 * ranks, rank=rank, world_size=ranks, workers=workers, speeds=speeds
        ):
            assert batch.labels.tolist() == perturbed.labels[batch.rows].tolist()
            for row, crop in zip(batch.rows.tolist(), batch.waveforms.numpy(), strict=True):
                whole = perturbed.read(row)
                windows = np.lib.stride_tricks.sliding_window_view(whole, len(crop))
                starts = np.flatnonzero(np.abs(windows[:, 0] - crop[0]) < 1e-5)
                assert min(np.abs(windows[starts] - crop).max(axis=1)) < 1e-5
            for mine in batch.rows.reshape(-1, 2).tolist():
                rows += sorted(set(mine))
    assert sorted(rows) == list(range(3 * len(shards)))


def test_taking_up_reads_only_what_is_still_needed(shards, monkeypatch) -> None:
    read: list[int] = []
    once = type(shards).read
    monkeypatch.setattr(
        type(shards), "read", lambda self, rows: [read.extend(rows.tolist()), once(self, rows)][1]
    )
    unbroken = stream(shards)
    assert sorted(read) == list(range(len(shards)))
    read.clear()
    stream(shards, len(unbroken) - 2)
    assert sorted(read) == sorted(
        set(np.concatenate([batch.rows.numpy() for batch in unbroken[-2:]]).tolist())
    )


def test_a_shard_is_read_in_order(shards, monkeypatch) -> None:
    read: list[int] = []
    once = type(shards).read
    monkeypatch.setattr(
        type(shards), "read", lambda self, rows: [read.extend(rows.tolist()), once(self, rows)][1]
    )
    stream(shards)
    for shard in range(len(shards.shards)):
        rows = [row for row in read if shards.shard_of[row] == shard]
        assert rows == sorted(rows)
    changes = np.flatnonzero(np.diff(shards.shard_of[read]))
    assert len(changes) == len(shards.shards) - 1


def test_recordings_repeated_for_want_of_others_are_cropped_elsewhere(shards) -> None:
    for batch in stream(shards):
        for (a, b), (one, other) in zip(
            batch.rows.reshape(-1, 2).tolist(), batch.waveforms.reshape(-1, 2, 4800), strict=True
        ):
            assert a != b or not np.array_equal(one.numpy(), other.numpy())


def test_steps_say_how_many_batches_come(shards) -> None:
    reader = ShardReader(shards, speakers=2, recordings=2, seconds=0.3, seed=1, workers=0)
    for whole in (True, False):
        assert reader.steps(0, whole=whole) == len(list(reader.stream(0, whole=whole)))


def test_closing_a_stream_ends_its_threads(shards) -> None:
    reader = ShardReader(shards, speakers=2, recordings=2, seconds=0.3, seed=1, workers=2)
    batches = reader.stream(0)
    next(batches)
    batches.close()


def test_an_empty_crop_and_an_unknown_rank_are_named(shards) -> None:
    with pytest.raises(RecipeError, match="holds no sample"):
        stream(shards, seconds=0.0)
    with pytest.raises(ValueError, match="rank 2 is not"):
        stream(shards, rank=2, world_size=2)
