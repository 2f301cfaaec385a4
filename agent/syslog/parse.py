"""From syslog messages to columns, all of a batch together. [pure]

What is no message of either format stays as it is, whole, with the column `syslog_error`; what its priority says is said.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

import pyarrow as pa
import pyarrow.compute as pc

from agent.syslog import columns as c
from agent.syslog import rfc3164, rfc5424
from qanat import ops
from qanat.columns import BODY, HOST, stacked

# "<0>" to "<191>": where the bracket is that ends a priority.
_BRACKETS = (2, 3, 4)


def bodies_of(lines: bytes) -> pa.Array:
    """The lines, without their ends."""
    if not lines:
        return pa.array([], pa.binary())
    values = pc.split_pattern(pa.scalar(lines, pa.binary()), pattern=b"\n").values
    return values.slice(0, len(values) - 1)


def parse(
    frames: pa.Array,
    peers: Callable[[], pa.Array],
    now_ns: int,
    zone: tzinfo | None,
    *,
    whole: bool = False,
    count: Callable[[str, int], None] = lambda name, n: None,
) -> pa.RecordBatch:
    """A row for each frame. `peers`: the address of each one's sender, asked for if a message does not say its host.
    `zone`: of timestamps that have none; None is this machine's. `whole`: the body is all of the frame."""
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    rest, numbers = _priorities(frames)
    is_new = pc.fill_null(pc.starts_with(rest, pattern=rfc5424.VERSION), False)
    is_old = pc.and_(pc.is_valid(rest), pc.invert(is_new))
    parts = [
        _part(frames, rest, numbers, is_new, lambda some: rfc5424.parse(some, zone, count)),
        _part(frames, rest, numbers, is_old, lambda some: rfc3164.parse(some, now, zone)),
        _part(frames, rest, numbers, pc.is_null(rest), _nothing),
    ]
    made = _in_order([(where, part) for where, part in parts if part.num_rows], len(frames))
    if whole:
        made = made.set_column(0, made.schema.field(BODY), frames)
    if made.column(HOST).null_count:
        column = made.schema.get_field_index(HOST)
        made = made.set_column(column, HOST, pc.coalesce(made.column(HOST), peers()))
    bad = len(frames) - made.column(c.ERROR).null_count
    if bad:
        count("events_unparsed", bad)
    return c.tidied(made)


def _priorities(frames: pa.Array) -> tuple[pa.Array, pa.Array]:
    """What follows the priority, and its number; both null where there is none."""
    rest, numbers = pa.nulls(len(frames), pa.binary()), pa.nulls(len(frames), pa.binary())
    bracket = pc.find_substring(frames, pattern=b">")
    begins = pc.starts_with(frames, pattern=b"<")
    for at in _BRACKETS:
        here = pc.and_(begins, ops.equal(bracket, at))
        if c.is_all(here):
            rest, numbers = c.after(frames, at + 1), pc.binary_slice(frames, 1, at)
            break
        if c.is_any(here):
            rest = pc.if_else(here, c.after(frames, at + 1), rest)
            numbers = pc.if_else(here, c.after(c.before(frames, at), 1), numbers)
    values = c.mapped(numbers, _number, pa.int32())
    return c.without(rest, pc.is_null(values)), values


def _number(digits: bytes) -> int | None:
    if not digits.isdigit() or int(digits) > c.PRIORITY_MAX:
        return None
    return int(digits)


_Parser = Callable[[pa.Array], tuple[pa.Array, dict[str, pa.Array]]]


def _part(
    frames: pa.Array, rest: pa.Array, numbers: pa.Array, which: pa.Array, parser: _Parser
) -> tuple[pa.Array | None, pa.RecordBatch]:
    """The rows of one format, and which they are (None: all)."""
    where = None
    if not c.is_any(which):
        return None, c.batch(0, {})
    if not c.is_all(which):
        where = pc.indices_nonzero(which)
        frames, rest, numbers = frames.take(where), rest.take(where), numbers.take(where)
    faults, columns = parser(rest)
    if faults.null_count < len(faults):
        is_bad = pc.is_valid(faults)
        columns = {name: c.without(values, is_bad) for name, values in columns.items()}
        columns[BODY] = pc.if_else(is_bad, frames, columns[BODY])
        columns[c.ERROR] = faults
    severity = ops.bit_wise_and(numbers, 7)
    columns[c.SEVERITY] = c.named(severity, c.SEVERITIES)
    columns["priority"] = c.named(severity, c.PRIORITIES)
    columns[c.FACILITY] = c.named(ops.shift_right(numbers, 3), c.FACILITIES)
    return where, c.batch(len(frames), columns)


def _nothing(rest: pa.Array) -> tuple[pa.Array, dict[str, pa.Array]]:
    """No priority."""
    return ops.repeated("no priority", len(rest)), {BODY: rest}


def _in_order(parts: list[tuple[pa.Array | None, pa.RecordBatch]], count: int) -> pa.RecordBatch:
    """The rows as they came."""
    if not parts:
        return c.batch(0, {})
    if len(parts) == 1:
        return parts[0][1]
    together = stacked([part for _, part in parts])
    where = pa.concat_arrays([where for where, _ in parts if where is not None])
    return together.take(pc.sort_indices(where))
