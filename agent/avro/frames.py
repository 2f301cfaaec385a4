"""The framing of Avro's Netty transport: a serial number, how many buffers, and each buffer with its length. [pure]

All numbers are 32 bits, big-endian. Lengths are checked against the limits before anything is kept for them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from qanat import limits
from qanat.errors import CorruptError

# A request: NG's sinks send a hundred events by default; sixteen largest ones still fit.
REQUEST_BYTES_MAX = 16 * limits.MIB

# Avro's Java writes buffers of 8 KiB, so the largest request has two thousand. More, as each may have a length of its own.
BUFFERS_MAX = 16_384

_HEAD = struct.Struct(">II")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Frame:
    """One request or response. `serial`: the client's, repeated in the response."""

    serial: int
    data: bytes


def encoded(frame: Frame) -> bytes:
    """As one buffer."""
    return _HEAD.pack(frame.serial, 1) + _LENGTH.pack(len(frame.data)) + frame.data


@dataclass(slots=True)
class _Open:
    """A frame of which buffers are missing."""

    serial: int
    missing: int
    size_bytes: int = 0
    buffers: list[bytes] = field(default_factory=list)


class FrameReader:
    """What comes from one connection, in pieces of any size."""

    def __init__(self, request_bytes_max: int = REQUEST_BYTES_MAX) -> None:
        self._limit_bytes = request_bytes_max
        self._held = bytearray()
        self._open: _Open | None = None

    @property
    def held_bytes(self) -> int:
        """Of what is not taken out yet."""
        return len(self._held) + (self._open.size_bytes if self._open else 0)

    def feed(self, data: bytes) -> None:
        """More of the connection."""
        self._held += data

    def take(self) -> Frame | None:
        """The next frame, if all of it is there. Raises CorruptError when what is there can't be the beginning of one."""
        opened = self._open
        if opened is None:
            if len(self._held) < _HEAD.size:
                return None
            serial, count = _HEAD.unpack_from(self._held)
            if count > BUFFERS_MAX:
                raise CorruptError(f"a request of {count} buffers, more than {BUFFERS_MAX}")
            del self._held[: _HEAD.size]
            opened = self._open = _Open(serial, count)
        at = 0
        while opened.missing and (end := self._buffer_end(opened, at)) is not None:
            opened.buffers.append(bytes(self._held[at + _LENGTH.size : end]))
            opened.size_bytes += end - at
            opened.missing -= 1
            at = end
        del self._held[:at]
        if opened.missing:
            return None
        self._open = None
        return Frame(opened.serial, joined(opened.buffers))

    def _buffer_end(self, opened: _Open, at: int) -> int | None:
        """Where the buffer at `at` ends; None while not all of it is there."""
        if len(self._held) - at < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._held, at)
        if opened.size_bytes + length > self._limit_bytes:
            raise CorruptError(f"a request of more than {self._limit_bytes} bytes; send fewer events at once")
        end = int(at + _LENGTH.size + length)
        return end if end <= len(self._held) else None


def joined(buffers: Sequence[bytes]) -> bytes:
    """The buffers as one."""
    return buffers[0] if len(buffers) == 1 else b"".join(buffers)
