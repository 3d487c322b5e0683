"""The command line: parse, call, print. Every heavy import waits for the command that needs it."""

from __future__ import annotations

import errno
import json
import os
import sys
from typing import NoReturn

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
        _fail(error, str(error))
    except ModuleNotFoundError as error:
        extra = missing_extra(error)
        if extra is None:
            raise
        _fail(extra, str(extra))
    except OSError as error:
        # The disk, a permission, a name that cannot be: the surroundings, not the program.
        where = f"{error.filename}: " if error.filename else ""
        cure = "; free some space and run again" if error.errno == errno.ENOSPC else ""
        _fail(error, f"{where}{error.strerror or error}{cure}")
    except MemoryError as error:
        _fail(error, f"not enough memory ({error}); make the batch or the model smaller")
    except SystemExit as left:
        if left.code == 130 and isinstance(left.__context__, KeyboardInterrupt):
            print("stopped; the same command goes on", file=sys.stderr)  # noqa: T201
        raise


def _fail(error: Exception, message: str) -> NoReturn:
    """Say what went wrong, as the answer would have been said: in JSON for a program, and leave."""
    # Commands are gone by now, and with them their options.
    if "--json" in sys.argv:
        print(json.dumps({"error": {"type": type(error).__name__, "message": message}}), file=sys.stderr)  # noqa: T201
    else:
        print(f"error: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(2)
