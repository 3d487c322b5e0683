"""An exported model in use: ONNX Runtime computes, and torch need not be installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import CheckpointError, MissingExtraError
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.runtime.onnx_metadata import EMBEDDINGS, SAMPLES, WAVEFORMS, ExportedCard, OnnxMetadata

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["MODEL_FILE", "OnnxEmbedder"]

MODEL_FILE = "model.onnx"  # looked for where a folder is named


class OnnxEmbedder(BaseEmbedder):
    """A model that ``voxangle export onnx`` wrote, on the CPU.

    Args:
        session: of the graph.
        metadata: of the same file.

    Attributes:
        metadata: what the file says about itself.
    """

    card: ExportedCard

    def __init__(self, session: InferenceSession, metadata: OnnxMetadata) -> None:
        self.session = session
        self.metadata = metadata
        self.card = metadata.card
        self.weights_sha256 = metadata.weights_sha256
        self._dimension = int(session.get_outputs()[0].shape[-1])

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None) -> OnnxEmbedder:
        """The model in an ONNX file; or in the file ``model.onnx`` of a model folder or of a run.

        Args:
            path: of the file or folder.
            threads: that compute; None for one a core.

        Raises:
            CheckpointError: there is no file, it is no ONNX model or a broken one, or it was not made by
                `voxangle export onnx`.
            MissingExtraError: ONNX Runtime is not installed.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise MissingExtraError("running an exported model", "onnx") from error
        file = _model_file(Path(path))
        try:
            content = file.read_bytes()
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{file}: missing; `voxangle export onnx --model RUN --out {file}` makes it from a trained model"
            ) from error
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised; nothing is printed beside it
        options.intra_op_num_threads = threads or 0
        # Threads that spin while they wait collapse beside another busy process.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no base
            raise CheckpointError(
                f"{file}: not an ONNX model that can be run, or a truncated one ({_in_short(error)}); copy or export "
                "the model again"
            ) from error
        metadata = OnnxMetadata.read(session.get_modelmeta().custom_metadata_map, str(file))
        _check_graph(file, session)
        return cls(session, metadata)

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return self._dimension

    def _embed_padded(
        self, waveforms: NDArray[np.float32], samples: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        if self.metadata.precision == "float32":
            return self._run(waveforms, samples)
        # Dynamic quantisation takes its scale from the whole batch: only alone a row knows nothing of the others.
        rows = [
            self._run(row[None, :count], np.array([count]))
            for row, count in zip(waveforms, samples.tolist(), strict=True)
        ]
        return np.concatenate(rows)

    def _run(self, waveforms: NDArray[np.float32], samples: NDArray[np.int64]) -> NDArray[np.float32]:
        (embeddings,) = self.session.run([EMBEDDINGS], {WAVEFORMS: waveforms, SAMPLES: samples})
        return np.asarray(embeddings, dtype=np.float32)


def _model_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for folder in (path, path / "model"):
        if (folder / MODEL_FILE).exists():
            return folder / MODEL_FILE
    raise CheckpointError(
        f"{path}: no {MODEL_FILE} here; `voxangle export onnx --model {path} --out {path / MODEL_FILE}` makes it"
    )


def _check_graph(file: Path, session: InferenceSession) -> None:
    inputs = {one.name: len(one.shape) for one in session.get_inputs()}
    outputs = {one.name: one.shape for one in session.get_outputs()}
    shape = outputs.get(EMBEDDINGS, [])
    if inputs != {WAVEFORMS: 2, SAMPLES: 1} or len(shape) != 2 or not isinstance(shape[-1], int):
        raise CheckpointError(
            f"{file}: expected a graph from '{WAVEFORMS}' (B, T) and '{SAMPLES}' (B,) to '{EMBEDDINGS}' (B, D), found "
            f"{', '.join(inputs)} to {', '.join(outputs)}; export the model again"
        )


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
