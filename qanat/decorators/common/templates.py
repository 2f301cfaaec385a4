"""Templates with escapes, `%{level}/%Y-%m-%d`, expanded for all events of a batch at once."""

from __future__ import annotations

from datetime import UTC, tzinfo

import pyarrow as pa
import pyarrow.compute as pc

from qanat import escapes, ops
from qanat.batch import Batch
from qanat.decorators.common import rows
from qanat.escapes import Attribute, Literal, Piece, Time

_BINARY = pa.binary()


class Template:
    """Parsed once. Raises ConfigError that lists every bad escape."""

    def __init__(self, text: str, argument: str, zone: tzinfo = UTC) -> None:
        self._pieces = escapes.parse(text, argument, with_body=True)
        self._zone = zone

    def expand(self, batch: Batch) -> pa.Array:
        """Binary, without nulls: an attribute that an event lacks is empty."""
        parts = [self._part(piece, batch) for piece in self._pieces]
        if not any(isinstance(part, pa.Array) for part in parts):
            parts.append(ops.repeated(b"", batch.count))
        return ops.join(*parts, b"")

    def _part(self, piece: Piece, batch: Batch) -> pa.Array | pa.Scalar:
        match piece:
            case Literal(text):
                return ops.constant(text.encode(errors="surrogateescape"))
            case Time():
                return self._time(piece, batch)
            case Attribute(escapes.BODY):
                return rows.bodies(batch)
            case Attribute(escapes.NANOS):
                return rows.times(batch).cast(pa.int64()).cast(pa.string()).cast(_BINARY)
            case Attribute(name):
                default = escapes.PRIORITY_DEFAULT if name == escapes.PRIORITY else ""
                return ops.fill_null(rows.attribute(batch, name), default).cast(_BINARY)

    def _time(self, piece: Time, batch: Batch) -> pa.Array:
        """A Python step for each distinct time, at the resolution of the escape: a few for a batch."""
        step = piece.resolution_ns
        ns = rows.times(batch).cast(pa.int64())
        rest = ops.subtract(ns, ops.multiply(ops.divide(ns, step), step))
        rest = ops.if_else(ops.less(rest, 0), ops.add(rest, step), rest)
        distinct = pc.dictionary_encode(ops.subtract(ns, rest))
        words = [piece.expand(at, self._zone).encode() for at in distinct.dictionary.to_pylist()]
        return pc.take(pa.array(words, _BINARY), distinct.indices)
