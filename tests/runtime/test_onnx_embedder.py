"""An exported model in use: it embeds and decides as the model it was made from, and says what cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from numpy.typing import NDArray

from voxangle.encoders import Embedder, ModelCard
from voxangle.encoders.onnx_export import TOLERANCE
from voxangle.errors import AudioError, CheckpointError, MissingExtraError
from voxangle.runtime import MINIMUM_SECONDS, OnnxEmbedder
from voxangle.runtime.onnx_checksum import CHECKSUM, PLACEHOLDER, write_checksum


def voice(seconds: float, seed: int) -> NDArray[np.float32]:
    """Coloured noise, so that features differ from one recording to the next."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal(round(seconds * 16_000) + 63)
    return (0.01 * np.convolve(noise, random.standard_normal(64), mode="valid")).astype(np.float32)


@pytest.fixture(scope="module")
def waveforms() -> list[NDArray[np.float32]]:
    return [voice(seconds, seed) for seed, seconds in enumerate([MINIMUM_SECONDS, 3.0, 0.8, 1.7, 0.81, 2.2])]


@pytest.mark.parametrize("batch_seconds", [0.1, 2.0, 5.0, 1e6])
def test_embeds_as_torch_does_however_it_is_batched(
    exported: Path, waveforms: list[NDArray[np.float32]], batch_seconds: float
) -> None:
    expected = Embedder.load(exported).embed(waveforms)
    found = OnnxEmbedder.load(exported / "model.onnx", threads=1).embed(
        waveforms, batch_seconds=batch_seconds
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_int8_embeds_nearly_as_torch_does_and_a_row_knows_nothing_of_the_others(
    exported: Path, waveforms: list[NDArray[np.float32]]
) -> None:
    int8 = OnnxEmbedder.load(exported / "int8.onnx", threads=1)
    alone = np.concatenate([int8.embed([waveform]) for waveform in waveforms])
    np.testing.assert_array_equal(int8.embed(waveforms, batch_seconds=1e6), alone)
    expected = Embedder.load(exported).embed(waveforms)
    cosine = (alone * expected).sum(1) / np.linalg.norm(alone, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.99
    assert np.abs(alone - expected).max() > 0


def test_the_model_comes_with_its_card(exported: Path) -> None:
    trained = Embedder.load(exported)
    for name, precision in (("model.onnx", "float32"), ("int8.onnx", "int8")):
        model = OnnxEmbedder.load(exported / name)
        assert model.dimension == trained.dimension == 10
        assert model.card.name == "tiny"
        assert model.card.thresholds == trained.card.thresholds
        assert model.card.calibration == trained.card.calibration is not None
        assert model.weights_sha256 == trained.weights_sha256 != ""
        assert model.metadata.precision == precision
        assert model.metadata.sample_rate == 16_000
        assert model.metadata.minimum_samples == 4_000
        # The whole card is there, also for those who do not know voxangle.
        entries = {entry.key: entry.value for entry in onnx.load(exported / name).metadata_props}
        assert ModelCard.model_validate_json(entries["voxangle.card"]) == trained.card


def test_a_folder_stands_for_the_model_in_it(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "model.onnx").write_bytes((exported / "model.onnx").read_bytes())
    for place in (exported, tmp_path / "run", tmp_path / "run" / "model"):
        assert OnnxEmbedder.load(place).dimension == 10
    with pytest.raises(CheckpointError, match=r"no model\.onnx here; `voxangle export onnx --model"):
        OnnxEmbedder.load(tmp_path)


@pytest.mark.parametrize(
    ("waveform", "cause"),
    [
        (voice(0.24, 0), "0.240 s is too short"),
        (np.zeros(16_000, dtype=np.float32), "silen"),
        (np.full(16_000, np.nan, dtype=np.float32), "not finite"),
        (np.ones(16_000, dtype=np.int16), "floating-point"),
    ],
)
def test_an_unusable_waveform_is_named(exported: Path, waveform: NDArray[np.float32], cause: str) -> None:
    with pytest.raises(AudioError, match=f"waveform 1: .*{cause}"):
        OnnxEmbedder.load(exported).embed([voice(1.0, 0), waveform])


def test_files_are_embedded_and_bad_ones_left_out(exported: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.wav" for name in ("good", "torn", "short")]
    soundfile.write(paths[0], voice(1.0, 0), 16_000, subtype="FLOAT")
    paths[1].write_bytes(b"RIFF")
    soundfile.write(paths[2], voice(0.1, 0), 16_000)
    embedder = OnnxEmbedder.load(exported)
    result = embedder.embed_files(paths, on_error=lambda _: None)
    assert result.kept.tolist() == [0]
    assert [error.path for error in result.left_out] == paths[1:]
    np.testing.assert_allclose(result.embeddings, embedder.embed([voice(1.0, 0)]), rtol=0, atol=1e-5)


def saved(exported: Path, target: Path, **entries: str) -> Path:
    """The exported model with other metadata."""
    graph = onnx.load(exported / "model.onnx")
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    metadata |= {f"voxangle.{key}": value for key, value in entries.items()}
    written(graph, target, metadata)
    return target


def written(graph: onnx.ModelProto, target: Path, entries: dict[str, str]) -> None:
    onnx.helper.set_model_props(graph, entries | {CHECKSUM: PLACEHOLDER.decode()})
    onnx.save(graph, target)
    write_checksum(target)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"sample_rate": "8000"}, "made for waveforms at 8000 Hz, but voxangle computes at 16000 Hz"),
        ({"sample_rate": "fast"}, "broken metadata .sample_rate: "),
        ({"minimum_samples": "48000"}, "made for recordings of 48000 samples or more"),
        ({"format": "1"}, "format 1 is older than this voxangle reads .2.; export the model again"),
        ({"format": "3"}, "format 3 is newer than this voxangle reads .2.; upgrade voxangle"),
        ({"card": "{"}, "broken metadata"),
        ({"card": "{}"}, "broken metadata .card.name: "),
        ({"precision": "int4"}, "broken metadata .precision: "),
        ({"colour": "blue"}, "broken metadata .colour: "),
    ],
)
def test_metadata_that_cannot_be_are_refused(
    exported: Path, tmp_path: Path, entries: dict[str, str], message: str
) -> None:
    path = saved(exported, tmp_path / "other.onnx", **entries)
    with pytest.raises(CheckpointError, match=message) as refused:
        OnnxEmbedder.load(path)
    assert str(path) in str(refused.value)


