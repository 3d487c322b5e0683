"""PLDA as a rule of scoring: against the steps one by one, kept whole in a file, and blind to who is tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import eigh

from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.scoring import (
    PLDA,
    LearntFrom,
    MeanEmbedding,
    Result,
    evaluate,
)
from voxangle.scoring.embedding_set import EmbeddingSet, keys_sha256

DIMENSIONS = 6
MODELS = {"m0": ["s0/0", "s0/1", "s0/2"], "m1": ["s1/0"], "m2": ["s2/0", "s2/1"]}


def vectors(
    speakers: int, each: int, seed: int, spread: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Voices that differ in some directions, and recordings that differ in others."""
    turn = np.random.default_rng(77).normal(size=(2, DIMENSIONS, DIMENSIONS))
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(speakers), each)
    between = random.normal(size=(speakers, DIMENSIONS)) @ turn[0]
    within = random.normal(size=(len(labels), DIMENSIONS)) @ turn[1]
    return (3 + between[labels] + spread * within).astype(np.float32), labels


def embedding_set(speakers: int = 80, each: int = 8, seed: int = 1, prefix: str = "t") -> EmbeddingSet:
    x, labels = vectors(speakers, each, seed)
    keys = tuple(f"{prefix}{s}/{i}" for i, s in enumerate(labels))
    record = LearntFrom(
        file="training.npz", utterances=len(keys), available=len(keys), utterances_sha256=keys_sha256(keys)
    )
    return EmbeddingSet(x, keys, tuple(f"{prefix}{s}" for s in labels), record)


def voices() -> dict[str, NDArray[np.float32]]:
    x, labels = vectors(8, 4, seed=2, spread=0.8)
    return {f"s{s}/{i % 4}": x[i] for i, s in enumerate(labels)}


def trials(models: bool = False) -> Trials:
    keys = list(voices())
    if models:
        pairs = [(m[1] == key[1], m, key) for m in MODELS for key in keys if key.endswith("3")]
        return Trials.of("models", pairs, models=MODELS)
    return Trials.of("all", [(a[1] == b[1], a, b) for i, a in enumerate(keys) for b in keys[:i]])


def scores(result: Result) -> NDArray[np.float32]:
    assert result.scores is not None
    return result.scores.scores


