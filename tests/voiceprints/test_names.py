"""Names: one name is one text, and no two of them look the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.voiceprints.toys import MODEL, recording, voiceprints
from voxangle.errors import VoiceprintError
from voxangle.voiceprints.names import new_person, person
from voxangle.voiceprints.sqlite_store import SqliteStore

# Zero width: space, joiner, mark of order; bidirectional: override, isolate; soft hyphen, tag; then what is of other
# categories: fillers of Hangul, an empty Braille cell, a joiner of graphemes, a selector of variants.
INVISIBLE = [
    *("\u200b", "\u200d", "\ufeff", "\u202e", "\u2066", "\u00ad", "\U000e0061"),
    *("\u3164", "\u115f", "\uffa0", "\u2800", "\u034f", "\ufe0f", "\U000e0100"),
]


@pytest.mark.parametrize("character", INVISIBLE, ids=ascii)
def test_an_invisible_character_makes_no_new_name(character: str) -> None:
    for name in (f"A{character}da", f"Ada{character}", character):
        with pytest.raises(VoiceprintError, match=rf"an invisible character \(U\+{ord(character):04X}\)"):
            new_person(name)


@pytest.mark.parametrize("character", ["\ud800", "\ue000", "\x07", "\u2028"], ids=ascii)
def test_a_character_that_cannot_be_shown_is_in_no_name(character: str) -> None:
    with pytest.raises(VoiceprintError, match=rf"cannot be shown \(U\+{ord(character):04X}\)"):
        person(f"A{character}da")


def test_a_space_is_an_ordinary_one() -> None:
    with pytest.raises(VoiceprintError, match=r"a space of another kind \(U\+00A0\)"):
        new_person("Ada\u00a0L")
    assert new_person(" Ada L\u00a0") == "Ada L"


@pytest.mark.parametrize("name", ["Zoë", "王小明", "김민수", "Кирилл", "नमिता", "עדה", "O'Neil-2 [b]"])
def test_names_of_people_are_names(name: str) -> None:
    assert new_person(name) == name
    assert new_person("Zoe\u0308") == "Zoë"


def test_a_store_takes_no_new_name_with_one_and_forgets_an_old_one(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "prints.sqlite") as store:
        with pytest.raises(VoiceprintError, match="invisible"):
            store.enrol("A\u200bda", MODEL, [recording(1)], actor="me")
        (one,) = voiceprints(1)
        with pytest.raises(VoiceprintError, match="invisible"):
            store.put([replace(one, entry=replace(one.entry, name="A\u200bda"))], actor="me")
        assert store.entries() == []
        store.enrol("Ada", MODEL, [recording(1)], actor="me")
        with store._transaction(write=True) as sql:  # as it was enrolled when such names were taken
            sql.rows("UPDATE prints SET name = ?", "A\u200bda")
        assert [entry.name for entry in store.delete(["A\u200bda"], actor="me")] == ["A\u200bda"]
