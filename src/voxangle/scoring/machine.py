"""On what a figure was made."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import numpy as np

from voxangle.config import Config

__all__ = ["Machine"]


class Machine(Config):
    """The machine and the libraries of a run.

    Attributes:
        cpu: model name, empty where the system does not tell.
        cores: logical cores.
        system: operating system and release.
        python: version.
        numpy: version.
        torch: version, ``None`` where torch was not loaded.
    """

    cpu: str
    cores: int
    system: str
    python: str
    numpy: str
    torch: str | None = None

    @classmethod
    def here(cls) -> Machine:
        """This machine, this process."""
        torch = sys.modules.get("torch")
        return cls(
            cpu=_cpu_model(),
            cores=os.cpu_count() or 1,
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            numpy=np.__version__,
            torch=None if torch is None else str(torch.__version__),
        )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
