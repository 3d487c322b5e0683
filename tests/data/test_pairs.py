"""Trials made from a manifest give nothing away."""

from __future__ import annotations

import numpy as np
import pytest

from voxangle.data import Manifest, Utterance
from voxangle.data.pairs import trials_of
from voxangle.errors import CorpusError


def manifest(*rows: tuple[str, str, str]) -> Manifest:
    return Manifest.of(
        (
            Utterance(f"u{i}", speaker, f"u{i}.wav", language=language, channel=channel)
            for i, (speaker, language, channel) in enumerate(rows)
        ),
        ".",
    )


def test_every_target_pair_and_only_fair_non_target_pairs() -> None:
    corpus = manifest(
        ("ann", "en", "near"),
        ("ann", "en", "far"),
        ("bob", "en", "near"),
        ("cid", "fr", "near"),
    )
    trials = trials_of(corpus, "x")
    keys = trials.utterances
    pairs = {
        (keys[a], keys[b], bool(t)) for a, b, t in zip(trials.enrol, trials.test, trials.target, strict=True)
    }
    assert pairs == {("u0", "u1", True), ("u0", "u2", False)}


def test_where_no_two_speakers_share_a_condition_all_pairs_stand() -> None:
    trials = trials_of(manifest(("ann", "en", ""), ("ann", "en", ""), ("bob", "fr", "")), "x")
    assert trials.target.tolist() == [True, False, False]


def test_too_many_non_targets_are_drawn_by_the_seed() -> None:
    corpus = manifest(*(("ab"[i % 2], "en", "") for i in range(30)))
    some = trials_of(corpus, "x", nontargets=20, seed=1)
    assert np.count_nonzero(~some.target) == 20
    assert np.count_nonzero(some.target) == 2 * 15 * 14 // 2
    again, other = (
        trials_of(corpus, "x", nontargets=20, seed=1),
        trials_of(corpus, "x", nontargets=20, seed=2),
    )
    assert np.array_equal(some.enrol, again.enrol)
    assert not np.array_equal(some.test, other.test)


@pytest.mark.parametrize(
    ("rows", "missing"),
    [([("a", "", ""), ("a", "", "")], "non-target"), ([("a", "", ""), ("b", "", "")], "no target")],
)
def test_a_missing_class_is_named(rows: list[tuple[str, str, str]], missing: str) -> None:
    with pytest.raises(CorpusError, match=missing):
        trials_of(manifest(*rows), "x")
