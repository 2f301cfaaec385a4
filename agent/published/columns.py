"""From a message of a producer to events. Checks everything that a peer could have got wrong."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from agent.posted.rows import COLUMNS_MAX, record_batch
from qanat import limits
from qanat.columns import BODY, POSITION, TIMESTAMP, TIMESTAMP_TYPE
from qanat.component import Events
from qanat.wire.v1 import publish_pb2 as wire

_TIMESTAMP_NS_MAX = (1 << 63) - 1  # what a signed column holds: the year 2262


class WrongMessageError(ValueError):
    """It would be wrong again; says what is."""


def events(message: wire.Events, attributes: Mapping[str, str]) -> Events:
    """Raises WrongMessageError."""
    bodies = [*message.body]
    count = len(bodies)
    if message.start + count > limits.POSITION_MAX:
        raise WrongMessageError(
            f"events end at {message.start + count}, the last number is {limits.POSITION_MAX}"
        )
    largest = max(map(len, bodies), default=0)
    if largest > limits.EVENT_BYTES_MAX:
        raise WrongMessageError(f"an event has {largest} bytes, the limit is {limits.EVENT_BYTES_MAX}")
    made = {BODY: pa.array(bodies, pa.binary())}
    if message.timestamp_ns:
        made[TIMESTAMP] = _timestamps(message, count)
    if len(message.columns) > COLUMNS_MAX:
        raise WrongMessageError(f"{len(message.columns)} columns, the limit is {COLUMNS_MAX}")
    for column in message.columns:
        if not column.name or column.name in made or column.name in (POSITION, TIMESTAMP):
            raise WrongMessageError(
                f"column {column.name[:80]!r} is there twice, or has a name that is taken"
            )
        made[column.name] = _values(column, count)
    return Events(record_batch(made), count, attributes)


def _timestamps(message: wire.Events, count: int) -> pa.Array:
    times = [*message.timestamp_ns]
    if len(times) != count:
        raise WrongMessageError(f"{len(times)} timestamps of {count} events")
    if max(times) > _TIMESTAMP_NS_MAX:
        raise WrongMessageError(f"timestamp {max(times)} is beyond the year 2262; they are ns since 1970")
    return pa.array([time or None for time in times] if 0 in times else times, TIMESTAMP_TYPE)


def _values(column: wire.Column, count: int) -> pa.Array:
    values = [*column.value]
    if len(values) == 1:
        return pa.repeat(pa.scalar(values[0] or None, pa.string()), count)
    if len(values) != count:
        raise WrongMessageError(f"column {column.name[:80]!r} has {len(values)} values for {count} events")
    return pa.array([value or None for value in values] if "" in values else values, pa.string())
