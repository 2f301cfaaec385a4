"""Texts of lines that are more than lines: JSON, CSV, and events of several lines; in columns.

Attributes are text, as the decorators `json` and `split` make them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from agent.joining.joiner import Joiner
from agent.joining.rows import Limit, Rows, joined
from agent.spooling.content import Content
from agent.spooling.deserializer import Piece, Rules, Text, last_end
from qanat import limits, ops
from qanat.columns import BODY, POSITION, REQUIRED
from qanat.decorators.common import shared
from qanat.decorators.common.objects import Objects
from qanat.errors import PermanentError

# In columns, as counted by their buffers; the wire adds a schema to that, and `BATCH_BYTES_MAX` may not be exceeded there.
COLUMNS_BYTES_MAX = 3 * limits.MIB

# Read at a time: what becomes columns takes three times as much, and more than `COLUMNS_BYTES_MAX` is given out in parts.
TEXT_BYTES_MAX = 512 * limits.KIB

ERROR = "format_error"


def one_event(body: bytes, position: int) -> pa.RecordBatch:
    """A batch of one."""
    return pa.RecordBatch.from_arrays(
        [pa.array([body], pa.binary()), pa.array([position], pa.uint64())], schema=REQUIRED
    )


def table(body: pa.Array, position: pa.Array, own: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Events with these attributes, but those that no event has."""
    columns = {BODY: body, POSITION: position.cast(pa.uint64())}
    columns |= {name: column for name, column in own.items() if column.null_count < len(column)}
    fields = [
        pa.field(name, each.type, nullable=name not in (BODY, POSITION)) for name, each in columns.items()
    ]
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))


def fitting(columns: pa.RecordBatch) -> int:
    """How many of its rows go into one batch, at least one."""
    rows: int = columns.num_rows
    while rows > 1 and columns.slice(0, rows).nbytes > COLUMNS_BYTES_MAX:
        rows //= 2
    return rows


class Json(Text):
    """A JSON object a line. Its members are attributes, the line is the body. A line that is none is an event as it is, and says
    so; an empty line is nothing."""

    def __init__(self, content: Content, rules: Rules) -> None:
        super().__init__(content, rules)
        self._objects = Objects([])

    def read(self, max_bytes: int) -> Piece | None:
        return super().read(min(max_bytes, TEXT_BYTES_MAX))

    def lines(self, data: bytes) -> Piece:
        bodies, offsets = split(data, self.position)
        try:
            found, failed = self._objects.read(bodies)
        except PermanentError:  # names without end: somebody's data is in them
            found, failed = {}, pa.repeat(pa.scalar(True), len(bodies))
        own = {shared.harmless_name(key): column for key, column in found.items()}
        if pc.any(failed).as_py():
            own[ERROR] = pc.if_else(failed, ops.constant("no JSON object, or too many names"), ops.NO_TEXT)
        columns = table(bodies, offsets.slice(0, len(bodies)), own)
        count = fitting(columns)
        end = offsets[count].as_py()
        columns = columns.slice(0, count)
        blank = ops.equal(pc.binary_length(pc.ascii_trim_whitespace(_ascii(columns.column(BODY)))), 0)
        if pc.any(blank).as_py():
            columns = columns.filter(pc.invert(blank))
        return _piece(columns, end)


