"""An exported model in use: ONNX Runtime computes, and torch need not be installed."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import CheckpointError, MissingExtraError
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.runtime.onnx_checksum import checksum_holds
from voxangle.runtime.onnx_metadata import EMBEDDINGS, SAMPLES, WAVEFORMS, ExportedCard, OnnxMetadata
from voxangle.runtime.shipped import SHIPPED_ONNX
from voxangle.storage import atomic_write

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["MODEL_FILE", "OnnxEmbedder", "import_onnxruntime"]

MODEL_FILE = "model.onnx"  # looked for where a folder is named


def import_onnxruntime() -> ModuleType:
    """ONNX Runtime, which reports to nobody.

    Raises:
        MissingExtraError: it is not installed.
    """
    # It tells its makers of every session otherwise, and only this, before the import, keeps it from that.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError("running an exported model", "onnx") from error
    return cast("ModuleType", onnxruntime)


class OnnxEmbedder(BaseEmbedder):
    """A model that ``voxangle export onnx`` wrote, on the CPU.

    Args:
        session: of the graph.
        metadata: of the same file.
        file: where it lies.

    Attributes:
        metadata: what the file says about itself.
        file: where it lies.
    """

    card: ExportedCard

    def __init__(self, session: InferenceSession, metadata: OnnxMetadata, file: Path) -> None:
        self.session = session
        self.metadata = metadata
        self.file = file
        self.card = metadata.card
        self.weights_sha256 = metadata.weights_sha256
        self._dimension = int(session.get_outputs()[0].shape[-1])

    @classmethod
    def load(cls, path: str | Path | None = None, *, threads: int | None = None) -> OnnxEmbedder:
        """The model in an ONNX file; or in the file ``model.onnx`` of a model folder or of a run.

        Args:
            path: of the file or folder; None for the model that comes with voxangle.
            threads: that compute; None for $OMP_NUM_THREADS (which Ray sets to a copy's share), else one a core.

        Raises:
            CheckpointError: there is no file; it is no ONNX model or a broken one; it is not what was exported, to
                the last bit; or it was not made by `voxangle export onnx`.
            MissingExtraError: ONNX Runtime is not installed.
        """
        onnxruntime = import_onnxruntime()
        file = _model_file(Path(path or SHIPPED_ONNX))
        content = _read(file)
        holds = checksum_holds(content)
        if holds is False:
            raise _damaged(file)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised; nothing is printed beside it
        options.intra_op_num_threads = threads or _threads_of_environment()
        # Threads that spin while they wait collapse beside another busy process.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            entries = session.get_modelmeta().custom_metadata_map
        except Exception as error:  # its errors share no base
            raise CheckpointError(
                f"{file}: not an ONNX model that can be run, or a truncated one ({_in_short(error)}); copy or export "
                "the model again"
            ) from error
        metadata = OnnxMetadata.read(entries, str(file))
        if holds is None:
            raise _damaged(file)
        _check_graph(file, session)
        return cls(session, metadata, file)

    def save(self, folder: str | Path) -> None:
        """Copy the file into ``folder``, made if missing, as ``model.onnx``.

        Raises:
            CheckpointError: the file is gone.
            StorageError: the disk is full, or the folder cannot be written.
        """
        content = _read(self.file)
        with atomic_write(Path(folder) / MODEL_FILE) as temporary:
            temporary.write_bytes(content)

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


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{file}: missing; `voxangle export onnx --model RUN --out {file}` makes it from a trained model"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error


def _threads_of_environment() -> int:
    """ONNX Runtime has threads of its own, and reads no variable of OpenMP's; 0 leaves it the choice."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else 0


def _damaged(file: Path) -> CheckpointError:
    return CheckpointError(
        f"{file}: damaged, or changed since it was exported (its checksum does not hold); copy or export the model "
        "again"
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
