"""Avro's binary encoding, as much of it as AvroSourceProtocol needs, read from somebody who can't be trusted. [pure]

Every length is compared with what is left of the request before anything is taken, and every count with a limit: what a request
makes of memory is a small multiple of its bytes. Everything that is wrong raises CorruptError.

Each event costs Python statements here, as where one ends is known only when it was read. `alike` does without them for
requests whose events have the same headers, and leaves all others to this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from qanat import limits
from qanat.errors import CorruptError

# Events of a request: NG sends a hundred by default, and those who tune it some thousands.
EVENTS_MAX = 65_536

# Headers of a request, of all events together, and places in the columns that they become: 16 headers for the most events.
HEADERS_MAX = 1 << 20

# Different names of headers in a request: each becomes a column.
NAMES_MAX = 256

_SHIFT_MAX = 63  # ten bytes are 64 bits


class Reader:
    """Values one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self) -> int:
        """A `long`: seven bits a byte, zig-zag."""
        data, at, shift, value = self.data, self.at, 0, 0
        try:
            while (byte := data[at]) & 0x80:
                value |= (byte & 0x7F) << shift
                at, shift = at + 1, shift + 7
                if shift > _SHIFT_MAX:
                    raise CorruptError("a number of more than 64 bits")
        except IndexError:
            raise CorruptError("the request ends within a number") from None
        value |= byte << shift
        self.at = at + 1
        return (value >> 1) ^ -(value & 1)

    def block(self) -> bytes:
        """`bytes`, and what is encoded like it."""
        at = self.at
        # Most lengths are one byte; read here it costs half as much.
        if at < len(self.data) and not (byte := self.data[at]) & 0x81:
            self.at = at + 1
            return self.fixed(byte >> 1)
        return self.fixed(self.number())

    def fixed(self, length: int) -> bytes:
        """So many bytes."""
        at = self.at
        if not 0 <= length <= len(self.data) - at:
            raise CorruptError(f"a length of {length} where {len(self.data) - at} bytes are left")
        self.at = at + length
        return self.data[at : at + length]

    def string(self) -> str:
        """A `string`; what is not UTF-8 gets replacement characters."""
        return self.block().decode(errors="replace")

    def blocks(self) -> Iterator[int]:
        """How many items each block of an array or map has; to be read before the next one is asked for."""
        while (count := self.number()) != 0:
            if count < 0:
                self.number()  # the bytes of the block, for who wants to skip it
            # An item takes two bytes at least, so that many can't be there.
            if abs(count) > len(self.data) - self.at:
                raise CorruptError(f"{abs(count)} items where {len(self.data) - self.at} bytes are left")
            yield abs(count)

    def skip_meta(self) -> None:
        """A `map<bytes>` that nobody here wants."""
        for count in self.blocks():
            for _ in range(count):
                self.block()
                self.block()


@dataclass(frozen=True, slots=True)
class Received:
    """The events of a request. `headers`: by name, null where an event has none of that name. `size_bytes`: of the request."""

    bodies: pa.BinaryArray
    headers: dict[str, pa.StringArray]
    size_bytes: int


class _Events:
    """What was read so far."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._headers: dict[str, dict[int, str]] = {}
        self._headers_count = 0
        self.bodies: list[bytes] = []

    def read(self) -> None:
        """One event."""
        reader = self._reader
        began = reader.at
        for count in reader.blocks():
            self._read_headers(count)
        if reader.at - began > limits.ATTRIBUTES_BYTES_MAX:
            raise CorruptError(f"headers of more than {limits.ATTRIBUTES_BYTES_MAX} bytes in an event")
        self.bodies.append(reader.block())

    def _read_headers(self, count: int) -> None:
        self._headers_count += count
        if self._headers_count > HEADERS_MAX:
            raise CorruptError(f"more than {HEADERS_MAX} headers in a request; send fewer events at once")
        row = len(self.bodies)
        for _ in range(count):
            name = self._reader.string()
            values = self._headers.get(name)
            if values is None:
                if len(self._headers) >= NAMES_MAX:
                    raise CorruptError(f"more than {NAMES_MAX} different headers in a request")
                values = self._headers[name] = {}
            values[row] = self._reader.string()

    def received(self) -> Received:
        """All of them, as columns."""
        reader, rows = self._reader, range(len(self.bodies))
        if reader.at != len(reader.data):
            raise CorruptError(f"{len(reader.data) - reader.at} bytes too many behind the events")
        if len(rows) * len(self._headers) > HEADERS_MAX:
            raise CorruptError(
                f"{len(self._headers)} names of headers in {len(rows)} events; send fewer at once"
            )
        headers = {
            name: pa.array(list(map(values.get, rows)), pa.string()) for name, values in self._headers.items()
        }
        return Received(pa.array(self.bodies, pa.binary()), headers, len(reader.data))


def one_event(reader: Reader) -> Received:
    """What `append` is called with."""
    events = _Events(reader)
    events.read()
    return events.received()


def many_events(reader: Reader) -> Received:
    """What `appendBatch` is called with."""
    events = _Events(reader)
    for count in reader.blocks():
        if len(events.bodies) + count > EVENTS_MAX:
            raise CorruptError(f"more than {EVENTS_MAX} events in a request; send fewer at once")
        for _ in range(count):
            events.read()
    return events.received()


def number(value: int) -> bytes:
    """A `long`, encoded."""
    value = (value << 1) ^ (value >> 63)
    made = bytearray()
    while value > 0x7F:
        made.append((value & 0x7F) | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def string(value: str) -> bytes:
    """A `string` or `bytes`, encoded."""
    data = value.encode()
    return number(len(data)) + data
