from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from voxangle.errors import TrialError
from voxangle.metrics import (
    SortedScores,
    act_dcf,
    bootstrap,
    cllr,
    eer,
    fit_calibration,
    min_dcf,
    paired_difference,
)
from voxangle.metrics.bootstrap import (
    _error_rates,
    _llr_costs,
    _resampled,
    _Sides,
    llr_bootstrap,
    resample,
)
from voxangle.metrics.weighted_rates import WeightedTrials

Population = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]


def all_pairs(speakers: int, recordings: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The speakers of both sides of every pair of utterances."""
    speaker = np.repeat(np.arange(speakers), recordings)
    first, second = np.triu_indices(speaker.size, k=1)
    return speaker[first], speaker[second]


def population(
    generator: np.random.Generator,
    speakers: int,
    recordings: int,
    *,
    distance: float = 2.5,
    voices: float = 0.4,
) -> Population:
    """Scores in which voices differ: some are hard to recognise, some are easily taken for others."""
    enrol, test = all_pairs(speakers, recordings)
    target = enrol == test
    hardness, lambness = generator.normal(0, voices, (2, speakers))
    scores = generator.normal(0, 0.6, target.size)
    scores += np.where(target, distance - hardness[enrol], lambness[enrol] + lambness[test])
    return scores, target, enrol, test


def true_rates(prior: float, *, distance: float = 2.5, voices: float = 0.4) -> tuple[float, float]:
    """EER and minDCF of such a population, both of whose classes are normal; the prior at most 0.5."""
    of_targets = NormalDist(distance, np.sqrt(voices**2 + 0.6**2))
    of_nontargets = NormalDist(0, np.sqrt(2 * voices**2 + 0.6**2))
    cost = min(
        of_targets.cdf(t) + (1 - prior) / prior * (1 - of_nontargets.cdf(t)) for t in np.linspace(0, 4, 1001)
    )
    return NormalDist().cdf(-distance / (of_targets.stdev + of_nontargets.stdev)), cost


def sparse(
    generator: np.random.Generator, speakers: int, recordings: int, nontargets: int, **options: float
) -> Population:
    """Such a population, of whose non-target trials a list holds but some."""
    trials = population(generator, speakers, recordings, **options)
    target = trials[1]
    kept = np.concatenate(
        [np.flatnonzero(target), generator.permutation(np.flatnonzero(~target))[:nontargets]]
    )
    scores, target, enrol, test = (of_trial[kept] for of_trial in trials)
    return scores, target, enrol, test


def with_sessions(
    generator: np.random.Generator,
) -> tuple[Population, dict[str, NDArray[np.int64]]]:
    """Speakers of one to four sessions, with a wrong label and ties."""
    sessions_of = [1, 2, 4, 3, 2]
    sides = generator.integers(5, size=(2, 400))
    sides[1, :200] = sides[0, :200]
    session = np.array([[generator.integers(sessions_of[s]) for s in side] for side in sides])
    target = sides[0] == sides[1]
    target[:3] = False  # wrong labels
    scores = np.round(generator.normal(target, 1.0), 1)
    return (scores, target, sides[0], sides[1]), {
        "enrol_session": session[0],
        "test_session": session[1],
    }


def naive_rates(
    scores: NDArray[np.float64], target: NDArray[np.bool_], weights: NDArray[np.float64], priors: list[float]
) -> list[float]:
    """EER and minDCFs of weighted trials, one threshold after another."""
    of_targets, of_nontargets = weights[target].sum(), weights[~target].sum()
    if not of_targets or not of_nontargets:
        return [np.nan] * (1 + len(priors))
    curve = []
    for threshold in [*np.unique(scores), np.inf]:
        missed = weights[target & (scores < threshold)].sum() / of_targets
        alarms = weights[~target & (scores >= threshold)].sum() / of_nontargets
        curve.append((missed, alarms))
    for (m0, a0), (m1, a1) in pairwise(curve):
        if m1 >= a1:
            equal = m0 + (m1 - m0) * (a0 - m0) / ((a0 - m0) - (a1 - m1))
            break
    return [equal, *(min(p * m + (1 - p) * a for m, a in curve) / min(p, 1 - p) for p in priors)]


def rates_of(*trials: Any, **options: Any) -> NDArray[np.float64]:
    """The figures of the list, then of every draw of its speakers."""
    resampled = resample(*trials, **options)
    return np.concatenate([resampled.figures[None], resampled.draws])


def test_weights_count_a_speaker_drawn_twice_as_two_people() -> None:
    # Copying the trials out by hand, and asking for the error rates of the longer list, is the definition.
    scores, target, enrol, test = population(np.random.default_rng(3), speakers=6, recordings=3)
    scores = np.round(scores, 1)  # ties
    rates = rates_of(scores, target, enrol, test, priors=(0.01, 0.3), replicates=30, seed=4)
    (table,) = _Sides.of(target, enrol, test, None, None).draws(30, seed=4)
    for row, drawn in zip(rates[1:], table.T.astype(int), strict=True):
        copies = np.where(target, drawn[enrol], drawn[enrol] * drawn[test])
        copied, is_target = np.repeat(scores, copies), np.repeat(target, copies)
        expected = [
            eer(copied[is_target], copied[~is_target]).rate,
            min_dcf(copied[is_target], copied[~is_target], p_target=0.01).rate,
            min_dcf(copied[is_target], copied[~is_target], p_target=0.3).rate,
        ]
        np.testing.assert_allclose(row, expected, atol=1e-12)


def test_sessions_weigh_as_the_plain_loop_over_trials_has_it() -> None:
    (scores, target, enrol, test), sessions = with_sessions(np.random.default_rng(1))
    rates = rates_of(scores, target, enrol, test, priors=[0.05], replicates=40, seed=2, **sessions)
    (table,) = _Sides.of(target, enrol, test, *sessions.values()).draws(40, seed=2)
    places = sorted(
        {(int(s), int(v)) for s, v in zip(enrol, sessions["enrol_session"], strict=True)}
        | {(int(s), int(v)) for s, v in zip(test, sessions["test_session"], strict=True)}
    )
    for row, column in zip(rates[1:], table.T, strict=True):
        came = dict(zip(places, column[: len(places)], strict=True))
        weights = []
        for a, b, i, j in zip(enrol, test, *sessions.values(), strict=True):
            her_sessions = [n for (speaker, _), n in came.items() if speaker == a]
            m, w = len(her_sessions), sum(her_sessions) / len(her_sessions)
            if a != b or i == j:
                weights.append(came[a, i] * (came[b, j] if a != b else 1))
            else:
                weights.append(came[a, i] * came[b, j] * m / (m * w - 1) if w else 0)
        expected = naive_rates(scores, target, np.array(weights), [0.05])
        np.testing.assert_allclose(row, expected, atol=1e-12)


def test_trials_within_a_speaker_weigh_as_often_as_she_is_drawn_on_average() -> None:
    (_, target, enrol, test), sessions = with_sessions(np.random.default_rng(1))
    sides = _Sides.of(target, enrol, test, *sessions.values())
    weights = np.concatenate([t[sides.left] * t[sides.right] for t in sides.draws(4000, 0)], axis=1)
    within = enrol == test
    across = within & (sessions["enrol_session"] != sessions["test_session"])
    assert across.any()
    assert (within & ~across).any()
    np.testing.assert_allclose(weights[within].mean(axis=1), 1, atol=0.12)


def test_sessions_change_nothing_where_each_speaker_has_one() -> None:
    scores, target, enrol, test = population(np.random.default_rng(0), 8, 3)
    same = rates_of(scores, target, enrol, test, replicates=20)
    by_session = rates_of(
        scores, target, enrol, test, replicates=20, enrol_session=enrol * 0, test_session=test * 0
    )
    np.testing.assert_array_equal(same, by_session)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40))
def test_weights_of_one_give_the_plain_error_rates(trials: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in trials], dtype=float)
    target = np.array([is_target for _, is_target in trials])
    if target.all() or not target.any():
        return
    none = np.zeros(target.size, np.int64)
    ((rate, cost),) = WeightedTrials(scores, target, none, none).rates(np.ones((1, 1)), (0.05,))
    assert rate == pytest.approx(eer(scores[target], scores[~target]).rate, abs=1e-12)
    assert cost == pytest.approx(min_dcf(scores[target], scores[~target], p_target=0.05).rate, abs=1e-12)


@pytest.mark.parametrize("decimals", [0, 2, 8])
def test_blocks_of_trials_and_ties_across_them_leave_no_trace(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    target = generator.random(600) < 0.3
    scores = np.round(generator.normal(2.0 * target, 1.0), decimals)
    left, right = generator.integers(7, size=(2, 600))
    tables = generator.integers(4, size=(7, 3)).astype(float), generator.random((7, 3))
    for table, added, sign in (
        (tables[0], None, 1),
        (tables[1], None, 1),
        (*tables, 1),
        (tables[0] + 1, tables[1], -1),
    ):
        rates = WeightedTrials(scores, target, left, right).rates(table, (0.01, 0.9), added, sign)
        weights = table[left] * table[right] + (0 if added is None else sign * added[left] * added[right])
        expected = [naive_rates(scores, target, column, [0.01, 0.9]) for column in weights.T]
        np.testing.assert_allclose(rates, expected, atol=1e-12)


def test_rates_that_are_equal_between_two_blocks_are_found_whatever_rounding_makes_of_it() -> None:
    # Each block has half of both classes, in pairs of one weight; the first pair of each weighs nothing.
    generator = np.random.default_rng(0)
    place = np.arange(512)
    left, right = place // 2 % 8, np.where(place % 256 < 2, 9, 8)
    table, added = (
        generator.choice(values, size=(10, 400))
        for values in ([1 / 3, 0.7977, 1.5, 4 / 3], [-0.31, 0.0, 0.3])
    )
    table[9] = added[9] = 0
    rates = WeightedTrials(place, place % 2 == 0, left, right).rates(table, (), added, -1)
    np.testing.assert_allclose(rates, 0.5, atol=1e-12)


def test_speakers_are_drawn_with_replacement_and_as_many_as_there_are() -> None:
    enrol, test = all_pairs(5, 2)
    tables = list(_Sides.of(enrol == test, enrol, test, None, None).draws(2000, seed=0))
    drawn = np.concatenate(tables, axis=1)[:5]
    assert (drawn.sum(axis=0) == 5).all()
    np.testing.assert_allclose(np.mean(drawn == 0, axis=1), (1 - 1 / 5) ** 5, atol=0.04)


def test_the_draws_are_those_of_the_speakers_whatever_the_list_the_sessions_and_the_number() -> None:
    enrol, test = all_pairs(6, 3)
    sides = _Sides.of(enrol == test, enrol, test, None, None)
    other = _Sides.of([True, False, False, False], [0, 1, 2, 4], [0, 3, 5, 0], None, None)
    by_session = _Sides.of(enrol == test, enrol, test, np.arange(enrol.size) % 3, np.arange(enrol.size) % 2)
    drawn = np.concatenate(list(sides.draws(300, seed=5)), axis=1)[:6]
    np.testing.assert_array_equal(np.concatenate(list(other.draws(300, 5)), axis=1)[:6], drawn)
    np.testing.assert_array_equal(np.concatenate(list(sides.draws(140, 5)), axis=1)[:6], drawn[:, :140])
    units = np.concatenate(list(by_session.draws(300, 5)), axis=1)[: by_session.speaker.size]
    came = np.stack([units[by_session.speaker == s].sum(axis=0) for s in range(6)])
    np.testing.assert_array_equal(came, drawn * by_session.sessions[:, None])


def test_the_first_row_is_the_list_itself() -> None:
    scores, target, enrol, test = population(np.random.default_rng(0), 10, 3)
    rates = rates_of(scores, target, enrol, test, priors=[0.2], replicates=7)
    assert rates.shape == (8, 2)
    own, others = scores[target], scores[~target]
    assert rates[0] == pytest.approx([eer(own, others).rate, min_dcf(own, others, p_target=0.2).rate])


@pytest.mark.parametrize("by_session", [False, True])
def test_the_noise_of_pairs_doubles_the_surplus_scatter_of_non_target_trials(by_session: bool) -> None:
    generator = np.random.default_rng(0)
    enrol, test = all_pairs(12, 3)
    target = enrol == test
    sessions = list(generator.integers(3, size=(2, enrol.size))) if by_session else [None, None]
    sides = _Sides.of(target, enrol, test, *sessions)
    plain, noisy = [], []
    random = np.random.default_rng(1)
    for table in sides.draws(4000, 0):
        added = sides.pair_noise(table, random)
        product = table[sides.left] * table[sides.right]
        noise = added[sides.left] * added[sides.right]
        assert (np.abs(noise) <= product).all()
        assert not noise[target].any()
        plain.append(product[~target])
        noisy.append(product[~target] + noise[~target])
    weights, more = np.concatenate(plain, axis=1), np.concatenate(noisy, axis=1)
    assert more.mean() == pytest.approx(weights.mean(), rel=0.04)
    surplus = weights.var(axis=1).mean() - 1
    assert more.var(axis=1).mean() == pytest.approx(1 + 2 * surplus, rel=0.08)


def test_only_what_belongs_to_pairs_of_speakers_is_taken_off_a_difference() -> None:
    # The mean cost of non-target trials is linear, so that the theory is exact: what each trial has of its own
    # scatters three times too much, what a speaker brings to all her trials does not.
    generator = np.random.default_rng(0)
    enrol, test = all_pairs(60, 2)
    target = enrol == test
    own, voice = generator.normal(size=target.size), generator.normal(size=60)
    sides = _Sides.of(target, enrol, test, None, None)

    def share(llrs: NDArray[np.float64]) -> float:
        resampled = [_resampled(_llr_costs(sides, each, []), sides, 1000, 0) for each in (llrs, 0 * llrs)]
        return float((resampled[0] - resampled[1])._share_of_variance()[0])

    flat = np.where(target, 0.0, 0.2)
    assert share(flat * own) == pytest.approx(1 / 3, abs=0.1)
    assert share(flat * (voice[enrol] + voice[test])) == pytest.approx(1, abs=0.1)


def test_costs_of_log_likelihood_ratios_are_those_of_the_weighted_trials() -> None:
    (scores, target, enrol, test), sessions = with_sessions(np.random.default_rng(4))
    llrs = 2 * scores - 1
    sides = _Sides.of(target, enrol, test, *sessions.values())
    figures = _llr_costs(sides, llrs, (0.01, 0.7))
    own, others = llrs[target], llrs[~target]
    expected = [cllr(own, others), *(act_dcf(own, others, p_target=p) for p in (0.01, 0.7))]
    np.testing.assert_allclose(figures(sides.once())[0], expected, atol=1e-12)
    (table,) = sides.draws(10, 0)
    added = sides.pair_noise(table, np.random.default_rng(0))
    for more, sign in ((0 * added, 1), (added, 1), (added, -1)):
        for column, row in enumerate(figures(table, more, sign)):
            weights = table[sides.left, column] * table[sides.right, column]
            weights = weights + sign * more[sides.left, column] * more[sides.right, column]
            bits = np.log1p(np.exp(np.where(target, -llrs, llrs))) / np.log(2)
            classes = [(bits[c], weights[c]) for c in (target, ~target)]
            assert row[0] == pytest.approx(sum(np.average(b, weights=w) for b, w in classes) / 2)
            for prior, cost in zip((0.01, 0.7), row[1:], strict=True):
                accepted = llrs >= np.log((1 - prior) / prior)
                missed = np.average(~accepted[target], weights=weights[target])
                alarms = np.average(accepted[~target], weights=weights[~target])
                assert cost == pytest.approx((prior * missed + (1 - prior) * alarms) / min(prior, 1 - prior))


def test_intervals_of_log_likelihood_ratios_rest_on_the_draws_of_the_error_rates() -> None:
    # Well calibrated, so that the actual cost is near the minimum, and so are the intervals.
    scores, target, enrol, test = population(np.random.default_rng(0), 40, 4)
    scale, offset = fit_calibration(SortedScores.of(scores[target], scores[~target]), prior=0.3)
    llrs = scale * scores + offset
    costs = llr_bootstrap(llrs, target, enrol, test, priors=[0.3], replicates=200)
    rates = bootstrap(llrs, target, enrol, test, priors=[0.3], replicates=200)
    assert costs.act_dcf[0].low == pytest.approx(rates.min_dcf[0].low, abs=0.02)
    assert costs.act_dcf[0].high == pytest.approx(rates.min_dcf[0].high, abs=0.02)
    own = cllr(llrs[target], llrs[~target])
    assert costs.cllr.low < own < costs.cllr.high
    assert (costs.speakers, costs.replicates, costs.discarded) == (40, 200, 0)


def test_one_seed_gives_one_interval_and_another_seed_another() -> None:
    data = population(np.random.default_rng(0), 10, 3)
    assert bootstrap(*data, replicates=50, seed=7) == bootstrap(*data, replicates=50, seed=7)
    assert bootstrap(*data, replicates=50, seed=7) != bootstrap(*data, replicates=50, seed=8)


def test_the_order_and_the_names_of_trials_and_speakers_are_immaterial() -> None:
    scores, target, enrol, test = population(np.random.default_rng(0), 10, 3)
    order = np.random.default_rng(1).permutation(scores.size)
    names = np.array([f"speaker-{i}" for i in range(10)])
    plain = bootstrap(scores, target, enrol, test, replicates=50)
    shuffled = bootstrap(scores[order], target[order], enrol[order], test[order], replicates=50)
    assert shuffled.eer.low == pytest.approx(plain.eer.low, abs=1e-12)
    assert shuffled.min_dcf[0].high == pytest.approx(plain.min_dcf[0].high, abs=1e-12)
    assert bootstrap(scores, target, names[enrol], names[test], replicates=50) == plain


def test_the_interval_says_how_many_speakers_it_rests_on_and_what_was_left_out() -> None:
    # With two speakers, half of the draws hold one of them twice and no non-target trial.
    scores, target, enrol, test = population(np.random.default_rng(0), 2, 4)
    result = bootstrap(scores, target, enrol, test, replicates=400)
    assert result.speakers == 2
    assert result.replicates + result.discarded == 400
    assert 140 < result.discarded < 260


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth, true_cost = true_rates(0.05)
    generator = np.random.default_rng(11)
    held: Counter[str] = Counter()
    lists = 120
    for seed in range(lists):
        scores, target, enrol, test = sparse(generator, 60, 9, nontargets=2400)
        result = bootstrap(scores, target, enrol, test, priors=(0.05,), replicates=200, seed=seed)
        held["eer"] += result.eer.low <= truth <= result.eer.high
        held["cost"] += result.min_dcf[0].low <= true_cost <= result.min_dcf[0].high
        # As if trials were independent: the interval is far too narrow.
        error, trials = eer(scores[target], scores[~target]).rate, int(target.sum())
        held["eer by trials"] += abs(error - truth) <= 1.96 * np.sqrt(error * (1 - error) / trials)
    # Of 120 lists at 95 %, 106 or more hold the truth in all but three cases of a thousand.
    assert held["eer"] >= 106
    assert held["cost"] >= 100  # few errors make it, and a minimum of so few is optimistic
    assert held["eer by trials"] < 98


def test_what_is_peculiar_to_pairs_of_speakers_makes_no_interval_too_wide() -> None:
    # Voices so alike that chance in single trials is most of the scatter, which products of weights count three times.
    # Intervals at 80 % show too much and too little in few lists.
    nature = {"distance": 1.5, "voices": 0.1}
    truth = true_rates(0.2, **nature)
    generator = np.random.default_rng(1)
    lists = 80
    held: Counter[str] = Counter()
    for seed in range(lists):
        trials = sparse(generator, 40, 8, nontargets=800, **nature)
        ours = resample(*trials, priors=(0.2,), replicates=120, seed=seed)
        surplus = replace(ours, noisy=ours.noisy[:, :0])
        for name, resampled in (("ours", ours), ("with the surplus", surplus)):
            ends = resampled.intervals(0.8)
            held[name] += sum(one.low <= true <= one.high for one, true in zip(ends, truth, strict=True))
    assert 0.68 <= held["ours"] / (2 * lists) <= 0.81
    assert held["with the surplus"] / (2 * lists) > 0.81


def test_two_systems_that_err_alike_are_rarely_called_different() -> None:
    generator = np.random.default_rng(5)
    called, lists = 0, 60
    for seed in range(lists):
        scores, target, enrol, test = sparse(generator, 30, 6, nontargets=800)
        first, second = scores + generator.normal(0, 0.3, (2, scores.size))
        result = paired_difference(first, second, target, enrol, test, priors=(), replicates=120, seed=seed)
        called += result.p_value < 0.05
    # Of 60 at 5 %, 8 or fewer in all but one case of a hundred.
    assert called <= 8


def test_the_interval_widens_with_the_level_and_narrows_with_the_speakers() -> None:
    def width(speakers: int, level: float) -> float:
        data = population(np.random.default_rng(5), speakers, 4)
        interval = bootstrap(*data, replicates=200, level=level).eer
        return interval.high - interval.low

    assert width(20, 0.99) > width(20, 0.8)
    assert width(80, 0.95) < width(10, 0.95)


def test_a_system_does_not_differ_from_itself() -> None:
    scores, target, enrol, test = population(np.random.default_rng(0), 10, 3)
    result = paired_difference(scores, 2 * scores + 1, target, enrol, test, replicates=50)
    assert result.eer == 0
    assert (result.eer_interval.low, result.eer_interval.high) == (0, 0)
    assert result.first_better == 0.5
    assert (result.p_value, result.p_values) == (1, (1, 1))


def test_pairing_shows_a_small_difference_that_two_separate_intervals_hide() -> None:
    generator = np.random.default_rng(0)
    scores, target, enrol, test = population(generator, 40, 4)
    noisier = scores + generator.normal(0, 0.35, scores.size)
    better, worse = (bootstrap(s, target, enrol, test, replicates=300).eer for s in (scores, noisier))
    assert better.high > worse.low
    result = paired_difference(scores, noisier, target, enrol, test, replicates=300)
    expected = eer(scores[target], scores[~target]).rate - eer(noisier[target], noisier[~target]).rate
    assert result.eer == pytest.approx(expected, abs=1e-12)
    assert result.eer_interval.high < 0
    assert result.p_value < 0.05
    assert result.first_better > 0.97
    swapped = paired_difference(noisier, scores, target, enrol, test, replicates=300)
    assert swapped.eer == -result.eer
    assert swapped.eer_interval.low == pytest.approx(-result.eer_interval.high)
    assert swapped.p_value == pytest.approx(result.p_value)


def test_a_label_that_contradicts_the_speakers_is_named() -> None:
    with pytest.raises(TrialError, match=r"trial 2: it is target, but of two speakers \('ann', 'bob'\)"):
        bootstrap([1.0, 2.0], [False, True], ["ann", "ann"], ["bob", "bob"])


def test_a_non_target_trial_within_a_speaker_comes_with_that_speaker() -> None:
    target = [True, True, False, False]
    sides = _Sides.of(target, ["ann", "bob", "ann", "ann"], ["ann", "bob", "ann", "bob"], None, None)
    # With ann drawn twice her wrong label stands twice, not four times: accepting all but 0.1 has FPR 2 / 4.
    table = np.array([[2.0], [1.0], [2.0], [1.0], [1.0]])
    assert _error_rates(sides, [0.5, 0.9, 0.7, 0.1], [0.5])(table)[0, 1] == pytest.approx(0.5)


def test_a_list_of_one_class_has_no_interval() -> None:
    with pytest.raises(TrialError, match="both target and non-target"):
        bootstrap([1.0, 2.0], [True, True], ["a", "b"], ["a", "b"])


def test_scores_and_trials_must_agree() -> None:
    sides = [True, False], ["a", "a"], ["a", "b"]
    with pytest.raises(ValueError, match="2 trials, but scores of shape"):
        bootstrap([1.0], *sides)
    with pytest.raises(ValueError, match="2 trials, but speakers of shape"):
        bootstrap([1.0, 2.0], [True, False], ["a"], ["a"])
    with pytest.raises(ValueError, match="2 trials, but log-likelihood ratios of shape"):
        llr_bootstrap([1.0], *sides)
    with pytest.raises(ValueError, match="both sides or for neither"):
        bootstrap([1.0, 2.0], *sides, enrol_session=[0, 0])
    with pytest.raises(TrialError, match="NaN"):
        bootstrap([1.0, np.nan], *sides)
    with pytest.raises(TrialError, match="NaN or infinite"):
        llr_bootstrap([1.0, np.inf], *sides)


def test_weights_too_large_for_single_precision_are_counted_exactly() -> None:
    target = np.arange(600) % 2 == 0
    scores = np.random.default_rng(0).normal(target, 1.0)
    rows = np.arange(600) % 3
    table = np.array([[4001.0], [2999.0], [3001.0]])
    (rates,) = WeightedTrials(scores, target, rows, rows).rates(table, (0.01,))
    expected = naive_rates(scores, target, table[rows, 0] ** 2, [0.01])
    np.testing.assert_allclose(rates, expected, rtol=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_no_interval_leaves_what_a_rate_can_be(seed: int) -> None:
    # Few speakers and few errors: Student's distribution alone would reach below 0.
    scores, target, enrol, test = population(np.random.default_rng(seed), speakers=5, recordings=4)
    resampled = resample(scores, target, enrol, test, replicates=200)
    free = resampled.intervals(0.95)
    assert resampled.intervals(0.95, least=free[0].high)[0].low == free[0].high
    found = bootstrap(scores, target, enrol, test, replicates=200)
    for ends in (found.eer, *found.min_dcf):
        assert 0 <= ends.low <= ends.high <= 1
    costs = llr_bootstrap(4 * scores - 5, target, enrol, test, replicates=200)
    for ends in (costs.cllr, *costs.act_dcf):
        assert 0 <= ends.low <= ends.high
