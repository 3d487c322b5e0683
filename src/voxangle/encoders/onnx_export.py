"""A model as one ONNX file: waveforms in, embeddings out, the features inside the graph."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voxangle.encoders.embedder import Embedder
from voxangle.encoders.encoder import Encoder
from voxangle.errors import CheckpointError, MissingExtraError
from voxangle.runtime import OnnxEmbedder
from voxangle.runtime.onnx_checksum import write_checksum
from voxangle.runtime.onnx_embedder import import_onnxruntime
from voxangle.runtime.onnx_metadata import (
    EMBEDDINGS,
    MINIMUM_SAMPLES,
    SAMPLES,
    WAVEFORMS,
    ExportedCard,
    OnnxMetadata,
)
from voxangle.storage import atomic_write

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSET", "TOLERANCE", "Exported", "WaveformEncoder", "export_onnx"]

OPSET = 20
TOLERANCE = 1e-4  # of an embedding's difference from torch's, beside the largest of torch's
# Samples of the rows of the batches on which an export is compared: the shortest, odd, padded, long, many.
COMPARED = (
    (MINIMUM_SAMPLES,),
    (16_000, MINIMUM_SAMPLES),
    (31_999, 16_001, 24_000),
    (80_123,),
    (12_345,) * 5,
)
QUIET = 1e-3  # the level of each one's second half: quiet frames must agree too
LEAST_COSINE = 0.9  # between an int8 embedding and torch's; trained models stay above 0.99


class Exported(NamedTuple):
    """What was written.

    Attributes:
        size: of the file, in bytes.
        opset: of the graph.
        difference: the largest difference from torch's embeddings, beside the largest of their values; of float32.
        cosine: the lowest cosine between an int8 embedding and torch's, on noise; None of a float32 file.
    """

    size: int
    opset: int
    difference: float
    cosine: float | None = None


class WaveformEncoder(nn.Module):
    """Filterbank and encoder as one module.

    Args:
        filterbank: makes the encoder's features.
        encoder: makes the embeddings.
    """

    def __init__(self, filterbank: nn.Module, encoder: Encoder) -> None:
        super().__init__()
        self.filterbank = filterbank
        self.encoder = encoder

    def forward(self, waveforms: Tensor, samples: Tensor) -> Tensor:
        """Embeddings, (B, D), not of unit length.

        Args:
            waveforms: (B, T) in [-1, 1] at 16 kHz.
            samples: (B,) integers, the length of each row before padding.
        """
        features, frames = self.filterbank(waveforms, samples)
        return self.encoder(features, frames)


def export_onnx(embedder: Embedder, path: str | Path, *, int8: bool = False) -> Exported:
    """Write a model as ONNX, and compare it with torch on batches of several sizes and lengths.

    The graph takes ``waveforms`` (B, T) float32 in [-1, 1] at 16 kHz, T >= 4000, and ``samples`` (B,) int64, the
    length of each row before padding, and gives ``embeddings`` (B, D) float32, not of unit length. B and T are free.
    The file's metadata hold what ``OnnxMetadata`` names, and its checksum. Of a file that is refused nothing is left.
    Weights that float16 holds to the last bit, as those of a model that was saved in half, take half the room.

    Args:
        embedder: the model; it is not changed.
        path: of the file.
        int8: quantise the encoder's weights to 8 bits, and its activations as it runs. The features stay float32.

    Raises:
        CheckpointError: the encoder cannot be exported, or ONNX Runtime computes other embeddings than torch.
        MissingExtraError: the ``export`` extra is needed.
        StorageError: the disk is full, or the file cannot be written.
    """
    if any(find_spec(library) is None for library in ("onnx", "onnxscript", "onnxruntime")):
        raise MissingExtraError("exporting to ONNX", "export")
    module = WaveformEncoder(copy.deepcopy(embedder.filterbank), copy.deepcopy(embedder.encoder)).cpu().eval()
    metadata = OnnxMetadata(
        card=ExportedCard.model_validate(embedder.card.model_dump(mode="json")),
        weights_sha256=embedder.weights_sha256,
    )
    graph, features = _translated(module)
    expected = list(_embedded(module))
    with atomic_write(path) as temporary:
        _save(graph if int8 else _halved(graph), metadata, temporary)
        difference = _difference(expected, temporary)
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{path}: not written, because ONNX Runtime computes other embeddings than torch: they differ by "
                f"{difference:.1e} of the largest value, and {TOLERANCE:.0e} is allowed"
            )
        cosine = None
        if int8:
            _save(
                _quantised(graph, features, temporary),
                metadata.model_copy(update={"precision": "int8"}),
                temporary,
            )
            cosine = _lowest_cosine(expected, temporary)
            if not cosine >= LEAST_COSINE:
                raise CheckpointError(
                    f"{path}: not written, because in 8 bits the embeddings of noise turn away from torch's: their "
                    f"cosine is {cosine:.3f}, and {LEAST_COSINE} is the least; export without int8"
                )
        size = temporary.stat().st_size
    return Exported(size, OPSET, difference, cosine)


def _translated(module: WaveformEncoder) -> tuple[onnx.ModelProto, list[str]]:
    """The module as a graph that says nothing of the machine it was made on, and its filterbank's nodes by name."""
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time", min=MINIMUM_SAMPLES)
    example = (torch.zeros(2, 2 * MINIMUM_SAMPLES), torch.tensor([2 * MINIMUM_SAMPLES, MINIMUM_SAMPLES]))
    try:
        with _quietly(), torch.no_grad():
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                dynamic_shapes=({0: batch, 1: time}, {0: batch}),
                input_names=[WAVEFORMS, SAMPLES],
                output_names=[EMBEDDINGS],
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        cause = " ".join(str(error.__cause__ or error).split("\n\n")[0].split())
        raise CheckpointError(f"the encoder cannot be exported to ONNX ({cause})") from error
    if program is None:
        raise CheckpointError("the encoder cannot be exported to ONNX (torch gave no program)")
    graph: onnx.ModelProto = program.model_proto
    features = [node.name for node in graph.graph.node if "'filterbank'" in _scopes(node)]
    for node in graph.graph.node:
        # The exporter's own remarks: stack traces with the paths of files, larger than a small graph.
        del node.metadata_props[:]
    for value in (*graph.graph.input, *graph.graph.output, *graph.graph.value_info, *graph.graph.initializer):
        del value.metadata_props[:]
    del graph.graph.metadata_props[:]
    return graph, features


