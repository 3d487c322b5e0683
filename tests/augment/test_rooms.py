from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from voxangle.augment.mixing import DIRECT_PATH
from voxangle.augment.rooms import aligned, measured_room, simulated_rooms
from voxangle.errors import AudioError, MissingExtraError


def reverberation_seconds(response: np.ndarray) -> float:
    """From -5 to -25 dB of the backward-integrated energy (Schroeder, 1965), extrapolated to 60 dB."""
    left = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    decibels = 10 * np.log10(left / left[0] + 1e-12)
    return 3 * (np.argmax(decibels < -25) - np.argmax(decibels < -5)) / 16000


@pytest.mark.parametrize("delay", [0, 7, DIRECT_PATH, 500])
def test_the_direct_path_stands_where_convolution_looks_for_it(delay: int) -> None:
    response = np.zeros(1200, np.float32)
    response[delay] = -0.02
    response[delay + 100] = 0.03  # two reflections together may be stronger than the direct path
    (room,) = aligned([response])
    assert torch.nonzero(room)[:, 0].tolist() == [DIRECT_PATH, DIRECT_PATH + 100]
    assert room.abs().max() == 1


def test_what_rises_to_the_direct_path_is_kept_and_the_far_tail_is_not() -> None:
    response = np.linspace(0.01, 0.2, 30_000, dtype=np.float32)
    response[200] = 1
    short = np.ones(1, np.float32)
    rooms = aligned([response, short])
    assert rooms.shape == (2, 16_000)
    np.testing.assert_array_equal(rooms[0], response[200 - DIRECT_PATH :][:16_000])
    assert torch.nonzero(rooms[1])[:, 0].tolist() == [DIRECT_PATH]


def test_simulated_rooms_sound_like_rooms(tmp_path: Path) -> None:
    pytest.importorskip("pyroomacoustics")
    rooms = simulated_rooms(12, seed=1, cache=tmp_path)
    assert rooms.dtype == torch.float32
    assert rooms.isfinite().all()
    times = [reverberation_seconds(room.numpy()) for room in rooms]
    assert 0.1 < min(times) < 0.4 < max(times) < 1.2
    first = (rooms.abs() >= 0.5).int().argmax(dim=1)
    assert first.tolist() == [DIRECT_PATH] * 12


def test_rooms_are_simulated_once_and_a_seed_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyroomacoustics")
    rooms = simulated_rooms(2, seed=1, cache=tmp_path / "new")
    assert torch.equal(simulated_rooms(2, seed=1, cache=tmp_path / "other"), rooms)
    assert not torch.equal(simulated_rooms(2, seed=2, cache=tmp_path / "other"), rooms)
    without_pyroomacoustics(monkeypatch)
    assert torch.equal(simulated_rooms(2, seed=1, cache=tmp_path / "new"), rooms)


def test_without_pyroomacoustics_the_error_names_the_extra_and_the_alternatives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pyroomacoustics(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"kinds\.reverb.*augment\.rirs.*voxangle\[rir\]"):
        simulated_rooms(2, seed=1, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def without_pyroomacoustics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)


def test_a_simulation_that_is_cut_off_leaves_no_rooms_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyroomacoustics")
    whole = np.save

    def half(file: object, rooms: np.ndarray) -> None:
        whole(file, rooms[:1])
        raise KeyboardInterrupt

    with monkeypatch.context() as cut_off:
        cut_off.setattr(np, "save", half)
        with pytest.raises(KeyboardInterrupt):
            simulated_rooms(2, seed=1, cache=tmp_path)
    assert not list(tmp_path.iterdir())
    assert len(simulated_rooms(2, seed=1, cache=tmp_path)) == 2
    assert len(simulated_rooms(3, seed=1, cache=tmp_path)) == 3


def microphones(*delays: int, rate: int = 16_000) -> np.ndarray:
    """An array's response, shape (samples, channels): the direct path reaches each at a time of its own."""
    response = np.zeros((rate // 10, len(delays)), np.float32)
    response[list(delays), range(len(delays))] = np.linspace(0.5, 0.9, len(delays))
    return response


def test_of_the_microphones_of_an_array_one_is_taken(tmp_path: Path) -> None:
    array = microphones(60, 63, 66, 69, 72, 75, 78, 81)
    soundfile.write(tmp_path / "array.wav", array, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(measured_room(tmp_path / "array.wav"), array[:, 7])


def test_a_measured_room_comes_at_16_khz_whatever_its_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", microphones(480, rate=48_000), 48_000, subtype="FLOAT")
    soundfile.write(tmp_path / "two.wav", microphones(900, 480, rate=48_000), 48_000, subtype="FLOAT")
    for name in ("one.wav", "two.wav"):
        room = measured_room(tmp_path / name)
        assert len(room) == 1600
        assert np.abs(room).argmax() == 160


def test_a_room_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF and no more")
    with pytest.raises(AudioError, match=r"broken\.wav"):
        measured_room(tmp_path / "broken.wav")
