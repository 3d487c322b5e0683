"""From a file or a waveform to what a print is made of or compared with: the embedding, its measures, its source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from voxangle.errors import AudioError
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.runtime.measures import measure_file, measure_waveform
from voxangle.runtime.sources import Samples
from voxangle.voiceprints.store import Recording, Reference

__all__ = ["take_files", "take_waveforms"]


def take_files(
    embedder: BaseEmbedder, paths: Sequence[str | Path], *, references: bool = True
) -> list[Recording]:
    """Embed and measure files.

    Args:
        embedder: the model.
        paths: N files, in any form that ``voxangle.audio.load`` reads.
        references: keep their names (without folders) and the checksums of their bytes.

    Returns:
        N recordings, in the order given.

    Raises:
        AudioError: a file cannot be used: missing, not audio, too short for an embedding, silent, not finite.
    """
    vectors = embedder.embed_files(paths).embeddings
    return [
        Recording(vector, measure_file(path, vector), _reference(Path(path)) if references else Reference())
        for path, vector in zip(paths, vectors, strict=True)
    ]


def take_waveforms(
    embedder: BaseEmbedder, waveforms: Sequence[Samples], references: Sequence[Reference] = ()
) -> list[Recording]:
    """Embed and measure samples in memory.

    Args:
        embedder: the model.
        waveforms: N arrays (samples,) in [-1, 1] at 16 kHz.
        references: N, of what they were decoded from; none to keep none.

    Raises:
        AudioError: a waveform is too short, silent or not finite.
    """
    vectors = embedder.embed(waveforms)
    sources = references or [Reference()] * len(waveforms)
    return [
        Recording(vector, measure_waveform(waveform, vector), source)
        for waveform, vector, source in zip(waveforms, vectors, sources, strict=True)
    ]


def _reference(path: Path) -> Reference:
    try:
        with path.open("rb") as file:
            return Reference(path.name, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise AudioError(path, f"cannot be read ({error.strerror})") from error
