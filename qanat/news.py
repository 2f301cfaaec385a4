"""What a source says of its streams when it is polled. [pure]"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamFound:
    """A stream that can be read; nothing is read from it before `seek` says from where.

    `position`: where the source would start by itself (0, the end of the file, or what its own state remembers).
    """

    stream: str
    position: int


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """All of the stream was read, and it will never grow again: once acked up to `end` it can be forgotten."""

    stream: str
    end: int


StreamEvent = StreamFound | StreamFinished
