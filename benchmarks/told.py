"""Tables for a terminal and for a file, and the machine that they were measured on."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voxangle.scoring import Machine

__all__ = ["tell"]


def tell(tables: Mapping[str, Sequence[Mapping[str, str]]], out: Path | None) -> None:
    """Print tables of alike rows by their titles, then the machine; write the rows as JSON where `out` says."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    for title, rows in tables.items():
        table = Table(*rows[0], title=title)
        for row in rows:
            table.add_row(*map(Text, row.values()))
        console.print(table)
    machine = Machine.here()
    console.print(f"{machine.cpu}, {machine.cores} cores, Python {machine.python}, torch {machine.torch}")
    if out:
        out.write_text(json.dumps(tables, indent=2) + "\n")
