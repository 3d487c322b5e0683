"""A model on disk: what is saved comes back bit for bit, and what is broken says so."""

from __future__ import annotations

import errno
import json
import pickle
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
from voxangle.encoders.card import Attribution, Calibration, Metric, Origin
from voxangle.encoders.model_files import copy_model, read_model, rewrite_card
from voxangle.errors import CheckpointError, StorageError
from voxangle.features import Filterbank, FilterbankConfig

CONFIG = ECAPATDNNConfig(bins=20, channels=32, dimension=24, squeeze=8, aggregation=48, attention=16)
CARD = ModelCard(
    name="a small one",
    encoder=CONFIG,
    filterbank=FilterbankConfig(bins=20, low_hz=60.0),
    thresholds=(
        Threshold(
            name="eer", value=0.31, source="40 validation trials", false_acceptance=0.1, false_rejection=0.1
        ),
    ),
    training=TrainingSummary(recipe="demo", corpora=("debian-voices",), steps=300, seed=1),
)

FULL = CARD.model_copy(
    update={
        "training": TrainingSummary(
            recipe="demo",
            corpora=("mine",),
            steps=3,
            seed=1,
            settings={"batch": {"speakers": 8}, "start_from": None},
        ),
        "calibration": Calibration(scale=12.5, offset=-4.25, source="40 validation trials"),
        "origin": Origin(toolkit="Another", file="w.pt", sha256="0" * 64, licence="MIT"),
        "licence": "cc-by-4.0",
        "attributions": (
            Attribution(name="LibriSpeech", licence="CC BY 4.0"),
            Attribution(name="my friends"),
        ),
        "metrics": (
            Metric(
                trials="pooled | all",
                trials_sha256="0" * 64,
                name="EER",
                value=0.1234,
                low=0.1,
                high=0.15,
                targets=100,
                nontargets=2000,
                speakers=40,
                definition="where the two error rates meet",
                notes=("a small list",),
            ),
        ),
    }
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
    assert json.loads((folder / "model.json").read_text())["format"] == 2
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
        (b"[" * 200_000, "not valid JSON"),
        (b'{"format": true}', r"not a model's description \(format"),
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
    edit(folder, format=3, card={"unheard": "of"})
    with pytest.raises(CheckpointError, match=r"format 3 is newer than this voxangle reads.*upgrade"):
        Embedder.load(folder)


def test_an_older_format_is_to_be_made_again(folder: Path) -> None:
    edit(folder, format=1)
    with pytest.raises(CheckpointError, match=r"format 1 is older than this voxangle reads.*make it again"):
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
    assert f"the card says {CONFIG.model_dump_json()}" in message
    assert f"the weights were saved as {config.model_dump_json()}" in message


def test_weights_that_nobody_named(folder: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"saved as something unnamed.*missing: .*not of this encoder: 'weight'"
    ):
        Embedder.load(folder)


def test_missing_extra_and_misshapen_tensors_are_listed(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    for name in ("embed.bias", "embed.weight"):
        tensors[f"old_{name}"] = tensors.pop(name)
    tensors["embedding_norm.bias"] = torch.zeros(7)
    tensors["embedding_norm.num_batches_tracked"] = torch.tensor(1.0)
    safetensors.torch.save_file(tensors, file)
    with pytest.raises(CheckpointError) as caught:
        Embedder.load(folder)
    assert str(caught.value).endswith(
        "missing: 'embed.weight', 'embed.bias'; not of this encoder: 'old_embed.bias', 'old_embed.weight'; of another "
        "form: 'embedding_norm.bias' is float32 (7,) instead of float32 (24,), 'embedding_norm.num_batches_tracked' is "
        "float32 () instead of int64 ()"
    )


def test_a_long_list_of_tensors_is_cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    safetensors.torch.save_file({**tensors, **{f"extra{i}": torch.zeros(1) for i in range(9)}}, file)
    with pytest.raises(CheckpointError, match=r"'extra0', .*'extra4' and 4 more$"):
        Embedder.load(folder)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_pickle_is_refused_unopened(folder: Path, tmp_path: Path, form: str, place: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    file = folder / "model.safetensors" if place == "folder" else tmp_path / "model.pt"
    if form == "pickle":
        file.write_bytes(pickle.dumps(Trap()))
    else:
        torch.save({"weight": Trap()}, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError, match=r"a pickle .*never opened here; `voxangle import`"):
        Embedder.load(file if place == "file" else folder)
    assert not (tmp_path / "sprung").exists()


class TestOneFile:
    def test_it_holds_the_whole_model(self, tmp_path: Path) -> None:
        saved = model()
        saved.save(tmp_path / "m.safetensors")
        loaded = Embedder.load(tmp_path / "m.safetensors", device="cpu")
        assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]
        assert loaded.card == CARD
        for name, tensor in saved.encoder.state_dict().items():
            assert torch.equal(loaded.encoder.state_dict()[name], tensor), name

    def test_the_checksum_is_that_of_the_folder(self, folder: Path, tmp_path: Path) -> None:
        copy_model(folder, tmp_path / "m.safetensors")
        one, two = (Embedder.load(path, device="cpu") for path in (folder, tmp_path / "m.safetensors"))
        assert one.weights_sha256 == two.weights_sha256
        assert one.card == two.card

    def test_and_back_to_a_folder_of_the_same_bytes(self, folder: Path, tmp_path: Path) -> None:
        copy_model(folder, tmp_path / "m.safetensors")
        copy_model(tmp_path / "m.safetensors", tmp_path / "back")
        for file in folder.iterdir():
            assert (tmp_path / "back" / file.name).read_bytes() == file.read_bytes()

    def test_one_flipped_bit_in_the_weights(self, tmp_path: Path) -> None:
        file = tmp_path / "m.safetensors"
        model().save(file)
        content = bytearray(file.read_bytes())
        content[-9] ^= 1
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="not the weights that it describes"):
            Embedder.load(file)

    def test_tensors_of_equal_shape_that_changed_places(self, tmp_path: Path) -> None:
        file = tmp_path / "m.safetensors"
        model().save(file)
        content = file.read_bytes()
        first, second = b'"embedding_norm.weight"', b'"embedding_norm.bias"'
        swapped = (
            content.replace(first, b"<changing places>")
            .replace(second, first)
            .replace(b"<changing places>", second)
        )
        assert len(swapped) == len(content)
        file.write_bytes(swapped)
        with pytest.raises(CheckpointError, match="not the weights that it describes"):
            Embedder.load(file)

    def test_bare_tensors_are_no_model(self, folder: Path, tmp_path: Path) -> None:
        (folder / "model.safetensors").rename(tmp_path / "alone.safetensors")
        with pytest.raises(CheckpointError, match=r"model\.json is missing beside it.*`voxangle import`"):
            Embedder.load(tmp_path / "alone.safetensors")

    def test_the_weights_of_a_folder_mean_the_folder(self, folder: Path) -> None:
        assert Embedder.load(folder / "model.safetensors", device="cpu").card == CARD

    def test_a_broken_description_inside(self, folder: Path, tmp_path: Path) -> None:
        file = tmp_path / "m.safetensors"
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
        safetensors.torch.save_file(tensors, file, metadata={"voxangle": "{}"})
        with pytest.raises(CheckpointError, match=r"m\.safetensors: not a model's description"):
            Embedder.load(file)

    def test_the_description_of_a_folder_means_the_folder(self, folder: Path) -> None:
        assert Embedder.load(folder / "model.json", device="cpu").card == CARD

    @pytest.mark.parametrize("suffix", [".onnx", ".ONNX"])
    def test_a_name_that_would_not_be_found_again_is_refused(self, tmp_path: Path, suffix: str) -> None:
        with pytest.raises(CheckpointError, match=r"a folder or one \.safetensors"):
            model().save(tmp_path / f"m{suffix}")
        assert not list(tmp_path.iterdir())


class TestHalf:
    def test_matrices_are_stored_in_half_the_space(self, tmp_path: Path) -> None:
        model().save(tmp_path / "whole.safetensors")
        model().save(tmp_path / "half.safetensors", half=True)
        tensors = safetensors.torch.load_file(tmp_path / "half.safetensors")
        assert {tensor.dtype for tensor in tensors.values() if tensor.ndim > 1} == {torch.float16}
        assert {tensor.dtype for tensor in tensors.values() if tensor.ndim == 1} == {torch.float32}

    def test_it_loads_as_float32_and_embeds_nearly_the_same(self, tmp_path: Path) -> None:
        whole = model()
        whole.save(tmp_path / "half.safetensors", half=True)
        half = Embedder.load(tmp_path / "half.safetensors", device="cpu")
        assert {p.dtype for p in half.encoder.parameters()} == {torch.float32}
        voice = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
        one, two = whole.embed([voice])[0], half.embed([voice])[0]
        assert one @ two / np.linalg.norm(one) / np.linalg.norm(two) > 0.9999
        assert not np.array_equal(one, two)

    def test_a_copy_stays_half(self, tmp_path: Path) -> None:
        model().save(tmp_path / "half.safetensors", half=True)
        copy_model(tmp_path / "half.safetensors", tmp_path / "folder")
        assert (
            read_model(tmp_path / "folder").weights_sha256
            == read_model(tmp_path / "half.safetensors").weights_sha256
        )

    def test_its_figures_would_be_those_of_other_weights(self, tmp_path: Path) -> None:
        model(card=FULL).save(tmp_path / "whole")
        card = copy_model(tmp_path / "whole", tmp_path / "half.safetensors", half=True)
        assert (
            card == read_model(tmp_path / "half.safetensors").card == FULL.model_copy(update={"metrics": ()})
        )

    def test_a_weight_too_large_is_named(self, tmp_path: Path) -> None:
        large = model()
        with torch.no_grad():
            large.encoder.get_parameter("embed.weight")[0, 0] = 1e6
        with pytest.raises(CheckpointError, match=r"'embed\.weight' holds values too large for float16"):
            large.save(tmp_path / "half.safetensors", half=True)
        assert not list(tmp_path.iterdir())


class TestCard:
    @pytest.mark.parametrize("form", ["folder", "file"])
    def test_a_new_card_leaves_the_weights(self, folder: Path, tmp_path: Path, form: str) -> None:
        place = folder if form == "folder" else tmp_path / "m.safetensors"
        copy_model(folder, place)
        before = read_model(place)
        card = before.card.model_copy(update={"licence": "cc-by-4.0"})
        rewrite_card(place, card)
        after = read_model(place)
        assert (after.card, after.weights_sha256) == (card, before.weights_sha256)

    def test_the_card_of_another_encoder_does_not_fit(self, folder: Path) -> None:
        other = CARD.model_copy(update={"encoder": CONFIG.model_copy(update={"scale": 4})})
        with pytest.raises(CheckpointError, match="a card of another encoder"):
            rewrite_card(folder, other)
        assert read_model(folder).card == CARD

    def test_a_model_for_another_rate(self, folder: Path) -> None:
        edit(folder, card=CARD.model_dump(mode="json") | {"sample_rate": 8000})
        with pytest.raises(
            CheckpointError, match="made for recordings at 8000 Hz, but voxangle computes at 16000 Hz"
        ):
            read_model(folder)

    @pytest.mark.parametrize("field", ["name", "licence", "voxangle"])
    def test_no_card_reaches_a_terminal_with_control_characters(self, folder: Path, field: str) -> None:
        edit(folder, card=CARD.model_dump(mode="json") | {field: "a\x1b[31mred"})
        with pytest.raises(CheckpointError, match=rf"not a model's description \(card\.{field}: "):
            read_model(folder)

    @pytest.mark.parametrize("entry", [{"dimension": 10**30}, {"bins": 2**62}, {"attention": 10**12}])
    def test_settings_out_of_all_bounds(self, folder: Path, entry: dict[str, int]) -> None:
        card = CARD.model_dump(mode="json")
        edit(folder, card=card | {"encoder": card["encoder"] | entry})
        with pytest.raises(
            CheckpointError, match=r"not a model's description \(card\.encoder.*less than or equal"
        ):
            read_model(folder)

    def test_a_threshold_s_name_is_no_number(self) -> None:
        with pytest.raises(ValidationError, match="name"):
            Threshold(name="0.3", value=0.7, source="somewhere")

    def test_everything_a_card_can_say_comes_back(self, folder: Path) -> None:
        rewrite_card(folder, FULL)
        assert read_model(folder).card == FULL


def test_a_card_whose_features_do_not_fit_its_encoder() -> None:
    with pytest.raises(ValidationError, match="the encoder reads 20 bins a frame, the filterbank makes 80"):
        ModelCard(name="mixed", encoder=CONFIG)
