"""What a channel is told, how full it is, and who reads it; part of `component.py`'s contract of a channel."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated

import msgspec

from qanat.config import Bytes


class Full(enum.Enum):
    """What a channel does with a batch that it has no room for."""

    BLOCK = "block"  # refuse it: the source waits, and so do those who write to it
    DROP = "drop"  # drop it, and count its events


class ChannelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What every channel can be told. A channel is full when either capacity is reached.

    `capacity`: bytes of payload that may wait. `events`: events that may wait; 0 is no limit.
    """

    capacity: Bytes  # bytes that may wait
    events: Annotated[int, msgspec.Meta(ge=0)] = 0  # events that may wait; 0 is no limit
    full: Full = Full.BLOCK  # block: the source waits; drop: what comes is dropped, and counted


@dataclass(frozen=True, slots=True)
class Cursor:
    """One destination's place in a channel, by a name that stays the same over restarts.

    `required`: a full channel waits for it. One that is not required loses its oldest events instead when it alone is in
    the way of the others, and they are counted.
    """

    name: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Fill:
    """How much is in a channel, as its capacities count: what some destination has not acknowledged, and what it is stored in.

    `capacity_events` is 0 where only bytes are limited."""

    bytes: int
    events: int
    capacity_bytes: int
    capacity_events: int
