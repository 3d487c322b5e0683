"""What every test shares: quiet threads, fixed seeds, the real corpora where they are."""

from __future__ import annotations

import os
from pathlib import Path

# Two spinning OpenMP threads collapse beside another busy process; to be set before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
import soundfile
from hypothesis import settings

from voxangle.corpora import folder as folder_corpus
from voxangle.data.shard_writer import write_shards
from voxangle.runtime.speech import LevelDetector

# A clock decides no test: a busy machine is no defect.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

SHARED_CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own: no test reads or writes the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VOXANGLE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared_corpora() -> Path:
    """The folder of real speech beside the checkout; the test skips where it is missing."""
    if not (SHARED_CORPORA / "utterances.csv").exists():
        pytest.skip(f"no real speech at {SHARED_CORPORA}")
    return SHARED_CORPORA


def voice(speaker: int, utterance: int, seconds: float = 2.0) -> np.ndarray:
    """A made-up voice: a speaker's own pitch and resonances under syllables that differ by utterance."""
    random = np.random.default_rng((7, speaker, utterance))
    own = np.random.default_rng((8, speaker))
    time = np.arange(round(seconds * 16_000)) / 16_000
    pitch = own.uniform(90, 260) * (1 + 0.05 * np.sin(2 * np.pi * random.uniform(2, 5) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    formants = own.uniform([300, 900, 2200], [800, 2000, 3300])
    wave = np.zeros_like(time)
    for harmonic in range(1, 25):
        gain = sum(np.exp(-(((harmonic * pitch.mean() - f) / 250) ** 2)) for f in formants) + 0.02
        wave += gain * np.sin(harmonic * phase)
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * random.uniform(3, 6) * time + random.uniform(0, 6))
    wave = wave * syllables + 0.01 * random.standard_normal(len(time))
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


@pytest.fixture
def made_up_voices_are_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up voices are none to silero-vad: all that sounds is speech."""
    monkeypatch.setattr("voxangle.voiceprints.hearing.SileroDetector", LevelDetector)


def write_voices(folder: Path, *, speakers: int = 6, utterances: int = 4, seconds: float = 2.0) -> Path:
    """A folder corpus ``speaker/utterance.wav`` of made-up voices."""
    for speaker in range(speakers):
        (folder / f"s{speaker}").mkdir(parents=True)
        for utterance in range(utterances):
            path = folder / f"s{speaker}" / f"u{utterance}.wav"
            soundfile.write(path, voice(speaker, utterance, seconds), 16_000)
    return folder


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six made-up voices, four recordings each, as a folder corpus; not to be changed."""
    return write_voices(tmp_path_factory.mktemp("voices") / "voices")


@pytest.fixture(scope="session")
def shards(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up voices as shards; not to be changed."""
    place = tmp_path_factory.mktemp("shards") / "all"
    write_shards(
        folder_corpus.read(voices).splits["all"], place, source="folder/all", together=2, shard_bytes=300_000
    )
    return place


RECIPE = """
seed: 3
data: {{corpus: folder, root: {root}, split: all, validation_speakers: 2, validation_recordings: 3}}
batch: {{speakers: 4, recordings: 2, seconds: 0.6}}
augment: {{views: 2, kinds: {{reverb: 0, music: 0}}}}
encoder: {{architecture: ecapa_tdnn, channels: 16, aggregation: 24, squeeze: 8, attention: 8, dimension: 12}}
objective: {{contrast_from: 0.2}}
schedule: {{steps: {steps}}}
training: {{precision: fp32, checkpoint_every: 5, validate_every: 10, log_every: 5}}
"""


@pytest.fixture
def recipe_file(tmp_path: Path, voices: Path) -> Path:
    """A recipe that trains a tiny encoder on the made-up voices in a second or two."""
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.format(root=voices, steps=20))
    return path
