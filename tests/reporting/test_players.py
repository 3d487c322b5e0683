from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxangle.corpora import folder
from voxangle.data.prepare import prepare
from voxangle.errors import CorpusError
from voxangle.reporting.players import Players, Sound, clip, clips_below, clips_of


def test_a_clip_is_the_loudest_four_seconds() -> None:
    tone = np.sin(2 * np.pi * 300 * np.arange(16_000 * 10) / 16_000).astype(np.float32)
    tone[: 16_000 * 5] *= 0.01
    samples, rate = soundfile.read(io.BytesIO(clip(tone)))
    assert rate == 16_000
    assert len(samples) == pytest.approx(4 * rate, rel=0.05)
    assert np.sqrt(np.mean(samples**2)) > 0.6


def test_a_path_below_the_root_is_heard_and_what_is_not_there_is_not(voices: Path) -> None:
    heard = clips_below(voices)
    mp3 = heard("s1/u2.wav")
    assert mp3 is not None
    assert soundfile.info(io.BytesIO(mp3)).format == "MP3"
    assert heard("a model") is None
    with pytest.raises(CorpusError, match="no such folder"):
        clips_below(voices / "nowhere")


def test_prepared_utterances_are_heard_by_their_keys(voices: Path, tmp_path: Path) -> None:
    prepared = prepare(folder.read(voices).splits["all"], tmp_path / "prepared")
    heard = clips_of([prepared])
    key = prepared.manifest.table["utterance"][3].as_py()
    assert heard(key) == clip(prepared.read(3))
    assert heard("a model") is None


def test_players_say_what_is_heard() -> None:
    html = Players(
        "Listen.", [("1 < 2", [Sound("left & right", b"mp3", "left"), Sound("gone", None, "no & player")])]
    ).html()
    assert html.count("<audio") == 1
    assert 'aria-label="left &amp; right" src="data:audio/mpeg;base64,bXAz"' in html
    assert "1 &lt; 2" in html
    assert "no &amp; player" in html
