"""What the headers tell a check: lengths against starts and seconds, rates and channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxangle.audio import load
from voxangle.corpora import kaldi, table
from voxangle.corpora.completeness import OUTSIDE, Completeness, Tally, inspect
from voxangle.corpora.corpus import Corpus
from voxangle.errors import AudioError


def sound(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1) -> str:
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (round(seconds * rate), channels))
    soundfile.write(path, samples, rate)
    return path.name


def check(corpus: Corpus, root: Path, *, headers: bool = True) -> Completeness:
    return inspect(corpus.name, root, corpus.splits, {}, Tally(), headers=headers)


def test_segments_past_the_end_of_their_file_are_named_and_counted(tmp_path: Path) -> None:
    sound(tmp_path / "1.wav")
    sound(tmp_path / "2.wav", 2.0)
    rows = {
        "whole": "1.wav,0,0",
        "within": "1.wav,0.25,0.5",
        "rounded": "1.wav,0.5,0.55",
        "past": "2.wav,1.5,3",
        "beyond": "1.wav,1.5,0",
    }
    text = "".join(f"{key},a,{row}\n" for key, row in rows.items())
    (tmp_path / "utterances.csv").write_text(f"utterance,speaker,path,start,seconds\n{text}")
    corpus = table.read(tmp_path)
    found = check(corpus, tmp_path)
    (fault,) = found.faults
    assert not found.whole
    assert (fault.kind, fault.count) == (OUTSIDE, 2)
    assert fault.examples == (
        "past (1.50 to 4.50 of the 2.00 s of 2.wav)",
        "beyond (1.50 to the end of the 1.00 s of 1.wav)",
    )
    assert check(corpus, tmp_path, headers=False).whole


@pytest.mark.parametrize("start", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.59, 0.61, 1.09, 1.11])
def test_outside_is_what_loading_refuses(start: float, seconds: float, tmp_path: Path) -> None:
    sound(tmp_path / "1.wav")
    (tmp_path / "utterances.csv").write_text(f"path,speaker,start,seconds\n1.wav,a,{start},{seconds}\n")
    try:
        load(tmp_path / "1.wav", start=start, seconds=seconds)
        loads = True
    except AudioError:
        loads = False
    assert check(table.read(tmp_path), tmp_path).whole == loads


def test_kaldi_segments_past_the_end_are_found(tmp_path: Path) -> None:
    sound(tmp_path / "r.wav")
    (tmp_path / "wav.scp").write_text(f"r {tmp_path / 'r.wav'}\n")
    (tmp_path / "utt2spk").write_text("a s\nb s\nc s\n")
    (tmp_path / "segments").write_text("a r 0 0.5\nb r 0.5 -1\nc r 0.5 7\n")
    found = check(kaldi.read(tmp_path), tmp_path)
    assert not found.whole
    assert "1 utterance(s) that begin or end past the end of their file: c (0.50 to 7.00 of" in str(found)


def test_mixed_rates_and_channels_are_counted(tmp_path: Path) -> None:
    files = [
        sound(tmp_path / "a.wav"),
        sound(tmp_path / "b.wav"),
        sound(tmp_path / "c.wav", rate=44_100, channels=2),
        sound(tmp_path / "d.wav", rate=8_000),
        sound(tmp_path / "e.wav", rate=16_000, channels=4),
    ]
    (tmp_path / "utterances.csv").write_text("path,speaker\n" + "".join(f"{file},a\n" for file in files))
    found = check(table.read(tmp_path), tmp_path)
    assert found.whole
    assert str(found).endswith(
        "\n  files by rate: 8,000 Hz: 1, 16,000 Hz: 2, 16,000 Hz 4 channels: 1, 44,100 Hz stereo: 1; "
        "1 of less than 16,000 Hz: upsampled, and empty above 4,000 Hz"
    )
    assert "Hz" not in str(check(table.read(tmp_path), tmp_path, headers=False))


@pytest.mark.parametrize(("rate", "said"), [(16_000, False), (48_000, False), (8_000, True)])
def test_one_rate_is_worth_a_line_only_where_it_is_low(rate: int, said: bool, tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", rate=rate)
    (tmp_path / "utterances.csv").write_text("path,speaker\na.wav,a\n")
    assert ("files by rate: 8,000 Hz: 1;" in str(check(table.read(tmp_path), tmp_path))) == said
