"""Virtual time, the one source of chance, and the story of what happened."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any, NoReturn

STORY_STEPS = 120  # the last steps that a violation tells
EVENTS_MAX = 60_000  # a schedule has some thousand events; one that has so many runs in circles


class Violation(Exception):
    """An invariant did not hold. `story` is what led there, a line for each step."""

    def __init__(self, seed: int, what: str, story: list[str]) -> None:
        super().__init__(f"seed {seed}: {what}")
        self.seed = seed
        self.what = what
        self.story = story


class Kernel:
    """A discrete event loop. Equal seeds give equal schedules, event for event."""

    def __init__(self, seed: int, *, tell: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)
        self._draw = self.random.random
        self.now_s = 0.0
        self.events = 0
        self.is_calm = False  # no fault comes any more: what is left to do need not be done in small steps
        self.faults: Counter[str] = Counter()
        self._tell = tell
        self._story: deque[tuple[float, str, object]] = deque(maxlen=STORY_STEPS)
        # When, in which order, for whom (for anybody), what.
        self.queue: list[tuple[float, int, Process | None, Callable[..., None], tuple[Any, ...]]] = []
        self.scheduled = 0

    def after(self, delay_s: float, action: Callable[..., None], *args: Any) -> None:
        """Do this later; of two things for the same moment the one that was scheduled first."""
        self.scheduled += 1
        heapq.heappush(self.queue, (self.now_s + delay_s, self.scheduled, None, action, args))

    def run_until(self, time_s: float) -> None:
        """Everything that happens up to then."""
        queue = self.queue
        while queue and queue[0][0] <= time_s:
            self.now_s, _, process, action, args = heapq.heappop(queue)
            self.events += 1
            if self.events > EVENTS_MAX:
                self.fail(f"more than {EVENTS_MAX} events: the cluster runs in circles")
            if process is None or (process.alive and not process.paused):
                action(*args)
            else:
                process.hear(action, *args)
        self.now_s = time_s

    def chance(self, probability: float) -> bool:
        """True this often."""
        return probability > 0.0 and self._draw() < probability

    def between(self, low: float, high: float) -> float:
        """A number between these."""
        return low + (high - low) * self._draw()

    def note(self, who: str, what: object) -> None:
        """Add to the story; turned into text only when somebody reads it."""
        self._story.append((self.now_s, who, what))
        if self._tell is not None:
            self._tell(_line(self.now_s, who, what))

    def fault(self, kind: str, who: str, what: str = "") -> None:
        """Count a fault that was injected, and tell it."""
        self.faults[kind] += 1
        self.note(who, f"*** {kind} {what}")

    def fail(self, what: str) -> NoReturn:
        """Raises Violation."""
        raise Violation(self.seed, f"{what} (at {self.now_s:.3f} s)", [_line(*step) for step in self._story])


class Process:
    """Something that can die, and that hears nothing while it is paused."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.alive = True
        self.paused = False
        self._unheard: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def soon(self, delay_s: float, action: Callable[..., None], *args: Any) -> None:
        """Do this later, if it still lives."""
        kernel = self.kernel  # what `after` does, in one call: most of what is scheduled is scheduled here
        kernel.scheduled += 1
        heapq.heappush(kernel.queue, (kernel.now_s + delay_s, kernel.scheduled, self, action, args))

    def at(self, time_s: float, action: Callable[..., None], *args: Any) -> None:
        """Do this at that time, exactly: what was to happen at one moment happens in the order in which it was asked for."""
        self.kernel.scheduled += 1
        heapq.heappush(self.kernel.queue, (time_s, self.kernel.scheduled, self, action, args))

    def hear(self, action: Callable[..., None], *args: Any) -> None:
        """Do this now, or on waking."""
        if not self.alive:
            return
        if self.paused:
            self._unheard.append((action, args))
        else:
            action(*args)

    def pause(self) -> None:
        """Not scheduled from now on."""
        self.paused = True

    def wake(self) -> None:
        """Scheduled again; what arrived meanwhile comes first, in order."""
        if not self.paused:
            return
        self.paused = False
        self.kernel.note(self.name, "wakes")
        while self._unheard and self.alive and not self.paused:
            action, args = self._unheard.popleft()
            action(*args)


def _line(now_s: float, who: str, what: object) -> str:
    return f"{now_s:9.4f}  {who:<10} {what}"
