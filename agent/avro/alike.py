"""Events of a request that all have the same headers in the same order, read together: no Python statement an event. [pure]

Where an event ends is known only when it was read, so this guesses: each begins with the bytes that the first one begins with,
its number of headers and the name of the first. The request is cut there, the pieces where the next names should be, and then
every length is compared with what was found behind it. If all agree the pieces are events, one after the other, and `datum`
would find the same. Whatever is not so, as it may be with a value that has a name in it, is None here, and left to `datum`.

Flume NG's clients write such requests: headers of the same names come out of a HashMap in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import methodcaller, sub

import pyarrow as pa

from agent.avro.datum import EVENTS_MAX, HEADERS_MAX, NAMES_MAX, Reader, Received, number
from qanat import limits
from qanat.errors import CorruptError

# The rest of an event is copied for each name in it, so of all names together it is no more than this.
COPIED_BYTES_MAX = 64 * limits.MIB

# Lengths that are remembered as they are encoded; those of most events are below.
LENGTHS_MAX = 8192

_END = b"\0"  # of headers, and of events


class _OtherwiseError(Exception):
    """Not all events are like the first."""


class _Lengths(dict[int, bytes]):
    """By how many bytes a value takes together with its length: this length, as it is encoded."""

    def __missing__(self, size_bytes: int) -> bytes:
        for length_bytes in range(1, 5):
            length = number(size_bytes - length_bytes)
            if len(length) == length_bytes and size_bytes >= length_bytes:
                if len(self) < LENGTHS_MAX:
                    self[size_bytes] = length
                return length
        raise _OtherwiseError  # no value takes so many


_LENGTHS = _Lengths()


def events_alike(reader: Reader) -> Received | None:
    """What `appendBatch` is called with; None, and the reader where it was, if its events are not alike, or it is no request."""
    began = reader.at
    try:
        return _events(reader)
    except (_OtherwiseError, CorruptError):
        reader.at = began
        return None


def _events(reader: Reader) -> Received:
    data, count = reader.data, reader.number()
    _demand(0 < count <= EVENTS_MAX and data.endswith(_END))
    first, end = reader.at, len(data) - 1
    beginning, names = _shape(reader)
    _demand(len(names) * len(data) <= COPIED_BYTES_MAX and len(names) * count <= HEADERS_MAX)
    before, *pieces = data[first:end].split(beginning, count)
    _demand(not before and len(pieces) == count)
    rests: Sequence[bytes] = pieces
    headers = {}
    for name, ending in names:
        values, endings, rests = zip(*map(methodcaller("partition", ending), rests), strict=True)
        _demand(endings.count(ending) == count)
        headers[name] = _texts(_values(values))
    largest = len(beginning) + max(map(sub, map(len, pieces), map(len, rests)))
    _demand(largest <= limits.ATTRIBUTES_BYTES_MAX)
    bodies = pa.array(_values(rests), pa.binary())
    reader.at = len(data)
    return Received(bodies, headers, len(data))


def _shape(reader: Reader) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The first event's headers: the bytes before the first value; and each name, with what comes behind its value."""
    began = reader.at
    count = reader.number()
    beginning = reader.data[began : reader.at]
    _demand(0 <= count <= NAMES_MAX)
    names, encoded = [], []
    for _ in range(count):
        at = reader.at
        names.append(reader.string())
        encoded.append(reader.data[at : reader.at])
        reader.block()
    _demand(len(set(names)) == count)
    if not names:
        return beginning, []
    return beginning + encoded[0], [*zip(names, [*encoded[1:], _END], strict=True)]


def _values(found: Sequence[bytes]) -> list[bytes]:
    """Without their lengths, which must be right."""
    lengths = [*map(_LENGTHS.__getitem__, map(len, found))]
    values = [*map(bytes.removeprefix, found, lengths)]  # where they are not before it nothing is removed
    _demand(_size(values) + _size(lengths) == _size(found))
    return values


def _size(values: Iterable[bytes]) -> int:
    return sum(map(len, values))


def _texts(values: Sequence[bytes]) -> pa.StringArray:
    """As `Reader.string` makes them."""
    try:
        return pa.array(values, pa.string())
    except pa.ArrowInvalid:
        return pa.array([value.decode(errors="replace") for value in values], pa.string())


def _demand(is_so: bool) -> None:
    if not is_so:
        raise _OtherwiseError
