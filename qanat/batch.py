"""The batch: consecutive events of one stream, the unit of everything Qanat does.

A batch covers the positions `[start, end)` of its stream. Two payload forms:

* `LINES`: `bytes`; every event ends in ``\\n`` and none contains one. A tailed file's bytes, untouched.
* `COLUMNS`: a `pyarrow.RecordBatch` with at least `body` (binary) and `position` (uint64).

Filtering removes events, never positions: `count` shrinks, down to 0, the range stays.
This module does not import Arrow: an agent that only forwards lines never loads it. Conversions are in `columns.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from qanat import limits
from qanat.lines import count_lines

if TYPE_CHECKING:
    import pyarrow as pa

Payload: TypeAlias = "bytes | pa.RecordBatch"


class PayloadForm(enum.Enum):
    """How the events of a batch are laid out."""

    LINES = "lines"
    COLUMNS = "columns"


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive events of one stream.

    `start`, `end`: positions, `0 <= start <= end <= limits.POSITION_MAX`; contiguous with the stream's next batch.
    `count`: events in the payload (not positions: a byte offset is a position too).
    `timestamp_ns`: when the source read it, ns since 1970 UTC; the timestamp of events that have none of their own.
    `attributes`: hold for all events (`host`, `file`, ...).
    In LINES form the position of an event is `start` plus its offset in the payload, so a source that shortens an
    event (oversize policy) ends the batch there; or, when the range is as long as `count`, `start` plus its number (a
    channel's streams; where both would do, lines of one byte, they agree).
    """

    stream: str
    start: int
    end: int
    count: int
    form: PayloadForm
    payload: Payload
    timestamp_ns: int
    attributes: Mapping[str, str]

    @property
    def payload_bytes(self) -> int:
        """Size of the payload in bytes (for COLUMNS: of its buffers)."""
        if isinstance(self.payload, bytes):
            return len(self.payload)
        return int(self.payload.nbytes)


def lines_batch(
    stream: str,
    start: int,
    payload: bytes,
    *,
    timestamp_ns: int,
    attributes: Mapping[str, str],
    end: int | None = None,
) -> Batch:
    """A LINES batch of `payload`, which is empty or ends in a line end.

    `end` is `start + len(payload)` unless given (an unterminated last line gets a line end that the file lacks).
    Raises ValueError when the payload breaks the form or a limit: that is a bug in the source.
    """
    if payload and not payload.endswith(b"\n"):
        raise ValueError(f"LINES payload of stream {stream!r} at {start} does not end in a line end")
    if len(payload) > limits.BATCH_BYTES_MAX:
        raise ValueError(
            f"LINES payload of stream {stream!r} at {start} has {len(payload)} bytes, limit {limits.BATCH_BYTES_MAX}"
        )
    return Batch(
        stream=stream,
        start=start,
        end=start + len(payload) if end is None else end,
        count=count_lines(payload),
        form=PayloadForm.LINES,
        payload=payload,
        timestamp_ns=timestamp_ns,
        attributes=attributes,
    )
