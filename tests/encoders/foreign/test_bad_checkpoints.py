"""Checkpoints that cannot be imported say why, nothing in them is run, and nothing is written."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor
from typer.testing import CliRunner

from voxangle.cli import app
from voxangle.encoders import CAMPlusPlusConfig, ReDimNetConfig, ReDimNetStage, ResNetConfig, build_encoder
from voxangle.encoders.foreign import TOOLKITS, convert, import_model
from voxangle.errors import CheckpointError
from voxangle.features import FilterbankConfig

RESNET = ResNetConfig(depth=18, channels=4, dimension=8)


def resnet_state() -> dict[str, Tensor]:
    """As WeSpeaker saves a ResNet18."""
    layout = next(layout for layout in TOOLKITS["wespeaker"].layouts if layout.title == "ResNet")
    ours = build_encoder(RESNET).state_dict()
    return {key.theirs: ours[key.ours] for key in layout.keys(RESNET)}


def redimnet_state() -> dict[str, Tensor]:
    """As the authors of ReDimNet save a tiny one, its pooling's first layer put together again."""
    config = ReDimNetConfig(
        bins=12,
        channels=4,
        dimension=8,
        attention=8,
        stages=(ReDimNetStage(stride=2, blocks=1, reduction=4),),
    )
    (layout,) = TOOLKITS["redimnet"].layouts
    ours = build_encoder(config).state_dict()
    state = {key.theirs: ours[key.ours] for key in layout.keys(config)}
    joint = torch.cat([ours["pooling.frame.weight"], ours["pooling.context.weight"].unsqueeze(-1)], dim=1)
    return state | {"pool.linear1.weight": joint}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good checkpoint of WeSpeaker's."""
    torch.save(resnet_state(), tmp_path / "avg_model.pt")
    return tmp_path


def refused(toolkit: str, path: Path) -> str:
    """The message of the refusal."""
    out = path.parent / "never"
    with pytest.raises(CheckpointError) as caught:
        import_model(toolkit, path, out)
    assert not out.exists()
    return str(caught.value)


def test_a_good_one_is_named_for_its_folder_or_file(folder: Path) -> None:
    model = convert("wespeaker", folder)
    assert model.card.encoder == RESNET
    assert model.card.name == folder.name
    assert convert("wespeaker", folder / "avg_model.pt").card.name == "avg_model"
    assert convert("wespeaker", folder, name="mine").card.name == "mine"
    assert model.left_out == ()
    assert not model.encoder.training


@pytest.mark.parametrize("wrap", ["state_dict", "DataParallel", "safetensors", "half", "no counters"])
def test_other_ways_of_saving_the_same(folder: Path, wrap: str) -> None:
    state = resnet_state()
    file = folder / "other.pt"
    if wrap == "state_dict":
        torch.save({"epoch": 3, "state_dict": state}, file)
    elif wrap == "DataParallel":
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, file)
    elif wrap == "half":
        torch.save({name: tensor.half() if tensor.ndim else tensor for name, tensor in state.items()}, file)
    elif wrap == "no counters":
        torch.save({name: tensor for name, tensor in state.items() if "num_batches" not in name}, file)
    else:
        file = folder / "other.safetensors"
        safetensors.torch.save_file(state, file)
    tensors = convert("wespeaker", file).encoder.state_dict()
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32, torch.int64}
    expected = state["seg_1.weight"].half().float() if wrap == "half" else state["seg_1.weight"]
    assert torch.equal(tensors["embed.weight"], expected)


def test_an_unknown_toolkit_has_a_nearest_one(folder: Path) -> None:
    assert refused("wespeeker", folder) == "no toolkit 'wespeeker'; did you mean 'wespeaker'?"


def test_the_wrong_toolkit_is_told_the_right_one(folder: Path) -> None:
    message = refused("3dspeaker", folder / "avg_model.pt")
    assert "not an encoder of 3D-Speaker that can be read (CAM++, where '" in message
    assert "ERes2NetV2, where 'layer3_ds.weight' is missing" in message
    assert ", ECAPA-TDNN, where 'mfa.conv.conv.weight' is missing)" in message
    assert "named as WeSpeaker's ResNet (`wespeaker`)" in message


def test_another_architecture_is_told_what_it_looks_like(folder: Path) -> None:
    torch.save({"tdnn.0.weight": torch.zeros(3), "output.bias": torch.zeros(2)}, folder / "avg_model.pt")
    message = refused("wespeaker", folder)
    assert "not an encoder of WeSpeaker that can be read (ECAPA-TDNN, where 'layer" in message
    assert ", ReDimNet, where 'backbone.stem.0.weight' is missing)" in message
    assert "its tensors begin with 'tdnn.0.weight', 'output.bias'" in message


