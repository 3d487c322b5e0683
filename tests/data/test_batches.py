from __future__ import annotations

import itertools
import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch

from voxangle.audio import SAMPLE_RATE
from voxangle.data.batches import CropReader, SpeakerSampler
from voxangle.errors import AudioError, RecipeError

LENGTHS = np.array([40, 100, 250, 400, 33, 100, 7, 400, 90, 160], np.int64)
LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 3], np.int64)


class Ramps:
    """Recording r reads r + (0, 1, 2, ...) / 1000: every sample says where it comes from."""

    samples = LENGTHS

    def __init__(self, broken: int | None = None) -> None:
        self.broken = broken

    def read(self, row: int, first: int = 0, samples: int | None = None) -> np.ndarray:
        if row == self.broken:
            raise AudioError("ramp.wav", "it broke")
        length = int(self.samples[row])
        last = length if samples is None else first + samples
        assert 0 <= first <= last <= length
        return (row + np.arange(first, last) / 1000).astype(np.float32)


def reader(
    samples: int = 90, *, seed: int = 4, speakers: int = 4, recordings: int = 2, **options: int
) -> CropReader:
    broken = options.pop("broken", None)
    sampler = SpeakerSampler(LABELS, speakers=speakers, recordings=recordings, seed=4, **options)
    return CropReader(Ramps(broken), LABELS, sampler, seconds=samples / SAMPLE_RATE, seed=seed)


def positions(batch) -> np.ndarray:
    return np.rint((batch.waveforms.numpy() - batch.rows.numpy()[:, None]) * 1000).astype(int)


def background_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_a_crop_is_a_run_of_its_recording_repeated_where_the_recording_is_shorter() -> None:
    crops = reader()
    for step in range(40):
        batch = crops.batch(step)
        assert batch.waveforms.dtype == torch.float32
        assert batch.labels.dtype == batch.rows.dtype == torch.int64
        np.testing.assert_array_equal(batch.labels, LABELS[batch.rows])
        for row, positions_of_crop in zip(batch.rows.tolist(), positions(batch), strict=True):
            expected = positions_of_crop[0] + np.arange(90)
            np.testing.assert_array_equal(positions_of_crop, expected % LENGTHS[row])


def test_crops_begin_everywhere_in_the_recording_and_short_ones_at_every_phase() -> None:
    crops = reader()
    starts: dict[int, Counter[int]] = {row: Counter() for row in range(len(LENGTHS))}
    for step in range(1500):
        batch = crops.batch(step)
        for row, start in zip(batch.rows.tolist(), positions(batch)[:, 0].tolist(), strict=True):
            starts[row][start] += 1
    for row, samples in enumerate(LENGTHS.tolist()):
        possible = samples - 90 + 1 if samples >= 90 else samples
        assert set(starts[row]) <= set(range(possible))
        assert len(starts[row]) > 0.75 * possible
        mean = sum(start * times for start, times in starts[row].items()) / starts[row].total()
        assert mean == pytest.approx((possible - 1) / 2, abs=0.1 * possible)


def test_crops_of_one_recording_in_one_batch_stand_as_far_apart_as_they_can() -> None:
    labels = np.arange(2)
    ramps = Ramps()
    sampler = SpeakerSampler(labels, speakers=2, recordings=3, seed=0)
    ramps.samples = np.array([390, 1000])
    crops = CropReader(ramps, labels, sampler, seconds=91 / SAMPLE_RATE, seed=0)
    for step in range(20):
        batch = crops.batch(step)
        for row, possible in ((0, 300), (1, 910)):
            starts = np.sort(positions(batch)[batch.rows.numpy() == row][:, 0])
            gaps = np.diff(starts, append=starts[0] + possible)
            assert len(gaps) == 3
            assert np.abs(gaps - possible / 3).max() <= 1


def test_ranks_read_the_crops_that_one_process_would_read() -> None:
    whole = reader()
    ranks = [reader(rank=rank, world_size=2) for rank in range(2)]
    for step in range(12):
        shares = [rank.batch(step) for rank in ranks]
        for name in ("waveforms", "labels", "rows"):
            joint = torch.cat([getattr(share, name) for share in shares])
            assert torch.equal(joint, getattr(whole.batch(step), name))


def test_the_stream_yields_the_batches_whatever_the_prefetch() -> None:
    crops = reader()
    expected = [reader().batch(step) for step in range(3, 11)]
    for threads in (1, 2, 3, 20):
        streamed = list(crops.stream(3, 11, threads=threads))
        assert len(streamed) == len(expected)
        for batch, other in zip(streamed, expected, strict=True):
            assert torch.equal(batch.waveforms, other.waveforms)
            assert torch.equal(batch.rows, other.rows)
    assert not background_threads()


def test_crops_change_with_the_step_and_with_the_seed() -> None:
    first = [reader().batch(step).waveforms for step in range(4)]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(first, 2))
    assert not torch.equal(first[0], reader(seed=5).batch(0).waveforms)


def test_reading_ahead_is_bounded() -> None:
    crops = reader()
    asked: list[int] = []
    read = crops.batch
    crops.batch = lambda step: asked.append(step) or read(step)
    stream = crops.stream(0, 1000, threads=2)
    for _ in range(5):
        next(stream)
    time.sleep(0.2)  # time enough for readers that know no bound to read on
    assert len(asked) <= 5 + 2 * 2
    stream.close()


def test_an_error_while_reading_arrives_in_place_of_its_batch() -> None:
    crops = reader(broken=6)
    whole = reader()
    step = next(step for step in range(100) if 6 in whole.batch(step).rows)
    stream = crops.stream(0, 100)
    for _ in range(step):
        next(stream)
    with pytest.raises(AudioError, match="it broke"):
        next(stream)
    assert not background_threads()


def test_leaving_the_stream_early_leaves_no_thread_behind() -> None:
    stream = reader().stream(0, 10**6)
    next(stream)
    assert background_threads()
    stream.close()
    assert not background_threads()


def test_a_crop_of_no_samples_is_refused() -> None:
    with pytest.raises(RecipeError, match="seconds"):
        reader(0)
