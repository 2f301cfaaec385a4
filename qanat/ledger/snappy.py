"""Files in snappy's framing format (framing_format.txt of google/snappy), which Arrow reads only unframed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import crc32c
import pyarrow as pa

_COMPRESSED, _UNCOMPRESSED, _IDENTIFIER = 0x00, 0x01, 0xFF
_UNSKIPPABLE = range(0x02, 0x80)
# An uncompressed frame holds at most 64 KiB (section 4.2), so a few dozen make one block.
_FRAME_BYTES_MAX = 1 << 16
_YIELD_BYTES = 4 << 20


def read_snappy(path: Path) -> Iterator[bytes]:
    """The uncompressed bytes, some MiB at a time. Raises ValueError when they are damaged."""
    collected: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        for frame in _frames(file):
            collected.append(frame)
            size += len(frame)
            if size >= _YIELD_BYTES:
                yield b"".join(collected)
                collected, size = [], 0
    if collected:
        yield b"".join(collected)


def _frames(file: BinaryIO) -> Iterator[bytes]:
    first = True
    while header := file.read(4):
        if len(header) < 4:
            raise ValueError("it ends in mid-frame")
        kind, length = header[0], int.from_bytes(header[1:], "little")
        data = file.read(length)
        if len(data) < length:
            raise ValueError("it ends in mid-frame")
        if first and (kind, data) != (_IDENTIFIER, b"sNaPpY"):
            raise ValueError("it does not begin as a framed snappy file does")
        first = False
        if kind in (_COMPRESSED, _UNCOMPRESSED):
            yield _checked(kind, data)
        elif kind in _UNSKIPPABLE:
            raise ValueError(f"it has a frame of the unknown type {kind:#x}")


def _checked(kind: int, data: bytes) -> bytes:
    plain = data[4:]
    if kind == _COMPRESSED:
        plain = pa.Codec("snappy").decompress(plain, _uncompressed_bytes(plain), asbytes=True)
    crc = crc32c.crc32c(plain)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    if masked != int.from_bytes(data[:4], "little"):
        raise ValueError("the checksum of a frame is wrong")
    return plain


def _uncompressed_bytes(data: bytes) -> int:
    """The length that raw snappy data begins with, a varint."""
    length = 0
    for index, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80 and length <= _FRAME_BYTES_MAX:
            return length
    raise ValueError("a frame claims more than 64 KiB")
