"""Gathering in one process; several processes are in test_across_ranks.py."""

from __future__ import annotations

import pytest
import torch

from voxangle.objectives.gathering import count_ranks, gather_embeddings, gather_labels, stack_ranks


def test_one_process_keeps_what_it_has() -> None:
    embeddings, labels = torch.randn(2, 3, requires_grad=True), torch.tensor([4, 4])
    assert count_ranks() == 1
    assert gather_embeddings(embeddings) is embeddings
    assert gather_labels(labels) is labels
    assert torch.equal(stack_ranks(embeddings), embeddings[None])
    assert not stack_ranks(embeddings).requires_grad


def test_a_rank_may_have_no_samples() -> None:
    assert gather_embeddings(torch.empty(0, 3)).shape == (0, 3)
    assert gather_labels(torch.empty(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("embeddings", "words"),
    [
        (torch.ones(2, 3, dtype=torch.int64), r"embeddings must be floating-point, got torch\.int64"),
        (torch.ones(2), r"embeddings must have shape \(N, D\) with N, D >= 1, got \(2,\)"),
        (torch.ones(2, 0), r"embeddings must have shape \(N, D\) with N, D >= 1, got \(2, 0\)"),
        (torch.tensor(1.0), r"embeddings must have shape \(N, D\) with N, D >= 1, got \(\)"),
    ],
)
def test_embeddings_are_checked(embeddings: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gather_embeddings(embeddings)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.ones(2), r"labels must be integers, got torch\.float32"),
        (torch.ones(2, 1, dtype=torch.int64), r"labels must have shape \(2,\), .* got \(2, 1\)"),
    ],
)
def test_labels_are_checked(labels: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gather_labels(labels)
