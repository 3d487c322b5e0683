"""What a run learns from and what it is watched on."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxangle.errors import CorpusError
from voxangle.recipe import DataConfig
from voxangle.training.material import gather_material


def config(root: Path, **changes: object) -> DataConfig:
    return DataConfig(corpus="folder", root=root, split="all", **changes)


def copy(voices: Path, root: Path, patterns: list[str]) -> Path:
    for pattern in patterns:
        for file in voices.glob(pattern):
            target = root / file.relative_to(voices)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return root


def test_validation_speakers_never_train(voices: Path) -> None:
    material = gather_material(config(voices, validation_speakers=2, validation_recordings=3))
    assert material.validation is not None
    assert material.validation_trials is not None
    training = set(material.training.manifest.speakers())
    held_out = set(material.validation.manifest.speakers())
    assert len(training) == 4
    assert len(held_out) == 2
    assert not training & held_out
    assert len(material.validation.manifest) == 6
    assert material.validation_trials.utterances == tuple(material.validation.manifest.column("utterance"))
    # A prepared subset still reads its own recordings.
    assert len(material.training.read(3)) == material.training.samples[3]


def test_the_same_speakers_are_held_out_whatever_else_is_there(voices: Path, tmp_path: Path) -> None:
    def held_out(root: Path) -> set[str]:
        material = gather_material(config(root, validation_speakers=2))
        assert material.validation is not None
        return set(material.validation.manifest.speakers())

    without_one_who_trains = sorted({f"s{i}" for i in range(6)} - held_out(voices))[1:]
    kept = [f"{name}/*" for name in [*without_one_who_trains, *held_out(voices)]]
    assert held_out(copy(voices, tmp_path / "fewer", kept)) == held_out(voices)


def test_without_validation_there_is_none(voices: Path) -> None:
    material = gather_material(config(voices))
    assert material.validation is None
    assert material.validation_trials is None
    assert len(material.training.manifest) == 24


def test_what_is_left_out_is_counted(voices: Path, tmp_path: Path) -> None:
    root = copy(voices, tmp_path / "mine", ["s[0-3]/*", "s4/u0.wav"])
    (root / "s0" / "u9.wav").write_text("this is not audio")
    material = gather_material(config(root, minimum_recordings=2))
    notes = "\n".join(material.notes)
    assert "1 recordings cannot be used" in notes
    assert "s0/u9.wav" in notes
    assert "1 speakers with fewer than 2 recordings" in notes
    assert material.training.manifest.speakers() == ["s0", "s1", "s2", "s3"]
    everyone = gather_material(config(root))
    assert any("1 of 5 speakers have one recording" in note for note in everyone.notes)


def test_recordings_too_short_are_left_out(voices: Path) -> None:
    with pytest.raises(CorpusError, match=r"0 speaker\(s\).*minimum_seconds"):
        gather_material(config(voices, minimum_seconds=2.5))
    assert len(gather_material(config(voices, minimum_seconds=1.9)).training.manifest) == 24