def test_weights_that_are_not_finite(folder: Path) -> None:
    state = resnet_state()
    state["layer2.0.bn1.bias"][3] = torch.nan
    torch.save(state, folder / "avg_model.pt")
    assert "1 tensors hold values that are not finite, such as 'layer2.0.bn1.bias'" in refused(
        "wespeaker", folder
    )


def test_every_tensor_that_does_not_fit_is_listed(folder: Path) -> None:
    state = resnet_state()
    del state["layer2.0.bn1.bias"], state["layer3.1.conv2.weight"]
    state |= {
        "seg_2.weight": torch.zeros(8, 8),
        "layer1.1.bn2.weight": torch.zeros(5),
        "bn1.bias": torch.zeros(()),
    }
    torch.save(state, folder / "avg_model.pt")
    message = refused("wespeaker", folder)
    assert "as WeSpeaker's ResNet: these tensors do not fit" in message
    assert "missing (2): layer2.0.bn1.bias, layer3.1.conv2.weight" in message
    assert "of another shape (2): bn1.bias () (for (4,)), layer1.1.bn2.weight (5,) (for (4,))" in message
    assert "unknown (1): seg_2.weight" in message


def test_a_depth_that_nobody_has(folder: Path) -> None:
    state = {name: tensor for name, tensor in resnet_state().items() if not name.startswith("layer4.1.")}
    torch.save(state, folder / "avg_model.pt")
    assert "no known depth has stages of (2, 2, 2, 1) blocks; known: 18 (2, 2, 2, 2), 34" in refused(
        "wespeaker", folder
    )


def test_sizes_that_no_encoder_has(folder: Path) -> None:
    state = resnet_state()
    state["seg_1.weight"] = torch.zeros(8, 3)
    torch.save(state, folder / "avg_model.pt")
    assert "tells settings that no ResNet here has (bins:" in refused("wespeaker", folder)
    state["seg_1.weight"] = torch.zeros(8)
    torch.save(state, folder / "avg_model.pt")
    assert "'seg_1.weight' has the shape (8,), and so tells no size" in refused("wespeaker", folder)


