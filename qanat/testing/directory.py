"""A directory in memory whose power can be cut: an implementation of `qanat.channels.wal.directory.Directory`."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

SECTOR_BYTES = 512  # what a disk writes as a whole or, torn, in part


@dataclass(slots=True, eq=False)
class Inode:
    """A file's content: as processes see it, and as it is on the disk."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


class MemoryFile:
    """A `WalFile`."""

    def __init__(self, directory: MemoryDirectory, inode: Inode) -> None:
        self._directory = directory
        self.inode = inode
        self._end = len(inode.data)

    def append(self, parts: Sequence[bytes]) -> None:
        """Some of it is there when the disk becomes full."""
        data = b"".join(parts)
        room = self._directory.room(len(self.inode.data) - self._end)
        self.inode.data[self._end : self._end + len(data)] = data[:room]
        if room < len(data):
            raise OSError(errno.ENOSPC, "the disk is full")
        self._directory.may_fail("append")
        self._end += len(data)

    def read(self, offset: int, size: int) -> bytes:
        """A copy."""
        if offset < 0 or size < 0:
            raise OSError(errno.EINVAL, f"read of {size} bytes at {offset}")
        return bytes(self.inode.data[offset : offset + size])

    def size(self) -> int:
        """As it is now."""
        return len(self.inode.data)

    def truncate(self, size: int) -> None:
        """Survives a power cut only when synced."""
        del self.inode.data[size:]
        self._end = size

    def sync(self) -> None:
        """Of the content; the name is the directory's."""
        self._directory.may_fail("sync")
        self.inode.durable = bytes(self.inode.data)

    def close(self) -> None:
        """Nothing to release."""


class MemoryDirectory:
    """Names and what they lead to. `capacity`: bytes on the disk, None is no limit; `failing`: operations that fail now."""

    def __init__(self) -> None:
        self.names: dict[str, Inode] = {}
        self.capacity: int | None = None
        self.failing: set[str] = set()
        self._durable: dict[str, Inode] = {}
        self._pending: list[
            Callable[[dict[str, Inode]], object]
        ] = []  # changes of names that are not durable

    def list(self) -> list[str]:
        """Sorted."""
        return sorted(self.names)

    def create(self, name: str) -> MemoryFile:
        """Needs no room."""
        self.may_fail("create")
        inode = Inode()
        self._change(lambda names: names.update({name: inode}))
        return MemoryFile(self, inode)

    def open(self, name: str, *, writable: bool = False) -> MemoryFile:
        """Reading and writing are not told apart."""
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return MemoryFile(self, self.names[name])

    def rename(self, old: str, new: str) -> None:
        """Atomic, also in a power cut."""
        if old not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", old)
        inode = self.names[old]

        def move(names: dict[str, Inode]) -> None:
            names.pop(old, None)
            names[new] = inode

        self._change(move)

    def remove(self, name: str) -> None:
        """What is open stays readable."""
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        self._change(lambda names: names.pop(name, None))

    def sync(self) -> None:
        """Names are durable."""
        self.may_fail("sync")
        self._durable = dict(self.names)
        self._pending.clear()

    def cut_power(self, random: Random) -> None:
        """Some of the changes since the last syncs survive: names in their order, contents sector by sector."""
        for change in self._pending[: random.randint(0, len(self._pending))]:
            change(self._durable)
        for inode in self._durable.values():
            inode.data = bytearray(_torn(inode, random))
            inode.durable = bytes(inode.data)
        self.names = dict(self._durable)
        self._pending.clear()

    def room(self, freed: int) -> int:
        """Bytes that still fit on the disk, when `freed` are overwritten."""
        if self.capacity is None:
            return 1 << 62
        used = sum(len(inode.data) for inode in self.names.values())
        return max(0, self.capacity - used + freed)

    def may_fail(self, operation: str) -> None:
        """Raises OSError when told to."""
        if operation in self.failing:
            raise OSError(errno.EIO, f"{operation} fails on purpose")

    def _change(self, change: Callable[[dict[str, Inode]], object]) -> None:
        change(self.names)
        self._pending.append(change)


def _torn(inode: Inode, random: Random) -> bytes:
    """What is on the disk: of each sector that was not synced the old or the new content, or half of each; the length is
    anything between the two."""
    new, old = bytes(inode.data), inode.durable
    if new == old:
        return old
    low, high = sorted((len(old), len(new)))
    length = random.choice((low, high, random.randint(low, high)))
    sectors = []
    keep = random.choice((0.0, 0.5, 1.0))
    for at in range(0, length, SECTOR_BYTES):
        end = min(at + SECTOR_BYTES, length)
        before, after = (side[at:end].ljust(end - at, b"\0") for side in (old, new))
        cut = random.choice((0, end - at, random.randint(0, end - at)))
        sectors.append(after if random.random() < keep else after[:cut] + before[cut:])
    return b"".join(sectors)
