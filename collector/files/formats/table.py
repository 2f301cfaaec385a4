"""What Parquet and ORC share: typed columns, staging, and encoding by row groups once events are committed.

Columns: `body` binary, `timestamp` (ns, UTC), `host`, `stream`, `position`, `priority`, and one for each attribute
(string, or the type that an extracted attribute has). Batches with other columns go to another file of the bucket.
An attribute that has the name of a standard column becomes `attribute.<name>`.
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from collector.files import staging
from collector.files.formats.base import ROW_GROUP_BYTES, Buffer, Conversion, StagedFormat
from collector.files.rows import STANDARD, Rows, Text, rows, spread, well_formed
from qanat.batch import Batch
from qanat.columns import BODY, HOST, POSITION, PRIORITY, TIMESTAMP, TIMESTAMP_TYPE

STREAM = "stream"

_RESERVED = frozenset((*STANDARD, STREAM))
_BASE = [
    pa.field(BODY, pa.binary(), nullable=False),
    pa.field(TIMESTAMP, TIMESTAMP_TYPE, nullable=False),
    pa.field(HOST, pa.string()),
    pa.field(STREAM, pa.string(), nullable=False),
    pa.field(POSITION, pa.int64(), nullable=False),
    pa.field(PRIORITY, pa.string()),
]


def schema(batch: Batch) -> pa.Schema:
    """The columns that the events of a batch have in a table. Cheap: looks at names and types only."""
    types = {well_formed(name): pa.string() for name in batch.attributes}
    if not isinstance(batch.payload, bytes):
        empty = rows(_without_rows(batch))
        types |= {name: value.type for name, value in empty.attributes.items() if isinstance(value, pa.Array)}
    own = {name: kind for name, kind in types.items() if name not in (HOST, PRIORITY)}
    return pa.schema([*_BASE, *(pa.field(_column_name(name), own[name]) for name in sorted(own))])


def _without_rows(batch: Batch) -> Batch:
    assert not isinstance(batch.payload, bytes)
    return replace(batch, payload=batch.payload.slice(0, 0), count=0)


def _column_name(name: str) -> str:
    return f"attribute.{name}" if name in _RESERVED else name


class TableFormat(StagedFormat):
    """Batches are staged as they are."""

    def shape(self, batch: Batch) -> str:
        described = "\n".join(f"{field.name!r} {field.type}" for field in schema(batch))
        return hashlib.sha256(described.encode()).hexdigest()[:12]

    def encode(self, batch: Batch) -> list[Buffer]:
        return staging.frame(batch)


class TableConversion(Conversion):
    """Reads a staging file and writes a table, a row group at a time. Subclasses know the writer."""

    def __init__(self, source: Path, output: Path) -> None:
        self._reader = staging.Reader(source)
        self._output = output
        self._schema: pa.Schema | None = None

    def advance(self, committed_bytes: int) -> None:
        while committed_bytes - self._reader.offset >= ROW_GROUP_BYTES:
            self._write_group(committed_bytes)

    def finish(self, committed_bytes: int) -> None:
        while self._reader.offset < committed_bytes:
            self._write_group(committed_bytes)
        self.end()
        fd = os.open(self._output, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        self._reader.close()

    def _write_group(self, committed_bytes: int) -> None:
        group: list[pa.RecordBatch] = []
        begun = self._reader.offset
        for batch in self._reader.batches(committed_bytes):
            if self._schema is None:
                self._schema = schema(batch)
                self.begin(self._schema)
            group.append(self.record_batch(rows(batch), self._schema))
            if self._reader.offset - begun >= ROW_GROUP_BYTES:
                break
        self.write(pa.Table.from_batches(group))

    def record_batch(self, of: Rows, to: pa.Schema) -> pa.RecordBatch:
        """Rows with the columns of the file."""
        values: dict[str, Text] = {HOST: of.host, STREAM: of.stream, PRIORITY: of.priority}
        values |= {_column_name(name): value for name, value in of.attributes.items()}
        arrays = [
            of.body,
            _timestamps(of),
            *(self.text(values[to.field(at).name], of.count) for at in (2, 3)),
        ]
        arrays += [of.position, self.text(of.priority, of.count)]
        arrays += [self.text(values[field.name], of.count) for field in list(to)[len(_BASE) :]]
        return pa.RecordBatch.from_arrays(arrays, names=to.names)

    def text(self, value: Text, count: int) -> pa.Array:
        """A column of text, or of what an attribute is."""
        return spread(value, count)

    @abc.abstractmethod
    def begin(self, schema: pa.Schema) -> None:
        """Create the output."""

    @abc.abstractmethod
    def write(self, group: pa.Table) -> None:
        """Add a row group."""

    @abc.abstractmethod
    def end(self) -> None:
        """Write the footer and close the output, if it was begun. Idempotent."""

    def abandon(self) -> None:
        self._reader.close()
        # Closing writes the rest and a footer, which nobody will read: a full disk is no trouble here.
        with contextlib.suppress(OSError, pa.ArrowException):
            self.end()


def _timestamps(of: Rows) -> pa.Array:
    if isinstance(of.timestamp_ns, pa.Array):
        return of.timestamp_ns.cast(TIMESTAMP_TYPE)
    return pa.repeat(pa.scalar(of.timestamp_ns, TIMESTAMP_TYPE), of.count)
