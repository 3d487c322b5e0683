"""A model in use: the same voice gives the same vector, however it is asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from voxangle.audio import AudioInfo
from voxangle.encoders import ECAPATDNN, ECAPATDNNConfig, Embedder, ModelCard
from voxangle.errors import AudioError
from voxangle.features import Filterbank, FilterbankConfig
from voxangle.runtime import sources

CONFIG = ECAPATDNNConfig(bins=20, channels=32, dimension=24, squeeze=8, aggregation=48, attention=16)
CARD = ModelCard(name="test", encoder=CONFIG, filterbank=FilterbankConfig(bins=20))


def voice(seconds: float, seed: int) -> NDArray[np.float32]:
    """Coloured noise, so that features differ from one recording to the next."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(round(seconds * 16_000) + 63)
    return (0.01 * np.convolve(noise, rng.standard_normal(64), mode="valid")).astype(np.float32)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    """A random encoder whose batch statistics have seen voices."""
    torch.manual_seed(0)
    filterbank, encoder = Filterbank(CARD.filterbank), ECAPATDNN(CONFIG)
    waveforms = torch.from_numpy(np.stack([voice(0.5, seed) for seed in range(16)]))
    for _ in range(40):
        encoder(filterbank(waveforms)[0])
    return Embedder(filterbank, encoder.eval(), CARD)


@pytest.fixture(scope="module")
def waveforms() -> list[NDArray[np.float32]]:
    lengths = [0.25, 3.0, 0.8, 1.7, 0.81, 2.2, 0.3, 1.0]
    return [voice(seconds, seed) for seed, seconds in enumerate(lengths)]


def test_embeddings_are_finite_float32_and_differ_by_voice(
    embedder: Embedder, waveforms: list[NDArray[np.float32]]
) -> None:
    embeddings = embedder.embed(waveforms)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (8, embedder.dimension)
    assert np.isfinite(embeddings).all()
    assert embeddings.std(axis=0).min() > 0.1


@pytest.mark.parametrize("batch_seconds", [0.1, 2.0, 5.0, 1e6])
def test_batching_changes_nothing(
    embedder: Embedder, waveforms: list[NDArray[np.float32]], batch_seconds: float
) -> None:
    alone = np.concatenate([embedder.embed([waveform]) for waveform in waveforms])
    together = embedder.embed(waveforms, batch_seconds=batch_seconds)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4)


def test_order_in_is_order_out(embedder: Embedder, waveforms: list[NDArray[np.float32]]) -> None:
    order = np.random.default_rng(0).permutation(len(waveforms))
    shuffled = embedder.embed([waveforms[i] for i in order])
    np.testing.assert_allclose(shuffled, embedder.embed(waveforms)[order], rtol=0, atol=1e-4)


def test_a_batch_is_bounded_by_its_padded_seconds(
    embedder: Embedder, waveforms: list[NDArray[np.float32]]
) -> None:
    shapes: list[torch.Size] = []
    hook = embedder.filterbank.register_forward_pre_hook(lambda _m, inputs: shapes.append(inputs[0].shape))
    embedder.embed(waveforms, batch_seconds=2.5)
    hook.remove()
    assert sum(rows for rows, _ in shapes) == len(waveforms)
    assert all(rows == 1 or rows * samples <= 2.5 * 16_000 for rows, samples in shapes)
    assert max(rows for rows, _ in shapes) > 1


def test_matches_the_encoder_itself(embedder: Embedder) -> None:
    waveform = voice(1.0, 9)
    with torch.no_grad():
        features, _ = embedder.filterbank(torch.from_numpy(waveform)[None])
        expected = embedder.encoder(features)
    np.testing.assert_allclose(embedder.embed([waveform]), expected, rtol=0, atol=1e-5)


def test_no_waveforms_no_embeddings(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_an_encoder_in_training_is_left_as_it_was(waveforms: list[NDArray[np.float32]]) -> None:
    encoder = ECAPATDNN(CONFIG).train()
    encoder.stem.norm.eval()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    lent = Embedder(Filterbank(CARD.filterbank), encoder, CARD)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = lent.embed(waveforms)
    np.testing.assert_array_equal(embeddings, lent.embed(waveforms))
    assert encoder.training
    assert encoder.blocks[0].training
    assert not encoder.stem.norm.training
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("waveform", "cause"),
    [
        (voice(0.24, 0), "0.240 s is too short for an embedding; give at least 0.25 s of speech"),
        (np.zeros(0, dtype=np.float32), "too short"),
        (np.zeros(16_000, dtype=np.float32), "is silent"),
        (np.full(16_000, np.nan, dtype=np.float32), "not finite"),
        (np.zeros((16_000, 2), dtype=np.float32), "expected one channel"),
        (np.ones(16_000, dtype=np.int16), "expected one channel of floating-point samples, found int16"),
    ],
)
def test_an_unusable_waveform_is_named(embedder: Embedder, waveform: NDArray[np.float32], cause: str) -> None:
    with pytest.raises(AudioError, match=f"waveform 1: .*{cause}"):
        embedder.embed([voice(1.0, 0), waveform])


