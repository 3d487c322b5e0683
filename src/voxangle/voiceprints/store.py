"""What a voiceprint is, and what every store of them does, whatever keeps it.

A print is one person's voice as one model hears it. A person may have a print of each of several models; prints of
two models are never compared, for their embeddings have nothing to do with each other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import VoiceprintError
from voxangle.runtime.card import Calibration
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.runtime.measures import RecordingMeasures
from voxangle.runtime.onnx_embedder import OnnxEmbedder

__all__ = [
    "AuditEvent",
    "Entry",
    "Found",
    "Model",
    "Neighbour",
    "Recording",
    "Reference",
    "Voiceprint",
    "VoiceprintStore",
    "mean_embedding",
]

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Model:
    """Of which model prints are.

    Attributes:
        id: SHA-256 of its weights, in hex; with ``-int8`` behind it where they are quantised, which changes the
            embeddings. A trained model and its float32 export have the same.
        name: what people call it.
        dimension: D, of its embeddings.
    """

    id: str
    name: str
    dimension: int

    @classmethod
    def of(cls, embedder: BaseEmbedder) -> Model:
        """The model that an embedder runs.

        Raises:
            VoiceprintError: it was not loaded from a file, so that nothing tells it from others.
        """
        if not embedder.weights_sha256:
            raise VoiceprintError(
                f"the model '{embedder.card.name}' was not loaded from a file, so that nothing tells it from another; "
                "save it, and load what was saved"
            )
        model_id = embedder.weights_sha256
        if isinstance(embedder, OnnxEmbedder) and embedder.metadata.precision != "float32":
            model_id += f"-{embedder.metadata.precision}"
        return cls(model_id, embedder.card.name, embedder.dimension)


@dataclass(frozen=True, slots=True)
class Reference:
    """Which recording an embedding came of; the recording itself is never stored.

    Attributes:
        file: its name, without folders; None where it had none, or it is not to be kept.
        sha256: of its bytes, in hex; None likewise.
    """

    file: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One recording of a print.

    Attributes:
        vector: (D,) its embedding, float32, not of unit length.
        measures: what was measured of it (seconds of speech among it).
        reference: where it came from.
        added: when, in UTC; None until it is in a store.
    """

    vector: Vector
    measures: RecordingMeasures
    reference: Reference = Reference()
    added: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What a list of prints says of one: all but its vectors.

    Attributes:
        id: of the print: 32 hex digits drawn at random, which say nothing of the person.
        name: of the person, as enrolled.
        model: that it is of.
        calibration: of the model when the print was made or last added to; None where it had none.
        recordings: how many it is made of.
        measures: of them together (``RecordingMeasures.joined``).
        created: when it was enrolled, in UTC.
        updated: when recordings were last added, in UTC.
    """

    id: str
    name: str
    model: Model
    calibration: Calibration | None
    recordings: int
    measures: RecordingMeasures
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Voiceprint:
    """A print, whole.

    Attributes:
        entry: what it is.
        mean: (D,) float32, the mean of the recordings' embeddings as they are (the enrolment rule ``average``).
        recordings: in the order in which they were added.
    """

    entry: Entry
    mean: Vector
    recordings: tuple[Recording, ...]


def mean_embedding(recordings: Sequence[Recording]) -> Vector:
    """The mean of recordings' embeddings as they are, (D,): a print's ``mean``."""
    mean: Vector = np.stack([one.vector for one in recordings]).mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)


class Neighbour(NamedTuple):
    """A print that is near to an embedding.

    Attributes:
        entry: the print.
        score: the cosine of its mean and the embedding.
    """

    entry: Entry
    score: float


class Found(NamedTuple):
    """What a search found.

    Attributes:
        neighbours: the nearest prints of the model, nearest first.
        enrolled: how many prints of the model were searched.
        others: how many prints of other models were left out.
    """

    neighbours: tuple[Neighbour, ...]
    enrolled: int
    others: int


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit trail. It holds neither names, nor scores, nor vectors, nor references.

    Attributes:
        at: when, in UTC.
        actor: who asked: a user of the machine, the id of an API key; whatever the caller says.
        action: ``enrol``, ``update``, ``delete``, ``verify``, ``identify``, ``export``, ``import`` or ``rotate``.
        print_id: of the print that it was about; None where it was about none, or about many.
        model_id: of the model in use; None where there was none.
        detail: what else, of the action: ``{"accepted": true}``, ``{"recordings": 2}``, ``{"prints": 40}``.
    """

    at: datetime
    actor: str
    action: str
    print_id: str | None
    model_id: str | None
    detail: dict[str, Any]


