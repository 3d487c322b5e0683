"""The open set: what the formulas promise, checked against themselves written out and against chance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.voiceprints.toys import DIMENSION, FIT, MODEL, OTHER, measures, recording, vector
from voxangle.errors import EnrolmentError, OtherModelError, VoiceprintError
from voxangle.runtime.card import Calibration, Threshold
from voxangle.runtime.decision import BayesRule
from voxangle.voiceprints import (
    EnrolmentRules,
    Entry,
    Found,
    Model,
    Neighbour,
    Recording,
    Reference,
    VoiceprintStore,
    check_recordings,
    enrol,
    identify,
    verify,
)
from voxangle.voiceprints.enrolment import cosine
from voxangle.voiceprints.sqlite_store import SqliteStore


def embedder(calibration: Calibration | None = FIT, model: Model = MODEL, thresholds: Any = ()) -> Any:
    """Only what says of an embedder which model it is."""
    card = SimpleNamespace(name=model.name, calibration=calibration, thresholds=thresholds)
    return SimpleNamespace(card=card, weights_sha256=model.id, dimension=model.dimension)


class Prints:
    """A store that has found prints with given scores, of so many enrolled."""

    def __init__(self, scores: list[float], enrolled: int | None = None) -> None:
        self.found = Found(
            tuple(
                Neighbour(Entry(str(i), f"p{i}", MODEL, None, 1, measures(), None, None), score)
                for i, score in enumerate(scores)
            ),
            len(scores) if enrolled is None else enrolled,
            0,
        )
        self.notes: list[dict[str, Any]] = []

    def search(self, *_: object, **__: object) -> Found:
        return self.found

    def note(self, action: str, **detail: Any) -> None:
        self.notes.append({"action": action, **detail})


def identified(
    scores: list[float], enrolled: int | None = None, fit: Calibration | None = FIT, **asked: Any
) -> Any:
    return identify(Prints(scores, enrolled), embedder(fit), recording(0), actor="me", **asked)


@given(
    scores=st.lists(st.floats(-1, 1), min_size=1, max_size=20),
    more=st.integers(0, 10_000),
    prior=st.floats(0.001, 0.999),
)
def test_probabilities_are_those_of_bayes_rule_over_everybody_and_nobody(
    scores: list[float], more: int, prior: float
) -> None:
    scores = sorted(scores, reverse=True)
    enrolled = len(scores) + more
    found = identified(scores, enrolled, rule=BayesRule(prior=prior), top=100)
    ratios = [FIT.scale * score + FIT.offset for score in scores]
    weights = [prior / enrolled * math.exp(ratio) for ratio in ratios]
    whole = 1 - prior + sum(weights)
    assert found.nobody == pytest.approx((1 - prior) / whole)
    for one, ratio, weight in zip(found.candidates, ratios, weights, strict=True):
        assert one.log_likelihood_ratio == pytest.approx(ratio)
        assert one.probability == pytest.approx(weight / whole)


@pytest.mark.parametrize("enrolled", [1, 10, 1000])
def test_the_threshold_is_where_naming_somebody_costs_as_much_as_naming_nobody(enrolled: int) -> None:
    rule = BayesRule(prior=0.2, c_miss=2, c_fa=30)
    limit = identified([0.0], enrolled, rule=rule).threshold
    score = (limit - FIT.offset) / FIT.scale
    found = identified([score], enrolled, rule=rule)
    (one,) = found.candidates
    # Nobody else sounds like this at all: the cost of a false name, and that of missing whom it is.
    assert rule.c_fa * found.nobody == pytest.approx(rule.c_miss * one.probability)
    assert identified([score + 1e-6], enrolled, rule=rule).who is not None
    assert identified([score - 1e-6], enrolled, rule=rule).who is None
    assert limit == pytest.approx(rule.threshold + math.log(enrolled))


def test_a_stranger_is_named_as_rarely_as_promised_however_many_are_enrolled() -> None:
    # Ratios of strangers under a calibrated model: normal with mean -v/2 and variance v, for which E[exp] is 1.
    random = np.random.default_rng(0)
    rule = BayesRule(prior=0.05)
    fit = Calibration(scale=1.0, offset=0.0, source="itself")
    for enrolled in (1, 20, 400):
        best = random.normal(-3.0, math.sqrt(6.0), (20_000, enrolled)).max(axis=1)
        limit = identified([0.0], enrolled, fit=fit, rule=rule).threshold
        assert np.mean(best >= limit) <= math.exp(-rule.threshold)
        if enrolled > 1:  # as it would be with the threshold of a verification
            assert np.mean(best >= rule.threshold) > 3 * np.mean(best >= limit)


def test_measures_of_quality_may_change_the_order() -> None:
    fit = Calibration(scale=1.0, offset=0.0, source="x", weights={"speech": 1.0})
    prints = Prints([0.5, 0.4])
    short, long = prints.found.neighbours
    short = short._replace(entry=Entry("0", "short", MODEL, None, 1, measures(1.0), None, None))
    prints.found = prints.found._replace(neighbours=(short, long))
    found = identify(prints, embedder(fit), recording(0), actor="me")
    assert [one.entry.name for one in found.candidates] == ["p1", "short"]


def test_two_above_the_threshold_are_told_of() -> None:
    assert identified([0.9, 0.2]).notes == ()
    (note,) = identified([0.9, 0.89]).notes
    assert note.startswith("2 candidates are above the threshold")
    for top in (0, 101):
        with pytest.raises(VoiceprintError, match="from 1 to 100"):
            identified([0.9], top=top)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VoiceprintStore]:
    with SqliteStore(tmp_path / "prints.sqlite") as opened:
        yield opened


def test_a_claim_is_judged_by_the_print_and_leaves_a_line(store: VoiceprintStore) -> None:
    with_speech = Calibration(scale=20.0, offset=-10.0, source="x", weights={"speech": 2.0})
    store.enrol("ada", MODEL, [recording(1, 0, 3.0), recording(1, 1, 4.0)], actor="me")
    probe = Recording(vector(1, 2), measures(5.0))
    found = verify(store, embedder(with_speech), "ada", probe, actor="door")
    # Seven seconds were enrolled, so that the five of the claim are the fewer.
    assert found.log_likelihood_ratio == pytest.approx(20 * found.score - 10 + 2 * math.log(5))
    mean = np.mean([vector(1, 0), vector(1, 1)], axis=0)
    assert found.score == pytest.approx(
        float(mean @ probe.vector / np.linalg.norm(mean) / np.linalg.norm(probe.vector))
    )
    assert found.decision.same_voice
    wrong = verify(store, embedder(), "ada", recording(4), actor="door")
    assert not wrong.decision.same_voice
    assert [(one.actor, one.action, one.detail) for one in store.audit(limit=2)] == [
        ("door", "verify", {"accepted": False}),
        ("door", "verify", {"accepted": True}),
    ]
    with pytest.raises(OtherModelError):
        verify(store, embedder(model=OTHER), "ada", probe, actor="door")


def test_enrolment_wants_enough_speech_of_one_voice(store: VoiceprintStore) -> None:
    def reasons(*recordings: Recording, **given: Any) -> tuple[str, ...]:
        return check_recordings(embedder().card, recordings, **given).refusals

    good = [recording(1, number, 6.0) for number in range(3)]
    assert check_recordings(embedder().card, good) == ((), ())
    stranger = recording(4, 0, 6.0)
    said = reasons(*good, stranger)
    assert said[0].startswith("voice-4-0.wav does not sound like the other recordings (LLR ")
    assert reasons(*good[:2], good[0])[0] == (
        "voice-1-0.wav is the same file as another of this voiceprint; it adds nothing"
    )
    assert reasons(good[2], known=good[:2]) == ()
    assert "does not sound like the voiceprint" in reasons(stranger, known=good)[0]
    assert "0.5 s of speech, and at least 1 s" in reasons(recording(1, 0, 0.5))[0]
    assert "is clipped, 5 % of its samples" in reasons(Recording(vector(1), measures(12.0, 0.05)))[0]
    warned = check_recordings(embedder().card, [Recording(vector(1), measures(6.0, 0.002))]).warnings
    assert "is clipped, 0.2 % of its samples" in warned[0]
    assert "6.0 s of sound in all; 10 s or more" in warned[1]
    with pytest.raises(EnrolmentError) as refused:
        enrol(store, embedder(), "ada", [*good, stranger], actor="me")
    assert refused.value.reasons == said
    assert store.entries() == []
    assert set(enrol(store, embedder(), "ada", [*good, stranger], actor="me", anyway=True).warnings) >= set(
        said
    )


@pytest.mark.parametrize(("ratio", "refused", "doubted"), [(-2.1, 1, 0), (-1.9, 0, 1), (0.1, 0, 0)])
def test_two_people_in_one_print_are_refused_long_before_it_is_certain(
    ratio: float, refused: int, doubted: int
) -> None:
    pair = [recording(1, 0, 6.0), recording(1, 1, 6.0)]
    fit = Calibration(scale=20.0, offset=ratio - 20 * cosine(*(one.vector for one in pair)), source="x")
    said = check_recordings(embedder(fit).card, pair)
    assert (len(said.refusals), len(said.warnings)) == (refused, doubted)
    assert all(f"(LLR {ratio:+.1f})" in one for one in (*said.refusals, *said.warnings))
    assert check_recordings(embedder(fit).card, pair, rules=EnrolmentRules(agreement=-3.0)).refusals == ()


def test_a_copy_in_another_format_is_told() -> None:
    def warned(*recordings: Recording, **given: Any) -> tuple[str, ...]:
        return check_recordings(embedder().card, recordings, **given).warnings

    first, second = recording(1, 0, 6.0), recording(1, 1, 6.0)
    coded = 2 * first.vector + 0.2 * vector(2)  # of any length
    copy = Recording(coded, measures(6.0), Reference("copy.mp3", "c" * 64))
    assert 0.99 < cosine(coded, first.vector) < 1
    (said,) = warned(first, second, copy)
    assert said.startswith("copy.mp3 sounds as voice-1-0.wav does to the last detail (cosine 0.99")
    assert warned(copy, known=[second, first]) == (said,)
    assert check_recordings(embedder().card, [first, second, copy]).refusals == ()
    assert warned(first, second, recording(1, 2, 6.0)) == ()
    unnamed = [Recording(one.vector, one.measures) for one in (first, copy)]
    assert warned(*unnamed)[0].startswith("recording 2 sounds as recording 1 does")
    assert "sounds as a recording of the voiceprint does" in warned(copy, known=unnamed[:1])[0]
    assert warned(first, first) == ()  # which is refused


def test_doubt_is_told_and_what_was_not_checked_too() -> None:
    pair = [recording(1, 0, 6.0), recording(1, 1, 6.0)]
    doubting = Calibration(scale=20.0, offset=-19.0, source="x")  # against them, but not surely
    said = check_recordings(embedder(doubting).card, pair)
    assert said.refusals == ()
    assert "does not sound like voice-1-1.wav too well (LLR -" in said.warnings[0]
    assert "was not checked" in check_recordings(embedder(None).card, pair).warnings[0]
    strict = (Threshold(name="eer", value=0.999, source="x"),)
    said = check_recordings(embedder(None, thresholds=strict).card, pair)
    assert "the model's threshold is 1.00" in said.warnings[0]
    mild = (Threshold(name="eer", value=0.2, source="x"),)
    assert check_recordings(embedder(None, thresholds=mild).card, pair) == ((), ())


def test_a_model_without_a_file_has_no_prints() -> None:
    nameless = SimpleNamespace(card=SimpleNamespace(name="new"), weights_sha256="", dimension=DIMENSION)
    with pytest.raises(VoiceprintError, match="save it, and load what was saved"):
        Model.of(nameless)
