"""A checkpoint is everything: from it a run goes on as if it had never stopped."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from voxangle.errors import CheckpointError
from voxangle.storage import atomic_write

__all__ = ["CHECKPOINT", "Checkpoint"]

CHECKPOINT = "checkpoint.pt"
_FORMAT = 5


@dataclass(frozen=True)
class Checkpoint:
    """The complete state of a run between two steps.

    The position of the sampler, the crops and the augmentation follow from ``step`` and the recipe's seed, and
    so do learning rate and margin; the rest is here.

    Attributes:
        step: optimiser steps taken.
        recipe: the effective recipe, as plain data.
        speakers: the speakers in the order of the prototypes.
        encoder: the encoder's state, buffers included.
        objective: the prototypes, and whatever else the losses and their balancer learn.
        optimizer: the optimiser's state.
        random: the state of torch's generators, by device.
        position: where the reading of shards had come to; empty where recordings are read by the step alone.
        ancestor: the card of the model that the run started from, as plain data; None where there was none.
        average: the averaged encoder's state; None where the recipe asks for no average.
    """

    step: int
    recipe: dict[str, Any]
    speakers: list[str]
    encoder: dict[str, Any]
    objective: dict[str, Any]
    optimizer: dict[str, Any]
    random: dict[str, torch.Tensor]
    position: dict[str, Any] = field(default_factory=dict)
    ancestor: dict[str, Any] | None = None
    average: dict[str, Any] | None = None

    @property
    def model(self) -> dict[str, Any]:
        """The state of the encoder that the run would end with: the average, where it keeps one."""
        return self.encoder if self.average is None else self.average

    def write(self, folder: Path) -> None:
        """Write ``checkpoint.pt`` atomically: a kill or a full disk leaves the one before.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        # torch reports a full disk as an opaque RuntimeError; bytes written by Python keep the errno.
        content = io.BytesIO()
        torch.save({"format": _FORMAT} | {f.name: getattr(self, f.name) for f in fields(self)}, content)
        with atomic_write(folder / CHECKPOINT) as temporary:
            temporary.write_bytes(content.getbuffer())

    @classmethod
    def read(cls, folder: Path, *, sweep: bool = True) -> Checkpoint | None:
        """The checkpoint of a run's folder, or None where there is none yet.

        Args:
            folder: the run's.
            sweep: remove what a killed run left half-written; not for a folder in which another process may train.

        Raises:
            CheckpointError: the file is damaged or of another version.
        """
        path = folder / CHECKPOINT
        if sweep:
            for leftover in folder.glob(f".{CHECKPOINT}.*.tmp"):  # of a run that was killed while it wrote
                leftover.unlink(missing_ok=True)
        if not path.exists():
            return None
        try:
            # torch reads tensors without looking at the archive's checksums.
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(f"checksum of {damaged}")
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (
            OSError,
            RuntimeError,
            EOFError,
            ValueError,
            pickle.UnpicklingError,
            zipfile.BadZipFile,
        ) as error:
            raise CheckpointError(
                f"{path}: the checkpoint is damaged ({type(error).__name__}); restore it from a copy, or start "
                "the run anew with --fresh"
            ) from error
        entries = {"format"} | {field.name for field in fields(cls)}
        if not isinstance(content, dict) or content.keys() != entries or content.pop("format") != _FORMAT:
            raise CheckpointError(
                f"{path}: not a checkpoint of this version of voxangle; start the run anew with --fresh"
            )
        return cls(**content)