class VoiceprintStore(ABC):
    """Keeps voiceprints, finds the nearest, and forgets for good. Every method may be called from any thread.

    What a method has written when it returns outlives a killed process and a failure of power. Several processes may
    use one store at the same time; each sees what the others have written.

    All methods raise ``StorageError`` where the store cannot be reached, read or written, and ``StoreKeyError``
    where its key was changed while it was open.

    Attributes:
        place: the file or the address (without its password), for messages.
    """

    place: str

    @abstractmethod
    def enrol(
        self,
        name: str,
        model: Model,
        recordings: Sequence[Recording],
        *,
        calibration: Calibration | None = None,
        actor: str,
    ) -> Entry:
        """Keep a new print. Nothing is checked of the recordings here: ``voxangle.voiceprints.enrolment`` does.

        Args:
            name: of the person; 1 to 200 characters without control characters. It is kept as given but for spaces
                at its ends and Unicode's composition (NFC).
            model: whose embeddings these are.
            recordings: one or more.
            calibration: of the model now.
            actor: for the audit trail.

        Raises:
            NameTakenError: there is a print of this name and model.
            VoiceprintError: no name, no recording, or a vector that is not of the model's dimension, not finite or 0.
        """

    @abstractmethod
    def extend(
        self,
        name: str,
        model: Model,
        recordings: Sequence[Recording],
        *,
        calibration: Calibration | None = None,
        actor: str,
    ) -> Entry:
        """Add recordings to a print; arguments as for ``enrol``.

        Raises:
            UnknownVoiceprintError: nobody has this name.
            OtherModelError: there are prints of this name, but of other models only.
            VoiceprintError: as for ``enrol``.
        """

    @abstractmethod
    def get(self, name: str, model: Model) -> Voiceprint:
        """The print of a name and model.

        Raises:
            UnknownVoiceprintError: nobody has this name.
            OtherModelError: there are prints of this name, but of other models only.
        """

    @abstractmethod
    def named(self, name: str) -> list[Voiceprint]:
        """All prints of a name, one a model, in the order of their enrolment.

        Raises:
            UnknownVoiceprintError: nobody has this name.
        """

    @abstractmethod
    def entries(
        self, *, model: Model | None = None, after: str | None = None, limit: int | None = None
    ) -> list[Entry]:
        """Prints by name, and of one name in the order of their enrolment.

        Args:
            model: only of this one.
            after: only of names that come behind this one (by their code points): the next page.
            limit: the most prints; None for all.
        """

    @abstractmethod
    def delete(self, names: Iterable[str], *, actor: str) -> list[Entry]:
        """Forget people: all their prints of all models, with their vectors and references, for good.

        When this returns their bytes are in no file of the store (``docs/voiceprints.md``). What
        stays is the audit trail, which names nobody. Many at once cost little more than one.

        Returns:
            What was deleted.

        Raises:
            UnknownVoiceprintError: nobody has one of the names; then nothing is deleted.
        """

    @abstractmethod
    def search(self, model: Model, vector: Vector, nearest: int, *, exact: bool = False) -> Found:
        """The prints of a model that are nearest to an embedding.

        Args:
            model: whose embedding it is; prints of others are left out.
            vector: (D,), of any length but 0.
            nearest: how many at most.
            exact: look at every print, also where an approximate index would answer.

        Raises:
            VoiceprintError: the vector is not of the model's dimension, not finite or 0.
        """

    @abstractmethod
    def everything(self) -> Iterator[Voiceprint]:
        """All prints, whole, of one moment, in the order of their enrolment."""

    @abstractmethod
    def put(self, prints: Iterable[Voiceprint], *, replace: bool = False, actor: str) -> int:
        """Keep prints as they are (ids, times and all): all or none of them.

        Args:
            prints: of one or more models.
            replace: those of the same name and model go; else they are an error.
            actor: for the audit trail.

        Returns:
            How many were put.

        Raises:
            NameTakenError: there is a print of the same name and model, and ``replace`` is False.
        """

    @abstractmethod
    def note(
        self,
        action: str,
        *,
        actor: str,
        print_id: str | None = None,
        model: Model | None = None,
        **detail: Any,
    ) -> None:
        """Add a line to the audit trail of something that changes no print."""

    @abstractmethod
    def check_writable(self) -> None:
        """Raise ``StorageError`` where nothing can be written now: before work is done for what is to be noted."""

    @abstractmethod
    def audit(self, *, print_id: str | None = None, limit: int | None = None) -> list[AuditEvent]:
        """The audit trail, newest first.

        Args:
            print_id: only of this print, which may be deleted.
            limit: the most lines.
        """

    @abstractmethod
    def rotate(self, key: str | None, *, actor: str) -> int:
        """Encrypt all vectors and references anew; the old key opens nothing afterwards.

        Args:
            key: the new one (32 bytes in base64); None to keep them in clear from now on.
            actor: for the audit trail.

        Returns:
            How many prints were written.

        Raises:
            StoreKeyError: the new key is malformed.
        """

    @property
    @abstractmethod
    def key_id(self) -> str | None:
        """Of the key that vectors and references are encrypted with; None where they are in clear."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file or the connection; the store is of no use afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
