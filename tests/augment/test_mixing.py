from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxangle.augment.mixing import DIRECT_PATH, mix_at_snr, power, reverberate


def waveforms(seed: int, rows: int, samples: int, level: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    envelope = 0.05 + torch.rand(rows, 1, generator=generator) * torch.linspace(0, 3, samples).sin().abs()
    return level * envelope * torch.randn(rows, samples, generator=generator)


def in_room(x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Convolution as a double-precision sum, from the direct path on, at the power of ``x``."""
    wet = np.convolve(x.astype(np.float64), h.astype(np.float64))[DIRECT_PATH : DIRECT_PATH + len(x)]
    return wet * np.sqrt((x.astype(np.float64) ** 2).mean() / (wet**2).mean())


@settings(max_examples=40)
@given(
    st.integers(0, 99),
    st.sampled_from([160, 7919, 32000]),
    st.floats(-10, 40),
    st.sampled_from([1e-4, 0.01, 1.0]),
    st.sampled_from([1e-4, 0.01, 1.0]),
)
def test_the_noise_that_was_added_is_at_the_snr_that_was_asked_for(seed, samples, snr, level, noise_level):
    x, noise = waveforms(seed, 3, samples, level), waveforms(seed + 1, 3, samples, noise_level)
    wanted = torch.tensor([snr, snr / 2, 10.0])
    mix = mix_at_snr(x, noise, wanted)
    added = mix.double() - x.double()
    got = 10 * torch.log10(x.double().square().mean(1) / added.square().mean(1))
    np.testing.assert_allclose(got, wanted, atol=0.02)
    shape = noise.double() / noise.double().norm(dim=1, keepdim=True)
    np.testing.assert_allclose((added * shape).sum(1) / added.norm(dim=1), 1, atol=1e-4)


def test_silence_on_either_side_of_a_mix_leaves_the_crop_as_it_is() -> None:
    x, noise = waveforms(0, 3, 400), waveforms(1, 3, 400)
    x[0] = 0
    noise[1] = 0
    mix = mix_at_snr(x, noise, torch.full((3,), 5.0))
    assert torch.equal(mix[:2], x[:2])
    assert mix.isfinite().all()
    assert not torch.equal(mix[2], x[2])


@pytest.mark.parametrize(("samples", "taps"), [(400, 41), (1000, 3000), (3200, 160), (997, 1009)])
def test_reverberation_is_convolution_from_the_direct_path_on(samples: int, taps: int) -> None:
    x = waveforms(2, 4, samples)
    h = waveforms(3, 4, taps)
    wet = reverberate(x, h)
    assert wet.shape == x.shape
    for crop, response, got in zip(x.numpy(), h.numpy(), wet.numpy(), strict=True):
        np.testing.assert_allclose(got, in_room(crop, response), atol=2e-6)


def test_a_click_stays_where_it_was_and_its_reflections_follow() -> None:
    x = torch.zeros(1, 1000)
    x[0, 300] = 0.5
    room = torch.zeros(1, 400)
    room[0, [DIRECT_PATH, DIRECT_PATH + 250]] = torch.tensor([1.0, -0.5])
    wet = reverberate(x, room)[0]
    assert torch.nonzero(wet.abs() > 1e-6)[:, 0].tolist() == [300, 550]
    assert (wet[550] / wet[300]).item() == pytest.approx(-0.5, abs=1e-5)
    assert power(wet).item() == pytest.approx(power(x[0]).item(), rel=1e-5)


@pytest.mark.parametrize("samples", [1, 2, 16_000, 31_999, 48_000])
def test_reverberation_of_any_length_is_that_of_scipy(samples: int) -> None:
    signal = pytest.importorskip("scipy.signal")
    x, h = waveforms(7, 2, samples), waveforms(8, 2, 16_000)
    wet = signal.fftconvolve(x.double().numpy(), h.double().numpy(), axes=1)
    wet = wet[:, DIRECT_PATH : DIRECT_PATH + samples]
    wet *= np.sqrt((x.double() ** 2).mean(1, keepdim=True).numpy() / (wet**2).mean(1, keepdims=True))
    got = reverberate(x, h)
    assert got.shape == x.shape
    np.testing.assert_allclose(got, wet, atol=1e-4 * np.abs(wet).max())


def test_reverberation_keeps_the_power_and_an_empty_room_the_crop() -> None:
    x, h = waveforms(4, 3, 2000), waveforms(5, 3, 500)
    torch.testing.assert_close(power(reverberate(x, h)), power(x), rtol=1e-4, atol=0)
    empty = torch.zeros(3, 100)
    empty[:, DIRECT_PATH] = 0.3
    torch.testing.assert_close(reverberate(x, empty), x, rtol=0, atol=1e-6)


def test_a_silent_crop_stays_silent_in_a_room() -> None:
    wet = reverberate(torch.zeros(2, 300), waveforms(6, 2, 100))
    assert torch.equal(wet, torch.zeros(2, 300))
    assert reverberate(waveforms(6, 1, 300), torch.zeros(1, 100)).isfinite().all()
