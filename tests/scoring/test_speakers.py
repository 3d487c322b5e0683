from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from voxangle.data import Trials
from voxangle.scoring import speakers_from_targets

UTTERANCES = 30
pairs = st.tuples(st.booleans(), st.integers(0, UTTERANCES - 1), st.integers(0, UTTERANCES - 1))


def trials_of(rows: list[tuple[bool, int, int]]) -> Trials:
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    keys = tuple(map(str, range(UTTERANCES)))
    return Trials("t", keys, table[:, 1], table[:, 2], table[:, 0].astype(bool))


@given(st.lists(pairs, max_size=60))
def test_speakers_are_the_connected_components_of_the_target_trials(
    rows: list[tuple[bool, int, int]],
) -> None:
    trials = trials_of(rows)
    one, other = trials.enrol[trials.target], trials.test[trials.target]
    graph = coo_array((np.ones(one.size), (one, other)), shape=(UTTERANCES, UTTERANCES))
    _, component = connected_components(graph, directed=False)
    speaker = speakers_from_targets(trials)
    np.testing.assert_array_equal(speaker[:, None] == speaker, component[:, None] == component)


def test_a_long_chain_in_any_order_is_one_speaker() -> None:
    order = np.random.default_rng(0).permutation(20_000)
    chain = Trials(
        "chain", tuple(map(str, order)), order[:-1], order[1:], np.ones(order.size - 1, dtype=bool)
    )
    assert not speakers_from_targets(chain).any()


def test_non_target_trials_join_nobody() -> None:
    trials = trials_of([(False, 0, 1), (True, 2, 1)])
    speaker = speakers_from_targets(trials)
    assert speaker[0] == 0
    assert speaker[1] == speaker[2] == 1


def test_a_model_joins_its_utterances() -> None:
    pairs = [(True, "m", "a"), (False, "m", "d"), (False, "n", "a"), (True, "n", "d")]
    trials = Trials.of("t", pairs, models={"m": ["b", "c"], "n": ["e"]})
    speaker = dict(zip(trials.keys, speakers_from_targets(trials).tolist(), strict=True))
    assert len({speaker[key] for key in ("m", "a", "b", "c")}) == 1
    assert len({speaker[key] for key in ("n", "d", "e")}) == 1
    assert speaker["m"] != speaker["n"]
