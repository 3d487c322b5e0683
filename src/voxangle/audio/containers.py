"""What a file's own layout says about its end: decoders shorten a truncated file without a word."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from voxangle.errors import AudioError

__all__ = ["DataChunk", "check_ogg", "check_wav", "data_chunk"]

# Writers into a pipe cannot go back to fill in the size: they leave 0, 0xFFFFFFFF or about 2 GB (sox, arecord).
_UNKNOWN_SIZE = 0x7FFF_F000
_LONGEST_OGG_PAGE = 27 + 255 + 255 * 255
_END_OF_STREAM = 4


class DataChunk(NamedTuple):
    """The samples of a RIFF/WAVE file.

    Attributes:
        offset: where they begin, in bytes.
        promised: how many bytes the chunk's header announces.
        streamed: the writer could not fill in the size; the samples go on to the end of the file.
    """

    offset: int
    promised: int
    streamed: bool


def data_chunk(file: BinaryIO) -> DataChunk | None:
    """The ``data`` chunk of a RIFF/WAVE file, None where there is none."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    riff_end = 8 + int.from_bytes(head[4:8], "little")
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, promised = struct.unpack("<4sI", file.read(8))
        position += 8
        if name == b"data":
            # A truly empty chunk agrees with the RIFF header about where the file ends.
            empty = promised == 0 and abs(riff_end - size) <= 1
            return DataChunk(position, promised, promised >= _UNKNOWN_SIZE or (promised == 0 and not empty))
        position += promised + promised % 2
    return None


def check_wav(path: Path, file: BinaryIO) -> None:
    """Raise AudioError where a WAV header promises more samples than the file holds."""
    chunk = data_chunk(file)
    if chunk is None or chunk.streamed:
        return
    present = os.fstat(file.fileno()).st_size - chunk.offset
    if present < chunk.promised:
        raise AudioError(
            path, f"truncated: its header promises {chunk.promised} bytes of samples, the file has {present}"
        )


def check_ogg(path: Path, file: BinaryIO) -> None:
    """Raise AudioError where an Ogg stream (Vorbis, Opus, FLAC) breaks off.

    The last page is to be whole and marked as the end of the stream (RFC 3533, section 6; a stream without
    that mark is a truncated one, RFC 7845, section 3).
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - _LONGEST_OGG_PAGE))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[26] if len(page) > 26 else 0
    whole = len(page) >= 27 + segments and len(page) >= 27 + segments + sum(page[27 : 27 + segments])
    if not (whole and page[5] & _END_OF_STREAM):
        raise AudioError(path, "truncated: the Ogg stream breaks off before its last page")