class Command:
    """Runs a command when a pickle is read without care."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("hidden", ["alone", "among the tensors", "in the old format", "as settings"])
def test_a_malicious_pickle_is_never_run(folder: Path, hidden: str) -> None:
    trace = folder / "trace"
    command = Command(f"touch {trace}")
    content: Any = {
        "alone": command,
        "among the tensors": resnet_state() | {"seg_3.weight": command},
        "in the old format": command,
        "as settings": {"state_dict": resnet_state(), "model_config": command},
    }[hidden]
    torch.save(content, folder / "avg_model.pt", _use_new_zipfile_serialization=hidden != "in the old format")
    message = refused("wespeaker", folder)
    assert "refused, since it holds more than tensors and plain data" in message
    assert "nothing in it was run" in message
    assert not trace.exists()


def test_a_whole_pickled_module_is_refused(folder: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), folder / "avg_model.pt")
    assert "save the model's state_dict() alone" in refused("wespeaker", folder)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_truncated_file(folder: Path, suffix: str, keep: float) -> None:
    whole = folder / f"whole{suffix}"
    if suffix == ".pt":
        torch.save(resnet_state(), whole)
    else:
        safetensors.torch.save_file(resnet_state(), whole)
    content = whole.read_bytes()
    cut = folder / f"cut{suffix}"
    cut.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
    message = refused("wespeaker", cut)
    assert message.startswith(f"{cut}: ")
    assert "broken, truncated or no file of weights" in message


@pytest.mark.parametrize(
    "content", [[torch.zeros(3)], 7, {}, {"a": 1.0, "b": torch.zeros(2)}, torch.zeros(4)]
)
def test_what_is_no_dictionary_of_tensors(folder: Path, content: Any) -> None:
    torch.save(content, folder / "avg_model.pt")
    assert "save the model's state_dict() alone" in refused("wespeaker", folder)


def test_text_under_the_name_of_weights(folder: Path) -> None:
    (folder / "avg_model.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n")
    assert "broken, truncated or no file of weights" in refused("wespeaker", folder)


def test_a_folder_must_hold_one_file_of_weights(tmp_path: Path) -> None:
    assert "there is no such file or folder" in refused("wespeaker", tmp_path / "nowhere")
    place = tmp_path / "place"
    place.mkdir()
    assert "no file of weights in this folder (.pt, .pth, .ckpt, .bin, .safetensors)" in refused(
        "wespeaker", place
    )
    for name in ("a.pt", "b.ckpt"):
        (place / name).touch()
    assert "several files could be the weights (a.pt, b.ckpt); name one of them" in refused(
        "wespeaker", place
    )


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ("dataset_args: {resample_rate: 8000}", "resample_rate: 8000; only models for 16000 Hz"),
        ("model_args: {feat_dim: 40}", "model_args.feat_dim: 40; expected 80"),
        ("model_args: {embed_dim: 256}", "model_args.embed_dim: 256; expected 8"),
        ("model_args: {two_emb_layer: true}", "two_emb_layer: True; expected False"),
        ("model_args: {pooling_func: ASTP}", "pooling_func: ASTP; expected TSTP"),
        ("model: ResNet34", "model: ResNet34; expected ResNet18"),
        ("model: [1]", "model: [1]; expected ResNet18"),
        ("dataset_args: {frontend: s3prl}", "frontend: s3prl; expected fbank"),
        ("dataset_args: {fbank_args: {frame_shift: 12.5}}", "frame_shift: 12.5; expected 10"),
        ("a: [", "cannot be read as a config"),
        ("a: &x [*x, *y]", "cannot be read as a config"),
    ],
)
def test_a_config_that_says_otherwise(folder: Path, config: str, cause: str) -> None:
    (folder / "config.yaml").write_text(config)
    message = refused("wespeaker", folder)
    assert "config.yaml" in message
    assert cause in message


def test_a_config_that_agrees_and_states_a_licence(folder: Path) -> None:
    (folder / "config.yaml").write_text(
        "model: ResNet18\nlicense: cc-by-4.0\nmodel_args: {feat_dim: 80, embed_dim: 8, pooling_func: TSTP}\n"
        "dataset_args: {resample_rate: 16000, fbank_args: {num_mel_bins: 80, frame_shift: 10}}\n"
    )
    origin = convert("wespeaker", folder).card.origin
    assert origin is not None
    assert origin.licence == "cc-by-4.0"


def test_tags_of_a_config_are_never_acted_on(folder: Path) -> None:
    trace = folder / "trace"
    (folder / "config.yaml").write_text(
        f"model: ResNet18\nx: !!python/object/apply:os.system ['touch {trace}']\ny: !apply:os.system [a, b]\n"
        "z: !new:os.system\n    a: 1\nw: !ref <model>\n"
    )
    convert("wespeaker", folder)
    assert not trace.exists()


def redimnet_checkpoint(folder: Path, settings: dict[str, Any] | None, **tensors: Tensor) -> Path:
    content: Any = redimnet_state() | tensors
    torch.save(
        content if settings is None else {"model_config": settings, "state_dict": content}, folder / "b.pt"
    )
    return folder / "b.pt"


def test_redimnet_needs_to_know_its_frame_shift(tmp_path: Path) -> None:
    file = redimnet_checkpoint(tmp_path, None)
    assert "put a config.yaml with 'model_config: {hop_length: 240}' beside" in refused("redimnet", file)
    (tmp_path / "config.yaml").write_text("model_config: {hop_length: 240}")
    assert convert("redimnet", file).card.filterbank.model_dump()["shift"] == 240


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"F": 72}, "model_config.F: 72; expected 12"),
        ({"feat_type": "tf"}, "feat_type: tf; expected pt|pt_mel"),
        (
            {"block_2d_type": "convnext_like_relu"},
            "block_2d_type: convnext_like_relu; expected convnext_like",
        ),
        ({"spec_params": {"sample_rate": 8000}}, "sample_rate: 8000; only models for 16000 Hz"),
        ({"spec_params": {"spec_norm": "bn"}}, "spec_norm: bn; expected mn"),
        ({"spec_params": {"f_min": "low"}}, "tells settings that no ReDimNet here has (low_hz:"),
    ],
)
def test_redimnets_settings_that_say_otherwise(tmp_path: Path, settings: dict[str, Any], cause: str) -> None:
    assert cause in refused("redimnet", redimnet_checkpoint(tmp_path, {"hop_length": 240} | settings))


def test_redimnets_own_filters_must_be_those_that_are_computed(tmp_path: Path) -> None:
    filters = {"spec.torchfbank.2.mel_scale.fb": torch.zeros(257, 12)}
    message = refused("redimnet", redimnet_checkpoint(tmp_path, {"hop_length": 240}, **filters))
    assert "'spec.torchfbank.2.mel_scale.fb' is not of the features that the config describes" in message


def test_speechbrains_global_normalisation_is_refused(tmp_path: Path) -> None:
    from voxangle.encoders import ECAPATDNNConfig

    config = ECAPATDNNConfig(
        flavour="speechbrain", channels=16, squeeze=4, aggregation=12, attention=4, dimension=8, context=False
    )
    (layout,) = TOOLKITS["speechbrain"].layouts
    ours = build_encoder(config).state_dict()
    torch.save({key.theirs: ours[key.ours] for key in layout.keys(config)}, tmp_path / "embedding_model.ckpt")
    hyperparams = tmp_path / "hyperparams.yaml"
    hyperparams.write_text("sample_rate: 8000")
    assert "sample_rate: 8000; only models for 16000 Hz" in refused("speechbrain", tmp_path)
    hyperparams.write_text(
        "mean_var_norm: !new:x.InputNormalization\n    norm_type: global\n    std_norm: False\n"
    )
    assert "mean_var_norm.norm_type: global; expected sentence" in refused("speechbrain", tmp_path)
    hyperparams.write_text("n: 40\ncompute_features: !new:x.Fbank\n    n_mels: !ref <n>\n")
    assert "compute_features.n_mels: 40; expected 80" in refused("speechbrain", tmp_path)


TRAINING_CONFIG = """
sample_rate: 16000
fbank_dim: {bins}
embedding_size: 8
feature_extractor:
  obj: speakerlab.process.processor.FBank
  args: {{n_mels: <fbank_dim>, sample_rate: <sample_rate>, mean_nor: {mean}}}
