"""Errors that a person can act on: each names what was wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "AudioError",
    "CheckpointError",
    "CorpusError",
    "DivergenceError",
    "EnrolmentError",
    "MissingExtraError",
    "NameTakenError",
    "OtherModelError",
    "RecipeError",
    "SilenceError",
    "SpeechError",
    "StorageError",
    "StoreKeyError",
    "TrialError",
    "UnknownVoiceprintError",
    "VoiceprintError",
    "VoxangleError",
    "missing_extra",
    "nearest",
]


class VoxangleError(Exception):
    """Base of every mistake the command line reports without a traceback, with exit code 2."""


class AudioError(VoxangleError):
    """A recording that cannot be used: missing, not audio, truncated, empty, silent, or not finite.

    Attributes:
        path: the file at fault.
        cause: what is wrong with it, without the file's name (so that it can be counted and tabulated).
    """

    def __init__(self, path: str | Path, cause: str) -> None:
        self.path = Path(path)
        self.cause = cause
        super().__init__(f"{path}: {cause}")


class SilenceError(AudioError):
    """A recording, or the stretch of it that was asked for, in which nothing sounds."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "is silent (below -80 dBFS throughout); record it again, or leave it out")


class SpeechError(VoxangleError):
    """A recording that is not the speech of one voice, or of too little to decide by."""


class CorpusError(VoxangleError):
    """A corpus that cannot be reached, read or used for what was asked."""


class TrialError(VoxangleError):
    """A trial list that cannot be read or scored."""


class RecipeError(VoxangleError):
    """A recipe with an unknown key or a value out of range."""


class CheckpointError(VoxangleError):
    """A checkpoint or model that is missing, broken, or of another architecture."""


class StorageError(VoxangleError):
    """A disk that is full or cannot be written."""


class DivergenceError(VoxangleError):
    """Training that left the finite numbers."""


class VoiceprintError(VoxangleError):
    """Base of what is wrong with a voiceprint, with what is asked of it, or with the store that keeps it."""


class UnknownVoiceprintError(VoiceprintError):
    """Nobody of that name is enrolled."""


class NameTakenError(VoiceprintError):
    """Somebody of that name is enrolled already."""


class OtherModelError(VoiceprintError):
    """A voiceprint of another model than the one in use: their embeddings must never be compared."""


class EnrolmentError(VoiceprintError):
    """Recordings that make no voiceprint to rely on.

    Attributes:
        reasons: why, a sentence each.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


class StoreKeyError(VoiceprintError):
    """The key of an encrypted store is missing, malformed or another one."""


class MissingExtraError(VoxangleError):
    """An optional dependency that is not installed; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the '{extra}' extra: pip install 'voxangle[{extra}]'")


_TRAINING = {"matplotlib", "safetensors", "torch", "yaml"}


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """What to install where the library that could not be imported comes with an extra; None of any other."""
    library = (error.name or "").partition(".")[0]
    return MissingExtraError(f"this (it uses {library})", "train") if library in _TRAINING else None


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'margin'?`` for the nearest known name, or the list of them all."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names)}"
