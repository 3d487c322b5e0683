"""Gender as corpora write it, and as a manifest does."""

from __future__ import annotations

__all__ = ["gender_of"]

_WORDS = {
    "f": ("f", "female", "female_feminine", "feminine", "woman"),
    "m": ("m", "male", "male_masculine", "masculine", "man"),
}
_LETTER = {word: letter for letter, words in _WORDS.items() for word in words}


def gender_of(word: str) -> str:
    """``f`` or ``m`` for any spelling of these; empty for every other answer and for none."""
    return _LETTER.get(word.strip().lower(), "")