embedding_model:
  obj: speakerlab.models.campplus.DTDNN.{name}
  args: {{feat_dim: <fbank_dim>, embedding_size: <embedding_size>}}
"""


def test_threedspeakers_two_kinds_of_config(tmp_path: Path) -> None:
    config = CAMPlusPlusConfig(front_end=2, channels=4, growth=2, bottleneck=4, layers=(1, 1, 1), dimension=8)
    layout = next(layout for layout in TOOLKITS["3dspeaker"].layouts if layout.title == "CAM++")
    ours = build_encoder(config).state_dict()
    torch.save(
        {key.theirs: ours[key.ours] for key in layout.keys(config)}, tmp_path / "campplus_cn_common.bin"
    )
    training, released = tmp_path / "config.yaml", tmp_path / "configuration.json"

    training.write_text(TRAINING_CONFIG.format(bins=80, mean=True, name="CAMPPlus"))
    card = convert("3dspeaker", tmp_path).card
    assert card.encoder == config
    assert card.filterbank == FilterbankConfig(full_scale=1.0)
    for changed, cause in (
        ({"bins": 40}, "fbank_dim: 40; expected 80"),
        ({"mean": False}, "feature_extractor.args.mean_nor: False; expected True"),
        (
            {"name": "ECAPA_TDNN"},
            "embedding_model.obj: speakerlab.models.campplus.DTDNN.ECAPA_TDNN; expected",
        ),
    ):
        training.write_text(
            TRAINING_CONFIG.format(**{"bins": 80, "mean": True, "name": "CAMPPlus"} | changed)
        )
        assert cause in refused("3dspeaker", tmp_path)
    training.unlink()

    model = {"type": "cam++-sv", "model_config": {"sample_rate": 16000, "fbank_dim": 80, "emb_size": 8}}
    content = {
        "framework": "pytorch",
        "task": "speaker-verification",
        "model_config": "x.yaml",
        "model": model,
    }
    released.write_text(json.dumps(content))
    assert convert("3dspeaker", tmp_path).card.encoder == config
    model["model_config"] = {"sample_rate": 8000}
    released.write_text(json.dumps(content))
    assert "model.model_config.sample_rate: 8000; only models for 16000 Hz" in refused("3dspeaker", tmp_path)


def test_the_command_ends_with_a_message(folder: Path) -> None:
    arguments = ["import", "wespeaker", str(folder / "nothing"), "--out", str(folder / "out")]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, CheckpointError)
    assert not (folder / "out").exists()


def test_a_model_written_before_there_were_origins_and_definitions_is_read(folder: Path) -> None:
    import_model("wespeaker", folder, folder / "out")
    file = folder / "out" / "model.json"
    description = json.loads(file.read_text())
    del description["card"]["origin"]
    for key in ("definition", "window", "full_scale"):
        del description["card"]["filterbank"][key]
    file.write_text(json.dumps(description))
    from voxangle.encoders import Embedder

    card = Embedder.load(folder / "out", device="cpu").card
    assert card.origin is None
    assert card.filterbank.definition == "kaldi"


def test_the_file_is_not_changed_by_reading(folder: Path) -> None:
    before = (folder / "avg_model.pt").read_bytes()
    convert("wespeaker", folder)
    assert (folder / "avg_model.pt").read_bytes() == before
    assert isinstance(torch.load(io.BytesIO(before), weights_only=True), dict)
