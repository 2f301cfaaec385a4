"""Lines as container runtimes write them: which of them are parts, of which output, and when they were written.

CRI (containerd, CRI-O): `2016-10-06T00:17:09.669794202Z stdout P content`, where P says that the line goes on and F that it is
whole. Docker's json-file: `{"log":"content\\n","stream":"stdout","time":"..."}`, where a `log` without a line end goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from qanat import ops
from qanat.columns import TIMESTAMP, TIMESTAMP_TYPE
from qanat.decorators.common.objects import Objects

OUTPUT = "iostream"  # the attribute that says where it was written to: stdout or stderr
ERROR = "format_error"  # and why a line was left as it is

_OUTPUTS = pa.array([b"stdout", b"stderr"], pa.binary())
_PARTS = 4  # of a line of CRI: time, output, tags, content


@dataclass(frozen=True, slots=True)
class Decoded:
    """A row for each line. `goes_on`: it is not whole. `own`: attributes."""

    body: pa.Array
    goes_on: pa.Array
    own: dict[str, pa.Array]


def cri(lines: pa.Array) -> Decoded:
    """A line that is none is a whole event as it is."""
    parts = pc.split_pattern(lines, pattern=b" ", max_splits=_PARTS - 1)
    time, output, tags, log = (_part(parts, number) for number in range(_PARTS))
    log = pc.coalesce(log, ops.constant(b""))  # an empty line may come without the space before it
    tag = pc.binary_slice(tags, 0, 1)
    is_part = ops.equal(tag, b"P")
    good = pc.and_(pc.is_in(output, value_set=_OUTPUTS), pc.or_(is_part, ops.equal(tag, b"F")))
    times = _times(time)
    bad = pc.or_(pc.invert(pc.fill_null(good, False)), pc.is_null(times))
    return _decoded(lines, bad, log, is_part, output, times, "no line of CRI")


def _part(parts: pa.ListArray, number: int) -> pa.Array:
    """This element of each list, null where there are not so many."""
    lengths = parts.value_lengths()
    at = pc.add(parts.offsets.slice(0, len(parts)), pa.scalar(number, pa.int32()))
    if pc.min(lengths).as_py() <= number:
        at = pc.if_else(ops.greater(lengths, number), at, pa.scalar(None, pa.int32()))
    return parts.values.take(at)


class Docker:
    """Lines of Docker's json-file driver."""

    def __init__(self) -> None:
        self._objects = Objects(["log", "stream", "time"])

    def decode(self, lines: pa.Array) -> Decoded:
        """A line that is none is a whole event as it is."""
        found, failed = self._objects.read(lines)
        log = _member(found, "log", len(lines))
        bad = pc.or_(failed, pc.is_null(log))
        is_whole = pc.ends_with(log, pattern=b"\n")
        body = pc.if_else(is_whole, pc.binary_replace_slice(log, -1, 1 << 30, b""), log)
        return _decoded(
            lines,
            bad,
            body,
            pc.invert(is_whole),
            _member(found, "stream", len(lines)),
            _times(_member(found, "time", len(lines))),
            "no line of Docker's json-file",
        )


def _member(found: dict[str, pa.Array], name: str, count: int) -> pa.Array:
    column = found.get(name)
    return pa.nulls(count, pa.binary()) if column is None else column.cast(pa.binary())


def _decoded(
    lines: pa.Array,
    bad: pa.Array,
    body: pa.Array,
    goes_on: pa.Array,
    output: pa.Array,
    times: pa.Array,
    why: str,
) -> Decoded:
    own = {TIMESTAMP: times, OUTPUT: _text(output)}
    if pc.any(bad).as_py():
        own[ERROR] = ops.if_else(bad, why, ops.NO_TEXT)
        body = pc.if_else(bad, lines, body)
        goes_on = pc.and_(pc.fill_null(goes_on, False), pc.invert(bad))
        own[TIMESTAMP] = pc.if_else(bad, pa.scalar(None, TIMESTAMP_TYPE), times)
        own[OUTPUT] = pc.if_else(bad, ops.NO_TEXT, own[OUTPUT])
    return Decoded(body, pc.fill_null(goes_on, False), own)


def _text(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:  # bytes that no runtime writes there
        return pa.nulls(len(column), pa.string())


def _times(column: pa.Array) -> pa.Array:
    """Null where it is none."""
    try:
        return column.cast(pa.string()).cast(TIMESTAMP_TYPE)
    except pa.ArrowInvalid:  # as in February, 31: one Python step a line, of a block that has such a one
        return pa.array([_time(value) for value in column.to_pylist()], TIMESTAMP_TYPE)


def _time(value: bytes | None) -> int | None:
    try:
        return pa.scalar(value, pa.binary()).cast(pa.string()).cast(TIMESTAMP_TYPE).value  # type: ignore[no-any-return]
    except pa.ArrowInvalid:
        return None
