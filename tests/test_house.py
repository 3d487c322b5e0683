"""The house keeps its order: data flows one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import voxangle

SOURCE = Path(voxangle.__file__).parent

# From the recording down to the command line; a room may use those before it.
ROOMS = [
    {"errors", "config", "storage", "console"},
    {"audio"},
    {"runtime"},
    {"data"},
    {"corpora"},
    {"features"},
    {"augment"},
    {"encoders"},
    {"objectives"},
    {"metrics"},
    {"scoring"},
    {"training", "recipe"},
    {"quality"},
    {"reporting"},
    {"ablation"},
    {"voiceprints"},
    {"service"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def rooms_used(path: Path) -> set[str]:
    used = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("voxangle."):
            used.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "voxangle":
            used.update(alias.name for alias in node.names if alias.name in FLOOR)
    return used


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_uses_only_the_rooms_before_it(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if room == "__init__":
        assert rooms_used(path) == set()
        return
    for used in rooms_used(path):
        assert FLOOR[used] <= FLOOR[room], f"{path} ({room}) imports {used}, which comes after it"


def test_every_room_has_its_floor() -> None:
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")}
    assert rooms - {"__init__"} == set(FLOOR)
