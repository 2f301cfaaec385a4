"""The bytes of a file, decompressed: any block of it, cheapest when one is asked for after the other."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import zlib
from typing import IO, Any

from qanat.errors import PermanentError

# Read at a time from the file by a decompressor, and skipped at a time on the way to a position.
_BLOCK_BYTES = 1 << 20

_COMPRESSIONS = {
    ".gz": ("gzip", b"\x1f\x8b"),
    ".bz2": ("bz2", b"BZh"),
    ".zst": ("zstd", b"\x28\xb5\x2f\xfd"),
}


def compression_of(path: str, head: bytes) -> str | None:
    """By its name and first bytes; None when it is not compressed, or only called so."""
    name, magic = _COMPRESSIONS.get(os.path.splitext(path)[1], (None, b""))
    return name if head.startswith(magic) else None


class Content:
    """`size`: how much there is of the file, which may have grown since. `position` counts decompressed bytes. The descriptor is
    the caller's. Raises OSError when the file can't be read, and PermanentError when its compressed content is broken."""

    def __init__(self, fd: int, compression: str | None, size: int) -> None:
        self.fd = fd
        self._size = size
        self._compression = compression
        self._stream: IO[bytes] | Any = None
        self._raw: _Raw | None = None
        self._base = 0
        self._kept = b""

    def block(self, position: int, want: int) -> bytes:
        """`want` bytes from `position`; fewer only at the end."""
        if self._compression is None:
            return _pread(self.fd, min(want, max(0, self._size - position)), position)
        if self._stream is None or position < self._base:
            self._reopen()
        while position > self._base + len(self._kept):
            self._base += len(self._kept)
            self._kept = self._more(min(_BLOCK_BYTES, position - self._base))
            if not self._kept:
                return b""
        self._kept = self._kept[position - self._base :]
        self._base = position
        parts = [self._kept]
        missing = want - len(self._kept)
        while missing > 0:
            part = self._more(missing)
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        self._kept = b"".join(parts)
        return self._kept[:want]

    def size(self) -> int:
        """Of the file as it is stored."""
        return self._size

    def _reopen(self) -> None:
        self._raw = _Raw(self.fd, self._size)
        self._base, self._kept = 0, b""
        if self._compression == "gzip":
            self._stream = gzip.GzipFile(fileobj=self._raw, mode="rb")
        elif self._compression == "bz2":
            self._stream = bz2.BZ2File(self._raw, "rb")
        else:
            import pyarrow as pa

            self._stream = pa.CompressedInputStream(pa.PythonFile(self._raw, "r"), self._compression)

    def _more(self, count: int) -> bytes:
        assert self._raw is not None
        try:
            return bytes(self._stream.read(count))
        except (OSError, EOFError, ValueError, zlib.error) as error:  # Arrow's errors are among them
            if self._raw.error is not None:
                raise self._raw.error from None
            raise PermanentError(
                f"its {self._compression} content is broken behind byte {self._base + len(self._kept)}: {error}"
            ) from error


class _Raw(io.RawIOBase):
    """A descriptor as a file, from its beginning, whatever others read of it. `error`: the last one of the operating system."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self._at = 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: Any) -> int:
        try:
            data = os.pread(self._fd, min(len(buffer), self._size - self._at), self._at)
        except OSError as error:
            self.error = error
            raise
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _pread(fd: int, want: int, position: int) -> bytes:
    data = os.pread(fd, want, position)
    while 0 < len(data) < want:  # a signal, or the end
        more = os.pread(fd, want - len(data), position + len(data))
        if not more:
            break
        data += more
    return data
