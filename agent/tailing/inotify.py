"""inotify(7) through ctypes: watches on directories, decoded a buffer at a time."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
IN_ISDIR = 0x40000000

_MASK = (
    IN_MODIFY
    | IN_ATTRIB
    | IN_MOVED_FROM
    | IN_MOVED_TO
    | IN_CREATE
    | IN_DELETE
    | IN_DELETE_SELF
    | IN_MOVE_SELF
    | IN_ONLYDIR
)
_EVENT = struct.Struct("iIII")
# A few hundred events at a time.
_READ_BYTES = 64 << 10


class Inotify:
    """An inotify instance. Raises OSError when the kernel has none (left)."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._add_watch = libc.inotify_add_watch
        self._add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self._remove_watch = libc.inotify_rm_watch
        self.fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise _error("inotify_init1")

    def watch(self, directory: str) -> int:
        """Watch a directory; the same one has the same descriptor. Raises OSError."""
        descriptor: int = self._add_watch(self.fd, os.fsencode(directory), _MASK)
        if descriptor < 0:
            raise _error(directory)
        return descriptor

    def unwatch(self, descriptor: int) -> None:
        """Stop watching; unknown descriptors are ignored."""
        self._remove_watch(self.fd, descriptor)

    def events(self) -> Iterator[tuple[int, int, str]]:
        """What happened since the last call: descriptor, mask, name in the directory. Does not block."""
        while True:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                descriptor, mask, _cookie, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                yield descriptor, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))
                at += length
            if len(data) < _READ_BYTES // 2:  # most of the queue; the rest with the next call
                return

    def close(self) -> None:
        """Release the instance."""
        os.close(self.fd)


def _error(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), what)
