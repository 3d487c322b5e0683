"""Recordings to listen to, stored in the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import soundfile

from voxangle.audio import SAMPLE_RATE, Waveform, load
from voxangle.data.batches import LabelledRecordings
from voxangle.errors import AudioError, CorpusError
from voxangle.reporting.page import Text

__all__ = ["Clips", "Players", "Sound", "clip", "clips_below", "clips_of"]

Clips = Callable[[str], bytes | None]
"""The recording of a key as MP3 (see ``clip``); ``None`` where there is none to hear, as of a model."""

_SECONDS = 4.0
_COMPRESSION = 0.8  # of libsndfile's MP3, 0 to 1: about 32 kbit/s at 16 kHz


@dataclass(frozen=True)
class Sound:
    """One player.

    Attributes:
        name: what is heard, for those who cannot see whose player it is.
        mp3: the recording.
        label: above the player; empty where there is nothing to tell two apart.
    """

    name: str
    mp3: bytes | None
    label: str = ""

    def html(self) -> str:
        """The player's markup."""
        label = f'<p class="side">{escape(self.label)}</p>' if self.label else ""
        if self.mp3 is None:
            return label
        data = base64.b64encode(self.mp3).decode("ascii")
        return (
            f'{label}<audio controls preload="none" aria-label="{escape(self.name)}" '
            f'src="data:audio/mpeg;base64,{data}"></audio>'
        )


@dataclass(frozen=True)
class Players(Text):
    """A paragraph, then clips side by side: each a line of text and one clip, or two to compare."""

    players: Sequence[tuple[str, Sequence[Sound]]]

    def html(self) -> str:
        """The markup, the recordings included."""
        figures = (
            f'<figure class="players"><figcaption>{escape(text)}</figcaption>'
            f"{''.join(sound.html() for sound in sounds)}</figure>"
            for text, sounds in self.players
        )
        return f'{super().html()}<div class="gallery">{"".join(figures)}</div>'


def clip(waveform: Waveform) -> bytes:
    """The loudest seconds of a recording, as MP3, which every browser plays.

    Args:
        waveform: shape (samples,), 16 kHz.
    """
    most = int(_SECONDS * SAMPLE_RATE)
    if len(waveform) > most:
        energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
        first = int(np.argmax(energy[most:] - energy[:-most]))
        waveform = waveform[first : first + most]
    file = io.BytesIO()
    soundfile.write(
        file, waveform, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=_COMPRESSION
    )
    return file.getvalue()


def clips_below(root: Path) -> Clips:
    """Clips of keys that are paths below a folder.

    Raises:
        CorpusError: there is no such folder.
    """
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; give the one that the paths of the lists are relative to")

    def clip_of(key: str) -> bytes | None:
        try:
            return clip(load(root / key))
        except AudioError:
            return None

    return clip_of


def clips_of(recordings: Sequence[LabelledRecordings]) -> Clips:
    """Clips of the utterances of prepared recordings."""
    places: Mapping[str, tuple[LabelledRecordings, int]] = {
        key: (prepared, row)
        for prepared in recordings
        for row, key in enumerate(prepared.manifest.table["utterance"].to_pylist())
    }

    def clip_of(key: str) -> bytes | None:
        if key not in places:
            return None
        prepared, row = places[key]
        return clip(prepared.read(row))

    return clip_of
