"""A directory of a write-ahead log on a disk that loses what was not synced, tears what survives, and fills up."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field

from qanat.testing.simulation.kernel import Kernel

SECTOR_BYTES = 128  # what a power cut keeps or loses as a whole; small, as the records of a simulated log are
P_SECTOR_LOST = 0.3  # sectors are written in any order: what lies behind a lost one may have survived


@dataclass(slots=True)
class _Inode:
    """`data`: what the running system sees. `durable`: what survives a power cut for certain."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


class ModelFile:
    """A `WalFile`."""

    def __init__(self, directory: ModelDirectory, inode: _Inode) -> None:
        self._directory = directory
        self._inode = inode

    def append(self, parts: Sequence[bytes]) -> None:
        """A full disk takes some of it."""
        data = b"".join(parts)
        room = self._directory.room(len(data))
        self._inode.data += data[:room]
        if room < len(data):
            raise OSError(errno.ENOSPC, "no space left on device")

    def read(self, offset: int, size: int) -> bytes:
        """What the page cache has."""
        return bytes(self._inode.data[offset : offset + size])

    def size(self) -> int:
        """As written."""
        return len(self._inode.data)

    def truncate(self, size: int) -> None:
        """Not durable before the next sync."""
        del self._inode.data[size:]

    def sync(self) -> None:
        """Everything in the file, or nothing and an error."""
        self._directory.maybe_fail("channel_sync")
        self._inode.durable = bytes(self._inode.data)

    def close(self) -> None:
        """Nothing to release."""


class ModelDirectory:
    """A `Directory`; it outlives its process."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.name = name
        self.is_full = False
        self.fail_next: dict[str, int] = {}
        self._kernel = kernel
        self._names: dict[str, _Inode] = {}
        self._durable: list[dict[str, _Inode]] = [
            {}
        ]  # states a power cut may leave: the last synced and those since

    def list(self) -> list[str]:
        """Sorted."""
        return sorted(self._names)

    def create(self, name: str) -> ModelFile:
        """Takes no room by itself."""
        inode = _Inode()
        self._names[name] = inode
        self._changed()
        return ModelFile(self, inode)

    def open(self, name: str, *, writable: bool = False) -> ModelFile:
        """Raises OSError when there is none."""
        self._require(name)
        return ModelFile(self, self._names[name])

    def rename(self, old: str, new: str) -> None:
        """Atomically."""
        self._require(old)
        self._names[new] = self._names.pop(old)
        self._changed()

    def remove(self, name: str) -> None:
        """One file."""
        self._require(name)
        del self._names[name]
        self._changed()

    def sync(self) -> None:
        """What happened to names stays so."""
        self.maybe_fail("channel_directory_sync")
        self._durable = [dict(self._names)]

    # What happens to it.

    def room(self, size: int) -> int:
        """How much of so many bytes it takes."""
        return self._kernel.random.randrange(size) if self.is_full and size else size

    def maybe_fail(self, operation: str) -> None:
        """Raises the OSError that was asked for."""
        left = self.fail_next.get(operation, 0)
        if left:
            self.fail_next[operation] = left - 1
            self._kernel.fault(f"{operation}_failure", self.name)
            raise OSError(errno.EIO, "input/output error on purpose")

    def heal(self) -> None:
        """No more trouble."""
        self.is_full = False
        self.fail_next.clear()

    def lose_power(self) -> None:
        """Names are as they were at some moment since the last sync; what was not synced in files is cut, or partly zeros."""
        self._names = dict(self._kernel.random.choice(self._durable))
        for inode in {id(each): each for each in self._names.values()}.values():
            inode.data = self._survives(inode)
            inode.durable = bytes(inode.data)
        self._durable = [dict(self._names)]

    def _survives(self, inode: _Inode) -> bytearray:
        synced, written = len(inode.durable), len(inode.data)
        if written <= synced:  # a truncation that was not synced
            return bytearray(inode.durable if self._kernel.chance(0.5) else inode.data)
        kept = bytearray(inode.data[: self._kernel.random.randint(synced, written)])
        for sector in range(synced // SECTOR_BYTES, len(kept) // SECTOR_BYTES + 1):
            if self._kernel.chance(P_SECTOR_LOST):
                begin, end = max(synced, sector * SECTOR_BYTES), min(len(kept), (sector + 1) * SECTOR_BYTES)
                kept[begin:end] = bytes(end - begin)
        return kept

    def _require(self, name: str) -> None:
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)

    def _changed(self) -> None:
        self._durable.append(dict(self._names))
