"""Real people are enrolled, verified and identified, and two who are given as one are refused.

All but the last is asked of a model that has learnt nothing, the shape of mean spectra: it knows a voice in a quiet
recording by its colour alone, enough to see that every part does its work, far from enough to be used. A chance of one
in eight would name one of eight people. Who is one person and who are two is asked of the model that comes along.
"""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.service.toys import SpectrumEmbedder
from tests.voiceprints.test_hearing import noise, silero  # noqa: F401 - a fixture
from voxangle.audio import SAMPLE_RATE, load
from voxangle.cli.app import load_model
from voxangle.errors import EnrolmentError, SpeechError
from voxangle.runtime import BaseEmbedder
from voxangle.voiceprints import enrol, hear_files, identify, open_store, take_files, take_heard, verify

pytestmark = [pytest.mark.corpus, pytest.mark.usefixtures("silero")]

PEOPLE, RECORDINGS = 8, 4


@pytest.fixture
def speakers(shared_corpora: Path) -> dict[str, list[Path]]:
    """Recordings of people who read aloud; the last of each is for the test."""
    found: dict[str, list[Path]] = {}
    with (shared_corpora / "utterances.csv").open() as file:
        for row in csv.DictReader(file):
            if (row["corpus"], row["split"]) == ("librispeech", "eval"):
                found.setdefault(row["speaker"], []).append(shared_corpora / row["path"])
    whole = ((name, files[:RECORDINGS]) for name, files in found.items() if len(files) >= RECORDINGS)
    return dict(islice(whole, PEOPLE))


def test_real_people_are_known_again(speakers: dict[str, list[Path]], tmp_path: Path) -> None:
    embedder = SpectrumEmbedder()
    embedder.card.calibration = None  # a made-up one would tell nothing of real voices
    assert len(speakers) == PEOPLE
    with open_store(tmp_path / "prints.sqlite") as store:
        for name, (*files, _) in speakers.items():
            recordings = take_files(embedder, files)
            heard = hear_files(embedder, files, recordings)
            assert heard == ((), ())
            entry, _ = enrol(store, embedder, name, recordings, actor="me", heard=heard)
            assert entry.recordings == RECORDINGS - 1
        tests, notes = take_heard(embedder, [files[-1] for files in speakers.values()])
        assert notes == ()
        scores = np.array(
            [[verify(store, embedder, name, one, actor="me").score for name in speakers] for one in tests]
        )
        named = [
            identify(store, embedder, one, actor="me", top=1, threshold="0.5").candidates[0] for one in tests
        ]
    own = np.eye(PEOPLE, dtype=bool)
    assert (scores[own][:, None] > scores[~own]).mean() > 0.75
    right = sum(one.entry.name == name for one, name in zip(named, speakers, strict=True))
    assert right >= PEOPLE // 2
    np.testing.assert_allclose([one.score for one in named], scores.max(axis=1), atol=1e-6)


def test_noise_beside_real_speech_is_refused(speakers: dict[str, list[Path]], tmp_path: Path) -> None:
    own = next(iter(speakers.values()))[0]
    soundfile.write(tmp_path / "noise.wav", noise(5.0), 16_000)
    with pytest.raises(SpeechError) as refused:
        take_heard(SpectrumEmbedder(), [own, tmp_path / "noise.wav"])
    assert str(refused.value).startswith(f"{tmp_path / 'noise.wav'} holds no speech")


@pytest.fixture(scope="module")
def shipped() -> BaseEmbedder:
    return load_model(None)[0]


def test_one_person_is_taken(shipped: BaseEmbedder, speakers: dict[str, list[Path]], tmp_path: Path) -> None:
    with open_store(tmp_path / "prints.sqlite") as store:
        for name, (*files, last) in islice(speakers.items(), 3):
            recordings = take_files(shipped, files)
            heard = hear_files(shipped, files, recordings)
            assert enrol(store, shipped, name, recordings, actor="me", heard=heard).warnings == ()
            ((claim,), notes) = take_heard(shipped, [last])
            assert not any("different voices" in note for note in notes)
            assert verify(store, shipped, name, claim, actor="me").decision.same_voice


def test_two_people_are_refused_as_one(
    shipped: BaseEmbedder, speakers: dict[str, list[Path]], tmp_path: Path
) -> None:
    files = [own[0] for own in islice(speakers.values(), 4)]
    for first, second in zip(files[::2], files[1::2], strict=True):
        recordings = take_files(shipped, [first, second])
        with open_store(tmp_path / "prints.sqlite") as store:
            with pytest.raises(EnrolmentError, match=r"does not sound like .* two voices are the likelier"):
                enrol(store, shipped, "both", recordings, actor="me")
            enrol(store, shipped, first.stem, recordings[:1], actor="me")
            with pytest.raises(EnrolmentError, match="does not sound like the voiceprint"):
                enrol(store, shipped, first.stem, recordings[1:], actor="me", add=True)
        in_turn = np.concatenate([load(one)[: 5 * SAMPLE_RATE] for one in (first, second)])
        soundfile.write(tmp_path / "in-turn.wav", in_turn, SAMPLE_RATE)
        with pytest.raises(SpeechError, match="has parts that sound like different voices"):
            take_heard(shipped, [tmp_path / "in-turn.wav"])
