from __future__ import annotations

from tests.reporting.toys import toy_result
from voxangle.reporting.notes import notes_of
from voxangle.scoring import Result


def of(*notes: str) -> Result:
    return toy_result().model_copy(update={"notes": notes})


def test_a_note_is_said_once_with_the_lists_and_systems_it_is_about() -> None:
    results = {
        "read": {"old": of("Of all.", "Of read."), "new": of("Of all.", "Of read.", "Of new.")},
        "spoken": {"old": of("Of all.", "Of one of each."), "new": of("Of all.", "Of new.")},
        "sung": {"old": of("Of all.", "Of read."), "new": of("Of all.", "Of read.", "Of one of each.")},
    }
    assert notes_of(results) == [
        "Of all.",
        "read, sung: Of read.",
        "read (new), spoken (new): Of new.",
        "spoken (old), sung (new): Of one of each.",
    ]


def test_of_one_list_and_one_system_nothing_is_named() -> None:
    assert notes_of({"read": {"mine": of("Few.", "Few.")}}) == ["Few."]
    assert notes_of({}) == []
