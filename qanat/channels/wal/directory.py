"""What the log needs of a file system, so that a simulator can be one; and the real one."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from qanat.durable import sync_directory


class WalFile(Protocol):
    """One open file. All methods raise OSError. *Thread*: reading is done through files that were opened for it alone."""

    def append(self, parts: Sequence[bytes]) -> None:
        """Write behind what this file was last said to hold. After an error some of it may be there."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes, fewer at the end; what the disk can't give any more is zeros."""

    def size(self) -> int:
        """Bytes in it."""

    def truncate(self, size: int) -> None:
        """Cut off what is behind; the next append goes there."""

    def sync(self) -> None:
        """*Blocking* until the content survives a power cut. *Thread*: any, also while another one appends."""

    def close(self) -> None:
        """Release it. Idempotent."""


class Directory(Protocol):
    """One flat directory. All methods raise OSError. Creating, renaming and removing survive a power cut after `sync`."""

    def list(self) -> list[str]:
        """Names of its files."""

    def create(self, name: str) -> WalFile:
        """A new, empty file; replaces one of that name."""

    def open(self, name: str, *, writable: bool = False) -> WalFile:
        """A file that exists."""

    def rename(self, old: str, new: str) -> None:
        """Atomically; replaces `new`."""

    def remove(self, name: str) -> None:
        """Files that are open can still be read."""

    def sync(self) -> None:
        """*Blocking* until what was created, renamed and removed stays so."""


# What a read that failed is tried again in: the smallest unit that a disk can lose.
_SECTOR_BYTES = 4096


class OsFile:
    """A `WalFile` on this machine."""

    def __init__(self, path: Path, flags: int) -> None:
        self._fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
        self._end = os.fstat(self._fd).st_size

    def append(self, parts: Sequence[bytes]) -> None:
        """One system call for all parts, unless it writes less than told."""
        total = sum(map(len, parts))
        written = os.pwritev(self._fd, parts, self._end)
        if written < total:
            rest = memoryview(b"".join(parts))
            while written < total:
                written += os.pwrite(self._fd, rest[written:], self._end + written)
        self._end += total

    def read(self, offset: int, size: int) -> bytes:
        """Straight into one object."""
        try:
            data = os.pread(self._fd, size, offset)
            while 0 < len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
                data += more
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return self._read_rest(offset, size)
        return data

    def _read_rest(self, offset: int, size: int) -> bytes:
        """What is left of a range in which sectors can't be read."""
        end = min(offset + size, self.size())
        parts = []
        while offset < end:
            part = min(_SECTOR_BYTES - offset % _SECTOR_BYTES, end - offset)
            try:
                parts.append(os.pread(self._fd, part, offset))
            except OSError:
                parts.append(bytes(part))
            offset += part
        return b"".join(parts)

    def size(self) -> int:
        """As the file system says."""
        return os.fstat(self._fd).st_size

    def truncate(self, size: int) -> None:
        """Also of what a failed append left."""
        os.ftruncate(self._fd, size)
        self._end = size

    def sync(self) -> None:
        """Length and content; not the times."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class OsDirectory:
    """A `Directory` on this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def list(self) -> list[str]:
        """Sorted."""
        return sorted(entry.name for entry in os.scandir(self.path) if entry.is_file(follow_symlinks=False))

    def create(self, name: str) -> OsFile:
        """For its owner only: events may be private."""
        return OsFile(self.path / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def open(self, name: str, *, writable: bool = False) -> OsFile:
        """For reading, unless said otherwise."""
        return OsFile(self.path / name, os.O_RDWR if writable else os.O_RDONLY)

    def rename(self, old: str, new: str) -> None:
        """Within the directory."""
        os.replace(self.path / old, self.path / new)

    def remove(self, name: str) -> None:
        """One file."""
        os.unlink(self.path / name)

    def sync(self) -> None:
        """The directory itself."""
        sync_directory(self.path)


def replace_file(directory: Directory, name: str, data: bytes) -> None:
    """Durably: a crash leaves the old content or the new one. Raises OSError; the old one is then still there."""
    temporary = name + ".new"
    file = directory.create(temporary)
    try:
        file.append([data])
        file.sync()
    finally:
        file.close()
    directory.rename(temporary, name)
    directory.sync()


class Absent:
    """A file that somebody has deleted: nothing can be read from it."""

    def append(self, parts: Sequence[bytes]) -> None:
        raise FileNotFoundError(errno.ENOENT, "the file is gone")

    def read(self, offset: int, size: int) -> bytes:
        return b""

    def size(self) -> int:
        return 0

    def truncate(self, size: int) -> None:
        return

    def sync(self) -> None:
        return

    def close(self) -> None:
        return
