"""MP3 files whose length libsndfile gets wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["is_untagged_vbr"]

# Layer III, in kbit/s by the header's index (ISO 11172-3, section 2.4.2.3, and 13818-3).
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_1 = (44_100, 48_000, 32_000)
_DIVISOR = {3: 1, 2: 2, 0: 4}  # of the rates, by the header's version: MPEG-1, 2, 2.5
_LENGTH_TAGS = (b"Xing", b"Info", b"VBRI")


def is_untagged_vbr(file: BinaryIO, head: bytes) -> bool:
    """Whether a file is an MP3 of variable bit rate without a tag (Xing, VBRI) that states its length.

    libsndfile takes such a file's length from its first frame's bit rate and drops what lies beyond.
    """
    if not (head.startswith(b"ID3") or (head[0] == 0xFF and head[1:2] >= b"\xe0")):
        return False
    file.seek(0)
    content = file.read()
    first = 0
    if content.startswith(b"ID3"):  # its size is in bytes of seven bits
        first = 10 + sum(
            (byte & 0x7F) << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=False)
        )
    if any(tag in content[first : first + 200] for tag in _LENGTH_TAGS):
        return False
    return len(set(_frame_kbits(content, first))) > 1


def _frame_kbits(content: bytes, position: int) -> Iterator[int]:
    """The bit rate of each frame, to the first byte that begins none."""
    while position + 4 <= len(content) and content[position] == 0xFF:
        version, layer = content[position + 1] >> 3 & 3, content[position + 1] >> 1 & 3
        index, rate = content[position + 2] >> 4, content[position + 2] >> 2 & 3
        if version == 1 or layer != 1 or index in {0, 15} or rate == 3:
            return
        kbits = (_KBITS_1 if version == 3 else _KBITS_2)[index]
        yield kbits
        slots = 144_000 if version == 3 else 72_000
        padding = content[position + 2] >> 1 & 1
        position += slots * kbits // (_RATES_1[rate] // _DIVISOR[version]) + padding
