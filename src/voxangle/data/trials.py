"""Trials: pairs of utterances, each with the truth about whether one person speaks in both."""

from __future__ import annotations

from collections.abc import Container, Iterable
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
    def read(cls, path: str | Path, *, known: Container[str] | None = None) -> Trials:
        """Read lines ``1 KEY KEY`` (target) and ``0 KEY KEY`` (non-target); the file's stem is the name.

        White space separates the three; where a key contains some, tabs do.

        Args:
            path: of the list.
            known: the keys that may occur; None for any.

        Raises:
            TrialError: the file is missing or empty, or a line has another form or names an unknown utterance
                (its number is named).
        """
        path = Path(path)
        pairs = []
        try:
            # Lines end where an editor ends them; str.splitlines would also break at form feeds and the like.
            with path.open(encoding="utf-8-sig") as file:
                for line_number, line in enumerate(file, start=1):
                    if line.strip():
                        pairs.append(_parsed(f"{path}, line {line_number}", line, known))
        except FileNotFoundError as error:
            raise TrialError(f"{path}: no such trial list") from error
        except (OSError, UnicodeDecodeError) as error:
            raise TrialError(f"{path}: cannot be read as a trial list ({error})") from error
        if not pairs:
            raise TrialError(f"{path}: the trial list is empty")
        return cls.of(path.stem, pairs)

    def write(self, path: str | Path) -> None:
        """Write the list in the form that ``read`` reads, atomically.

        Raises:
            TrialError: a key is empty, contains a tab or a line break, or has white space at its ends.
        """
        for key in self.utterances:
            if not key or key != key.strip() or set(key) & set("\t\n\r"):
                raise TrialError(
                    f"{path}: the key {key!r} cannot stand in a trial list; keys are not empty, have no tab "
                    "or line break, and no white space at their ends"
                )
        between = "\t" if any(len(key.split()) > 1 for key in self.utterances) else " "
        keys = np.array(self.utterances, dtype=object)
        rows = zip(self.target.astype(int), keys[self.enrol], keys[self.test], strict=True)
        with atomic_write(path) as temporary:
            lines = [f"{target}{between}{enrol}{between}{test}\n" for target, enrol, test in rows]
            temporary.write_text("".join(lines), encoding="utf-8")

    def __len__(self) -> int:
        return len(self.target)


def _parsed(place: str, line: str, known: Container[str] | None) -> tuple[bool, str, str]:
    parts = line.split()
    if len(parts) != 3:
        parts = line.strip("\n").split("\t")
    if len(parts) != 3 or parts[0] not in {"0", "1"} or not all(parts):
        raise TrialError(
            f"{place}: expected '1 KEY KEY' (target) or '0 KEY KEY' (non-target), found '{line.strip()[:80]}'"
        )
    for key in parts[1:]:
        if known is not None and key not in known:
            raise TrialError(
                f"{place}: there is no utterance '{key}'; correct the list, or add the recording"
            )
    return parts[0] == "1", parts[1], parts[2]
