"""What an exported model says about itself: the entries of an ONNX file's metadata, each under ``voxangle.``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from voxangle.audio import SAMPLE_RATE
from voxangle.config import Config, first_problem
from voxangle.errors import CheckpointError
from voxangle.runtime.card import Calibration, Line, Threshold
from voxangle.runtime.embedding import MINIMUM_SECONDS
from voxangle.runtime.onnx_checksum import CHECKSUM, PLACEHOLDER

__all__ = [
    "EMBEDDINGS",
    "MINIMUM_SAMPLES",
    "SAMPLES",
    "WAVEFORMS",
    "ExportedCard",
    "OnnxMetadata",
    "Precision",
]

FORMAT = 2
PREFIX = "voxangle."
MINIMUM_SAMPLES = round(MINIMUM_SECONDS * SAMPLE_RATE)

# The names of the graph's inputs and of its output.
WAVEFORMS, SAMPLES, EMBEDDINGS = "waveforms", "samples", "embeddings"

Precision = Literal["float32", "int8"]


class ExportedCard(Config):
    """The card of a model that was exported: what is needed to use it, and the rest as it stands.

    Attributes:
        name: what people call it.
        thresholds: where it can decide; the first is meant where none is named. Empty if none was set.
        calibration: what turns its scores into log-likelihood ratios; None if that was not fitted.
    """

    # The settings of the encoder and all else are in the graph already; they stay readable as plain data.
    model_config = ConfigDict(extra="allow")

    name: Line
    thresholds: tuple[Threshold, ...] = ()
    calibration: Calibration | None = None


class OnnxMetadata(Config):
    """The metadata of an exported model, all but the file's checksum.

    Attributes:
        format: of this metadata.
        card: the model's card.
        sample_rate: of the waveforms that the graph takes, in Hz.
        minimum_samples: the fewest samples that a row of the graph's waveforms may have.
        weights_sha256: of the weights that were exported; empty of a model that was never saved.
        precision: of the weights and products of the encoder; the features are float32 always.
    """

    format: int = Field(default=FORMAT, ge=FORMAT, le=FORMAT)
    card: ExportedCard
    sample_rate: int = SAMPLE_RATE
    minimum_samples: int = Field(default=MINIMUM_SAMPLES, ge=1)
    weights_sha256: str = ""
    precision: Precision = "float32"

    def entries(self) -> dict[str, str]:
        """The entries to be written, and a place for the checksum."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        ours = {
            PREFIX + key: json.dumps(value) if key == "card" else str(value) for key, value in plain.items()
        }
        return ours | {CHECKSUM: PLACEHOLDER.decode()}

    @classmethod
    def read(cls, entries: Mapping[str, str], file: str) -> OnnxMetadata:
        """The metadata that ``entries`` hold.

        Args:
            entries: of the file's metadata, others' among them.
            file: its name, for the errors.

        Raises:
            CheckpointError: there are none of ours, they are broken or of another format, or the model is made for
                another sample rate or for longer recordings.
        """
        ours = {
            key.removeprefix(PREFIX): value
            for key, value in entries.items()
            if key.startswith(PREFIX) and key != CHECKSUM
        }
        if not ours:
            raise CheckpointError(
                f"{file}: an ONNX model, but not one of `voxangle export onnx`: its metadata say nothing of voxangle; "
                "export the model again with it"
            )
        number = ours.get("format", "")
        if number.isdecimal() and int(number) != FORMAT:
            age, cure = (
                ("newer", "upgrade voxangle") if int(number) > FORMAT else ("older", "export the model again")
            )
            raise CheckpointError(
                f"{file}: format {number} is {age} than this voxangle reads ({FORMAT}); {cure}"
            )
        try:
            metadata = cls.model_validate({**ours, "card": json.loads(ours.get("card", "null"))})
        except (ValidationError, ValueError) as error:
            raise CheckpointError(
                f"{file}: broken metadata ({_first(error)}); export the model again"
            ) from error
        if metadata.sample_rate != SAMPLE_RATE:
            raise CheckpointError(
                f"{file}: made for waveforms at {metadata.sample_rate} Hz, but voxangle computes at {SAMPLE_RATE} Hz; "
                "export a model that does"
            )
        if metadata.minimum_samples > MINIMUM_SAMPLES:
            raise CheckpointError(
                f"{file}: made for recordings of {metadata.minimum_samples} samples or more, but {MINIMUM_SAMPLES} "
                f"({MINIMUM_SECONDS} s) must be enough; export the model again"
            )
        return metadata


def _first(error: ValueError) -> str:
    return first_problem(error) if isinstance(error, ValidationError) else str(error)
