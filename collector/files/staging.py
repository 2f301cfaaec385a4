"""The staging file of formats that can't be cut (Parquet, ORC): batches as they came, one frame each.

    frame = magic "QNF1", u32 header bytes, u32 payload bytes, u32 CRC32C of header and payload, header, payload

Little-endian. The header is msgpack, the payload a LINES payload or an Arrow IPC stream. Staging a batch costs one
`writev`; what is committed is a length at a frame boundary.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import crc32c
import msgspec

from qanat import columns
from qanat.batch import Batch, PayloadForm
from qanat.errors import CorruptError

_MAGIC = b"QNF1"
_PREAMBLE = struct.Struct("<4sIII")


class _Header(msgspec.Struct, frozen=True, array_like=True):
    stream: str
    start: int
    end: int
    count: int
    lines: bool
    timestamp_ns: int
    attributes: dict[str, str]


def frame(batch: Batch) -> list[bytes | memoryview]:
    """The buffers of a batch's frame."""
    payload = batch.payload
    lines = isinstance(payload, bytes)
    data = payload if isinstance(payload, bytes) else columns.encode(payload)
    header = msgspec.msgpack.encode(
        _Header(
            stream=_carried(batch.stream),
            start=batch.start,
            end=batch.end,
            count=batch.count,
            lines=lines,
            timestamp_ns=batch.timestamp_ns,
            attributes={_carried(name): _carried(value) for name, value in batch.attributes.items()},
        )
    )
    checksum = crc32c.crc32c(data, crc32c.crc32c(header))
    return [_PREAMBLE.pack(_MAGIC, len(header), len(data), checksum), header, data]


def _carried(text: str) -> str:
    """Text that msgpack can hold: lone surrogates as `\\udcNN`."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


class Reader:
    """Reads frames of a staging file from its beginning, as far as it is told that they are committed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self.offset = 0

    def seek(self, offset: int) -> None:
        """Go on at a frame boundary."""
        self._file.seek(offset)
        self.offset = offset

    def batches(self, committed_bytes: int) -> Iterator[Batch]:
        """Batches up to an offset that lies at a frame boundary. Raises OSError, CorruptError."""
        while self.offset < committed_bytes:
            yield self._next(committed_bytes)

    def _next(self, committed_bytes: int) -> Batch:
        magic, header_bytes, payload_bytes, checksum = _PREAMBLE.unpack(self._exactly(_PREAMBLE.size))
        end = self.offset + _PREAMBLE.size + header_bytes + payload_bytes
        if magic != _MAGIC or end > committed_bytes:
            raise self._damaged("no frame begins there")
        header, payload = self._exactly(header_bytes), self._exactly(payload_bytes)
        if crc32c.crc32c(payload, crc32c.crc32c(header)) != checksum:
            raise self._damaged("the checksum doesn't match")
        batch = _batch(msgspec.msgpack.decode(header, type=_Header), payload)
        self.offset = end
        return batch

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise self._damaged(f"{size} bytes are missing")
        return data

    def _damaged(self, why: str) -> CorruptError:
        return CorruptError(
            f"staging file {self._path} is damaged at byte {self.offset}: {why}. Committed events from there on are "
            "lost unless you restore the file from a backup"
        )

    def size(self) -> int:
        """Of the file, in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Idempotent."""
        self._file.close()


def _batch(header: _Header, payload: bytes) -> Batch:
    return Batch(
        stream=header.stream,
        start=header.start,
        end=header.end,
        count=header.count,
        form=PayloadForm.LINES if header.lines else PayloadForm.COLUMNS,
        payload=payload if header.lines else columns.decode(payload),
        timestamp_ns=header.timestamp_ns,
        attributes=header.attributes,
    )
