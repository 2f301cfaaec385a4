"""Datagrams, many at a call: `recvmmsg` through ctypes, which Python's socket module lacks. Linux only.

A call for each datagram, and the interpreter's lock taken after each, would be most of the work at 150,000 a second, and while
another thread has the lock the kernel's buffer overflows. One call takes all that wait, without the lock.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from dataclasses import dataclass

# Datagrams of a call: some 3 ms at 150,000 a second. Pages of the buffer that nothing was written to take no memory, so with
# ordinary messages it takes 4 KiB for each.
DATAGRAMS_MAX = 512

# UDP carries 65,507 bytes at most.
DATAGRAM_BYTES_MAX = 65_536

# A name of IPv4 or IPv6, as the system lays it out.
NAME_BYTES = 28

# How long `receive` waits for the first datagram before it looks whether to stop.
WAIT_S = 0.1

# SO_MEMINFO, and which of its numbers says how many datagrams the socket had to drop (include/uapi/linux/sock_diag.h).
_SO_MEMINFO = 55
_MEMINFO_DROPS = 8
_SO_RCVBUFFORCE = 33
_MSG_WAITFORONE = 0x10000


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("hdr", _Msghdr), ("len", ctypes.c_uint))


_STRIDE_WORDS = ctypes.sizeof(_Mmsghdr) // 4
_LENGTH_WORD = _Mmsghdr.len.offset // 4


@dataclass(frozen=True, slots=True)
class Received:
    """`names`: `NAME_BYTES` for each datagram, see `host_of`."""

    datagrams: list[bytes]
    names: bytes


class Receiver:
    """One socket, which stays its owner's. *Thread*: one."""

    def __init__(self, receiving: socket.socket) -> None:
        self._fd = receiving.fileno()
        self._memory = mmap.mmap(-1, DATAGRAMS_MAX * DATAGRAM_BYTES_MAX)
        self._names = ctypes.create_string_buffer(DATAGRAMS_MAX * NAME_BYTES)
        self._vectors = (_Iovec * DATAGRAMS_MAX)()
        self._headers = (_Mmsghdr * DATAGRAMS_MAX)()
        self._anchor = ctypes.c_char.from_buffer(self._memory)
        base, names = ctypes.addressof(self._anchor), ctypes.addressof(self._names)
        for number in range(DATAGRAMS_MAX):
            self._vectors[number] = _Iovec(base + number * DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MAX)
            header = self._headers[number].hdr
            header.name = names + number * NAME_BYTES
            header.namelen = NAME_BYTES
            header.iov = ctypes.pointer(self._vectors[number])
            header.iovlen = 1
        self._words = memoryview(self._headers).cast("B").cast("I")
        self._recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(WAIT_S * 1e6)))

    def receive(self) -> Received | None:
        """What waits, in order; *blocking* for `WAIT_S` at most while there is nothing. Raises OSError."""
        number = self._recvmmsg(self._fd, self._headers, DATAGRAMS_MAX, _MSG_WAITFORONE, None)
        if number < 0:
            code = ctypes.get_errno()
            # A datagram that we never sent was not delivered: what some systems tell the socket of a closed peer.
            if code in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED):
                return None
            raise OSError(code, os.strerror(code))
        memory = self._memory
        lengths = self._words[_LENGTH_WORD : number * _STRIDE_WORDS : _STRIDE_WORDS].tolist()
        offsets = range(0, number * DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MAX)
        datagrams = [memory[at : at + length] for at, length in zip(offsets, lengths, strict=True)]
        return Received(datagrams, self._names.raw[: number * NAME_BYTES])

    def close(self) -> None:
        """Free the buffer."""
        self._words.release()
        del self._anchor
        self._memory.close()


def host_of(name: bytes) -> str:
    """The address in a name, as people write it."""
    (family,) = struct.unpack_from("=H", name)
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, name[4:8])
    if family == socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, name[8:24]).removeprefix("::ffff:")
    return ""


def enlarge(receiving: socket.socket, wanted_bytes: int) -> int:
    """Ask for a kernel buffer of so many bytes; gives what there is, which the system may limit (net.core.rmem_max)."""
    try:
        receiving.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, wanted_bytes)
    except OSError:  # needs CAP_NET_ADMIN
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)
    # The kernel doubles what it is asked for, for its own bookkeeping.
    return receiving.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def dropped(receiving: socket.socket) -> int:
    """How many datagrams the kernel had no room for, since the socket is there (modulo 2^32)."""
    words = struct.Struct(f"={_MEMINFO_DROPS + 1}I")
    data = receiving.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, words.size)
    return int(words.unpack(data)[_MEMINFO_DROPS]) if len(data) == words.size else 0
