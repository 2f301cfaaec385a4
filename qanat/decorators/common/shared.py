"""What holds for all events of a batch. Doesn't import Arrow: lines stay lines."""

from __future__ import annotations

from dataclasses import replace

from qanat.batch import Batch
from qanat.errors import ConfigError

# What a record batch calls the event itself: no attribute can have these names.
RESERVED = ("body", "position", "timestamp")


def checked_name(name: str) -> str:
    """The name, if an attribute may have it. Raises ConfigError."""
    if not name:
        raise ConfigError("an attribute needs a name, and an empty one was given")
    if name in RESERVED:
        raise ConfigError(
            f'an attribute can\'t be called "{name}", as that is a part of the event itself; take another name'
        )
    return name


def harmless_name(name: str) -> str:
    """For names that come with the data: one that an attribute may have."""
    return f"attribute.{name}" if name in RESERVED or not name else name


def with_attribute(batch: Batch, name: str, value: str) -> Batch:
    """All events have this attribute; what some had before is gone."""
    attributes = {**batch.attributes, name: value}
    if isinstance(batch.payload, bytes) or name not in batch.payload.schema.names:
        return replace(batch, attributes=attributes)
    index = batch.payload.schema.get_field_index(name)
    return replace(batch, attributes=attributes, payload=batch.payload.remove_column(index))


def with_default(batch: Batch, name: str, value: str) -> Batch:
    """Events without such an attribute have this one: a column's nulls mean what the batch says."""
    if name in batch.attributes:
        return batch
    return replace(batch, attributes={**batch.attributes, name: value})