def _scopes(node: onnx.NodeProto) -> str:
    """The attributes of the module under which a node lies, as the exporter lists them."""
    return next((one.value for one in node.metadata_props if one.key == "pkg.torch.onnx.name_scopes"), "")


def _halved(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its weights as float16 where that loses nothing; ONNX Runtime casts them once, as it loads."""
    import onnx

    halved = onnx.ModelProto()
    halved.CopyFrom(graph)
    casts = []
    for tensor in halved.graph.initializer:
        weights = onnx.numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.ndim < 2:
            continue
        with np.errstate(over="ignore"):
            stored = weights.astype(np.float16)
        if np.array_equal(stored, weights):
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(stored, f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    return halved


def _quantised(graph: onnx.ModelProto, features: list[str], file: Path) -> onnx.ModelProto:
    """The graph with convolutions and products in 8 bits, all but those of ``features``; ``file`` is overwritten.

    The power spectrum spans ten orders of magnitude, so that 8 bits would leave nothing of the features. Weights are
    unsigned, with a scale for every output channel: signed ones are half as fast on a CPU.
    """
    import onnx

    import_onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    bare = onnx.ModelProto()
    bare.CopyFrom(graph)
    # Shapes that were inferred: the quantiser transposes weights, and then they would be wrong.
    del bare.graph.value_info[:]
    with _quietly():
        quantize_dynamic(
            bare,
            file,
            op_types_to_quantize=["Conv", "MatMul"],
            nodes_to_exclude=features,
            per_channel=True,
            weight_type=QuantType.QUInt8,
        )
    return onnx.load(file)


def _save(graph: onnx.ModelProto, metadata: OnnxMetadata, file: Path) -> None:
    import onnx

    onnx.helper.set_model_props(graph, metadata.entries())
    onnx.save(graph, file)
    write_checksum(file)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without remarks on libraries that are not installed, on names of axes, on what could be done before."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


class _Batch(NamedTuple):
    waveforms: NDArray[np.float32]
    samples: NDArray[np.int64]
    embeddings: NDArray[np.float32]


def _embedded(module: WaveformEncoder) -> Iterator[_Batch]:
    """Batches of noise, half of each recording quiet, and torch's embeddings of them."""
    random = np.random.default_rng(0)
    for lengths in COMPARED:
        waveforms = np.zeros((len(lengths), max(lengths)), dtype=np.float32)
        for row, length in enumerate(lengths):
            waveforms[row, :length] = 0.1 * random.standard_normal(length)
            waveforms[row, length // 2 : length] *= QUIET
        samples = np.array(lengths, dtype=np.int64)
        with torch.inference_mode():
            embeddings = module(torch.from_numpy(waveforms), torch.from_numpy(samples))
        yield _Batch(waveforms, samples, embeddings.numpy())


def _difference(expected: Sequence[_Batch], file: Path) -> float:
    """The largest difference from torch's embeddings, beside the largest value of theirs."""
    largest = max(float(np.abs(batch.embeddings).max()) for batch in expected)
    found = _computed(expected, file)
    return max(
        float(np.abs(embeddings - batch.embeddings).max()) / largest
        for batch, embeddings in zip(expected, found, strict=True)
    )


def _lowest_cosine(expected: Sequence[_Batch], file: Path) -> float:
    ours, theirs = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (
            np.concatenate(_computed(expected, file)),
            np.concatenate([batch.embeddings for batch in expected]),
        )
    )
    return float((ours * theirs).sum(axis=1).min())


def _computed(expected: Sequence[_Batch], file: Path) -> list[NDArray[np.float32]]:
    session = OnnxEmbedder.load(file).session
    try:
        return [
            session.run([EMBEDDINGS], {WAVEFORMS: batch.waveforms, SAMPLES: batch.samples})[0]
            for batch in expected
        ]
    except Exception as error:  # ONNX Runtime's errors share no base
        raise CheckpointError(
            f"the exported encoder does not run on every batch and length ({error}); its size depends on the example "
            "that it was traced with"
        ) from error