def identity(inputs: list[str], output: str) -> onnx.ModelProto:
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", [inputs[0]], [output])],
        "identity",
        [tensor(name, onnx.TensorProto.FLOAT, ["batch", 7]) for name in inputs],
        [tensor(output, onnx.TensorProto.FLOAT, ["batch", 7])],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)


def test_somebody_elses_model_is_told_from_ours(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    theirs = identity(["x"], "y")
    onnx.save(theirs, path)
    with pytest.raises(
        CheckpointError, match=r"theirs\.onnx: an ONNX model, but not one of `voxangle export onnx`"
    ):
        OnnxEmbedder.load(path)
    entries = {entry.key: entry.value for entry in onnx.load(exported / "model.onnx").metadata_props}
    written(theirs, path, entries)
    with pytest.raises(CheckpointError, match=r"expected a graph from 'waveforms' .* found x to y"):
        OnnxEmbedder.load(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 0.9999])
def test_a_truncated_file_is_refused(
    exported: Path, tmp_path: Path, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    content = (exported / "model.onnx").read_bytes()
    path = tmp_path / "torn.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"torn\.onnx: "):
        OnnxEmbedder.load(path)
    assert capfd.readouterr() == ("", "")


DAMAGED = r"flipped\.onnx: damaged, or changed since it was exported .*; copy or export the model again"


@pytest.mark.parametrize("name", ["model.onnx", "int8.onnx"])
@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_bit_that_flips_anywhere_is_noticed(exported: Path, tmp_path: Path, name: str, bit: int) -> None:
    content = (exported / name).read_bytes()
    entry = content.index(CHECKSUM.encode())
    checksum = entry + len(CHECKSUM) + 2
    places = [*np.linspace(0, len(content) - 1, 40).astype(int), content.index(b"forty trials")]
    # The checksum itself, from the key of its entry on.
    for place in (*places, *range(entry, checksum + 2), checksum + 63):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        (tmp_path / "flipped.onnx").write_bytes(flipped)
        with pytest.raises(CheckpointError, match=r"flipped\.onnx: .*export the model again"):
            OnnxEmbedder.load(tmp_path / "flipped.onnx")


def test_a_flip_that_the_graph_does_not_show_is_told_as_such(exported: Path, tmp_path: Path) -> None:
    content = (exported / "model.onnx").read_bytes()
    weights = onnx.load_from_string(content).graph.initializer
    largest = max((tensor.raw_data for tensor in weights), key=len)
    for place in (
        content.index(largest) + len(largest) // 2,
        content.index(b"forty trials"),
        content.index(CHECKSUM.encode()),
    ):
        flipped = bytearray(content)
        flipped[place] ^= 1
        (tmp_path / "flipped.onnx").write_bytes(flipped)
        with pytest.raises(CheckpointError, match=DAMAGED):
            OnnxEmbedder.load(tmp_path / "flipped.onnx")


def test_a_file_without_its_checksum_is_refused(exported: Path, tmp_path: Path) -> None:
    graph = onnx.load(exported / "model.onnx")
    entries = {entry.key: entry.value for entry in graph.metadata_props if entry.key != CHECKSUM}
    path = tmp_path / "flipped.onnx"
    onnx.helper.set_model_props(graph, entries)
    onnx.save(graph, path)
    with pytest.raises(CheckpointError, match=DAMAGED):
        OnnxEmbedder.load(path)
    with pytest.raises(ValueError, match=r"flipped\.onnx: no entry 'voxangle\.sha256'"):
        write_checksum(path)


def test_a_copy_is_the_file(exported: Path, tmp_path: Path) -> None:
    OnnxEmbedder.load(exported).save(tmp_path / "copy")
    assert (tmp_path / "copy" / "model.onnx").read_bytes() == (exported / "model.onnx").read_bytes()


def test_its_use_is_reported_to_nobody(exported: Path, tmp_path: Path) -> None:
    """ONNX Runtime keeps an identity and reports for its makers in the home folder, unless it is told not to."""
    program = (
        "import sys, numpy as np; from voxangle.runtime import OnnxEmbedder; "
        "OnnxEmbedder.load(sys.argv[1]).embed([np.sin(np.arange(8000) / 9).astype(np.float32)])"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in {"CI", "XDG_CACHE_HOME"}}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run(
        [sys.executable, "-c", program, str(exported / "model.onnx")],
        env=environment | {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )
    assert not [
        path for path in home.rglob("*") if "onnxruntime" in path.name.lower() or path.name == "deviceid"
    ]


def test_threads_are_those_of_the_environment(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def threads(asked: int | None = None) -> int:
        session = OnnxEmbedder.load(exported, threads=asked).session
        return int(session.get_session_options().intra_op_num_threads)

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads() == 1
    assert threads(2) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "two")
    assert threads() == 0


@pytest.mark.parametrize("content", [b"not a model\n", b"PK\x03\x04", b"\x80\x05."])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.onnx: not an ONNX model that can be run"):
        OnnxEmbedder.load(path)


def test_a_missing_file_and_a_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=r"no\.onnx: missing; `voxangle export onnx"):
        OnnxEmbedder.load(tmp_path / "no.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"voxangle\[onnx\]"):
        OnnxEmbedder.load(tmp_path / "no.onnx")
