"""When a file is finished and the next one of its bucket begins. [pure]"""

from __future__ import annotations

from dataclasses import dataclass

from collector.files.opened import OpenFile


@dataclass(frozen=True, slots=True)
class Rolling:
    """Limits on a file; 0 is none. Size and events are looked at after each batch, age and idleness at each commit,
    so a file exceeds a limit by one batch, or by one commit interval, at most."""

    age_s: float
    size_bytes: int
    events: int
    idle_s: float

    def is_full(self, file: OpenFile) -> bool:
        """By what is in it."""
        by_size = 0 < self.size_bytes <= file.size_bytes
        return by_size or 0 < self.events <= file.events

    def is_over(self, file: OpenFile, now_s: float) -> bool:
        """By time: since it was opened, or since something was appended."""
        by_age = 0 < self.age_s <= now_s - file.opened_s
        return by_age or 0 < self.idle_s <= now_s - file.appended_s