class Csv(Text):
    """Rows of values in columns, of which the first says the names, unless they are given. Values become attributes, and the
    row as it stands is the body. Line ends may be within quotes."""

    def __init__(
        self, content: Content, rules: Rules, names: Sequence[str], delimiter: str, quote: str
    ) -> None:
        super().__init__(content, rules)
        self._names = tuple(names)
        self._has_header = not names
        self._delimiter = delimiter
        self._quote = quote.encode()

    def read(self, max_bytes: int) -> Piece | None:
        if not self._names and not self._read_header():
            return None
        want = TEXT_BYTES_MAX
        while True:
            block = self._content.block(self.position, want)
            if not block:
                return None
            data = block if len(block) < want else block[: last_end(block, self._rules.event_bytes)]
            if not data.endswith(b"\n") and len(block) < want:
                data += b"\n"
            bodies, offsets, is_open = self._rows(data)
            if is_open and len(block) == want and len(bodies) > 0:
                bodies, offsets = bodies.slice(0, len(bodies) - 1), offsets.slice(0, len(bodies))
            if len(bodies):
                return self._table(bodies, offsets, self.position + len(block))
            if len(block) < want:
                return None
            if want > 2 * self._rules.event_bytes:
                return self._too_long(block[: self._rules.event_bytes])
            want *= 2

    def _read_header(self) -> bool:
        """False for an empty file. The first row gives the names, wherever reading begins."""
        head = self._content.block(0, limits.BATCH_BYTES_TARGET)
        bodies, offsets, _ = self._rows_of(head if head.endswith(b"\n") else head + b"\n", 0)
        if not head or not len(bodies):
            return False
        row = bodies[0].as_py().decode("utf-8-sig", "replace")
        self._names = tuple(
            next(csv.reader([row], delimiter=self._delimiter, quotechar=self._quote.decode()))
        )
        header_end = min(offsets[1].as_py(), len(head))
        self.position = max(self.position, header_end)
        return True

    def _rows(self, data: bytes) -> tuple[pa.Array, pa.Array, bool]:
        return self._rows_of(data, self.position)

    def _rows_of(self, data: bytes, start: int) -> tuple[pa.Array, pa.Array, bool]:
        """Rows as they stand, where they begin (and the last one ends), and whether a quote is open at the end."""
        bodies, offsets = split(data, start)
        if self._quote not in data:
            return bodies, offsets, False
        quotes = pc.cumulative_sum(pc.count_substring(bodies, pattern=self._quote).cast(pa.int64()))
        is_inside = ops.equal(ops.bit_wise_and(quotes, 1), 1)
        begins = pa.concat_arrays([ops.repeated(True, 1), pc.invert(is_inside).slice(0, len(bodies) - 1)])
        rows = Rows(bodies, offsets.slice(0, len(bodies)), offsets.slice(1))
        result, _ = joined(rows, begins, b"\n", Limit(len(bodies), len(data)))
        ends = pa.concat_arrays([result.first, offsets.slice(len(bodies))])
        return result.body, ends, bool(is_inside[-1].as_py())

    def _table(self, bodies: pa.Array, offsets: pa.Array, stop: int) -> Piece:
        blank = pc.or_(ops.equal(bodies, b""), ops.equal(bodies, b"\r"))
        columns = table(bodies, offsets.slice(0, len(bodies)), self._values(bodies))
        count = fitting(columns)
        self_end = min(offsets[count].as_py(), stop)
        columns = columns.slice(0, count)
        if pc.any(blank).as_py():
            columns = columns.filter(pc.invert(blank.slice(0, count)))
        self.position = self_end
        return _piece(columns, self_end)

    def _values(self, bodies: pa.Array) -> dict[str, pa.Array]:
        names = [shared.harmless_name(name) for name in self._names]
        kept = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(bodies)], pa.int32()), bodies), b"\n")
        try:
            found = pacsv.read_csv(
                pa.BufferReader(kept[0].as_buffer()),
                read_options=pacsv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 24),
                parse_options=pacsv.ParseOptions(
                    delimiter=self._delimiter,
                    quote_char=self._quote.decode() or False,
                    newlines_in_values=True,
                    ignore_empty_lines=False,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            ).combine_chunks()
        except (pa.ArrowInvalid, pa.ArrowKeyError):
            return self._one_by_one(names, bodies)
        if found.num_rows != len(bodies):
            return self._one_by_one(names, bodies)
        return {name: _chunk(found.column(number)) for number, name in enumerate(names)}

    def _one_by_one(self, names: Sequence[str], bodies: pa.Array) -> dict[str, pa.Array]:
        """A Python step for each row, of blocks that have one with too few or too many values, or what is not UTF-8."""
        rows: list[list[str | None]] = []
        errors: list[str | None] = []
        for body in bodies.to_pylist():
            text = body.decode("utf-8", "backslashreplace")
            values = next(csv.reader([text], delimiter=self._delimiter, quotechar=self._quote.decode()), [])
            is_good = len(values) == len(names) or not values
            rows.append(list(values) if is_good and values else [None] * len(names))
            errors.append(None if is_good else f"{len(values)} values in a row of {len(names)}")
        own = {
            name: pa.array([row[number] for row in rows], pa.string()) for number, name in enumerate(names)
        }
        return {**own, ERROR: pa.array(errors, pa.string())}


class JoinedText(Text):
    """Events of several lines."""

    def __init__(self, content: Content, rules: Rules, joiner: Joiner) -> None:
        super().__init__(content, rules)
        self._joiner = joiner
        self._want_max = min(2 * rules.event_bytes + 2, limits.BATCH_BYTES_MAX // 2)

    def read(self, max_bytes: int) -> Piece | None:
        want, event_bytes = min(max(max_bytes, 1), self._want_max), self._rules.event_bytes
        while True:
            block = self._content.block(self.position, want)
            if not block:
                return None
            is_end = len(block) < want
            last = last_end(block, event_bytes)
            is_cut = len(block) - last > event_bytes or block.find(b"\n", last) >= 0
            if is_end and not is_cut:
                last = len(block)
            if not last and len(block) > event_bytes:
                return self._too_long(block[:event_bytes])
            data = block[:last]
            if data and not data.endswith(b"\n"):
                data += b"\n"
            whole = is_cut or (is_end and last == len(block)) or want == self._want_max
            found = self._joiner.join(data, self.position, whole=whole)
            if found is not None:
                self.position = min(found.end, self.position + len(block))
                return _piece(found.columns, self.position)
            want = event_bytes + 1 if want <= event_bytes else self._want_max


def split(data: bytes, start: int) -> tuple[pa.Array, pa.Array]:
    """Complete lines, and the positions where each begins and the last one ends."""
    lines = pc.split_pattern(pa.scalar(data, pa.binary()), pattern=b"\n").values
    bodies = lines.slice(0, len(lines) - 1)
    ends = pc.cumulative_sum(ops.add(pc.binary_length(bodies).cast(pa.int64()), 1), start=start)
    return bodies, pa.concat_arrays([pa.array([start], pa.int64()), ends])


def _piece(columns: pa.RecordBatch, end: int) -> Piece:
    return Piece(columns, columns.num_rows, end) if columns.num_rows else Piece(b"", 0, end)


def _ascii(bodies: pa.Array) -> pa.Array:
    """Only whether there is anything but white space is asked of it."""
    return bodies.cast(pa.string(), safe=False)


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def broken(what: str, error: Exception) -> PermanentError:
    """Content that is not what it should be."""
    return PermanentError(f"it is no {what} that can be read: {error}")
