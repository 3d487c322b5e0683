"""Labels exchanged on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxangle.data.manifest import Manifest, Utterance
from voxangle.data.mislabelled import Mislabelled
from voxangle.errors import CorpusError


@dataclass(frozen=True)
class Numbered:
    """Recordings that sound like their number."""

    manifest: Manifest
    numbers: np.ndarray

    @classmethod
    def of(cls, speakers: list[int]) -> Numbered:
        rows = [
            Utterance(f"u{i}", f"s{speaker:02}", f"{i}.wav", language="en")
            for i, speaker in enumerate(speakers)
        ]
        return cls(Manifest.of(rows, Path("/audio")), np.arange(len(rows)))

    @property
    def samples(self) -> np.ndarray:
        return self.numbers + 1

    def read(self, row: int, first: int = 0, samples: int | None = None) -> np.ndarray:
        del first, samples
        return np.float32([self.numbers[row]])

    def where(self, keep: np.ndarray) -> Numbered:
        return Numbered(self.manifest.where(keep), self.numbers[keep])


@given(st.lists(st.integers(0, 6), min_size=2, max_size=60), st.floats(0, 1), st.integers(0, 99))
def test_that_many_are_wrong_and_no_more_and_every_class_keeps_its_size(
    speakers: list[int], share: float, seed: int
) -> None:
    true = Numbered.of(speakers)
    try:
        told = Mislabelled.of(true, share, seed=seed)
    except CorpusError:
        return  # tested below
    before, after = true.manifest.column("speaker"), told.manifest.column("speaker")
    assert np.array_equal(before != after, told.wrong)
    assert told.wrong.sum() == round(share * len(speakers))
    assert sorted(before) == sorted(after)
    assert np.array_equal(told.manifest.column("utterance"), true.manifest.column("utterance"))


def test_wrong_labels_come_from_many_speakers_and_stay_when_more_are_asked_for() -> None:
    true = Numbered.of([i // 10 for i in range(400)])
    some, more = (Mislabelled.of(true, share) for share in (0.1, 0.2))
    assert some.wrong.sum() == 40
    assert (more.wrong | ~some.wrong).all()
    pairs = set(
        zip(
            true.manifest.column("speaker")[more.wrong],
            more.manifest.column("speaker")[more.wrong],
            strict=True,
        )
    )
    assert len(pairs) > 60  # of 80 exchanged labels: not one speaker's all given to another
    assert not np.array_equal(Mislabelled.of(true, 0.1, seed=1).wrong, some.wrong)


def test_audio_stays_with_its_recording() -> None:
    told = Mislabelled.of(Numbered.of([0, 0, 1, 1, 2, 2]), 1.0)
    assert [told.read(row)[0] for row in range(6)] == [0, 1, 2, 3, 4, 5]
    keep = np.array([False, True, True, False, False, True])
    fewer = told.where(keep)
    assert [fewer.read(row)[0] for row in range(3)] == [1, 2, 5]
    assert fewer.manifest.column("speaker").tolist() == told.manifest.column("speaker")[keep].tolist()
    assert fewer.samples.tolist() == [2, 3, 6]
    assert fewer.true_manifest.column("speaker").tolist() == ["s00", "s01", "s02"]


def test_a_speaker_with_most_recordings_cannot_be_exchanged() -> None:
    with pytest.raises(
        CorpusError, match=r"more than half of them are of one speaker; change data\.swapped_labels"
    ):
        Mislabelled.of(Numbered.of([0, 0, 0, 1]), 1.0)
