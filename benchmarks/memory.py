"""The most memory that a piece of code takes, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

__all__ = ["Peak", "peak_of"]

_SCRIPT = """
import sys
from pathlib import Path
{before}
def megabytes(name):
    status = Path("/proc/self/status").read_text()
    return int(status.partition(name + ":")[2].split()[0]) * 1024 / 1e6
# The peak is reset before it is asked, for a process begins with its parent's.
Path("/proc/self/clear_refs").write_text("5")
at_first = megabytes("VmRSS")
{code}
print(at_first, megabytes("VmHWM"))
"""


class Peak(NamedTuple):
    """Megabytes (10^6 bytes): of the process before the code ran, and at most while it did."""

    at_first: float
    at_most: float

    @property
    def added(self) -> float:
        """What the code added."""
        return self.at_most - self.at_first


def peak_of(code: str, *arguments: str, before: str = "") -> Peak:
    """Run code in a fresh process, and tell its memory.

    Args:
        code: Python.
        *arguments: its ``sys.argv[1:]``.
        before: Python that runs first and does not count: imports, say.
    """
    script = _SCRIPT.format(code=code, before=before)
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return Peak(*map(float, run.stdout.split()))
