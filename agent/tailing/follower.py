"""When to look at which paths: after what inotify reports, and after some time anyway."""

from __future__ import annotations

import os
from collections.abc import Iterable

from agent.tailing.discovery import Discovery
from agent.tailing.late import Late
from agent.tailing.registry import Registry
from agent.tailing.situation import Situation
from agent.tailing.tracker import Tracker
from agent.tailing.watch import Changes, Watch
from qanat.clock import Clock

# Rotated files are looked at this often while they may still grow; more often when `rotate_wait` is short. It
# adds to the gap in delivery at a rotation; one look is an fstat(2) for each of them.
_SETTLE_INTERVAL_S = 0.25


class Follower:
    """Shows the tracker what may have changed. `paths`: those that are watched and seemed to exist."""

    def __init__(
        self,
        discovery: Discovery,
        registry: Registry,
        situation: Situation,
        tracker: Tracker,
        late: Late,
        clock: Clock,
        *,
        rescan_s: float,
        poll_interval_s: float,
        rotate_wait_s: float,
    ) -> None:
        self._discovery = discovery
        self._registry = registry
        self._situation = situation
        self._tracker = tracker
        self._late = late
        self._clock = clock
        self._rescan_s = rescan_s
        self._poll_interval_s = poll_interval_s
        self._settle_interval_s = min(_SETTLE_INTERVAL_S, rotate_wait_s / 10)
        self._link_directories: set[str] = set()
        self._rescan_at_s = self._settle_at_s = 0.0
        self.paths: set[str] = set()

    @property
    def due_s(self) -> float:
        """When to look at something without having been told to, monotonic."""
        return min(self._rescan_at_s, self._settle_at_s) if self._situation.away else self._rescan_at_s

    def follow(self, watch: Watch, changes: Changes) -> None:
        """Look at what changed, and at what is due."""
        now_s = self._clock.monotonic_s()
        if changes.rescan or now_s >= self._rescan_at_s:
            self.scan(watch)
        elif changes.paths or self._situation.recheck:
            self._check(watch, self._meant(changes.paths))
        if self._situation.away and now_s >= self._settle_at_s:
            self._settle_at_s = now_s + self._settle_interval_s
            self._tracker.settle()
            self._check(watch, ())

    def scan(self, watch: Watch) -> None:
        """Look at everything: directories and files."""
        found = self._discovery.walk()
        directories = [*found.directories, *map(os.path.dirname, self._situation.links)]
        if watch.keep(directories):
            found = self._discovery.walk()  # what appeared before its directory was watched
        interval_s = self._rescan_s if watch.active else self._poll_interval_s
        self._rescan_at_s = self._clock.monotonic_s() + interval_s
        vanished = self.paths.union(self._registry.homes()).difference(found.files)
        self.paths = set(found.files)
        self._check(watch, [*vanished, *found.files])
        self._late.revisit()
        self._registry.retry_stalled()

    def check_again(self) -> None:
        """Look at the paths that something was found out about."""
        self._tracker.check(self._situation.take_recheck())

    def _meant(self, changed: set[str]) -> list[str]:
        """The watched paths among those that changed, also through links."""
        meant: dict[str, None] = {}
        for path in changed:
            if path in self.paths or self._discovery.matches(path):
                meant[path] = None
                self.paths.add(path)
            meant.update(dict.fromkeys(self._situation.links.get(path, ())))
        return list(meant)

    def _check(self, watch: Watch, paths: Iterable[str]) -> None:
        again = self._situation.take_recheck()
        self._tracker.check(dict.fromkeys((*paths, *again)))
        # A file that was cut is looked at again as a new one. Whatever still changes then is seen by the next poll.
        self.check_again()
        self._watch_links(watch)

    def _watch_links(self, watch: Watch) -> None:
        """Watch the directories of links' targets; what happened there before is looked for once more."""
        directories = set(map(os.path.dirname, self._situation.links))
        new = directories - self._link_directories
        if new:
            self._link_directories = directories
            watch.add(new)
            self._situation.recheck.update(*self._situation.links.values())
