from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
import torch

from voxangle.augment.mixing import DIRECT_PATH
from voxangle.augment.rooms import aligned, simulated_rooms
from voxangle.errors import MissingExtraError


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
    real = builtins.__import__

    def refuse(name: str, *rest: object) -> object:
        if name == "pyroomacoustics":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
