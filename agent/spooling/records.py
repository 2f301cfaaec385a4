"""Files of records with types: Avro container files and Parquet. A position is the number of a record.

The body is the record as a JSON object, unless it has a member `body`; its members are attributes. Here a Python step is made for
each record.
"""

from __future__ import annotations

import abc
import io
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from agent.spooling.content import Content
from agent.spooling.deserializer import TRUNCATED, Deserializer, Piece, Rules
from agent.spooling.tables import broken, fitting, table
from qanat import columns as batch_columns
from qanat.decorators.common import shared
from qanat.decorators.common.objects import Objects
from qanat.errors import PermanentError

# Made into columns at a time.
RECORDS_MAX = 4096

_BODY = "body"
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Records(Deserializer):
    """`blocks` gives the records from a position on, some at a time."""

    def __init__(self, content: Content, rules: Rules) -> None:
        self._file = _File(content)
        self._rules = rules
        self._objects = Objects([])
        self._blocks: Iterator[list[dict[str, Any]]] | None = None
        self._waiting: list[dict[str, Any]] = []

    @abc.abstractmethod
    def blocks(self, file: io.BufferedReader, position: int) -> Iterator[list[dict[str, Any]]]:
        """Records from `position`. Raises whatever the library does."""

    def seek(self, position: int) -> None:
        self.position = position
        self._blocks, self._waiting = None, []

    def read(self, max_bytes: int) -> Piece | None:
        if not self._waiting:
            self._waiting = self._next()
        if not self._waiting:
            return None
        columns = self._columns(self._waiting[:RECORDS_MAX])
        count = fitting(columns)
        self._waiting = self._waiting[count:]
        self.position += count
        columns = self._cut(columns.slice(0, count))
        return Piece(columns, count, self.position)

    def _next(self) -> list[dict[str, Any]]:
        try:
            if self._blocks is None:
                self._blocks = self.blocks(io.BufferedReader(self._file), self.position)
            return next((block for block in self._blocks if block), [])
        except (MemoryError, ImportError):
            raise
        except Exception as error:  # libraries raise anything for content that is broken
            if self._file.error is not None:
                raise self._file.error from None
            raise broken(type(self).__name__, error) from error

    def _columns(self, records: list[dict[str, Any]]) -> pa.RecordBatch:
        has_body = _BODY in records[0] and isinstance(records[0][_BODY], bytes | str)
        texts = [_text(record, has_body) for record in records]
        encoded = pa.array(texts, pa.binary())
        found, _failed = self._objects.read(encoded)
        bodies = pa.array([_body(record[_BODY]) for record in records], pa.binary()) if has_body else encoded
        numbers = pa.array(range(self.position, self.position + len(records)), pa.uint64())
        return table(bodies, numbers, {shared.harmless_name(key): each for key, each in found.items()})

    def _cut(self, columns: pa.RecordBatch) -> pa.RecordBatch:
        """Bodies that are larger than an event may be lose their ends, and their attributes; that is counted."""
        limit = self._rules.event_bytes
        large = pc.sum(pc.greater(pc.binary_length(columns.column(_BODY)), limit)).as_py() or 0
        if not large and (columns.num_rows > 1 or fitting(columns) == 1):
            return columns
        self._rules.count(TRUNCATED, large)
        return batch_columns.bare(columns, limit)


class Avro(Records):
    """Avro container files, block by block."""

    def blocks(self, file: io.BufferedReader, position: int) -> Iterator[list[dict[str, Any]]]:
        import fastavro

        skip = position
        for block in fastavro.block_reader(file):
            if block.num_records <= skip:
                skip -= block.num_records
                continue
            records = [record if isinstance(record, dict) else {"value": record} for record in block]
            yield records[skip:]
            skip = 0


class Parquet(Records):
    """Parquet files, by row groups."""

    def blocks(self, file: io.BufferedReader, position: int) -> Iterator[list[dict[str, Any]]]:
        import pyarrow.parquet as pq

        reader, skip = pq.ParquetFile(file), position
        for group in range(reader.num_row_groups):
            rows = reader.metadata.row_group(group).num_rows
            if rows <= skip:
                skip -= rows
                continue
            for batch in reader.iter_batches(batch_size=RECORDS_MAX, row_groups=[group], use_threads=False):
                taken = min(skip, batch.num_rows)
                skip -= taken
                yield _coarse(batch.slice(taken)).to_pylist()


def _coarse(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times in ns as in µs: Python has no finer ones."""
    for number, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            text = batch.column(number).cast(pa.string())
            batch = batch.set_column(number, field.name, text)
    return batch


def _text(record: dict[str, Any], has_body: bool) -> bytes:
    if has_body:
        record = {key: value for key, value in record.items() if key != _BODY}
    try:
        return _encode(record)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PermanentError(f"a record can't be written as JSON: {error}") from error


def _body(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value if value is not None else "").encode()


class _File(io.RawIOBase):
    """Content as a file that can be sought. `error`: the last one of the operating system."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._at = 0
        self._size = content.size()
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._content.block(self._at, len(buffer))
        except OSError as error:
            self.error = error
            raise
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
