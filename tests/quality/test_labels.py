"""Doubts about labels, against their definition one utterance at a time."""

from __future__ import annotations

import numpy as np
import pytest

from voxangle.quality import doubt_labels


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def clusters(swapped: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(10), 8)
    vectors = random.standard_normal((10, 16))[labels] + 0.3 * random.standard_normal((80, 16))
    labels[: 8 * swapped : 8] = (labels[: 8 * swapped : 8] + 3) % 10
    return vectors, labels


def test_the_definition_utterance_by_utterance() -> None:
    vectors, labels = clusters()
    doubts = doubt_labels(vectors, labels)
    z = unit(unit(vectors) - unit(vectors).mean(axis=0))
    for row in range(0, 80, 7):
        others = np.arange(80) != row
        own = z[row] @ unit(z[others & (labels == labels[row])].mean(axis=0))
        other = {k: z[row] @ unit(z[labels == k].mean(axis=0)) for k in range(10) if k != labels[row]}
        assert doubts.own[row] == pytest.approx(own)
        assert doubts.other[row] == pytest.approx(max(other.values()))
        assert other[doubts.nearest[row]] == max(other.values())


def test_swapped_labels_are_doubted_most() -> None:
    doubts = doubt_labels(*clusters(swapped=4))
    assert set(np.argsort(-doubts.doubt)[:4]) == {0, 8, 16, 24}
    assert (doubts.doubt > 0).sum() == 4
    assert doubts.nearest[0] == 0


def test_a_wrong_utterance_does_not_cast_doubt_on_the_others_of_its_speaker() -> None:
    vectors, labels = clusters()
    few = np.concatenate([np.arange(3), np.arange(8, 80)])
    vectors, labels = vectors[few], labels[few]
    labels[3] = 0  # one of four
    doubts = doubt_labels(vectors, labels)
    assert np.flatnonzero(doubts.doubt > 0).tolist() == [3]
    assert doubts.own[:3] == pytest.approx(
        doubt_labels(np.delete(vectors, 3, 0), np.delete(labels, 3)).own[:3], abs=0.1
    )


def test_a_speaker_with_one_utterance_cannot_be_doubted() -> None:
    vectors, labels = clusters()
    labels[0] = 10
    doubts = doubt_labels(vectors, labels)
    assert np.isnan(doubts.doubt[0])
    assert np.isfinite(doubts.doubt[1:]).all()


def test_one_speaker_has_nobody_else_to_be() -> None:
    vectors, _ = clusters()
    assert np.isnan(doubt_labels(vectors, np.zeros(80, np.int64)).doubt).all()
