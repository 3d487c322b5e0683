"""The command line: parse, call, print. Every heavy import waits for the command that needs it."""

from __future__ import annotations

import os
import sys

# Two spinning OpenMP threads collapse beside another busy process; libgomp reads these when torch loads it.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The order of these is the order of the commands in the help.
# isort: off
from voxangle.cli import train, ablate, evaluate, compare, fuse, calibrate  # noqa: F401
from voxangle.cli import use, enrol, identify, voiceprints, serve  # noqa: F401
from voxangle.cli import cards, export, models, corpora  # noqa: F401

# isort: on
from voxangle.cli.app import app
from voxangle.errors import VoxangleError, missing_extra

__all__ = ["app", "main"]


def main() -> None:
    """Run a command; a mistake of the user's ends with a message and exit code 2, never with a traceback."""
    try:
        app()
    except VoxangleError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = missing_extra(error)
        if extra is None:
            raise
        print(f"error: {extra}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except OSError as error:
        # The disk, a permission, a name that cannot be: the surroundings, not the program.
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except MemoryError as error:
        print(f"error: not enough memory ({error}); make the batch or the model smaller", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except SystemExit as left:
        if left.code == 130 and isinstance(left.__context__, KeyboardInterrupt):
            print("stopped; the same command goes on", file=sys.stderr)  # noqa: T201
        raise
