"""The features of other toolkits: against their formulas in plain loops, and their indifference to padding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from voxangle.config import Config
from voxangle.features import (
    FILTERBANKS,
    AnyFilterbankConfig,
    BaseFilterbankConfig,
    FilterbankConfig,
    ReDimNetFilterbankConfig,
    SpeechBrainFilterbankConfig,
    build_filterbank,
)

CONFIGS = [
    FilterbankConfig(window="hamming"),
    FilterbankConfig(full_scale=1.0),
    SpeechBrainFilterbankConfig(),
    ReDimNetFilterbankConfig(),
    ReDimNetFilterbankConfig(shift=160, normalise=True, bins=60),
]
IDS = ["WeSpeaker", "3D-Speaker", "SpeechBrain", "ReDimNet", "ReDimNet, normalised"]


class Holder(Config):
    features: AnyFilterbankConfig = FilterbankConfig()


def sound(samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise whose level falls by 60 dB on the way, so that floors are reached."""
    random = np.random.default_rng(seed)
    return (0.3 * random.standard_normal(samples) * np.logspace(0, -3, samples)).astype(np.float32)


def mel_spaced(bins: int, low: float, high: float) -> list[float]:
    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    steps = [mel(low) + i * (mel(high) - mel(low)) / (bins + 1) for i in range(bins + 2)]
    return [700 * (10 ** (step / 2595) - 1) for step in steps]


def powers(signal: NDArray[np.float64], shift: int, fft: int, padding: str) -> NDArray[np.float64]:
    """Power spectra of centred frames, one at a time."""
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 400)
    around = np.pad(signal, 200, mode=padding)  # type: ignore[call-overload]
    count = 1 + len(signal) // shift
    return np.stack(
        [np.abs(np.fft.rfft(around[i * shift : i * shift + 400] * window, fft)) ** 2 for i in range(count)]
    )


