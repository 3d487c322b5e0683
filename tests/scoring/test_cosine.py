from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.scoring import cosine_scores, products


def naive(embeddings: NDArray[np.float32], trials: Trials) -> list[float]:
    x = embeddings.astype(np.float64)
    return [
        float(x[a] @ x[b] / np.sqrt((x[a] @ x[a]) * (x[b] @ x[b])))
        for a, b in zip(trials.enrol, trials.test, strict=True)
    ]


def random_trials(generator: np.random.Generator, utterances: int, trials: int) -> Trials:
    enrol, test = generator.integers(0, utterances, (2, trials))
    keys = tuple(f"u{i}" for i in range(utterances))
    return Trials("random", keys, enrol, test, generator.random(trials) < 0.5)


@pytest.mark.parametrize(("utterances", "trials"), [(20, 3000), (3000, 500), (1, 5)])
def test_scores_are_cosines_whether_the_list_is_dense_or_sparse(utterances: int, trials: int) -> None:
    generator = np.random.default_rng(0)
    listed = random_trials(generator, utterances, trials)
    embeddings = generator.normal(0, 7, (utterances, 24)).astype(np.float32)
    scores = cosine_scores(embeddings, listed)
    assert scores.shape == (trials,)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, naive(embeddings, listed), atol=1e-6)


@pytest.mark.parametrize("density", [0, 1 << 30])
def test_small_blocks_change_no_score(density: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    listed = random_trials(generator, 40, 700)
    embeddings = generator.normal(size=(40, 8)).astype(np.float32)
    monkeypatch.setattr(products, "_DENSE", density)
    monkeypatch.setattr(products, "VALUES_A_BLOCK", 100)
    np.testing.assert_allclose(cosine_scores(embeddings, listed), naive(embeddings, listed), atol=1e-6)


def test_a_score_is_symmetric_bounded_and_blind_to_length() -> None:
    embeddings = np.array([[1e-3, 0], [3e3, 0], [-2, 0], [0, 5]], dtype=np.float32)
    listed = Trials.of("t", [(True, "a", "b"), (False, "a", "c"), (False, "a", "d"), (False, "d", "a")])
    np.testing.assert_array_equal(cosine_scores(embeddings, listed), [1, -1, 0, 0])


@pytest.mark.parametrize(("value", "what"), [(0.0, "zero"), (np.nan, "not finite"), (np.inf, "not finite")])
def test_an_embedding_without_direction_is_named(value: float, what: str) -> None:
    embeddings = np.ones((3, 4), dtype=np.float32)
    embeddings[1] = value
    listed = Trials.of("list", [(True, "a", "bad"), (False, "a", "c")])
    with pytest.raises(TrialError, match=rf"list: the embedding of 'bad' is {what} \(1 of 3"):
        cosine_scores(embeddings, listed)


def test_one_row_for_each_utterance_is_asked_for() -> None:
    listed = Trials.of("t", [(True, "a", "b")])
    with pytest.raises(ValueError, match="2 utterances, but embeddings of shape"):
        cosine_scores(np.ones((3, 4), dtype=np.float32), listed)


def test_a_model_is_the_mean_of_its_embeddings_before_they_have_unit_length() -> None:
    embeddings = np.array([[0, 1], [4, 0], [0, 2], [3, 1]], dtype=np.float32)
    pairs = [(True, "m", "t"), (False, "a", "t"), (False, "n", "t")]
    listed = Trials.of("t", pairs, models={"m": ["a", "b"], "n": ["c"]})
    assert listed.utterances == ("t", "a", "b", "c")
    # The mean of (4, 0) and (0, 2) is (2, 1); that of their directions would be (1, 1).
    np.testing.assert_allclose(cosine_scores(embeddings, listed), [1 / 5**0.5, 0, 1 / 10**0.5], atol=1e-7)


@pytest.mark.parametrize("density", [0, 1 << 30])
def test_scores_of_models_are_naive_cosines_of_means(density: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    monkeypatch.setattr(products, "_DENSE", density)
    models = {
        f"m{m}": [f"u{u}" for u in generator.choice(30, generator.integers(1, 5), replace=False)]
        for m in range(10)
    }
    enrolments = [*models, "u3", "u4"]
    pairs = [(True, str(generator.choice(enrolments)), f"u{generator.integers(40)}") for _ in range(300)]
    listed = Trials.of("t", pairs, models=models)
    by_key = {key: generator.normal(0, 7, 6) for key in listed.utterances}
    by_key |= {name: np.mean([by_key[key] for key in models[name]], axis=0) for name in listed.models}
    expected = [
        by_key[a] @ by_key[b] / np.linalg.norm(by_key[a]) / np.linalg.norm(by_key[b]) for _, a, b in pairs
    ]
    matrix = np.stack([by_key[key] for key in listed.utterances])
    np.testing.assert_allclose(cosine_scores(matrix, listed), expected, atol=1e-6)


def test_a_model_whose_embeddings_cancel_is_named() -> None:
    listed = Trials.of("list", [(True, "m", "t")], models={"m": ["a", "b"]})
    with pytest.raises(TrialError, match=r"list: the embedding of 'm' is zero \(1 of 4"):
        cosine_scores(np.array([[1.0, 0], [0, 1], [0, -1]]), listed)
