"""A model in use: waveforms or files in, embeddings out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from voxangle.encoders.card import ModelCard
from voxangle.encoders.encoder import Encoder
from voxangle.encoders.model_files import read_model, write_model
from voxangle.features import BaseFilterbank, build_filterbank
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.runtime.shipped import SHIPPED_TORCH

__all__ = ["Embedder"]


class Embedder(BaseEmbedder):
    """A filterbank and an encoder, with the card that says what they are.

    Args:
        filterbank: makes the encoder's features.
        encoder: makes the embeddings. Its mode, train or eval, is left as it is: an encoder in training can be
            lent for a validation.
        card: what the model says about itself.
        device: where to compute; None for where the encoder is.
    """

    card: ModelCard

    def __init__(
        self,
        filterbank: BaseFilterbank,
        encoder: Encoder,
        card: ModelCard,
        *,
        device: str | torch.device | None = None,
    ) -> None:
        self.device = torch.device(device) if device is not None else next(encoder.parameters()).device
        self.filterbank = filterbank.to(self.device)
        self.encoder = encoder.to(self.device)
        self.card = card

    @classmethod
    def load(cls, path: str | Path | None = None, *, device: str | torch.device | None = None) -> Embedder:
        """The model saved in a file, in a folder, or in the folder ``model`` of a run.

        Args:
            path: the file or folder; None for the model that comes with voxangle.
            device: where to compute; None for CUDA where there is some, else the CPU.

        Raises:
            CheckpointError: there is no model, it is a pickle, it is broken, or its parts do not belong together.
        """
        card, encoder, weights_sha256 = read_model(path or SHIPPED_TORCH)
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        embedder = cls(build_filterbank(card.filterbank), encoder.eval(), card, device=device)
        embedder.weights_sha256 = weights_sha256
        return embedder

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write the model, whole or not at all.

        Args:
            path: ``NAME.safetensors`` for one file; else a folder, made if missing, for ``model.safetensors`` and
                ``model.json``.
            half: store matrices and kernels as float16; they are float32 again when loaded.

        Raises:
            CheckpointError: a weight is too large for float16.
            StorageError: the disk is full, or the place cannot be written.
        """
        write_model(path, self.encoder, self.card, half=half)

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return self.encoder.dimension

    def _embed_padded(
        self, waveforms: NDArray[np.float32], samples: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        with (
            torch.inference_mode(),
            _evaluating(self.encoder),
            torch.autocast(self.device.type, enabled=False),
        ):
            lengths = torch.from_numpy(samples).to(self.device) if np.ptp(samples) else None
            features, frames = self.filterbank(torch.from_numpy(waveforms).to(self.device), lengths)
            embeddings: NDArray[np.float32] = self.encoder(features, frames).float().cpu().numpy()
        return embeddings


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
