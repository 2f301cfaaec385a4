"""When a file is finished and the next one of its bucket begins. [pure]"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collector.files.opened import OpenFile
from qanat.batch import Batch


@dataclass(frozen=True, slots=True)
class Rolling:
    """Limits on a file; 0 is none. Batches are cut at the limit of events. Size is looked at after each batch, age and
    idleness at each commit, so a file exceeds these by one batch, or by one commit interval, at most."""

    age_s: float
    size_bytes: int
    events: int
    idle_s: float

    def is_full(self, file: OpenFile) -> bool:
        """By what is in it."""
        by_size = 0 < self.size_bytes <= file.size_bytes
        return by_size or 0 < self.events <= file.events

    def parts(self, batch: Batch, file: OpenFile | None) -> Iterator[Batch]:
        """The batch, cut where `file` (None: a new one) is full of events, and each file after it."""
        # At least one: a file may be from before the limit was lowered.
        room = max(1, self.events - file.events) if file is not None else self.events
        if not self.events or batch.count <= room:
            yield batch
            return
        from collector.files.cutting import cut_events

        yield from cut_events(batch, room, self.events)

    def is_over(self, file: OpenFile, now_s: float) -> bool:
        """By time: since it was opened, or since something was appended."""
        by_age = 0 < self.age_s <= now_s - file.opened_s
        return by_age or 0 < self.idle_s <= now_s - file.appended_s
