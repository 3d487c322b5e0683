"""Conditions against loops over the pairs, and against the facts of small manifests."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxangle.data import Manifest, Trials, Utterance
from voxangle.data.conditions import conditions
from voxangle.errors import TrialError

COLUMNS = ("gender", "language", "session", "channel")
utterances = st.lists(
    st.fixed_dictionaries(
        {column: st.sampled_from(["", "x", "y"]) for column in COLUMNS}
        | {"seconds": st.sampled_from([0.0, 1.0, 1.999, 2.0, 4.0, 5.0, 10.0, 60.0])}
    ),
    min_size=6,
    max_size=6,
)
MODELS = {"m": ["u0", "u1"], "n": ["u1", "u2", "u3"], "o": ["u4"]}
PAIRS = [
    (True, a, b) for a, b in product([*MODELS, *(f"u{i}" for i in range(6))], [f"u{i}" for i in range(6)])
]


def naive(sides: list[list[dict[str, object]]], name: str) -> bool:
    """Whether a trial of these utterances (enrolled, tested) is in a condition of the default names."""
    enrolled, (tested,) = sides
    kind, _, column = name.partition(" ")
    if kind in ("same", "cross"):
        values = [row[column] for row in (*enrolled, tested)]
        if "" in values:
            return False
        alike = [row[column] == tested[column] for row in enrolled]
        return all(alike) if kind == "same" else not any(alike)
    if any(row["seconds"] == 0 for row in (*enrolled, tested)):
        return False
    shorter = min(sum(row["seconds"] for row in enrolled), tested["seconds"])
    low, high = {"< 2 s": (0, 2), "2-5 s": (2, 5), "5-10 s": (5, 10), ">= 10 s": (10, np.inf)}[name]
    return low <= shorter < high


@pytest.mark.parametrize("models", [{}, MODELS])
@given(rows=utterances)
def test_conditions_are_those_of_a_loop_over_the_trials(models, rows):
    by_key = {f"u{i}": row for i, row in enumerate(rows)}
    # In another order than the list's, and with more than it names.
    manifest = Manifest.of(
        (
            Utterance(key, "s", f"{key}.wav", **row)
            for key, row in [*reversed(by_key.items()), ("more", rows[0])]
        ),
        ".",
    )
    pairs = [pair for pair in PAIRS if models or pair[1] in by_key]
    found = conditions(Trials.of("list", pairs, models=models), manifest)
    assert list(found) == [
        *(f"{kind} {column}" for column in COLUMNS for kind in ("same", "cross")),
        *("< 2 s", "2-5 s", "5-10 s", ">= 10 s"),
    ]
    sides = [[[by_key[key] for key in models.get(a, [a])], [by_key[b]]] for _, a, b in pairs]
    for name, mask in found.items():
        assert mask.tolist() == [naive(side, name) for side in sides], name
    for column in COLUMNS:
        assert found.unknown[column] == sum(
            not (naive(s, f"same {column}") or naive(s, f"cross {column}")) for s in sides
        )
    assert found.unknown["duration"] == sum(any(row["seconds"] == 0 for row in (*s[0], *s[1])) for s in sides)


def test_bands_are_the_callers():
    manifest = Manifest.of(
        (Utterance(f"u{i}", "s", "x", seconds=seconds) for i, seconds in enumerate([2.5, 3, 30])), "."
    )
    found = conditions(
        Trials.of("list", [(True, "u0", "u2"), (True, "u1", "u2")]), manifest, duration_edges=(3,)
    )
    assert [(name, mask.tolist()) for name, mask in found.items() if " s" in name[-2:]] == [
        ("< 3 s", [True, False]),
        (">= 3 s", [False, True]),
    ]
    for edges in [(), (0, 2), (2, 2), (3, 2), (2, float("inf"))]:
        with pytest.raises(ValueError, match="must be > 0 and ascend"):
            conditions(Trials.of("list", [(True, "u0", "u2")]), manifest, duration_edges=edges)


def test_an_utterance_that_the_manifest_lacks_is_named():
    manifest = Manifest.of([Utterance("a", "s", "a.wav")], ".")
    trials = Trials.of("list", [(True, "a", "b"), (False, "a", "c")])
    with pytest.raises(TrialError, match=r"list: the manifest has no utterance 'b' \(2 of the 3 utterances"):
        conditions(trials, manifest)
