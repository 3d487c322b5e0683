"""S-norm and AS-norm: against a loop over trials, blind to who is tested, and without a number made of rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.runtime.archive import write_embeddings
from voxangle.scoring import (
    PLDA,
    Cohort,
    LearntFrom,
    MeanEmbedding,
    Protocol,
    Result,
    ScoreNormaliser,
    compare,
    evaluate,
    score_normalisation,
)
from voxangle.scoring.embedding_set import EmbeddingSet, keys_sha256

SPEAKERS = {f"s{s}/{u}": f"s{s}" for s in range(8) for u in range(4)}
DIMENSIONS = 6


def voices(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    centres = {speaker: random.normal(2, 1, DIMENSIONS) for speaker in sorted(set(SPEAKERS.values()))}
    return {
        key: (centres[speaker] + random.normal(0, 0.8, DIMENSIONS)).astype(np.float32)
        for key, speaker in SPEAKERS.items()
    }


def all_pairs() -> Trials:
    keys = list(SPEAKERS)
    return Trials.of(
        "all", [(SPEAKERS[a] == SPEAKERS[b], a, b) for i, a in enumerate(keys) for b in keys[:i]]
    )


def with_models() -> Trials:
    models = {f"m{s}": [f"s{s}/0", f"s{s}/1", f"s{s}/2"][: 1 + s % 3] for s in range(8)}
    pairs = [(s == int(key[1]), f"m{s}", key) for s in range(8) for key in SPEAKERS if key.endswith("3")]
    return Trials.of("models", pairs, models=models)


def embedding_set(
    speakers: int = 20, each: int = 3, seed: int = 9, prefix: str = "c", spread: float = 1.0
) -> EmbeddingSet:
    random = np.random.default_rng(seed)
    who = [f"{prefix}{s}" for s in range(speakers) for _ in range(each)]
    keys = tuple(f"{one}/{u}" for u, one in enumerate(who))
    centres = random.normal(2, spread, (speakers, DIMENSIONS)).repeat(each, axis=0)
    vectors = (centres + random.normal(0, 0.8 * spread, centres.shape)).astype(np.float32)
    record = LearntFrom(
        file="training.npz", utterances=len(keys), available=len(keys), utterances_sha256=keys_sha256(keys)
    )
    return EmbeddingSet(vectors, keys, tuple(who), record)


def cohort(by: Literal["utterance", "speaker"] = "utterance", **how: int) -> Cohort:
    return Cohort.of(embedding_set(**how), by=by)


def unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x / np.sqrt(x @ x)


def by_hand(
    trials: Trials, impostors: list[NDArray[np.float64]], top: int, m: NDArray[np.float64]
) -> list[float]:
    of_key = {key: vector.astype(np.float64) for key, vector in voices().items()}
    scores = []
    for a, b in zip(trials.enrol, trials.test, strict=True):
        key = trials.keys[a]
        members = [trials.utterances[i] for i in trials.models[key]] if key in trials.models else [key]
        e, t = np.mean([of_key[one] for one in members], axis=0) - m, of_key[trials.keys[b]] - m
        raw = float(unit(e) @ unit(t))
        halves = []
        for side in (e, t):
            best = sorted((float(unit(side) @ unit(one - m)) for one in impostors), reverse=True)[:top]
            mean = sum(best) / top
            halves.append((raw - mean) / (sum((one - mean) ** 2 for one in best) / top) ** 0.5)
        scores.append(sum(halves) / 2)
    return scores


@pytest.mark.parametrize("block", [1 << 22, 100])
@pytest.mark.parametrize("top", [None, 15])
@pytest.mark.parametrize("trials", [all_pairs(), with_models()], ids=["pairs", "models"])
def test_scores_are_those_of_a_loop(
    trials: Trials, top: int | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_normalisation, "VALUES_A_BLOCK", block)
    impostors = cohort()
    m = MeanEmbedding.of(embedding_set(seed=3, prefix="t"))
    result = evaluate(voices(), trials, mean=m, normalisation=ScoreNormaliser(impostors, top), replicates=10)
    assert result.scores is not None
    expected = by_hand(trials, list(impostors.vectors), top or 60, m.vector)
    np.testing.assert_allclose(result.scores.scores, expected, rtol=2e-5, atol=2e-5)


def test_a_member_may_be_the_mean_of_a_speaker_s_embeddings() -> None:
    members = cohort("speaker")
    assert members.names == tuple(f"c{s}" for s in range(20))
    own = embedding_set()
    for name, vector in zip(members.names, members.vectors, strict=True):
        rows = [i for i, speaker in enumerate(own.speakers) if speaker == name]
        np.testing.assert_allclose(vector, own.vectors[rows].astype(np.float64).mean(axis=0))
    result = evaluate(voices(), all_pairs(), normalisation=ScoreNormaliser(members, 10), replicates=10)
    assert result.scores is not None
    np.testing.assert_allclose(
        result.scores.scores,
        by_hand(all_pairs(), list(members.vectors), 10, np.zeros(DIMENSIONS)),
        rtol=2e-5,
        atol=2e-5,
    )


def test_the_top_of_all_is_all_and_neither_order_nor_the_side_matters() -> None:
    whole = embedding_set()
    turned = EmbeddingSet(whole.vectors[::-1], whole.keys[::-1], whole.speakers[::-1], whole.record)
    trials = all_pairs()
    swapped = Trials(trials.name, trials.utterances, trials.test, trials.enrol, trials.target)

    def scores(of: EmbeddingSet, top: int | None, of_trials: Trials = trials) -> NDArray[np.float32]:
        normaliser = ScoreNormaliser(Cohort.of(of, by="utterance"), top)
        found = evaluate(voices(), of_trials, normalisation=normaliser, replicates=5).scores
        assert found is not None
        return found.scores

    np.testing.assert_allclose(scores(whole, 60), scores(whole, None), rtol=1e-6)
    np.testing.assert_allclose(scores(whole, 15), scores(turned, 15), rtol=1e-6)
    np.testing.assert_array_equal(scores(whole, 15), scores(whole, 15, swapped))


def test_scores_of_plda_are_normalised_by_its_own_scores_of_the_cohort() -> None:
    plda = PLDA.fit(embedding_set(40, 6, seed=1, prefix="t"))
    trials, impostors = with_models(), cohort()
    result = evaluate(
        voices(), trials, backend=plda, normalisation=ScoreNormaliser(impostors, 12), replicates=5
    )
    raw = evaluate(voices(), trials, backend=plda, replicates=5)
    assert result.scores is not None
    assert raw.scores is not None
    # Every model against every impostor, and every impostor against every test, as trials of their own.
    by_key = voices() | dict(zip(impostors.names, impostors.vectors, strict=True))
    members = {name: [trials.utterances[i] for i in of] for name, of in trials.models.items()}

    def statistics(pairs: list[tuple[bool, str, str]]) -> tuple[float, float]:
        found = evaluate(
            by_key,
            Trials.of("side", [*pairs, (True, "s0/0", "s0/1")], models=members),
            backend=plda,
            replicates=5,
        ).scores
        assert found is not None
        best = np.sort(found.scores[:-1])[-12:]
        return float(best.mean()), float(best.std())

    for i in (0, 9, 30):
        enrolled, tested = trials.keys[trials.enrol[i]], trials.keys[trials.test[i]]
        of_enrol = statistics([(False, enrolled, name) for name in impostors.names])
        of_test = statistics([(False, name, tested) for name in impostors.names])
        halves = [(raw.scores.scores[i] - mean) / spread for mean, spread in (of_enrol, of_test)]
        assert result.scores.scores[i] == pytest.approx(sum(halves) / 2, rel=1e-4)


def test_the_protocol_says_how_and_by_whom() -> None:
    impostors = cohort("speaker")
    result = evaluate(voices(), all_pairs(), normalisation=ScoreNormaliser(impostors, 10), replicates=10)
    norm = result.protocol.normalisation
    assert not isinstance(norm, str)
    assert (norm.kind, norm.cohort, norm.unit, norm.top) == ("as-norm", 20, "speaker", 10)
    assert norm.utterances_sha256 == keys_sha256(impostors.keys)
    assert str(norm) == "AS-norm, top 10 of a cohort of 20 speaker means, from 60 embeddings of training.npz"
    assert Result.model_validate_json(result.model_dump_json()).protocol == result.protocol
    whole = ScoreNormaliser(impostors).record
    assert (whole.kind, whole.top) == ("s-norm", 20)
    assert str(whole).startswith("S-norm of a cohort of 20 speaker means")
    plain = evaluate(voices(), all_pairs(), replicates=10)
    with pytest.raises(TrialError, match="differ in protocol"):
        compare(result, plain, replicates=10)
    with pytest.raises(
        TrialError, match="all: the protocol asks for the normalisation 'none', but given is 'AS-norm"
    ):
        evaluate(
            voices(),
            all_pairs(),
            protocol=Protocol(normalisation="none"),
            normalisation=ScoreNormaliser(impostors, 10),
        )


def test_nobody_who_is_tested_may_be_in_the_cohort() -> None:
    tested = embedding_set(12, prefix="s")
    impostors = Cohort.of(tested, by="utterance")
    normaliser = ScoreNormaliser(impostors, 10)
    with pytest.raises(
        TrialError, match=r"all: 8 of its 8 speakers, such as 's0', .* those of the cohort, and"
    ):
        evaluate(voices(), all_pairs(), speakers=SPEAKERS, normalisation=normaliser)
    with pytest.raises(
        TrialError, match=r"all: 4 of its 32 utterances, such as 's0/0', .* those of the cohort"
    ):
        evaluate(voices(), all_pairs(), normalisation=normaliser)


def test_one_known_speaker_among_strangers_is_found(tmp_path: Path) -> None:
    strangers = embedding_set()
    keys = (*strangers.keys, "elsewhere/s3.wav")
    write_embeddings(
        tmp_path / "c.npz", keys, np.concatenate([strangers.vectors, np.ones((1, DIMENSIONS), np.float32)])
    )
    read = EmbeddingSet.read(tmp_path / "c.npz", speaker_of={"elsewhere/s3.wav": "s3", **SPEAKERS})
    with pytest.raises(TrialError, match=r"all: 1 of its 8 speakers, such as 's3'"):
        evaluate(
            voices(),
            all_pairs(),
            speakers=SPEAKERS,
            normalisation=ScoreNormaliser(Cohort.of(read, by="utterance"), 10),
        )
    with pytest.raises(
        TrialError, match=r"c\.npz: nothing says who speaks in 'c0/0' \(60 of 61 such utterances\)"
    ):
        Cohort.of(read, by="speaker")


def test_a_cohort_that_is_too_small_or_not_finite_is_refused() -> None:
    with pytest.raises(
        TrialError, match=r"training\.npz: the top 61 of a cohort of 60 utterances is asked for"
    ):
        ScoreNormaliser(cohort(), 61)
    with pytest.raises(TrialError, match="the top 9 of a cohort says little"):
        ScoreNormaliser(cohort(), 9)
    with pytest.raises(
        TrialError, match=r"training\.npz: a cohort of 9 speakers is too small, 10 are the least"
    ):
        cohort("speaker", speakers=9)
    broken = embedding_set()
    broken.vectors[7, 2] = np.nan
    with pytest.raises(TrialError, match=r"training\.npz: the embedding of 'c2/7' is not finite"):
        Cohort.of(broken, by="utterance")
    zero = embedding_set()
    zero.vectors[5] = 0
    with pytest.raises(TrialError, match=r"all, cohort: the embedding of 'c1/5' is zero"):
        evaluate(voices(), all_pairs(), normalisation=ScoreNormaliser(Cohort.of(zero, by="utterance"), 10))
    other = embedding_set()
    wide = EmbeddingSet(np.ones((60, 9), np.float32), other.keys, other.speakers, other.record)
    with pytest.raises(
        TrialError, match=r"all, cohort: the embeddings have 9 dimensions, those of the trials others"
    ):
        evaluate(voices(), all_pairs(), normalisation=ScoreNormaliser(Cohort.of(wide, by="utterance"), 10))


@pytest.mark.parametrize("noise", [0, 1e-8])
def test_a_cohort_of_one_recording_many_times_is_refused(noise: float) -> None:
    same = embedding_set()
    same.vectors[:] = same.vectors[0] * (1 + noise * np.random.default_rng(0).normal(size=(60, 1)))
    with pytest.raises(
        TrialError, match=r"has the same score with all of the top 10 of the cohort \(32 of 32"
    ):
        evaluate(voices(), all_pairs(), normalisation=ScoreNormaliser(Cohort.of(same, by="utterance"), 10))
    with pytest.raises(TrialError, match="has the same score with all of the cohort"):
        evaluate(voices(), all_pairs(), normalisation=ScoreNormaliser(Cohort.of(same, by="utterance")))


def test_the_cohort_s_vectors_are_not_changed() -> None:
    impostors = cohort()
    before = impostors.vectors.copy()
    for top in (None, 12):
        evaluate(voices(), all_pairs(), normalisation=ScoreNormaliser(impostors, top), replicates=5)
    np.testing.assert_array_equal(impostors.vectors, before)
