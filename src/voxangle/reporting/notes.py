"""What results say of themselves, once each, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping

from voxangle.scoring import Result

__all__ = ["notes_of"]


def notes_of(results: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """Every note once, in the order of its first appearance, behind what it is about where that is not everything.

    A list is named alone where the note is of all its systems, else with those it is of.

    Args:
        results: by list and by system.
    """
    about: dict[str, dict[str, list[str]]] = {}
    for name, by_system in results.items():
        for system, result in by_system.items():
            for note in dict.fromkeys(result.notes):
                about.setdefault(note, {}).setdefault(name, []).append(system)
    every = {name: list(by_system) for name, by_system in results.items()}
    return [note if whose == every else f"{_named(whose, every)}: {note}" for note, whose in about.items()]


def _named(whose: Mapping[str, list[str]], every: Mapping[str, list[str]]) -> str:
    return ", ".join(
        name if systems == every[name] else f"{name} ({', '.join(systems)})"
        for name, systems in whose.items()
    )
