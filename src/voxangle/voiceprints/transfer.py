"""Voiceprints in a file, to be carried into another store: JSON lines, sealed where the store is.

The first line is the header: format, id of the key (or null), number of prints. Each other line is a print with its
recordings; a vector is float32 in little-endian order, in base64. In a sealed file vectors and references are as a
sealed store keeps them.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import AwareDatetime, Field, ValidationError

from voxangle.config import Config, first_problem
from voxangle.errors import StorageError, StoreKeyError, VoiceprintError
from voxangle.runtime.card import Calibration
from voxangle.runtime.measures import RecordingMeasures
from voxangle.storage import atomic_write
from voxangle.voiceprints.sealing import KEY_VARIABLE, Sealing, sealing_for
from voxangle.voiceprints.store import (
    Entry,
    Model,
    Recording,
    Reference,
    Vector,
    Voiceprint,
    VoiceprintStore,
    mean_embedding,
)

__all__ = ["read_prints", "write_prints"]

FORMAT = 1

_Kind = TypeVar("_Kind", bound=Config)


class _Header(Config):
    voxangle_voiceprints: int
    key_id: str | None
    prints: int = Field(ge=0)


class _Model(Config):
    id: str = Field(min_length=1)
    name: str
    dimension: int = Field(ge=1)


class _Measures(Config):
    speech: float = Field(ge=0)
    clipping: float = Field(ge=0, le=1)
    above_4khz: float
    magnitude: float = Field(gt=0)


class _Recording(Config):
    vector: str
    reference: str
    measures: _Measures
    added: AwareDatetime


class _Print(Config):
    id: str = Field(pattern="^[0-9a-f]{32}$")
    name: str
    model: _Model
    calibration: Calibration | None
    created: AwareDatetime
    updated: AwareDatetime
    recordings: tuple[_Recording, ...] = Field(min_length=1)


def write_prints(store: VoiceprintStore, path: str | Path, *, key: str | None, actor: str) -> int:
    """Write all prints of a store into a file that only its owner may read, whole or not at all.

    Args:
        store: whose prints.
        path: of the file.
        key: to seal vectors and references with, in base64; None to write them in clear.
        actor: for the audit trail.

    Returns:
        How many there are.

    Raises:
        StorageError: the disk is full, the place cannot be written, or the store itself is there.
        StoreKeyError: the key is malformed.
    """
    if Path(path).resolve() in {Path(store.place + end).resolve() for end in ("", "-wal", "-shm")}:
        raise StorageError(f"{path}: is the store itself; name another file")
    sealing = sealing_for(key)
    count = 0
    with _for_the_owner_alone(), atomic_write(path) as temporary:
        with temporary.open("w+", encoding="utf-8") as file:
            # Its number of prints is known at the end, and a header of equal length is written over this.
            file.write(_header(sealing, count))
            for one in store.everything():
                file.write(_line(one, sealing))
                count += 1
            file.seek(0)
            file.write(_header(sealing, count))
        store.note("export", actor=actor, prints=count, sealed=sealing.key_id is not None)
    return count


def read_prints(path: str | Path, *, key: str | None) -> list[Voiceprint]:
    """The prints in a file, each of the model that it was enrolled with.

    Args:
        path: of the file.
        key: that the file is sealed with, in base64.

    Raises:
        StoreKeyError: the key is missing, malformed or another one.
        VoiceprintError: it is no such file, or a broken or truncated one.
    """
    lines = _lines(Path(path))
    header = _parsed(_Header, next(lines, (1, "")), path)
    if header.voxangle_voiceprints != FORMAT:
        raise VoiceprintError(
            f"{path}: format {header.voxangle_voiceprints}, this voxangle reads {FORMAT}; export again"
        )
    sealing = sealing_for(key if header.key_id else None)
    if sealing.key_id != header.key_id:
        ours = "which is not set" if sealing.key_id is None else f"which holds {sealing.key_id}"
        raise StoreKeyError(
            f"{path}: is sealed with the key {header.key_id}; put it into ${KEY_VARIABLE}, {ours}"
        )
    prints = []
    for number, text in lines:
        prints.append(_voiceprint(_parsed(_Print, (number, text), path), sealing, f"{path}, line {number}"))
    if len(prints) != header.prints:
        raise VoiceprintError(
            f"{path}: holds {len(prints)} voiceprints of {header.prints}, truncated; copy it again. Nothing was kept"
        )
    return prints


def _header(sealing: Sealing, count: int) -> str:
    header = _Header(voxangle_voiceprints=FORMAT, key_id=sealing.key_id, prints=count)
    return header.model_dump_json().ljust(120) + "\n"


def _line(one: Voiceprint, sealing: Sealing) -> str:
    entry = one.entry

    def sealed(content: bytes, what: str) -> str:
        return base64.b64encode(sealing.seal(content, _where(entry.id, what))).decode()

    content: dict[str, Any] = {
        "id": entry.id,
        "name": entry.name,
        "model": asdict(entry.model),
        "calibration": None if entry.calibration is None else entry.calibration.model_dump(mode="json"),
        "created": entry.created.isoformat(),
        "updated": entry.updated.isoformat(),
        "recordings": [
            {
                "vector": sealed(recording.vector.astype("<f4").tobytes(), "vector"),
                "reference": sealed(json.dumps(asdict(recording.reference)).encode(), "reference"),
                "measures": asdict(recording.measures),
                "added": (recording.added or entry.updated).isoformat(),
            }
            for recording in one.recordings
        ],
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def _voiceprint(one: _Print, sealing: Sealing, where: str) -> Voiceprint:
    def opened(text: str, what: str) -> bytes:
        try:
            return sealing.open(base64.b64decode(text, validate=True), _where(one.id, what))
        except ValueError as error:
            raise VoiceprintError(f"{where}: a {what} is not base64; export again") from error

    def vector(text: str) -> Vector:
        content = opened(text, "vector")
        if len(content) != 4 * one.model.dimension:
            raise VoiceprintError(
                f"{where}: a vector is not of {one.model.dimension} dimensions; export again"
            )
        return np.frombuffer(content, "<f4").astype(np.float32)

    def reference(text: str) -> Reference:
        try:
            return Reference(**json.loads(opened(text, "reference")))
        except (TypeError, ValueError) as error:
            raise VoiceprintError(f"{where}: a reference cannot be read; export again") from error

    recordings = tuple(
        Recording(
            vector(each.vector),
            RecordingMeasures(**each.measures.model_dump()),
            reference(each.reference),
            each.added,
        )
        for each in one.recordings
    )
    joined = RecordingMeasures.joined([each.measures for each in recordings])
    model = Model(**one.model.model_dump())
    entry = Entry(one.id, one.name, model, one.calibration, len(recordings), joined, one.created, one.updated)
    return Voiceprint(entry, mean_embedding(recordings), recordings)


def _where(print_id: str, what: str) -> str:
    return f"{what} of exported voiceprint {print_id}"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from enumerate(file, start=1)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise VoiceprintError(f"{path}: not a file of `voxangle voiceprints export`") from error


def _parsed(kind: type[_Kind], numbered: tuple[int, str], path: str | Path) -> _Kind:
    number, text = numbered
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        what = "not a file of `voxangle voiceprints export`" if number == 1 else "a broken line; export again"
        raise VoiceprintError(
            f"{path}, line {number}: {what} ({first_problem(error, 'the line')})"
        ) from error


@contextmanager
def _for_the_owner_alone() -> Generator[None]:
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
