"""What all channels share: the names of their streams, what they count, and cutting a batch without Arrow. [pure]"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from qanat.batch import Batch, PayloadForm
from qanat.lines import LINE_END, count_lines

# What channels count (`Context.count`), in events.
DROPPED = "events_dropped"  # refused by a full channel that was told to drop
LOST = "events_lost"  # gone when a destination asked for them: dropped for the others, or acknowledged before
DAMAGED = "events_damaged"  # their bytes on disk are no longer what was written


def stream_name(logical_node: str, incarnation: str) -> str:
    """The stream of a channel: another one whenever the numbers of its events begin anew."""
    return f"{logical_node}#{incarnation}"


def earlier_streams(known: Mapping[str, int], current: str) -> dict[str, int]:
    """Of the streams known downstream, those that earlier incarnations of the channel `current` have left behind."""
    prefix = current[: current.rindex("#") + 1]
    return {name: at for name, at in known.items() if name.startswith(prefix) and name != current}


def numbered(batch: Batch, stream: str, start: int) -> Batch:
    """As `columns.numbered`; doesn't import Arrow for LINES."""
    if isinstance(batch.payload, bytes):
        return replace(batch, stream=stream, start=start, end=start + batch.count)
    from qanat import columns

    return columns.numbered(batch, stream, start)


def encoded(batch: Batch, start: int) -> bytes:
    """The payload as bytes: lines as they are, columns with the numbers from `start` on as positions."""
    if isinstance(batch.payload, bytes):
        return batch.payload
    from qanat import columns

    return columns.encode(columns.numbered(batch, batch.stream, start).payload)


def cut_before(batch: Batch, position: int) -> Batch:
    """What is left of `batch` from `position` on, `start <= position <= end`; doesn't import Arrow for LINES.

    Raises ValueError when a line would be cut in two."""
    if position == batch.start:
        return batch
    if not batch.start < position <= batch.end:
        raise ValueError(
            f"{position} is not within the batch [{batch.start}, {batch.end}) of {batch.stream!r}"
        )
    if not isinstance(batch.payload, bytes):
        from qanat import columns

        return columns.slice_positions(batch, position, batch.end)
    first = _offset(batch, position)
    if first and batch.payload[first - 1 : first] != LINE_END:
        raise ValueError(f"{position} cuts through a line of stream {batch.stream!r}, batch at {batch.start}")
    payload = batch.payload[first:]
    return replace(batch, start=position, count=count_lines(payload), payload=payload)


def gap(stream: str, start: int, end: int, timestamp_ns: int) -> Batch:
    """A batch without events: a stream has no holes, even where its events are gone."""
    return Batch(stream, start, end, 0, PayloadForm.LINES, b"", timestamp_ns, {})


def _offset(batch: Batch, position: int) -> int:
    """Where in a LINES payload the position is."""
    assert isinstance(batch.payload, bytes)
    if batch.end - batch.start == batch.count:
        return nth_line_end(batch.payload, position - batch.start)
    return min(position - batch.start, len(batch.payload))


def nth_line_end(payload: bytes, number: int) -> int:
    """How many bytes the first `number` lines have. Halves the payload and counts: nothing is done for each line."""
    if number == 0:
        return 0
    low, high = 0, len(payload)  # the end of the wanted line is within (low, high]
    while high - low > 1:
        middle = (low + high) // 2
        before = payload.count(LINE_END, low, middle)
        if before >= number:
            high = middle
        else:
            low, number = middle, number - before
    return high
