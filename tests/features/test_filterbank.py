"""The filterbank against Kaldi's own, and its indifference to padding."""

from __future__ import annotations

import csv
from pathlib import Path

import kaldi_native_fbank as kaldi
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from voxangle.features import Filterbank, FilterbankConfig

RAW = FilterbankConfig(subtract_mean=False)


def kaldi_filterbank(waveform: NDArray[np.float32], config: FilterbankConfig) -> NDArray[np.float32]:
    options = kaldi.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = 16_000
    options.frame_opts.snip_edges = True
    options.frame_opts.window_type = config.window
    options.mel_opts.num_bins = config.bins
    options.mel_opts.low_freq = config.low_hz
    options.mel_opts.high_freq = config.high_hz
    bank = kaldi.OnlineFbank(options)
    bank.accept_waveform(16_000, (waveform * config.full_scale).tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])


def noise(samples: int, *, amplitude: float = 0.1, seed: int = 0) -> NDArray[np.float32]:
    return (amplitude * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def tone(hertz: float, samples: int = 16_000) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / 16_000)).astype(np.float32)


def features(waveform: NDArray[np.float32], config: FilterbankConfig = RAW) -> NDArray[np.float32]:
    out, _ = Filterbank(config)(torch.from_numpy(waveform)[None])
    return out[0].numpy()


def assert_agree(ours: NDArray[np.float32], theirs: NDArray[np.float32], about: str = "") -> None:
    """Within 1e-3; more than 60 dB below the loudest bin of its frame, within float32's rounding of that one.

    Down there Kaldi itself, which computes in float32 too, is as far from the float64 value.
    """
    assert ours.shape == theirs.shape
    below_loudest = theirs.max(axis=1, keepdims=True) - theirs
    allowed = np.maximum(1e-3, 1e-6 * np.exp(below_loudest / 2))
    excess = np.abs(ours - theirs) / allowed
    assert excess.max() <= 1.0, about


@pytest.mark.parametrize(
    "waveform",
    [
        noise(16_000),
        noise(16_000, amplitude=1e-4),
        noise(16_000) + np.float32(0.3),
        np.cumsum(noise(16_000, amplitude=1e-3)).astype(np.float32),
        tone(220.0) + noise(16_000, amplitude=1e-3),
        tone(3_000.0) + noise(16_000, amplitude=1e-3),
        np.zeros(8_000, dtype=np.float32),
        np.concatenate([noise(4_000), np.zeros(4_000, dtype=np.float32)]),
        noise(400),
        noise(559),
        noise(560),
    ],
    ids=[
        "noise", "faint noise", "offset", "red noise", "low tone", "high tone", "silence", "half silent",
        "one frame", "nearly two frames", "two frames",
    ],
)  # fmt: skip
def test_agrees_with_kaldi(waveform: NDArray[np.float32]) -> None:
    assert_agree(features(waveform), kaldi_filterbank(waveform, RAW))


@pytest.mark.parametrize("hertz", [100.0, 440.0, 1_000.0, 5_000.0, 7_900.0])
def test_a_pure_tone_agrees_with_kaldi(hertz: float) -> None:
    assert_agree(features(tone(hertz)), kaldi_filterbank(tone(hertz), RAW))


@pytest.mark.parametrize(
    "config",
    [
        FilterbankConfig(bins=40, subtract_mean=False),
        FilterbankConfig(bins=23, low_hz=100, high_hz=3_800, subtract_mean=False),
        FilterbankConfig(window="hamming", subtract_mean=False),
        FilterbankConfig(full_scale=1.0, subtract_mean=False),
    ],
)
def test_other_settings_agree_with_kaldi(config: FilterbankConfig) -> None:
    waveform = noise(16_000)
    assert_agree(features(waveform, config), kaldi_filterbank(waveform, config))


