"""The recipes of docs/service.md and deploy/: what one file names, another brings."""

from __future__ import annotations

import re
import subprocess
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
    assert extras(RECIPE) == extras(CONTAINER)
    for recipe in (RECIPE, CONTAINER):  # the wheel alone
        assert re.search(r"pip install [^\n]*--no-deps silero-vad", recipe)


def test_every_file_that_the_system_service_needs_is_installed() -> None:
    named = re.findall(r"^[^#\n]*file:(/\S+)", UNIT, re.MULTILINE)
    assert named == ["/opt/voxangle/docs/service.md"]
    for line in re.findall(r"^install -D .*$", RECIPE, re.MULTILINE):
        assert (ROOT / line.split()[-2]).is_file()
    installed = re.findall(r"^install -D .* (/\S+)$", RECIPE, re.MULTILINE)
    assert set(named) <= set(installed)


def test_the_container_copies_what_there_is_and_pins_what_it_installs() -> None:
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINER, re.MULTILINE):
        assert all((ROOT / one).exists() for one in sources.split())
    found = re.search(r"sed -E '(.*)' requirements\.lock", CONTAINER)
    assert found is not None
    command = ["sed", "-E", found[1], str(ROOT / "requirements.lock")]
    pins = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[^\s\\]+( ; [^\\]+)?", pin) for pin in pins)
    assert {"silero-vad", "uvicorn", "onnxruntime", "cryptography"} <= {pin.split("==")[0] for pin in pins}
    assert CONTAINER.count("--constraint versions.txt") == CONTAINER.count("pip install") == 2


def test_no_comment_stands_within_a_command_of_the_container() -> None:
    # Not every builder leaves out one that is indented.
    assert not re.search(r"\\\n\s*#", CONTAINER)
