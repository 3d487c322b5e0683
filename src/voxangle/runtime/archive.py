"""Embeddings on disk: an ``.npz`` with one vector a key."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxangle.storage import atomic_write

__all__ = ["write_embeddings"]


def write_embeddings(path: str | Path, keys: Iterable[str], embeddings: NDArray[np.float32]) -> None:
    """Write vectors so that ``numpy.load(path)[key]`` gives each back, atomically.

    ``numpy.savez`` takes the keys as arguments and so cannot hold one called ``file``; the format is the same.

    Args:
        path: of the ``.npz`` file.
        keys: N different texts.
        embeddings: (N, D).
    """
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for key, vector in zip(keys, embeddings, strict=True):
            with archive.open(f"{key}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(vector), allow_pickle=False)
