from __future__ import annotations

import numpy as np
import pytest
import torch

from voxangle.augment.babble import Talkers
from voxangle.augment.clips import Clips, pick
from voxangle.augment.mixing import power


def constant(value: float, samples: int) -> np.ndarray:
    return np.full(samples, value, np.float32)


def draws(rows: int, talkers: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, talkers, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tones(counts: list[int], samples: int = 4000) -> tuple[Talkers, np.ndarray]:
    """Speaker s says a tone at 100 (s + 1) Hz, in ``counts[s]`` recordings; speakers are labelled 10 s."""
    speakers = np.repeat(np.arange(len(counts)), counts)
    time = np.arange(samples) / 16000
    clips = Clips.of([np.sin(2 * np.pi * 100 * (s + 1) * time).astype(np.float32) for s in speakers])
    return Talkers.of(clips, speakers * 10), speakers


def heard(babble: torch.Tensor) -> list[set[int]]:
    """The speakers whose tones are in each babble: 1600 samples hold whole periods of all of them."""
    spectra = torch.fft.rfft(babble).abs()[:, 10::10]
    return [set(torch.nonzero(row > 0.1 * row.max())[:, 0].tolist()) for row in spectra]


def test_every_clip_is_held_at_full_scale_whatever_its_level() -> None:
    wave = np.sin(np.arange(3200) * 0.05).astype(np.float32)
    clips = Clips.of([1e-3 * wave, 0.9 * wave])
    crops = clips.crops(torch.tensor([0, 1]), torch.zeros(2, dtype=torch.float64), 3000)
    assert crops.abs().amax(1).tolist() == pytest.approx([1, 1])
    torch.testing.assert_close(crops[0], crops[1], rtol=0, atol=2e-4)


def test_a_crop_stays_within_its_clip_and_repeats_one_that_is_shorter() -> None:
    clips = Clips(torch.arange(50, dtype=torch.int16), torch.tensor([0, 10, 13]), torch.tensor([10, 3, 37]))
    which = torch.tensor([0, 0, 1, 1, 2])
    places = torch.tensor([0.0, 1 - 1e-12, 0.0, 0.999, 1 - 1e-17], dtype=torch.float64)
    crops = (clips.crops(which, places, 5) * 32767).round().int()
    assert crops.tolist() == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [10, 11, 12, 10, 11],
        [12, 10, 11, 12, 10],
        [45, 46, 47, 48, 49],
    ]


def test_repeating_a_clip_makes_no_click() -> None:
    time = np.arange(3000) / 16000
    wave = np.sin(2 * np.pi * 137.3 * time).astype(np.float32)
    clips = Clips.of([wave])
    crop = clips.crops(torch.tensor([0]), torch.zeros(1, dtype=torch.float64), 9000)[0]
    steepest = 2 * np.pi * 137.3 / 16000
    assert crop.diff().abs().max() < 1.5 * steepest
    assert crop[6000:].equal(crop[6000 - 2 * (3000 - 160) : 9000 - 2 * (3000 - 160)])
    assert np.abs(np.diff(np.tile(wave, 2))).max() > 3 * steepest


def test_picks_are_even_and_never_out_of_range() -> None:
    places = torch.linspace(0, 1, 7001, dtype=torch.float64)
    assert torch.bincount(pick(places[:-1], 7)).tolist() == [1000] * 7
    assert pick(places[-1:], 7).item() == 6
    assert pick(torch.full((2,), 1.0).double(), torch.tensor([3, 2**40])).tolist() == [2, 2**40 - 1]


def test_a_babble_is_that_many_different_speakers_none_of_them_the_speaker_of_the_crop() -> None:
    talkers, _ = tones([1, 4, 2, 1, 1, 3])
    wanted = torch.arange(120) % 5 + 1
    own = torch.arange(120) % 6
    for speakers, crowd in zip(
        own.tolist(), heard(talkers.babble(wanted, draws(120, 5), 1600, own * 10)), strict=True
    ):
        assert speakers not in crowd
    crowds = heard(talkers.babble(wanted, draws(120, 5), 1600, own * 10))
    assert [len(crowd) for crowd in crowds] == wanted.tolist()
    assert set().union(*crowds) == set(range(6))


def test_without_labels_or_with_unknown_ones_anybody_may_talk() -> None:
    talkers, _ = tones([1, 1, 1])
    table = draws(60, 3)
    everyone = torch.full((60,), 3)
    unknown = torch.tensor([-5, 7, 999]).repeat(20)
    for labels in (None, unknown):
        assert heard(talkers.babble(everyone, table, 1600, labels)) == [{0, 1, 2}] * 60


def test_where_speakers_are_few_they_all_talk_and_each_once() -> None:
    talkers, _ = tones([2, 2, 2])
    crowds = heard(talkers.babble(torch.full((30,), 7), draws(30, 7), 1600, torch.zeros(30).long()))
    assert crowds == [{1, 2}] * 30


def test_speakers_are_drawn_equally_often_whatever_they_recorded() -> None:
    talkers, _ = tones([1, 20, 1, 5])
    crowds = heard(talkers.babble(torch.full((2000,), 1), draws(2000, 1), 1600))
    times = np.bincount([next(iter(crowd)) for crowd in crowds])
    np.testing.assert_allclose(times / 2000, 0.25, atol=0.04)


def test_the_talkers_of_a_babble_are_equally_loud_and_silent_ones_make_no_nan() -> None:
    wave = np.random.default_rng(0).standard_normal((3, 4000)).astype(np.float32)
    wave[1] *= np.linspace(1, 0, 4000) ** 4
    talkers = Talkers.of(Clips.of(list(wave)), np.arange(3))
    mixed = talkers.babble(torch.full((50,), 3), draws(50, 3), 1000)
    torch.testing.assert_close(power(mixed), torch.full((50, 1), 3.0), rtol=0.3, atol=0)
    silent = Talkers.of(Clips.of([constant(0, 400)] * 3), np.arange(3))
    assert torch.equal(silent.babble(torch.full((4,), 2), draws(4, 2), 300), torch.zeros(4, 300))
