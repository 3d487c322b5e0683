"""What every store does, whatever keeps it: the same statements for all."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.voiceprints.conftest import Opener
from tests.voiceprints.toys import DIMENSION, FIT, MODEL, OTHER, recording, vector, voiceprints
from voxangle.errors import (
    NameTakenError,
    OtherModelError,
    StoreKeyError,
    UnknownVoiceprintError,
    VoiceprintError,
)
from voxangle.runtime.measures import RecordingMeasures
from voxangle.voiceprints import Model, Recording, VoiceprintStore
from voxangle.voiceprints.sealing import new_key


def enrolled(store: VoiceprintStore, people: int, model: Model = MODEL) -> None:
    for person in range(people):
        store.enrol(f"person {person}", model, [recording(person)], actor="me")


def names(found: object) -> list[str]:
    return [one.entry.name for one in found.neighbours]


def test_a_print_comes_back_as_it_was_enrolled(opener: Opener) -> None:
    before = datetime.now(UTC)
    given = [recording(1, 0, speech=4.0), recording(1, 1, speech=6.0)]
    with opener() as store:
        entry = store.enrol("  Zoe\u0308 ", MODEL, given, calibration=FIT, actor="me")
    with opener() as store:
        found = store.get("Zo\u00eb", MODEL)
    assert found.entry == entry
    assert (entry.name, entry.model, entry.calibration, entry.recordings) == ("Zo\u00eb", MODEL, FIT, 2)
    assert entry.measures == RecordingMeasures.joined([one.measures for one in given])
    assert before <= entry.created == entry.updated <= datetime.now(UTC)
    expected = np.mean([one.vector for one in given], axis=0)
    np.testing.assert_allclose(found.mean, expected, rtol=1e-6)
    for back, one in zip(found.recordings, given, strict=True):
        np.testing.assert_array_equal(back.vector, one.vector)
        assert (back.measures, back.reference, back.added) == (one.measures, one.reference, entry.created)


def test_recordings_are_added_to_a_print(store: VoiceprintStore) -> None:
    first = store.enrol("ada", MODEL, [recording(1, 0)], actor="me")
    store.search(MODEL, vector(1), 1)  # so that something is in memory that must change
    second = store.extend("ada", MODEL, [recording(1, 1), recording(1, 2)], calibration=FIT, actor="me")
    assert (second.id, second.created, second.recordings) == (first.id, first.created, 3)
    assert second.updated > first.updated
    assert second.calibration == FIT
    mean = np.mean([vector(1, number) for number in range(3)], axis=0)
    np.testing.assert_allclose(store.get("ada", MODEL).mean, mean, rtol=1e-5)
    (near,) = store.search(MODEL, mean, 1).neighbours
    assert near.score == pytest.approx(1.0, abs=1e-6)
    assert near.entry == second


def test_names_are_unique_within_a_model_and_may_be_of_several(store: VoiceprintStore) -> None:
    store.enrol("ada", MODEL, [recording(1)], actor="me")
    with pytest.raises(NameTakenError, match=r"'ada' is enrolled already.*--add"):
        store.enrol("ada", MODEL, [recording(2)], actor="me")
    store.enrol("ada", OTHER, [recording(3)], actor="me")
    assert [one.entry.model for one in store.named("ada")] == [MODEL, OTHER]
    np.testing.assert_array_equal(store.get("ada", OTHER).mean, vector(3))
    assert len(store.delete(["ada"], actor="me")) == 2
    assert store.entries() == []


def test_prints_of_two_models_are_never_compared(store: VoiceprintStore) -> None:
    enrolled(store, 3)
    store.enrol("new", OTHER, [recording(7)], actor="me")
    found = store.search(MODEL, vector(7), 10)
    assert (set(names(found)), found.enrolled, found.others) == (
        {"person 0", "person 1", "person 2"},
        3,
        1,
    )
    with pytest.raises(
        OtherModelError, match=r"'new' is enrolled with 'second' \(bbbbbbbbbbbb\), not with 'first'"
    ):
        store.get("new", MODEL)
    with pytest.raises(OtherModelError, match="cannot be compared"):
        store.extend("new", MODEL, [recording(7, 1)], actor="me")
    nobody = store.search(Model("c" * 64, "third", DIMENSION), vector(7), 10)
    assert (nobody.neighbours, nobody.enrolled, nobody.others) == ((), 0, 4)
    with pytest.raises(OtherModelError, match="have 16 dimensions, these have 3"):
        store.enrol(
            "x", Model(MODEL.id, "first", 3), [Recording(np.ones(3, "f4"), recording(0).measures)], actor="me"
        )


def test_search_finds_the_nearest_in_order(store: VoiceprintStore) -> None:
    store.put(voiceprints(60), actor="me")
    probe = vector(17, 5)
    prints = np.stack([vector(person) for person in range(60)]).astype(np.float64)
    cosines = prints @ probe / np.linalg.norm(prints, axis=1) / np.linalg.norm(probe)
    expected = np.argsort(-cosines)[:10]
    found = store.search(MODEL, probe, 10, exact=True)
    assert names(found) == [f"p{person}" for person in expected]
    np.testing.assert_allclose([one.score for one in found.neighbours], cosines[expected], atol=1e-6)
    assert found.enrolled == 60
    assert names(store.search(MODEL, probe, 1)) == ["p17"]
    assert len(store.search(MODEL, probe, 500, exact=True).neighbours) == 60


def test_a_store_sees_what_another_wrote(opener: Opener) -> None:
    with opener() as mine, opener() as theirs:
        enrolled(mine, 5)
        assert names(theirs.search(MODEL, vector(3), 1)) == ["person 3"]
        mine.enrol("late", MODEL, [recording(30)], actor="me")
        assert names(theirs.search(MODEL, vector(30), 1)) == ["late"]
        mine.extend("late", MODEL, [recording(31)] * 50, actor="me")
        assert theirs.search(MODEL, vector(31), 1).neighbours[0].score > 0.99
        mine.delete(["late", "person 0"], actor="me")
        found = theirs.search(MODEL, vector(30), 10)
        assert set(names(found)) == {f"person {person}" for person in range(1, 5)}
        assert found.enrolled == 4


def test_entries_come_by_name_and_by_the_page(store: VoiceprintStore) -> None:
    for name in ("b", "\u00e4", "A", "a", "C"):
        store.enrol(name, MODEL, [recording(1)], actor="me")
    store.enrol("a", OTHER, [recording(2)], actor="me")
    assert [one.name for one in store.entries()] == ["A", "C", "a", "a", "b", "\u00e4"]
    assert [one.name for one in store.entries(model=OTHER)] == ["a"]
    assert [one.name for one in store.entries(after="C", limit=3)] == ["a", "a", "b"]
    assert [one.name for one in store.entries(model=MODEL, after="b")] == ["\u00e4"]


def test_nobody_is_deleted_where_one_is_unknown(store: VoiceprintStore) -> None:
    enrolled(store, 2)
    with pytest.raises(UnknownVoiceprintError, match="nobody is enrolled as 'eve'"):
        store.delete(["person 0", "eve"], actor="me")
    assert [one.name for one in store.entries()] == ["person 0", "person 1"]
    for ask in (store.named, lambda name: store.get(name, MODEL)):
        with pytest.raises(UnknownVoiceprintError):
            ask("eve")


@pytest.mark.parametrize(
    ("name", "message"),
    [("  ", "the name is empty"), ("a" * 201, "201 characters"), ("a\nb", r"U\+000A"), ("a\0b", r"U\+0000")],
)
def test_names_that_no_list_could_show_are_refused(store: VoiceprintStore, name: str, message: str) -> None:
    with pytest.raises(VoiceprintError, match=message):
        store.enrol(name, MODEL, [recording(1)], actor="me")


@pytest.mark.parametrize(
    "bad",
    [np.ones(3), np.zeros(DIMENSION), np.full(DIMENSION, np.nan), np.full(DIMENSION, np.inf)],
    ids=["shape", "zero", "nan", "inf"],
)
def test_vectors_that_have_no_direction_are_refused(store: VoiceprintStore, bad: np.ndarray) -> None:
    bad = bad.astype(np.float32)
    wrong = [recording(1), Recording(bad, recording(1).measures)]
    with pytest.raises(VoiceprintError):
        store.enrol("ada", MODEL, wrong, actor="me")
    with pytest.raises(VoiceprintError):
        store.search(MODEL, bad, 1)
    with pytest.raises(VoiceprintError, match="no recording is given"):
        store.enrol("ada", MODEL, [], actor="me")
    assert store.entries() == []


def test_the_audit_trail_names_nobody_and_outlives_the_print(store: VoiceprintStore) -> None:
    entry = store.enrol(
        "lovelace", MODEL, [recording(1)], actor="clerk"
    )  # no hexadecimal digits, as ids have
    store.note("verify", actor="door", print_id=entry.id, model=MODEL, accepted=True)
    store.delete(["lovelace"], actor="officer")
    trail = store.audit()
    assert [(one.actor, one.action) for one in trail] == [
        ("officer", "delete"),
        ("door", "verify"),
        ("clerk", "enrol"),
    ]
    assert {one.print_id for one in trail} == {entry.id}
    assert trail[1].detail == {"accepted": True}
    assert "lovelace" not in repr(trail)
    store.enrol("bob", MODEL, [recording(2)], actor="clerk")
    assert len(store.audit(print_id=entry.id)) == 3
    assert [one.action for one in store.audit(limit=2)] == ["enrol", "delete"]


def test_everything_is_of_one_moment(store: VoiceprintStore) -> None:
    enrolled(store, 4)
    reading = store.everything()
    first = next(reading)
    store.delete(["person 2"], actor="me") if "postgres" in store.place else None
    store.enrol("late", MODEL, [recording(9)], actor="me")
    rest = [one.entry.name for one in reading]
    assert [first.entry.name, *rest] == [f"person {person}" for person in range(4)]


def test_put_keeps_prints_as_they_are_all_or_none(opener: Opener, store: VoiceprintStore) -> None:
    enrolled(store, 3)
    prints = list(store.everything())
    store.delete(["person 1"], actor="me")
    with pytest.raises(NameTakenError, match="person 0"):
        store.put([prints[1], prints[0]], actor="me")
    assert [one.name for one in store.entries()] == ["person 0", "person 2"]
    assert store.put(prints, replace=True, actor="me") == 3
    assert store.entries() == [one.entry for one in prints]
    assert store.search(MODEL, vector(1), 1).enrolled == 3
    assert store.audit(limit=1)[0].detail == {"prints": 3, "replaced": 2}


def test_a_key_is_exchanged_and_the_old_one_opens_nothing(opener: Opener) -> None:
    pytest.importorskip("cryptography")
    key = new_key()
    with opener() as store, opener() as theirs:
        enrolled(store, 3)
        before = store.key_id
        assert theirs.search(MODEL, vector(1), 1).enrolled == 3
        assert store.rotate(key, actor="me") == 3
        assert store.key_id not in (None, before)
        np.testing.assert_array_equal(store.get("person 1", MODEL).mean, vector(1))
        assert names(store.search(MODEL, vector(2), 1)) == ["person 2"]
        for ask in (lambda: theirs.get("person 1", MODEL), lambda: theirs.search(MODEL, vector(1), 1)):
            with pytest.raises(StoreKeyError):
                ask()
        with pytest.raises(StoreKeyError):
            theirs.enrol("x", MODEL, [recording(5)], actor="me")
    with pytest.raises(StoreKeyError):
        opener()
    with opener(key=key) as store:
        np.testing.assert_array_equal(store.get("person 1", MODEL).recordings[0].vector, vector(1))
        assert store.rotate(None, actor="me") == 3
    with opener(key=None) as store:
        np.testing.assert_array_equal(store.get("person 1", MODEL).recordings[0].vector, vector(1))
        assert store.get("person 1", MODEL).recordings[0].reference.file == "voice-1-0.wav"
        assert names(store.search(MODEL, vector(2), 1)) == ["person 2"]
        assert [one.action for one in store.audit(limit=2)] == ["rotate", "rotate"]


def test_threads_share_a_store(store: VoiceprintStore) -> None:
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for person in range(first, first + 5):
                store.enrol(f"person {person}", MODEL, [recording(person)], actor="me")
                assert names(store.search(MODEL, vector(person), 1)) == [f"person {person}"]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 5, 10, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.search(MODEL, vector(0), 1).enrolled == 20
