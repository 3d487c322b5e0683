"""Embedding a list of any length into a folder, going on where a killed run stopped."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from voxangle.errors import AudioError
from voxangle.runtime.embedding import BaseEmbedder, Embedding, PartSize
from voxangle.runtime.parts import Index, PartWriter
from voxangle.runtime.recording_list import RecordingList

__all__ = ["Engine", "Written", "embed_corpus", "here"]

Engine = Callable[[RecordingList, int, PartSize], Generator[Embedding]]
"""(recordings, first row, size of a part) -> the embeddings from that row on, in order."""


class Written(NamedTuple):
    """What a run did.

    Attributes:
        before: recordings that earlier runs had done.
        embedded: recordings that this run embedded.
        left_out: recordings that it could not use.
    """

    before: int
    embedded: int
    left_out: int


def here(embedder: BaseEmbedder, workers: int = 2) -> Engine:
    """The engine that embeds in this process, with threads that decode."""
    return lambda recordings, first, part: embedder.embed_stream(
        recordings.files(first), workers=workers, part=part
    )


def embed_corpus(
    embedder: BaseEmbedder,
    recordings: RecordingList,
    folder: str | Path,
    engine: Engine,
    *,
    part: PartSize | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_error: Callable[[AudioError], None] | None = None,
) -> Written:
    """Embed all recordings that ``folder`` does not hold yet.

    A part is written when it is full, so a run that is killed loses at most a part: 2048 recordings, or two hours. Run
    again, it goes on with the next; batches never cross parts, so that the folder comes out the same as without the
    interruption, to the last bit where the engine and the machine are the same.

    Args:
        embedder: what the index names.
        recordings: the list.
        folder: made if missing.
        engine: computes, such as ``here(embedder)``.
        part: when a part is full; None for the size above.
        on_progress: called with (recordings done, recordings in all).
        on_error: called with the error of every recording that is left out.

    Raises:
        StorageError: the folder holds something else, is being written by another run, or cannot be written.
    """
    index = Index(
        model=embedder.card.name,
        weights_sha256=embedder.weights_sha256,
        dimension=embedder.dimension,
        windows=embedder.windows,
        recordings=len(recordings),
        list_sha256=recordings.sha256(),
    )
    part = part or PartSize()
    left_out = 0
    rows: list[Embedding] = []
    samples = 0
    with PartWriter.open(folder, index) as writer:
        before = writer.recordings

        def write() -> None:
            writer.write(recordings.keys(writer.recordings, len(rows)), rows)

        with closing(engine(recordings, before, part)) as stream:
            for one in stream:
                rows.append(one)
                samples += one.samples
                if one.error is not None:
                    left_out += 1
                    if on_error is not None:
                        on_error(one.error)
                if part.full(len(rows), samples):
                    write()
                    rows, samples = [], 0
                if on_progress is not None:
                    on_progress(writer.recordings + len(rows), len(recordings))
        if rows:
            write()
        return Written(before, writer.recordings - before - left_out, left_out)
