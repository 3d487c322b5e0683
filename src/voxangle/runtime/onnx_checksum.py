"""The checksum that an exported model carries of itself, so that a bit that flips in a copy does not go unnoticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["CHECKSUM", "PLACEHOLDER", "checksum_holds", "write_checksum"]

CHECKSUM = "voxangle.sha256"
"""The key of the entry in the file's metadata."""

PLACEHOLDER = b"0" * 64
"""The entry's value while the checksum is computed: it cannot be of itself."""

# How protobuf writes an entry: its key, and then its value as field 2, of 64 bytes.
_BEFORE = CHECKSUM.encode() + b"\x12\x40"


def write_checksum(file: Path) -> None:
    """Write the checksum of a file where its metadata hold any, or the placeholder.

    Raises:
        ValueError: they have no such entry.
    """
    content = file.read_bytes()
    at = _place(content)
    if at is None:
        raise ValueError(f"{file}: no entry '{CHECKSUM}' of {len(PLACEHOLDER)} characters")
    with file.open("rb+") as written:
        written.seek(at)
        written.write(_sha256(content, at))


def checksum_holds(content: bytes) -> bool | None:
    """Whether a file is as it was when its checksum was written; None where it has none."""
    at = _place(content)
    return None if at is None else content[at : at + len(PLACEHOLDER)] == _sha256(content, at)


def _place(content: bytes) -> int | None:
    """Where the checksum begins: the metadata stand at the end of the file."""
    at = content.rfind(_BEFORE)
    return None if at < 0 else at + len(_BEFORE)


def _sha256(content: bytes, at: int) -> bytes:
    parts = memoryview(content)
    digest = hashlib.sha256(parts[:at])
    digest.update(PLACEHOLDER)
    digest.update(parts[at + len(PLACEHOLDER) :])
    return digest.hexdigest().encode()
