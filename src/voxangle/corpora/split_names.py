"""What people call the folders and tables of a split."""

from __future__ import annotations

__all__ = ["SPLIT_NAMES"]

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""In lower case: what the split is called here."""
