"""Debian's Chromium, with a microphone that hears a file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from voxangle.corpora.debian_packages import fetch_packages
from voxangle.errors import VoxangleError

__all__ = ["browser", "chromium"]

_FETCHED = Path(__file__).resolve().parents[2] / ".tools" / "chromium"
"""Where Chromium is unpacked if the machine has none: no root needed, nothing outside the checkout is written."""

Command = tuple[Path, dict[str, str]]
"""The program, and what its environment needs beside the usual."""


def chromium() -> Command:
    """Chromium: the machine's, or else Debian's packages unpacked in the checkout; the test skips without either."""
    if installed := shutil.which("chromium"):
        return Path(installed), {}
    try:
        return _unpacked(_FETCHED)
    except (VoxangleError, OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no Chromium here, and none to be had: {error}")


def _unpacked(folder: Path, *options: str) -> Command:
    """Chromium and the libraries that the machine lacks, in one tree."""
    root = folder / "root"
    if not root.is_dir():
        packages = fetch_packages(_missing(folder, *options), folder / "packages")
        half = folder / "half"
        shutil.rmtree(half, ignore_errors=True)
        for package in packages:  # Chromium looks for its parts beside itself, and they are several packages
            shutil.copytree(package, half, copy_function=os.link, symlinks=True, dirs_exist_ok=True)
        half.rename(root)
        shutil.rmtree(folder / "packages")
    libraries = [root / "usr/lib/chromium", *(root / "usr/lib").glob("*-linux-gnu*")]
    libraries += [one for library in libraries for one in library.glob("pulseaudio")]
    found = {"LD_LIBRARY_PATH": ":".join(map(str, libraries))}
    if not Path("/etc/fonts").is_dir():
        found["FONTCONFIG_PATH"] = str(root / "etc/fonts")
    return root / "usr/lib/chromium/chromium", found


def _missing(folder: Path, *options: str) -> list[str]:
    """Packages that an installation would bring; with package lists of our own where the machine's are empty."""
    lists = folder / "lists"
    own = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={lists}", "-o", "APT::Sandbox::User=root"]
    try:
        return _simulated(*options)
    except subprocess.CalledProcessError:
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", *own, "-qq", "update"], check=True, capture_output=True, timeout=300)
        return _simulated(*own, *options)
    finally:
        shutil.rmtree(lists, ignore_errors=True)


def _simulated(*options: str) -> list[str]:
    command = ["apt-get", *options, "--simulate", "--no-install-recommends", "-qq", "install", "chromium"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Inst ")]


@contextmanager
def browser(driver: Any, microphone: Path) -> Iterator[Any]:
    """A browser.

    Args:
        driver: Playwright's; one at a time in a process.
        microphone: a WAV file that it hears, over and over.
    """
    program, surroundings = chromium()
    options = [
        "--use-fake-ui-for-media-stream",  # the permission is given
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
    ]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # which Chromium refuses to set up for root
    started = driver.chromium.launch(
        executable_path=program, args=options, env={**os.environ, **surroundings}
    )
    try:
        yield started
    finally:
        started.close()
