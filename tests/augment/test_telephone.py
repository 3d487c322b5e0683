from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch

from voxangle.augment.telephone import A_LAW, MU_LAW, coded_by, over_telephone


def speechlike(rows: int, samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    envelope = 0.2 + torch.linspace(0, 9, samples).sin().abs()
    return 0.1 * envelope * torch.randn(rows, samples, generator=generator)


def tone(hertz: float, samples: int = 16_000) -> torch.Tensor:
    return 0.5 * torch.sin(2 * torch.pi * hertz * torch.arange(samples) / 16_000)[None]


def coded_by_libsndfile(samples: np.ndarray, law: str) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, subtype=law, format="WAV")
    file.seek(0)
    return soundfile.read(file, dtype="float64")[0]


@pytest.mark.parametrize(("levels", "law", "count"), [(MU_LAW, "ULAW", 255), (A_LAW, "ALAW", 256)])
def test_the_levels_are_those_of_g711(levels: torch.Tensor, law: str, count: int) -> None:
    line = torch.linspace(-1, 1, 80_001, dtype=torch.float64)
    ours, theirs = coded_by(levels, line).numpy(), coded_by_libsndfile(line.numpy(), law)
    assert len(levels) == count
    assert set(theirs) == set(ours) == set(levels.double().tolist())
    # libsndfile first cuts a sample to 14 or 13 bits: it may take the neighbour of the nearest level.
    assert (ours == theirs).mean() > 0.95
    nearest = np.abs(line.numpy()[:, None] - levels.double().numpy()).min(1)
    np.testing.assert_allclose(np.abs(ours - line.numpy()), nearest, atol=1e-12)


@pytest.mark.parametrize("a_law", [False, True])
@pytest.mark.parametrize(
    ("hertz", "gain"),
    [(100, 0), (200, 0), (250, 0.5), (300, 1), (1000, 1), (3300, 1), (3600, 0.5), (3900, 0), (5000, 0)],
)
def test_the_band_of_a_telephone_passes_and_nothing_else(a_law: bool, hertz: float, gain: float) -> None:
    heard = over_telephone(tone(hertz), torch.tensor([a_law]))[0, 2000:-2000]
    assert heard.square().mean().sqrt() / tone(hertz).square().mean().sqrt() == pytest.approx(gain, abs=0.02)
    spectrum = torch.fft.rfft(heard * torch.hann_window(len(heard))).abs()
    above = spectrum[int(4100 / 8000 * len(spectrum)) :].max() if gain else heard.abs().max()
    assert above < (1e-3 * spectrum.max() if gain else 2e-3)


@pytest.mark.parametrize("samples", [1, 399, 400, 4001, 24_000])
def test_each_crop_has_its_own_law_and_stays_where_it_was(samples: int) -> None:
    x = speechlike(4, samples)
    laws = torch.tensor([True, False, True, False])
    heard = over_telephone(x, laws)
    assert heard.shape == x.shape
    assert heard.isfinite().all()
    for row in range(4):
        alone = over_telephone(x[row : row + 1], laws[row : row + 1])[0]
        torch.testing.assert_close(heard[row], alone, rtol=0, atol=1e-6)
    if samples > 4000:
        assert not torch.equal(over_telephone(x, ~laws), heard)
        lag = torch.fft.irfft(torch.fft.rfft(heard, 2 * samples) * torch.fft.rfft(x, 2 * samples).conj())
        assert (lag.argmax(1) == 0).all()


def test_a_loud_crop_is_clipped_and_silence_is_as_good_as_silent() -> None:
    heard = over_telephone(8 * tone(1000), torch.tensor([False]))[0, 2000:-2000]
    assert heard.abs().max() < 1.6  # a square wave's ringing in the band, not 4
    assert (
        over_telephone(torch.zeros(2, 800), torch.tensor([True, False])).abs().max() < 1e-3
    )  # A-law has no zero


def test_the_end_of_a_crop_does_not_ring_into_its_beginning() -> None:
    x = torch.zeros(1, 8000)
    x[0, -1] = 1
    assert over_telephone(x, torch.tensor([False]))[0, :4000].abs().max() < 1e-3
