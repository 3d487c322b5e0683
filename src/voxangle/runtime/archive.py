"""Embeddings on disk, by key: one ``.npz`` for a few, a folder of Parquet parts for a corpus."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import StorageError
from voxangle.storage import atomic_write

__all__ = ["read_embeddings", "stream_embeddings", "write_embeddings"]

_AT_ONCE = 2048


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


def read_embeddings(path: str | Path) -> tuple[list[str], NDArray[np.float32]]:
    """All embeddings of an ``.npz`` or of a folder of parts.

    Returns:
        N keys, in the order of the list they were made from, and (N, D) vectors.

    Raises:
        StorageError: it is neither; it is broken; or the folder is not complete yet.
    """
    keys: list[str] = []
    blocks: list[NDArray[np.float32]] = []
    for some, vectors in stream_embeddings(path):
        keys += some
        blocks.append(vectors)
    return keys, np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)


def stream_embeddings(
    path: str | Path, *, incomplete: bool = False
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """The embeddings of an ``.npz`` or of a folder of parts, a block of a few thousand at a time.

    Args:
        path: of the file or the folder.
        incomplete: take what a folder holds so far.

    Yields:
        K keys, in the order of the list they were made from, and (K, D) vectors.

    Raises:
        StorageError: it is neither; it is broken; or the folder is not complete yet.
    """
    path = Path(path)
    if path.is_dir():
        # Parquet takes its time to import, and an .npz does without.
        from voxangle.runtime.parts import PartFolder

        parts = PartFolder.open(path)
        if not incomplete:
            parts.require_complete()
        yield from parts.vectors()
        return
    try:
        content = np.load(path)
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise ValueError("one array, where a vector a key is expected")
        with content as archive:
            for first in range(0, len(archive.files), _AT_ONCE):
                keys = archive.files[first : first + _AT_ONCE]
                yield list(keys), np.stack([archive[key] for key in keys])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StorageError(f"{path}: not an archive of `voxangle embed` ({error})") from error
