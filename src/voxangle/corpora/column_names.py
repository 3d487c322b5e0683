"""What others call the columns of a table of recordings."""

from __future__ import annotations

import re

__all__ = ["length_rule", "meant_by"]

_OTHER_NAMES = {
    "path": ("audio", "audio_path", "file", "file_name", "filename", "filepath", "wav", "wav_path"),
    "speaker": ("client_id", "speaker_id", "spk", "spk_id", "spkid", "spkr"),
    "utterance": ("utt", "utt_id", "utterance_id", "uttid"),
    "start": ("begin", "from", "offset", "onset", "start_offset", "t0"),
    "seconds": (
        "dur",
        "duration",
        "end",
        "end_offset",
        "length",
        "len",
        "sec",
        "secs",
        "stop",
        "to",
        "until",
    ),
    "session": ("session_id",),
    "language": ("lang", "locale"),
    "gender": ("sex",),
    "split": ("partition", "subset"),
}
_MEANT = {other: name for name, others in _OTHER_NAMES.items() for other in others}
_ENDS = {"end", "end_offset", "stop", "to", "until"}
_UNIT = re.compile(r"(_in)?_(frames?|ms|s|samples?|secs?|seconds|time)$")


def meant_by(name: str) -> str:
    """The column that a name seems to stand for: ``seconds`` for ``Duration (ms)``; empty where none does.

    A column's own name, written otherwise (``Start``, ``start_s``), stands for it too.
    """
    bare = _bare(name)
    return bare if bare in _OTHER_NAMES else _MEANT.get(bare, "")


def length_rule(name: str) -> str:
    """What to write instead of a column that seems to stand for ``start`` or ``seconds``."""
    if meant_by(name) == "start":
        return "where an utterance begins in its file stands in a column 'start', in seconds"
    subtract = f" ('{name}' less 'start')" if _bare(name) in _ENDS else ""
    return f"how long an utterance lasts{subtract} stands in a column 'seconds', in seconds"


def _bare(name: str) -> str:
    """Small letters and underscores, without the unit."""
    plain = re.sub(r"\W+", "_", name.lower()).strip("_")
    return _UNIT.sub("", plain)
