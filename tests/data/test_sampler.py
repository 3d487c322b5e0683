from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voxangle.data.sampler import SpeakerSampler
from voxangle.errors import CorpusError, RecipeError

counts = st.lists(st.integers(1, 9), min_size=2, max_size=12)


@st.composite
def corpora(draw: st.DrawFn) -> tuple[np.ndarray, int, int, int]:
    """Labels in any order and with gaps, P, K and a world size that divides P."""
    per_speaker = draw(counts)
    labels = np.repeat(np.arange(len(per_speaker)) * 3, per_speaker)
    labels = np.random.default_rng(draw(st.integers(0, 99))).permutation(labels)
    world_size = draw(st.integers(1, len(per_speaker)))
    speakers = world_size * draw(st.integers(1, len(per_speaker) // world_size))
    return labels, speakers, draw(st.integers(1, 4)), world_size


def epoch_of(sampler: SpeakerSampler, epoch: int = 0) -> np.ndarray:
    return np.stack([sampler.batch(epoch, step) for step in range(len(sampler))])


@settings(max_examples=60)
@given(corpora(), st.integers(0, 5))
def test_the_ranks_share_the_speakers_of_the_batch_that_one_process_would_draw(corpus, epoch) -> None:
    labels, speakers, recordings, world_size = corpus
    whole = SpeakerSampler(labels, speakers=speakers, recordings=recordings, seed=3)
    ranks = [
        SpeakerSampler(
            labels, speakers=speakers, recordings=recordings, seed=3, rank=rank, world_size=world_size
        )
        for rank in range(world_size)
    ]
    for step in range(len(whole)):
        shares = [rank.batch(epoch, step) for rank in ranks]
        np.testing.assert_array_equal(np.concatenate(shares), whole.batch(epoch, step))
        heard = [speaker for share in shares for speaker in set(labels[share])]
        assert len(heard) == len(set(heard)) == speakers
        assert all(
            rank.first_row == sum(map(len, shares[:i])) and len(rank) == len(whole)
            for i, rank in enumerate(ranks)
        )


@settings(max_examples=60)
@given(corpora())
def test_a_batch_is_p_different_speakers_with_k_consecutive_recordings_each(corpus) -> None:
    labels, speakers, recordings, _ = corpus
    batches = epoch_of(SpeakerSampler(labels, speakers=speakers, recordings=recordings, seed=1))
    assert len(batches) == max(1, len(labels) // (speakers * recordings))
    grouped = labels[batches].reshape(len(batches), speakers, recordings)
    assert (grouped == grouped[..., :1]).all()
    for batch in grouped[..., 0]:
        assert len(set(batch)) == speakers


@settings(max_examples=60)
@given(corpora())
@example((np.arange(2).repeat([3, 30]), 2, 4, 1))
@example((np.arange(2).repeat([2, 40]), 2, 5, 1))
def test_recordings_of_a_batch_differ_wherever_the_speaker_has_enough(corpus) -> None:
    labels, speakers, recordings, _ = corpus
    for batch in epoch_of(SpeakerSampler(labels, speakers=speakers, recordings=recordings, seed=1)):
        for group in batch.reshape(speakers, recordings):
            _, times = np.unique(group, return_counts=True)
            owned = int((labels == labels[group[0]]).sum())
            assert len(times) == min(recordings, owned)
            if owned < recordings:
                assert times.max() - times.min() <= 1


@settings(max_examples=60)
@given(corpora())
def test_an_epoch_hears_speakers_and_their_recordings_equally_often(corpus) -> None:
    labels, speakers, recordings, _ = corpus
    rows = epoch_of(SpeakerSampler(labels, speakers=speakers, recordings=recordings, seed=8)).reshape(-1)
    turns = np.array([(labels[rows] == speaker).sum() for speaker in np.unique(labels)]) / recordings
    assert turns.max() - turns.min() <= 1
    for speaker in np.unique(labels):
        heard = np.bincount(rows, minlength=len(labels))[labels == speaker]
        assert heard.max() - heard.min() <= 1


def test_a_batch_depends_on_nothing_but_seed_epoch_step_and_rank() -> None:
    labels = np.repeat(np.arange(7), 20)

    def sampler(seed: int = 5) -> SpeakerSampler:
        return SpeakerSampler(labels, speakers=4, recordings=3, seed=seed)

    in_order = [epoch_of(sampler(), epoch) for epoch in range(4)]
    resumed, used = sampler(), sampler()
    np.testing.assert_array_equal(resumed.batch(2, 7), in_order[2][7])
    for epoch in (3, 0, 2, 1, 0):
        np.testing.assert_array_equal(epoch_of(used, epoch), in_order[epoch])
    assert (in_order[0] != in_order[1]).any()
    assert (in_order[0] != epoch_of(sampler(seed=6))).any()


def test_every_recording_comes_with_every_other_in_time() -> None:
    labels = np.repeat(np.arange(4), 6)
    sampler = SpeakerSampler(labels, speakers=4, recordings=2, seed=0)
    pairs = {tuple(sorted(pair)) for epoch in range(60) for pair in epoch_of(sampler, epoch).reshape(-1, 2)}
    assert len(pairs) == 4 * 15


def test_one_speaker_is_not_a_corpus_to_train_on() -> None:
    with pytest.raises(CorpusError, match="at least two speakers"):
        SpeakerSampler(np.zeros(9, np.int64), speakers=1, recordings=2, seed=0)
    with pytest.raises(CorpusError, match="0 speaker"):
        SpeakerSampler(np.zeros(0, np.int64), speakers=1, recordings=2, seed=0)


@pytest.mark.parametrize(
    ("speakers", "recordings", "world_size", "cure"),
    [
        (4, 2, 1, "the corpus has 3; set the speakers of a batch to 3"),
        (3, 2, 2, "multiple of 2"),
        (0, 2, 1, "at least 1"),
        (2, 0, 1, "at least 1"),
    ],
)
def test_a_batch_that_cannot_be_drawn_is_an_error_with_its_cure(
    speakers: int, recordings: int, world_size: int, cure: str
) -> None:
    with pytest.raises(RecipeError, match=cure):
        SpeakerSampler(
            np.arange(3).repeat(4), speakers=speakers, recordings=recordings, seed=0, world_size=world_size
        )


def test_a_step_past_the_epoch_and_a_rank_past_the_world_do_not_exist() -> None:
    sampler = SpeakerSampler(np.arange(3).repeat(4), speakers=3, recordings=2, seed=0)
    assert len(sampler) == 2
    with pytest.raises(IndexError, match=r"\[0, 2\)"):
        sampler.batch(0, 2)
    with pytest.raises(ValueError, match="rank 2"):
        SpeakerSampler(np.arange(4), speakers=4, recordings=1, seed=0, rank=2, world_size=2)


@st.composite
def kinds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Labels, the kind of each row (a speaker's is the same in all of them), P and K."""
    per_speaker = draw(st.lists(st.integers(1, 6), min_size=4, max_size=24))
    labels = np.repeat(np.arange(len(per_speaker)), per_speaker)
    kind_of = np.array(
        draw(st.lists(st.integers(0, 3), min_size=len(per_speaker), max_size=len(per_speaker)))
    )
    return labels, kind_of[labels], draw(st.integers(2, len(per_speaker))), draw(st.integers(1, 3))


@settings(max_examples=60)
@given(kinds())
def test_speakers_that_are_alike_come_as_often_as_any(drawn) -> None:
    labels, alike, speakers, recordings = drawn
    sampler = SpeakerSampler(labels, speakers=speakers, recordings=recordings, seed=8, alike=alike)
    batches = epoch_of(sampler)
    heard = labels[batches].reshape(len(batches), speakers, recordings)
    assert (heard == heard[..., :1]).all()
    assert all(len(set(batch)) == speakers for batch in heard[..., 0])
    turns = np.bincount(heard[..., 0].reshape(-1), minlength=labels.max() + 1)
    assert turns.max() - turns.min() <= 1


def test_a_batch_is_of_one_kind_as_far_as_there_are_enough() -> None:
    labels = np.arange(64).repeat(4)
    kind_of = np.arange(64) % 3  # 22, 21 and 21 speakers
    sampler = SpeakerSampler(labels, speakers=8, recordings=2, seed=2, alike=kind_of[labels])
    mixed = SpeakerSampler(labels, speakers=8, recordings=2, seed=2)

    def of_one_kind(sampler: SpeakerSampler) -> list[bool]:
        batches = [batch for epoch in range(20) for batch in epoch_of(sampler, epoch)]
        return [len(set(kind_of[labels[batch]])) == 1 for batch in batches]

    # Of the 8 batches of a cycle 2 at most stand across the border of two kinds.
    assert np.mean(of_one_kind(sampler)) >= 0.75
    assert not any(of_one_kind(mixed))
    firsts = {kind_of[labels[sampler.batch(epoch, step)[0]]] for epoch in range(9) for step in (0, 1)}
    assert firsts == {0, 1, 2}
    # Batches of one kind do not stand side by side: more often than by chance the kind changes.
    epochs = [kind_of[labels[epoch_of(sampler, epoch)[:, 0]]] for epoch in range(20)]
    assert np.mean([(one[1:] == one[:-1]).mean() for one in epochs]) < 0.5
    # Who is in a batch with whom changes from epoch to epoch.
    together = {tuple(sorted(set(labels[batch]))) for epoch in range(5) for batch in epoch_of(sampler, epoch)}
    assert len(together) == 5 * len(sampler)


def test_a_speaker_is_of_the_kind_of_most_of_its_rows() -> None:
    labels = np.arange(4).repeat(3)
    alike = np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0])
    sampler = SpeakerSampler(labels, speakers=2, recordings=1, seed=0, alike=alike)
    pairs = {frozenset(labels[batch].tolist()) for batch in epoch_of(sampler)}
    assert pairs == {frozenset({0, 2}), frozenset({1, 3})}