@pytest.mark.corpus
def test_real_speech_agrees_with_kaldi(shared_corpora: Path) -> None:
    import soundfile

    with (shared_corpora / "utterances.csv").open(encoding="utf-8") as table:
        paths = [row["path"] for row in csv.DictReader(table)][::200]
    for path in paths:
        waveform, rate = soundfile.read(shared_corpora / path, dtype="float32")
        assert rate == 16_000
        assert_agree(features(waveform), kaldi_filterbank(waveform, RAW), path)


def test_subtracting_the_mean_leaves_zero_mean_over_time() -> None:
    centred = features(noise(16_000), FilterbankConfig())
    np.testing.assert_allclose(centred.mean(axis=0), 0.0, atol=1e-5)
    raw = features(noise(16_000))
    np.testing.assert_allclose(centred, raw - raw.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("config", [FilterbankConfig(), RAW])
@settings(max_examples=20)
@given(lengths=st.lists(st.integers(400, 6_000), min_size=1, max_size=5), fill=st.floats(-1.0, 1.0))
def test_padding_changes_nothing(config: FilterbankConfig, lengths: list[int], fill: float) -> None:
    batch = torch.full((len(lengths), max(lengths) + 700), fill)
    for row, length in enumerate(lengths):
        batch[row, :length] = torch.from_numpy(noise(length, seed=row))
    bank = Filterbank(config)
    together, frames = bank(batch, torch.tensor(lengths))
    assert frames is not None
    for row, length in enumerate(lengths):
        alone, _ = bank(batch[row : row + 1, :length])
        assert int(frames[row]) == alone.shape[1]
        torch.testing.assert_close(together[row, : frames[row]], alone[0], rtol=0, atol=1e-5)
        assert (together[row, frames[row] :] == 0).all()


def test_is_float32_under_autocast_and_for_any_input() -> None:
    waveforms = torch.from_numpy(noise(8_000))[None]
    bank = Filterbank()
    plain, _ = bank(waveforms)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, _ = bank(waveforms)
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)
    assert bank(waveforms.double())[0].dtype == torch.float32


def test_has_neither_weights_nor_parameters_to_store() -> None:
    assert not Filterbank().state_dict()
    assert not list(Filterbank().parameters())


def test_gradients_reach_the_waveform_and_are_finite_in_silence() -> None:
    waveforms = torch.zeros(2, 4_000)
    waveforms[1] = torch.from_numpy(noise(4_000))
    waveforms.requires_grad_()
    Filterbank()(waveforms)[0].square().sum().backward()  # type: ignore[no-untyped-call]
    assert waveforms.grad is not None
    assert waveforms.grad.isfinite().all()
    assert waveforms.grad[1].abs().sum() > 0


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_a_waveform_shorter_than_a_frame_is_refused(samples: int) -> None:
    with pytest.raises(ValueError, match="shorter than one frame"):
        Filterbank()(torch.zeros(1, samples))


@pytest.mark.parametrize("length", [0, 399, 1_001])
def test_a_length_outside_the_batch_is_refused_by_row(length: int) -> None:
    with pytest.raises(ValueError, match=f"row 1: a length of {length} samples"):
        Filterbank()(torch.zeros(2, 1_000), torch.tensor([1_000, length]))


def test_too_many_bins_are_refused() -> None:
    with pytest.raises(ValidationError, match="bins = 200 is too many"):
        FilterbankConfig(bins=200)
    with pytest.raises(ValidationError, match="must be below"):
        FilterbankConfig(low_hz=4_000, high_hz=3_000)


def test_exports_with_dynamic_batch_and_time() -> None:
    bank = Filterbank()
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time", min=560)
    program = torch.export.export(
        bank,
        (torch.zeros(2, 4_000), torch.tensor([4_000, 3_000])),
        dynamic_shapes=({0: batch, 1: time}, {0: batch}),
    )
    waveforms, samples = torch.from_numpy(noise(15_000).reshape(3, 5_000)), torch.tensor([5_000, 400, 777])
    exported, frames = program.module()(waveforms, samples)
    expected, expected_frames = bank(waveforms, samples)
    torch.testing.assert_close(exported, expected)
    torch.testing.assert_close(frames, expected_frames)
