"""What a log is told. [pure]"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Fsync(enum.Enum):
    """When records are synced."""

    COMMIT = "commit"  # together, when `sync` is called
    ALWAYS = "always"  # each put
    NEVER = "never"  # when the operating system likes to; a power cut loses what was accepted


@dataclass(frozen=True, slots=True)
class Settings:
    """`capacity_bytes`: on disk; `events`: that wait for the slowest cursor, 0 is no limit; `drop`: what finds no room,
    instead of refusing it; `boot`: something that differs from one start of the machine to the next."""

    capacity_bytes: int
    segment_bytes: int
    events: int = 0
    drop: bool = False
    fsync: Fsync = Fsync.COMMIT
    boot: str = ""
