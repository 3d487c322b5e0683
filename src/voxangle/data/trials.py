"""Trials: pairs of utterances, each with the truth about whether one person speaks in both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxangle.errors import TrialError
from voxangle.storage import atomic_write

__all__ = ["Trials"]


@dataclass(frozen=True)
class Trials:
    """Pairs of utterances by key.

    Attributes:
        name: what to call the list in a table.
        utterances: the keys that occur, each once, in order of appearance.
        enrol: shape (trials,), int64 indices into ``utterances``.
        test: shape (trials,), int64 indices into ``utterances``.
        target: shape (trials,), bool; true where both sides are one speaker.
    """

    name: str
    utterances: tuple[str, ...]
    enrol: np.ndarray[Any, np.dtype[np.int64]]
    test: np.ndarray[Any, np.dtype[np.int64]]
    target: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def of(cls, name: str, pairs: Iterable[tuple[bool, str, str]]) -> Trials:
        """Trials from (target, enrolment key, test key)."""
        number: dict[str, int] = {}
        rows = [
            (target, number.setdefault(a, len(number)), number.setdefault(b, len(number)))
            for target, a, b in pairs
        ]
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)
        return cls(name, tuple(number), table[:, 1], table[:, 2], table[:, 0].astype(bool))

    @classmethod
    def read(cls, path: str | Path) -> Trials:
        """Read lines ``1 KEY KEY`` (target) and ``0 KEY KEY`` (non-target); the file's stem is the name.

        Raises:
            TrialError: the file is missing or empty, or a line has another form (its number is named).
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise TrialError(f"{path}: no such trial list") from error
        except (OSError, UnicodeDecodeError) as error:
            raise TrialError(f"{path}: cannot be read as a trial list ({error})") from error
        pairs = []
        for line_number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            parts = line.split()
            if len(parts) != 3 or parts[0] not in {"0", "1"}:
                raise TrialError(
                    f"{path}, line {line_number}: expected '1 KEY KEY' (target) or '0 KEY KEY' (non-target), "
                    f"found '{line.strip()[:80]}'"
                )
            pairs.append((parts[0] == "1", parts[1], parts[2]))
        if not pairs:
            raise TrialError(f"{path}: the trial list is empty")
        return cls.of(path.stem, pairs)

    def write(self, path: str | Path) -> None:
        """Write the list in the form that ``read`` reads, atomically."""
        keys = np.array(self.utterances, dtype=object)
        lines = zip(self.target.astype(int), keys[self.enrol], keys[self.test], strict=True)
        with atomic_write(path) as temporary:
            temporary.write_text("".join(f"{t} {a} {b}\n" for t, a, b in lines), encoding="utf-8")

    def __len__(self) -> int:
        return len(self.target)
