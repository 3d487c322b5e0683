"""The two-covariance model: against Gaussians written out whole, the analysis of variance, and SpeechBrain."""

from __future__ import annotations

import importlib.util
import types
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from voxangle.errors import TrialError
from voxangle.scoring.two_covariance import SpeakerStatistics, TwoCovariance


def covariance(random: np.random.Generator, dimensions: int, rank: int | None = None) -> NDArray[np.float64]:
    root = random.normal(size=(dimensions, dimensions if rank is None else rank))
    return root @ root.T


def model(seed: int = 0, dimensions: int = 5, rank: int | None = None) -> TwoCovariance:
    random = np.random.default_rng(seed)
    return TwoCovariance(
        random.normal(size=dimensions),
        covariance(random, dimensions, rank),
        covariance(random, dimensions) + 0.1 * np.eye(dimensions),
    )


def drawn(
    truth: TwoCovariance, counts: list[int], seed: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    speakers = random.multivariate_normal(truth.mean, truth.between, len(counts))
    vectors = speakers[labels] + random.multivariate_normal(0 * truth.mean, truth.within, len(labels))
    order = random.permutation(len(labels))
    return vectors[order], labels[order]


def log_density(truth: TwoCovariance, utterances: NDArray[np.float64]) -> float:
    """Of one speaker's n utterances: one Gaussian of n times as many dimensions."""
    n = len(utterances)
    joint = np.kron(np.ones((n, n)), truth.between) + np.kron(np.eye(n), truth.within)
    return float(multivariate_normal(np.tile(truth.mean, n), joint).logpdf(utterances.ravel()))


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_scores_are_ratios_of_whole_gaussian_densities(count: int, rank: int | None) -> None:
    truth = model(rank=rank)
    random = np.random.default_rng(3)
    for _ in range(5):
        enrolled = random.normal(0, 3, (count, 5))
        tested = random.normal(0, 3, (4, 5))
        sides = truth.sides(enrolled.sum(axis=0)[None], np.array([count]), tested)
        expected = [
            log_density(truth, np.vstack([enrolled, one]))
            - log_density(truth, enrolled)
            - log_density(truth, one[None])
            for one in tested
        ]
        np.testing.assert_allclose(sides.enrol @ sides.test.T, [expected], rtol=1e-9, atol=1e-9)


def test_of_one_utterance_a_side_the_score_is_blind_to_the_side() -> None:
    x = np.random.default_rng(0).normal(size=(6, 5))
    sides = model().sides(x, np.ones(6, np.int64), x)
    scores = sides.enrol @ sides.test.T
    np.testing.assert_allclose(scores, scores.T, atol=1e-10)


def test_the_coordinates_make_both_covariances_diagonal() -> None:
    truth = model(4)
    np.testing.assert_allclose(truth.axes @ truth.within @ truth.axes.T, np.eye(5), atol=1e-10)
    np.testing.assert_allclose(truth.axes @ truth.between @ truth.axes.T, np.diag(truth.ratios), atol=1e-9)
    np.testing.assert_allclose(truth.back @ truth.axes, np.eye(5), atol=1e-10)
    assert (np.diff(truth.ratios) <= 0).all()


def test_the_likelihood_of_data_is_that_of_each_speaker_s_whole_gaussian() -> None:
    truth, other = model(), model(9)
    x, labels = drawn(truth, [1, 2, 3, 5])
    for one in (truth, other):
        expected = sum(log_density(one, x[labels == speaker]) for speaker in range(4)) / len(x)
        assert one.log_likelihood(SpeakerStatistics.of(x, labels)) == pytest.approx(expected, rel=1e-10)


def test_statistics_are_those_of_a_loop() -> None:
    x, labels = drawn(model(), [3, 1, 4])
    data = SpeakerStatistics.of(x.copy(), labels)
    scatter = np.zeros((5, 5))
    for speaker in range(3):
        own = x[labels == speaker]
        np.testing.assert_allclose(data.means[speaker], own.mean(axis=0))
        scatter += sum(np.outer(one - own.mean(axis=0), one - own.mean(axis=0)) for one in own)
    np.testing.assert_allclose(data.scatter, scatter, atol=1e-10)
    assert data.counts.tolist() == [3, 1, 4]


def test_no_iteration_makes_the_data_less_likely() -> None:
    x, labels = drawn(model(2), [1, 2, 3, 4, 9] * 8)
    data = SpeakerStatistics.of(x, labels)
    fit = TwoCovariance.fit(data, iterations=50, tolerance=-1)
    assert len(fit.log_likelihoods) == 51
    assert (np.diff(fit.log_likelihoods) > -1e-12).all()
    best = fit.model.log_likelihood(data)
    for name in ("mean", "between", "within"):
        for factor in (0.97, 1.03):
            parts = {one: getattr(fit.model, one) for one in ("mean", "between", "within")}
            assert TwoCovariance(**parts | {name: factor * parts[name]}).log_likelihood(data) < best


def test_an_iteration_is_the_expectation_written_out_for_each_speaker() -> None:
    x, labels = drawn(model(2), [1, 2, 3, 6])
    start = model(5)
    data = SpeakerStatistics.of(x.copy(), labels)
    step = start.improved(data)
    means, covariances = [], []
    for speaker in range(4):
        own = x[labels == speaker]
        precision = np.linalg.inv(start.between) + len(own) * np.linalg.inv(start.within)
        covariances.append(np.linalg.inv(precision))
        natural = np.linalg.solve(start.between, start.mean) + np.linalg.solve(start.within, own.sum(axis=0))
        means.append(covariances[-1] @ natural)
    mean = np.mean(means, axis=0)
    between = np.mean(
        [np.outer(y - mean, y - mean) + c for y, c in zip(means, covariances, strict=True)], axis=0
    )
    within = np.mean(
        [np.outer(one - means[s], one - means[s]) + covariances[s] for one, s in zip(x, labels, strict=True)],
        axis=0,
    )
    np.testing.assert_allclose(step.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(step.between, between, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(step.within, within, rtol=1e-9, atol=1e-12)


def test_of_equally_many_utterances_the_most_likely_model_is_that_of_the_analysis_of_variance() -> None:
    truth = model(6)
    x, labels = drawn(TwoCovariance(truth.mean, truth.between + np.eye(5), truth.within), [6] * 60)
    data = SpeakerStatistics.of(x, labels)
    within = data.scatter / (60 * 5)
    around = data.means - data.means.mean(axis=0)
    fit = TwoCovariance.fit(data, iterations=500, tolerance=1e-13).model
    np.testing.assert_allclose(fit.mean, data.means.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(fit.within, within, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fit.between, around.T @ around / 60 - within / 6, rtol=1e-3, atol=1e-3)


def test_the_model_that_made_the_data_is_found() -> None:
    truth = model(7, dimensions=3)
    x, labels = drawn(truth, [4, 8, 12] * 1000)
    fit = TwoCovariance.fit(SpeakerStatistics.of(x, labels)).model
    np.testing.assert_allclose(fit.within, truth.within, rtol=0.1, atol=0.05 * np.trace(truth.within))
    np.testing.assert_allclose(fit.between, truth.between, rtol=0.15, atol=0.05 * np.trace(truth.between))


def test_too_few_utterances_and_dimensions_that_never_vary_are_refused() -> None:
    x, labels = drawn(model(), [2, 2, 2])
    with pytest.raises(TrialError, match=r"6 utterances of 3 speakers do not tell how 5 dimensions vary"):
        TwoCovariance.fit(SpeakerStatistics.of(x, labels))
    x, labels = drawn(model(), [5, 5, 5])
    x[:, 2] = 1.0
    with pytest.raises(TrialError, match="vary in fewer dimensions than they have"):
        TwoCovariance.fit(SpeakerStatistics.of(x, labels))


@pytest.fixture(scope="module")
def speechbrain() -> types.ModuleType:
    """Its PLDA, a file that needs nothing else of it."""
    path = Path(__file__).resolve().parents[2] / ".oracles/speechbrain/processing/PLDA_LDA.py"
    spec = importlib.util.spec_from_file_location("speechbrain_plda", path)
    if not path.exists() or spec is None or spec.loader is None:
        pytest.skip("no oracles here: make oracles")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def statistics(toolkit: types.ModuleType, vectors: NDArray[np.float64], names: list[str]) -> object:
    """Vectors in SpeechBrain's form; it sorts by name."""
    return toolkit.StatObject_SB(
        modelset=np.array(names, dtype=object),
        segset=np.array([f"{name}-{row:04d}" for row, name in enumerate(names)], dtype=object),
        start=np.array([None] * len(names)),
        stop=np.array([None] * len(names)),
        stat0=np.ones((len(names), 1)),
        stat1=vectors.copy(),
    )


def test_scores_are_those_of_speechbrain(speechbrain: types.ModuleType) -> None:
    truth = model()
    x = np.random.default_rng(2).normal(0, 3, (30, 5))
    enrolled, tested = (
        statistics(speechbrain, rows, [f"{side}{i:02d}" for i in range(len(rows))])
        for side, rows in (("e", x[:12]), ("t", x[12:]))
    )
    asked = speechbrain.Ndx(models=enrolled.modelset, testsegs=tested.segset)
    theirs = speechbrain.fast_PLDA_scoring(
        enrolled, tested, asked, truth.mean, np.linalg.cholesky(truth.between), truth.within
    )
    sides = truth.sides(x[:12], np.ones(12, np.int64), x[12:])
    np.testing.assert_allclose(sides.enrol @ sides.test.T, theirs.scoremat, rtol=1e-9, atol=1e-9)


def test_the_model_is_as_likely_as_the_one_that_speechbrain_learns(speechbrain: types.ModuleType) -> None:
    x, labels = drawn(model(3), [2, 5, 9] * 40)
    theirs = speechbrain.PLDA(rank_f=5, nb_iter=20)
    theirs.plda(statistics(speechbrain, x, [f"s{label:03d}" for label in labels]))
    data = SpeakerStatistics.of(x, labels)
    of_theirs = TwoCovariance(theirs.mean, theirs.F @ theirs.F.T, theirs.Sigma).log_likelihood(data)
    ours = TwoCovariance.fit(data).log_likelihoods[-1]
    # Theirs keeps the mean of all utterances, where the most likely one is that of speakers.
    assert of_theirs <= ours <= of_theirs + 0.01