def speechbrain_reference(waveform: NDArray[np.float32], bins: int) -> NDArray[np.float64]:
    hertz = mel_spaced(bins, 0, 8_000)
    weights = np.zeros((201, bins))
    for filter_ in range(bins):
        band = hertz[filter_ + 1] - hertz[filter_]
        for point in range(201):
            weights[point, filter_] = max(0.0, 1 - abs(40 * point - hertz[filter_ + 1]) / band)
    energies = powers(waveform.astype(np.float64), 160, 400, "constant") @ weights
    decibels = 10 * np.log10(np.maximum(energies, 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    return decibels - decibels.mean(axis=0)


def redimnet_reference(
    waveform: NDArray[np.float32], bins: int, shift: int, normalise: bool
) -> NDArray[np.float64]:
    signal = waveform.astype(np.float64)
    if normalise:
        signal = (signal - signal.mean()) / (signal.std() + 1e-6)
    raised = signal.copy()
    for place in range(len(signal)):
        raised[place] -= 0.97 * signal[abs(place - 1)]
    hertz = mel_spaced(bins, 20, 7_600)
    weights = np.zeros((257, bins))
    for filter_ in range(bins):
        left, centre, right = hertz[filter_ : filter_ + 3]
        for point in range(257):
            at = 31.25 * point
            weights[point, filter_] = max(
                0.0, min((at - left) / (centre - left), (right - at) / (right - centre))
            )
    logarithms = np.log(powers(raised, shift, 512, "reflect") @ weights + 1e-6)
    return logarithms - logarithms.mean(axis=0)


@pytest.mark.parametrize("samples", [257, 399, 400, 12_345])
def test_speechbrains_formula(samples: int) -> None:
    features, _ = build_filterbank(SpeechBrainFilterbankConfig())(torch.from_numpy(sound(samples))[None])
    np.testing.assert_allclose(features[0].numpy(), speechbrain_reference(sound(samples), 80), atol=2e-3)


@pytest.mark.parametrize("samples", [257, 400, 12_345])
@pytest.mark.parametrize(("bins", "shift", "normalise"), [(72, 240, False), (60, 160, True)])
def test_redimnets_formula(samples: int, bins: int, shift: int, normalise: bool) -> None:
    config = ReDimNetFilterbankConfig(bins=bins, shift=shift, normalise=normalise)
    features, _ = build_filterbank(config)(torch.from_numpy(sound(samples))[None])
    expected = redimnet_reference(sound(samples), bins, shift, normalise)
    np.testing.assert_allclose(features[0].numpy(), expected, atol=2e-3)


def test_a_scale_moves_the_logarithm_alone_where_nothing_is_at_the_floor() -> None:
    loud = torch.from_numpy(np.random.default_rng(1).uniform(-0.5, 0.5, 8_000))[None]
    raw, scaled = (
        build_filterbank(FilterbankConfig(subtract_mean=False, full_scale=scale))(loud)[0]
        for scale in (1.0, 2.0**15)
    )
    torch.testing.assert_close(scaled - raw, torch.full_like(raw, 30 * math.log(2)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@settings(max_examples=6)
@given(lengths=st.lists(st.integers(400, 6_000), min_size=1, max_size=4), fill=st.floats(-1.0, 1.0))
def test_padding_changes_nothing(config: BaseFilterbankConfig, lengths: list[int], fill: float) -> None:
    batch = torch.full((len(lengths), max(lengths) + 700), fill)
    for row, length in enumerate(lengths):
        batch[row, :length] = torch.from_numpy(sound(length, seed=row))
    bank = build_filterbank(config)
    together, frames = bank(batch, torch.tensor(lengths))
    assert frames is not None
    for row, length in enumerate(lengths):
        alone, _ = bank(batch[row : row + 1, :length])
        assert int(frames[row]) == alone.shape[1]
        torch.testing.assert_close(together[row, : frames[row]], alone[0], rtol=0, atol=1e-4)
        assert (together[row, frames[row] :] == 0).all()


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_silence_is_finite_and_nothing_is_stored(config: BaseFilterbankConfig) -> None:
    bank = build_filterbank(config)
    assert bank(torch.zeros(1, 4_000))[0].isfinite().all()
    assert not bank.state_dict()


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_exports_with_dynamic_batch_and_time(config: BaseFilterbankConfig) -> None:
    bank = build_filterbank(config)
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time", min=560)
    program = torch.export.export(
        bank,
        (torch.zeros(2, 4_000), torch.tensor([4_000, 3_000])),
        dynamic_shapes=({0: batch, 1: time}, {0: batch}),
    )
    waveforms, samples = torch.from_numpy(sound(15_000).reshape(3, 5_000)), torch.tensor([5_000, 400, 777])
    exported, frames = program.module()(waveforms, samples)
    expected, expected_frames = bank(waveforms, samples)
    torch.testing.assert_close(exported, expected)
    torch.testing.assert_close(frames, expected_frames)


@pytest.mark.parametrize(
    ("config", "samples"), [(SpeechBrainFilterbankConfig(), 0), (ReDimNetFilterbankConfig(), 256)]
)
def test_too_short_is_refused(config: BaseFilterbankConfig, samples: int) -> None:
    bank = build_filterbank(config)
    with pytest.raises(ValueError, match="is shorter than"):
        bank(torch.zeros(1, samples))
    with pytest.raises(ValueError, match=f"row 1: a length of {samples} samples"):
        bank(torch.zeros(2, 1_000), torch.tensor([1_000, samples]))


@pytest.mark.parametrize("name", FILTERBANKS)
def test_settings_come_back_from_plain_data(name: str) -> None:
    holder = Holder.model_validate({"features": {"definition": name, "bins": 40}})
    assert type(holder.features) is FILTERBANKS[name].config
    assert Holder.model_validate(holder.model_dump()) == holder
    assert Holder.model_validate_json(holder.model_dump_json()) == holder
    assert type(build_filterbank(holder.features)) is type(FILTERBANKS[name].module(holder.features))


def test_kaldis_definition_is_meant_where_none_is_named() -> None:
    assert Holder.model_validate({"features": {"bins": 40}}).features == FilterbankConfig(bins=40)
    with pytest.raises(ValidationError, match="'lhotse'"):
        Holder.model_validate({"features": {"definition": "lhotse"}})
