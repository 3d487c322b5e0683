"""A model on disk: what is saved comes back bit for bit, and what is broken says so."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

import voxangle
from voxangle.encoders import (
    ECAPATDNN,
    ECAPATDNNConfig,
    Embedder,
    ModelCard,
    Threshold,
    TrainingSummary,
    build_encoder,
)
from voxangle.errors import CheckpointError, StorageError
from voxangle.features import Filterbank, FilterbankConfig

CONFIG = ECAPATDNNConfig(bins=20, channels=32, dimension=24, squeeze=8, aggregation=48, attention=16)
CARD = ModelCard(
    name="a small one",
    encoder=CONFIG,
    filterbank=FilterbankConfig(bins=20, low_hz=60.0),
    threshold=Threshold(value=0.31, source="40 validation trials", false_acceptance=0.1, false_rejection=0.1),
    training=TrainingSummary(recipe="demo", corpora=("debian-voices",), steps=300, seed=1),
)


def model(seed: int = 0, config: ECAPATDNNConfig = CONFIG, card: ModelCard = CARD) -> Embedder:
    torch.manual_seed(seed)
    encoder = build_encoder(config)
    encoder(torch.randn(8, 30, config.bins))
    return Embedder(Filterbank(card.filterbank), encoder, card)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model().save(tmp_path / "run" / "model")
    return tmp_path / "run" / "model"


def edit(folder: Path, **changes: object) -> None:
    file = folder / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("of_the_run", [False, True])
def test_what_is_saved_comes_back_bit_for_bit(folder: Path, of_the_run: bool) -> None:
    saved, loaded = model(), Embedder.load(folder.parent if of_the_run else folder, device="cpu")
    assert loaded.card == CARD
    assert loaded.card.voxangle == voxangle.__version__
    assert not loaded.encoder.training
    assert loaded.encoder.state_dict().keys() == saved.encoder.state_dict().keys()
    for name, tensor in saved.encoder.state_dict().items():
        assert torch.equal(loaded.encoder.state_dict()[name], tensor), name
    voice = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    np.testing.assert_array_equal(loaded.embed([voice]), saved.embed([voice]))


def test_a_loaded_model_can_be_trained_on(folder: Path) -> None:
    encoder = Embedder.load(folder, device="cpu").encoder.train()
    encoder(torch.randn(4, 30, CONFIG.bins)).square().sum().backward()
    torch.optim.SGD(encoder.parameters(), lr=0.1).step()
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_loading_draws_no_random_numbers(folder: Path) -> None:
    before = torch.get_rng_state()
    Embedder.load(folder, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_files_are_plain_json_and_safetensors(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "model.safetensors"]
    assert json.loads((folder / "model.json").read_text())["format"] == 1
    assert (
        safetensors.torch.load_file(folder / "model.safetensors").keys()
        == ECAPATDNN(CONFIG).state_dict().keys()
    )


def test_saving_again_replaces_the_model(folder: Path) -> None:
    model(seed=1).save(folder)
    loaded = Embedder.load(folder, device="cpu").encoder.state_dict()
    assert torch.equal(loaded["embed.weight"], model(seed=1).encoder.state_dict()["embed.weight"])


@pytest.mark.parametrize("full_at", ["model.safetensors", "model.json"])
def test_a_full_disk_leaves_the_previous_model(
    folder: Path, full_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    write, open_file = Path.write_bytes, Path.open

    def full_write(path: Path, content: bytes) -> int:
        if full_at in path.name:
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    def full_open(path: Path, mode: str = "r", *args: object) -> object:
        if full_at in path.name and "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return open_file(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_write)
        patch.setattr(Path, "open", full_open)
        with pytest.raises(StorageError, match="disk is full"):
            model(seed=1).save(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match="no model here; name a folder"):
            Embedder.load(path)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_half_a_model(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: missing"):
        Embedder.load(folder)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[]", "not a model's description"),
        (b"{}", "not a model's description"),
    ],
)
def test_a_broken_description(folder: Path, content: bytes, cause: str) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=cause):
        Embedder.load(folder)


def test_an_unknown_key_in_the_description_is_named(folder: Path) -> None:
    edit(folder, colour="blue")
    with pytest.raises(CheckpointError, match=r"not a model's description \(colour: Extra inputs"):
        Embedder.load(folder)


def test_a_newer_format_asks_for_a_newer_voxangle(folder: Path) -> None:
    edit(folder, format=2, card={"unheard": "of"})
    with pytest.raises(CheckpointError, match=r"format 2 is newer than this voxangle reads.*upgrade"):
        Embedder.load(folder)


@pytest.mark.parametrize("keep", [0, 4, 0.5])
def test_truncated_weights(folder: Path, keep: float) -> None:
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    with pytest.raises(CheckpointError, match="broken or truncated"):
        Embedder.load(folder)


def test_one_flipped_bit(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="not the weights that"):
        Embedder.load(folder)


def test_weights_of_another_model(folder: Path, tmp_path: Path) -> None:
    model(seed=1).save(tmp_path)
    (tmp_path / "model.safetensors").rename(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="not the weights that"):
        Embedder.load(folder)


@pytest.mark.parametrize("other", [{"channels": 64}, {"scale": 4}, {"dimension": 48}])
def test_weights_of_another_architecture_say_which_was_expected_and_found(
    folder: Path, tmp_path: Path, other: dict[str, int]
) -> None:
    config = CONFIG.model_copy(update=other)
    model(config=config, card=CARD.model_copy(update={"encoder": config})).save(tmp_path)
    (tmp_path / "model.safetensors").rename(folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        Embedder.load(folder)
    message = str(caught.value)
    assert f"model.json says {CONFIG.model_dump_json()}" in message
    assert f"the weights were saved as {config.model_dump_json()}" in message


def test_weights_that_nobody_named(folder: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"saved as something unnamed.*expected .*, found none"):
        Embedder.load(folder)


def test_a_card_whose_features_do_not_fit_its_encoder() -> None:
    with pytest.raises(ValidationError, match="the encoder reads 20 bins a frame, the filterbank makes 80"):
        ModelCard(name="mixed", encoder=CONFIG)
