"""How alike recordings must be to be enrolled as one person's: enrolments of one person and of two, told apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks.agreement import Person, enrolments, pieces
from benchmarks.enrolment import Speaker
from tests.benchmarks.test_enrolment import numbers, recording, seconds_of_speech
from tests.voiceprints.toys import FIT, vector
from tests.voiceprints.toys import recording as embedded
from voxangle.voiceprints.enrolment import cosine


def person(number: int, corpus: str, *sessions: str) -> Person:
    recordings = tuple(embedded(number, place) for place in range(len(sessions)))
    return Person(f"p{number}", corpus, sessions, recordings)


def test_a_piece_is_of_one_session_and_no_recording_is_in_two() -> None:
    sessions = (*(5 * ["one"]), *(5 * ["other"]))
    speaker = Speaker("a", "c", sessions, tuple(recording(place, 0.3) for place in range(10)))
    found = pieces(speaker, 0.5, 2, np.random.default_rng(0))
    assert [session for session, _ in found] == ["one", "one", "other", "other"]
    used = [numbers(waveform) for _, waveform in found]
    assert all(
        sessions[place] == session
        for (session, _), places in zip(found, used, strict=True)
        for place in places
    )
    assert len(set.union(*used)) == sum(map(len, used))
    assert [seconds_of_speech(waveform) for _, waveform in found] == pytest.approx(4 * [0.5])
    assert len(pieces(speaker, 0.5, 1, np.random.default_rng(0))) == 2


def test_who_is_given_as_one_is_judged_by_the_recording_that_agrees_least() -> None:
    people = [person(1, "c", "", "", ""), person(2, "c", "a", "b"), person(3, "d", "")]
    judged = list(enrolments(people, FIT, np.random.default_rng(0)))
    assert Counter(one.kind for one in judged) == {
        "2 of one": 3,
        "3 of one": 1,
        "2 of one, other days": 1,
        "1 of each of two": 1,  # of one corpus
        "2 of one, 1 of another": 1,  # of the only one with two of one session
    }
    lowest = {one.kind: one.lowest for one in judged}
    of_one = [cosine(vector(1, a), vector(1, b)) for a, b in ((0, 1), (0, 2), (1, 2))]
    pairs = [one.lowest for one in judged if one.kind == "2 of one"]
    assert pairs == pytest.approx([20 * one - 10 for one in of_one])
    (intruder,) = (one for one in judged if one.kind == "2 of one, 1 of another")
    against = [
        20 * cosine((vector(1, a) + vector(1, b)) / 2, vector(2, c)) - 10
        for a, b in ((0, 1), (0, 2), (1, 2))
        for c in (0, 1)
    ]
    assert min(abs(intruder.lowest - one) for one in against) < 1e-4
    assert lowest["3 of one"] > 5 > lowest["1 of each of two"]
