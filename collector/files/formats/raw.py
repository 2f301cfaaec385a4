"""`raw`: bodies, each with a line end; the payload of LINES batches untouched.

A body that contains line ends (COLUMNS batches may have such) is written as it is: raw has no way to tell them from
the ends of events. Use `json`, `csv`, `avro`, `parquet` or `orc` for those.
"""

from __future__ import annotations

from collections.abc import Sequence

from collector.files.compression import SUFFIXES, compressor
from collector.files.formats.base import Buffer, Format
from qanat.batch import Batch
from qanat.columns import join_bodies


class StreamFormat(Format):
    """Bytes that may be compressed in pieces."""

    def __init__(self, name: str, compression: str, suffix: str) -> None:
        super().__init__(name, compression, suffix + SUFFIXES[compression])
        self._compress = compressor(compression)

    @property
    def direct(self) -> bool:
        return self._compress is None

    def header(self, name: str) -> bytes:
        plain = self.plain_header()
        return plain if self._compress is None or not plain else self._compress(plain)

    def plain_header(self) -> bytes:
        """The header before compression."""
        return b""

    def piece(self, name: str, buffers: Sequence[Buffer], events: int) -> bytes:
        assert self._compress is not None
        return self._compress(b"".join(buffers))


class Raw(StreamFormat):
    """See the module."""

    def __init__(self, compression: str) -> None:
        super().__init__("raw", compression, ".log")

    def encode(self, batch: Batch) -> list[Buffer]:
        if isinstance(batch.payload, bytes):
            return [batch.payload]
        return [memoryview(join_bodies(batch.payload))]