def test_an_embedding_that_is_not_finite_is_never_returned(waveforms: list[NDArray[np.float32]]) -> None:
    encoder = ECAPATDNN(CONFIG)
    with torch.no_grad():
        encoder.embed.weight[3, 5] = torch.nan
    with pytest.raises(AudioError, match="waveform 0: its embedding is not finite"):
        Embedder(Filterbank(CARD.filterbank), encoder, CARD).embed(waveforms)


Load = Callable[[str], NDArray[np.float32]]


def decode_with(monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    """Files by name, whose headers say nothing."""
    monkeypatch.setattr(sources, "load", load)
    monkeypatch.setattr(sources, "probe", lambda _: AudioInfo(1.0, 16_000, 1, "made up"))


def of_name(path: str) -> NDArray[np.float32]:
    """A file named ``7`` holds the seventh voice; one named ``bad`` is no audio."""
    if path.startswith("bad"):
        raise AudioError(path, "not audio")
    if path == "short":
        return voice(0.1, 0)
    return voice(0.5 + 0.1 * (int(path) % 7), int(path))


def test_files_give_what_their_waveforms_give(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    decode_with(monkeypatch, of_name)
    paths = [str(i) for i in range(23)]
    seen: list[tuple[int, int]] = []
    result = embedder.embed_files(
        paths, on_progress=lambda done, total: seen.append((done, total)), batch_seconds=2.5
    )
    np.testing.assert_allclose(
        result.embeddings, embedder.embed([of_name(path) for path in paths]), rtol=0, atol=1e-4
    )
    assert result.kept.tolist() == list(range(23))
    assert result.left_out == ()
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == (23, 23)


def test_real_files_are_decoded(embedder: Embedder, tmp_path: Path) -> None:
    paths = [tmp_path / "one.wav", tmp_path / "two.flac", tmp_path / "torn.wav", tmp_path / "missing.wav"]
    for seed, path in enumerate(paths[:2]):
        soundfile.write(path, voice(1.0, seed), 16_000, subtype="PCM_24")
    paths[2].write_bytes(b"RIFF")
    result = embedder.embed_files(paths, on_error=lambda _: None)
    assert result.kept.tolist() == [0, 1]
    expected = embedder.embed([voice(1.0, 0), voice(1.0, 1)])
    np.testing.assert_allclose(result.embeddings, expected, rtol=0, atol=2e-3)
    assert [error.path for error in result.left_out] == paths[2:]


def test_bad_files_are_left_out_and_reported(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    decode_with(monkeypatch, of_name)
    told: list[AudioError] = []
    result = embedder.embed_files(["bad1", "3", "short", "4", "bad2"], on_error=told.append)
    assert result.kept.tolist() == [1, 3]
    np.testing.assert_allclose(
        result.embeddings, embedder.embed([of_name("3"), of_name("4")]), rtol=0, atol=1e-4
    )
    assert [str(error) for error in result.left_out] == [
        "bad1: not audio",
        "short: 0.100 s is too short for an embedding; give at least 0.25 s of speech",
        "bad2: not audio",
    ]
    assert told == list(result.left_out)


def test_the_first_bad_file_is_raised_without_a_handler(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_with(monkeypatch, of_name)
    with pytest.raises(AudioError, match="bad1: not audio"):
        embedder.embed_files(["3", "bad1", "bad2"])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_only_bad_files_give_no_embeddings(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    decode_with(monkeypatch, of_name)
    assert embedder.embed_files(["bad"], on_error=lambda _: None).embeddings.shape == (0, embedder.dimension)
    assert embedder.embed_files([]).embeddings.shape == (0, embedder.dimension)


def test_a_file_whose_embedding_is_not_finite_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_with(monkeypatch, of_name)
    encoder = ECAPATDNN(CONFIG)
    with torch.no_grad():
        encoder.embed.bias[0] = torch.inf
    broken = Embedder(Filterbank(CARD.filterbank), encoder, CARD)
    result = broken.embed_files(["1", "2"], on_error=lambda _: None)
    assert result.embeddings.shape == (0, CONFIG.dimension)
    assert [error.path for error in result.left_out] == [Path("1"), Path("2")]


def test_a_corpus_is_never_decoded_whole(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the encoder, decoding runs only a few files ahead of it."""
    decoded: list[str] = []
    embedded = 0
    ahead: list[int] = []

    def load(path: str) -> NDArray[np.float32]:
        decoded.append(path)
        return of_name(path)

    def slow(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal embedded
        time.sleep(0.005)
        ahead.append(len(decoded) - embedded)
        embedded += len(inputs[0])

    decode_with(monkeypatch, load)
    hook = embedder.encoder.register_forward_pre_hook(slow)
    embedder.embed_files([str(i) for i in range(300)], workers=2, batch_seconds=1.0)
    hook.remove()
    assert embedded == 300
    # Forty batches of a second hold at most eighty of these files, and eight are under way.
    assert max(ahead) <= 80 + 8
