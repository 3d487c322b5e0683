"""A speaker at another speed is another speaker, and a crop of it is what the whole would give."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from voxangle.audio import SAMPLE_RATE
from voxangle.data import Manifest, Utterance
from voxangle.data.batches import CropReader, SpeakerSampler
from voxangle.data.speeds import SpeedPerturbed


class Tones:
    """Two recordings of each of three speakers: sums of a few sines below 5 kHz."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self.waves = []
        for length in (40_000, 31_337, 9_001, 24_000, 16_001, 12_345):
            time = np.arange(length) / SAMPLE_RATE
            tones = random.uniform(100, 5000, (5, 1))
            self.waves.append(np.sin(2 * np.pi * tones * time).mean(0).astype(np.float32))
        self.samples = np.array([len(wave) for wave in self.waves], np.int64)
        speakers = ["b", "a", "c", "b", "a", "c"]
        rows = (Utterance(f"u{i}", speaker, "x") for i, speaker in enumerate(speakers))
        self.manifest = Manifest.of(rows, "/")

    def read(self, row: int, first: int = 0, samples: int | None = None) -> np.ndarray:
        last = len(self.waves[row]) if samples is None else first + samples
        assert 0 <= first <= last <= len(self.waves[row])
        return self.waves[row][first:last]


def test_each_speed_has_speakers_of_its_own() -> None:
    perturbed = SpeedPerturbed(Tones(), (1.0, 0.9, 1.1))
    assert perturbed.speakers == ["a", "b", "c", *(f"sp{s}-{n}" for s in ("0.9", "1.1") for n in "abc")]
    np.testing.assert_array_equal(perturbed.labels, [1, 0, 2, 1, 0, 2, 4, 3, 5, 4, 3, 5, 7, 6, 8, 7, 6, 8])
    np.testing.assert_array_equal(perturbed.labels % perturbed.voices, np.tile([1, 0, 2, 1, 0, 2], 3))
    assert perturbed.samples[6] == 40_000 * 10 // 9
    assert perturbed.samples[12] == 40_000 * 10 // 11


@pytest.mark.parametrize("speed", [0.9, 1.1, 0.95, 1.25, 0.5, 2.0])
def test_every_row_reads_to_its_last_sample(speed: float) -> None:
    perturbed = SpeedPerturbed(Tones(), (1.0, speed))
    for row, length in enumerate(perturbed.samples.tolist()):
        assert len(perturbed.read(row)) == length
        assert len(perturbed.read(row, length - 3, 3)) == 3
        assert len(perturbed.read(row, 5, 0)) == 0
    with pytest.raises(IndexError, match="row 7"):
        perturbed.read(7, int(perturbed.samples[7]) - 3, 4)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_a_segment_is_that_of_the_whole_perturbed_recording(speed: float) -> None:
    tones = Tones()
    perturbed = SpeedPerturbed(tones, (1.0, speed))
    for number, wave in enumerate(tones.waves):
        whole = soxr.resample(wave, SAMPLE_RATE * speed, SAMPLE_RATE, quality="HQ")
        length = int(perturbed.samples[6 + number])
        for first, count in ((0, 4_000), (1_234, 5_000), (length - 2_000, 2_000), (0, length)):
            np.testing.assert_allclose(
                perturbed.read(6 + number, first, count), whole[first : first + count], atol=1e-5
            )


def test_speed_moves_the_pitch_with_the_duration() -> None:
    tones = Tones()
    time = np.arange(40_000) / SAMPLE_RATE
    tones.waves[0] = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    faster = SpeedPerturbed(tones, (1.0, 1.1)).read(6)[:32_000]
    peak = np.abs(np.fft.rfft(faster * np.hanning(32_000))).argmax() * SAMPLE_RATE / 32_000
    assert peak == pytest.approx(1100, abs=0.5)


def test_without_other_speeds_nothing_changes() -> None:
    tones = Tones()
    plain = SpeedPerturbed(tones)
    assert plain.speakers == tones.manifest.speakers()
    np.testing.assert_array_equal(plain.labels, tones.manifest.labels())
    np.testing.assert_array_equal(plain.samples, tones.samples)
    np.testing.assert_array_equal(plain.read(2, 7, 100), tones.waves[2][7:107])


def test_crops_are_a_pure_function_of_the_step_and_of_exact_length() -> None:
    def reader(rank: int = 0, world_size: int = 1) -> CropReader:
        perturbed = SpeedPerturbed(Tones(), (1.0, 0.9, 1.1))
        sampler = SpeakerSampler(
            perturbed.labels, speakers=4, recordings=2, seed=2, rank=rank, world_size=world_size
        )
        return CropReader(perturbed, perturbed.labels, sampler, seconds=0.7, seed=2)

    crops, again = reader(), reader()
    halves = [reader(rank, 2) for rank in range(2)]
    heard = set()
    for step in reversed(range(12)):
        batch = crops.batch(step)
        assert batch.waveforms.shape == (8, 11_200)
        heard |= set(batch.labels.tolist())
        np.testing.assert_array_equal(
            batch.waveforms, np.concatenate([half.batch(step).waveforms for half in halves])
        )
    np.testing.assert_array_equal(crops.batch(7).waveforms, again.batch(7).waveforms)
    assert heard == set(range(9))
