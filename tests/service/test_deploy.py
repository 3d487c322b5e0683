"""The recipes of docs/service.md and deploy/: what one file names, another brings."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNIT = (ROOT / "deploy" / "voxangle.service").read_text()
CONTAINER = (ROOT / "deploy" / "Containerfile").read_text()
RECIPE = (ROOT / "docs" / "service.md").read_text().split("## With systemd")[1].split("```")[1]


def extras(text: str) -> set[str]:
    found = re.search(r"install [^\n]*\[([a-z,]+)\]", text)
    assert found is not None
    return set(found[1].split(","))


def test_the_system_service_has_the_extras_that_the_container_has() -> None:
    # Of silero-vad the container has the wheel alone.
    assert extras(RECIPE) == extras(CONTAINER) | {"vad"}


def test_every_file_that_the_system_service_needs_is_installed() -> None:
    named = re.findall(r"(?:file:|VOXANGLE_MODEL=)(/\S+)", UNIT)
    assert len(named) == 2
    for line in re.findall(r"^install -D .*$", RECIPE, re.MULTILINE):
        source = line.split()[-2]
        assert source == "first.onnx" or (ROOT / source).is_file()
    installed = re.findall(r"^install -D .* (/\S+)$", RECIPE, re.MULTILINE)
    assert set(named) <= set(installed)
