"""What a run learns from and what it is watched on."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxangle.errors import CorpusError
from voxangle.recipe import DataConfig, PlaceConfig
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


def test_short_recordings_are_joined_before_anything_is_counted(voices: Path) -> None:
    material = gather_material(config(voices, join_seconds=3.5, minimum_seconds=3.0, validation_speakers=2))
    assert len(material.training.manifest) == 4 * 2
    assert (material.training.manifest.column("seconds") == 4.0).all()
    assert len(material.training.read(0)) == 4 * 16_000
    assert "24 recordings were joined to 12" in "\n".join(material.notes)
    # Held out is who is held out without joining.
    plain = gather_material(config(voices, validation_speakers=2))
    assert material.training.manifest.speakers() == plain.training.manifest.speakers()


def test_several_corpora_train_together(voices: Path, tmp_path: Path) -> None:
    table = copy(voices, tmp_path / "mine", ["s0/*", "s1/*"]).rename(tmp_path / "theirs")
    for file in sorted(table.glob("*/*")):
        file.rename(file.with_name(f"their-{file.name}"))
    rows = [f"{file.relative_to(table)},t-{file.parent.name}" for file in sorted(table.glob("*/*"))]
    (table / "utterances.csv").write_text("path,speaker\n" + "\n".join(rows) + "\n")
    places = {"folder": PlaceConfig(root=voices), "table": PlaceConfig(root=table)}
    material = gather_material(DataConfig(corpora=places))
    assert material.training.manifest.speakers() == [*(f"s{i}" for i in range(6)), "t-s0", "t-s1"]
    for row in (0, len(material.training.samples) - 1):
        assert len(material.training.read(row)) == material.training.samples[row] == 32_000


def test_corpora_that_share_a_key_are_refused(voices: Path, tmp_path: Path) -> None:
    table = copy(voices, tmp_path / "mine", ["s0/*"])
    rows = [f"{file.relative_to(table)},s0" for file in sorted(table.glob("*/*"))]
    (table / "utterances.csv").write_text("path,speaker\n" + "\n".join(rows) + "\n")
    places = {"folder": PlaceConfig(root=voices), "table": PlaceConfig(root=table)}
    with pytest.raises(CorpusError, match=r"corpus 'folder' \+ corpus 'table'.*s0/u0.wav.*more than once"):
        gather_material(DataConfig(corpora=places))


def test_labels_are_swapped_in_training_alone(voices: Path) -> None:
    plain = gather_material(config(voices, validation_speakers=2))
    told = gather_material(config(voices, validation_speakers=2, swapped_labels=0.25))
    assert plain.validation is not None
    assert plain.validation_trials is not None
    assert told.validation is not None
    assert told.validation_trials is not None
    assert told.validation.manifest.table.equals(plain.validation.manifest.table)
    assert told.validation_trials.sha256() == plain.validation_trials.sha256()
    wrong = told.training.manifest.column("speaker") != plain.training.manifest.column("speaker")
    assert wrong.sum() == 4
    assert told.training.manifest.speakers() == plain.training.manifest.speakers()
    assert told.notes[-1].startswith("4 of 16 training recordings have the label of another speaker")