def turned(
    plda: PLDA, x: NDArray[np.floating], centre: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    y = plda.transform @ (x.astype(np.float64) - (plda.centre if centre is None else centre))
    return y / np.sqrt(y @ y) if plda.record.length_normalisation else y


def ratio(plda: PLDA, enrolled: list[NDArray[np.float64]], one: NDArray[np.float64]) -> float:
    """ln p(all together) - ln p(enrolment) - ln p(test), each a Gaussian written out whole."""

    def density(of: list[NDArray[np.float64]]) -> float:
        n = len(of)
        joint = np.kron(np.ones((n, n)), plda.model.between) + np.kron(np.eye(n), plda.model.within)
        x = np.concatenate(of) - np.tile(plda.model.mean, n)
        return float(-(x @ np.linalg.solve(joint, x) + np.linalg.slogdet(2 * np.pi * joint)[1]) / 2)

    return density([*enrolled, one]) - density(enrolled) - density([one])


@pytest.mark.parametrize(
    "how",
    [{}, {"length_normalisation": False}, {"lda": 3}, {"whitening": True}, {"lda": 4, "whitening": True}],
)
def test_a_score_is_the_ratio_of_densities_of_what_the_steps_make_of_embeddings(how: dict[str, int]) -> None:
    plda = PLDA.fit(embedding_set(), **how)  # type: ignore[arg-type]
    result = evaluate(voices(), trials(), backend=plda, replicates=5)
    x, listed = voices(), trials()
    expected = [
        ratio(plda, [turned(plda, x[listed.keys[a]])], turned(plda, x[listed.keys[b]]))
        for a, b in zip(listed.enrol, listed.test, strict=True)
    ]
    np.testing.assert_allclose(scores(result), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("enrolment", ["average", "joint"])
def test_a_model_is_the_average_of_its_utterances_or_all_of_them(enrolment: str) -> None:
    plda = PLDA.fit(embedding_set(), enrolment=enrolment)  # type: ignore[arg-type]
    result = evaluate(voices(), trials(models=True), backend=plda, replicates=5)
    assert result.protocol.enrolment == enrolment
    x, listed, expected = voices(), trials(models=True), []
    for a, b in zip(listed.enrol, listed.test, strict=True):
        members = [x[key] for key in MODELS[listed.keys[a]]]
        of = (
            [turned(plda, np.mean(members, axis=0))]
            if enrolment == "average"
            else [turned(plda, m) for m in members]
        )
        expected.append(ratio(plda, of, turned(plda, x[listed.keys[b]])))
    np.testing.assert_allclose(scores(result), expected, rtol=1e-5, atol=1e-5)


def test_a_mean_takes_the_place_of_its_own() -> None:
    plda = PLDA.fit(embedding_set())
    mean = MeanEmbedding.of(embedding_set(seed=5, prefix="d"))
    result = evaluate(voices(), trials(), backend=plda, mean=mean, replicates=5)
    x = voices()
    for i in (0, 5, 60):
        a, b = (
            turned(plda, x[trials().keys[side[i]]], mean.vector) for side in (trials().enrol, trials().test)
        )
        assert scores(result)[i] == pytest.approx(ratio(plda, [a], b), rel=1e-5, abs=1e-5)


def test_linear_discriminant_analysis_keeps_the_directions_in_which_speakers_differ_most() -> None:
    learnt_from = embedding_set()
    plda = PLDA.fit(learnt_from, lda=3, length_normalisation=False)
    x, (_, labels) = learnt_from.vectors.astype(np.float64), learnt_from.labels()
    means = np.array([x[labels == s].mean(axis=0) for s in range(80)])
    within = sum((x[labels == s] - means[s]).T @ (x[labels == s] - means[s]) for s in range(80)) / (80 * 7)
    between = np.cov(means.T) - within / 8
    ratios, axes = eigh(between, within)
    for row, axis in zip(plda.transform, axes.T[::-1], strict=False):
        assert abs(row @ within @ axis) == pytest.approx(1, rel=1e-6)
    assert plda.transform.shape == (3, DIMENSIONS)
    assert ratios[-1] > 1


def test_whitening_makes_the_total_covariance_the_identity() -> None:
    learnt_from = embedding_set()
    plda = PLDA.fit(learnt_from, whitening=True)
    white = (learnt_from.vectors - plda.centre) @ plda.transform.T
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(DIMENSIONS), atol=1e-6)


def test_it_tells_speakers_apart_better_than_the_cosine_where_recordings_differ_in_their_own_directions() -> (
    None
):
    plda = PLDA.fit(embedding_set())
    by_plda = evaluate(voices(), trials(), backend=plda, replicates=5)
    by_cosine = evaluate(voices(), trials(), replicates=5)
    assert by_plda.eer.value < by_cosine.eer.value


def test_the_protocol_says_how_and_from_whom() -> None:
    plda = PLDA.fit(embedding_set(), lda=4)
    result = evaluate(voices(), trials(), backend=plda, replicates=5)
    assert result.protocol.scoring == plda.record
    assert str(plda.record) == (
        "PLDA (centred, LDA to 4 dimensions, unit length), learnt from 640 embeddings of training.npz by 80 speakers"
    )
    assert Result.model_validate_json(result.model_dump_json()).protocol == result.protocol


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    plda = PLDA.fit(embedding_set(), lda=5)
    plda.write(tmp_path / "kept.plda", weights_sha256="a" * 64)
    again = PLDA.read(tmp_path / "kept.plda")
    assert PLDA.read(tmp_path / "kept.plda", weights_sha256="a" * 64).record == plda.record
    with pytest.raises(TrialError, match=r"kept\.plda: was learnt from embeddings of another model"):
        PLDA.read(tmp_path / "kept.plda", weights_sha256="b" * 64)
    assert (again.record, again.keys, again.speakers) == (plda.record, plda.keys, plda.speakers)
    np.testing.assert_array_equal(
        scores(evaluate(voices(), trials(), backend=plda, replicates=5)),
        scores(evaluate(voices(), trials(), backend=again, replicates=5)),
    )
    content = (tmp_path / "kept.plda").read_bytes()
    (tmp_path / "torn.plda").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.plda").write_text("no")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    for name in ("torn.plda", "text.plda", "other.npz"):
        with pytest.raises(TrialError, match=rf"{name}: not a PLDA of voxangle"):
            PLDA.read(tmp_path / name)
    with pytest.raises(TrialError, match=r"none\.plda: there is no such file"):
        PLDA.read(tmp_path / "none.plda")


def test_what_cannot_be_learnt_from_is_refused() -> None:
    whole = embedding_set()
    nameless = EmbeddingSet(whole.vectors, whole.keys, ("",) * len(whole.keys), whole.record)
    with pytest.raises(TrialError, match=r"training\.npz: nothing says who speaks in 't0/0'"):
        PLDA.fit(nameless)
    with pytest.raises(TrialError, match=r"training\.npz: 5 utterances of 5 speakers are too few for PLDA"):
        PLDA.fit(embedding_set(5, 1))
    with pytest.raises(
        TrialError, match=r"training\.npz: 6 utterances of 3 speakers do not tell how 6 dimensions"
    ):
        PLDA.fit(embedding_set(3, 2))
    with pytest.raises(
        TrialError, match=r"LDA to 7 dimensions, but embeddings of 6 dimensions .* tell 6 at most"
    ):
        PLDA.fit(whole, lda=7)
    whole.vectors[9, 0] = np.inf
    with pytest.raises(TrialError, match=r"training\.npz: the embedding of 't1/9' is not finite"):
        PLDA.fit(whole)


def test_embeddings_of_another_model_and_of_who_is_tested_are_refused() -> None:
    plda = PLDA.fit(embedding_set())
    with pytest.raises(TrialError, match="all: the embeddings have 4 dimensions, but PLDA was learnt from 6"):
        evaluate({key: x[:4] for key, x in voices().items()}, trials(), backend=plda)
    own = {key: key.split("/")[0] for key in voices()}
    with pytest.raises(
        TrialError, match=r"all: 8 of its 8 speakers, such as 's0', .* those of PLDA, and nothing"
    ):
        evaluate(voices(), trials(), backend=PLDA.fit(embedding_set(prefix="s")), speakers=own)
