"""Noticing changes: inotify on directories, or the passing of time; and a bell that any thread may ring."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from agent.tailing.inotify import IN_CREATE, IN_IGNORED, IN_ISDIR, IN_MOVED_TO, IN_Q_OVERFLOW, Inotify
from qanat.errors import ConfigError

_log = structlog.get_logger()
_APPEARED = IN_CREATE | IN_MOVED_TO


@dataclass(slots=True)
class Changes:
    """Paths at which something happened; `rescan`: something happened that only a full scan can tell."""

    paths: set[str] = field(default_factory=set)
    rescan: bool = False
    woken: bool = False


class Watch:
    """Waits for changes in directories.

    Without inotify (`active` is False), changes have to be looked for; only the bell works. Watches are made before a
    directory is listed, so that nothing falls between.
    """

    def __init__(self, mode: str) -> None:
        self._inotify: Inotify | None = None
        if mode != "poll":
            try:
                self._inotify = Inotify()
            except OSError as error:
                if mode == "inotify":
                    raise ConfigError(
                        f'tail(watch="inotify") can\'t have inotify on this host: {error}. '
                        'Raise fs.inotify.max_user_instances, or use watch="auto".'
                    ) from error
                self._give_up("init", error)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller = select.poll()
        self._poller.register(self._bell, select.POLLIN)
        if self._inotify is not None:
            self._poller.register(self._inotify.fd, select.POLLIN)
        self._directories: dict[int, set[str]] = {}
        self._descriptors: dict[str, int] = {}
        self._closed = False

    @property
    def active(self) -> bool:
        """Whether changes are noticed without looking."""
        return self._inotify is not None

    def add(self, directories: Iterable[str]) -> None:
        """Watch these directories as well; those that don't exist are skipped."""
        for directory in directories:
            if self._inotify is None:
                return
            try:
                self._add(self._inotify, directory)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                    self._give_up(directory, error)

    def keep(self, directories: Iterable[str]) -> bool:
        """Watch exactly these; repeated, because a path may mean another directory by now. Whether any is new."""
        before = dict(self._descriptors)
        wanted = dict.fromkeys(directories)
        for directory in [known for known in self._descriptors if known not in wanted]:
            self._remove(directory)
        self.add(wanted)
        return any(before.get(directory) != descriptor for directory, descriptor in self._descriptors.items())

    def wait(self, timeout_s: float) -> Changes:
        """*Blocking* up to `timeout_s` for a change or the bell."""
        changes = Changes()
        for fd, _event in self._poller.poll(max(0.0, timeout_s) * 1000):
            if fd == self._bell:
                changes.woken = True
                os.eventfd_read(self._bell)
            elif self._inotify is not None:
                self._collect(self._inotify, changes)
        return changes

    def wake(self) -> None:
        """End a wait. *Thread*: any."""
        if not self._closed:
            os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Release everything; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        os.close(self._bell)

    def _add(self, inotify: Inotify, directory: str) -> None:
        descriptor = inotify.watch(directory)
        if self._descriptors.get(directory) != descriptor:
            self._remove(directory)
            self._descriptors[directory] = descriptor
            self._directories.setdefault(descriptor, set()).add(directory)

    def _remove(self, directory: str) -> None:
        descriptor = self._descriptors.pop(directory, None)
        if descriptor is None:
            return
        names = self._directories.get(descriptor, set())
        names.discard(directory)
        if not names:
            self._directories.pop(descriptor, None)
            if self._inotify is not None:
                self._inotify.unwatch(descriptor)

    def _collect(self, inotify: Inotify, changes: Changes) -> None:
        last: tuple[int, int, str] | None = None
        for event in inotify.events():
            if event == last:
                continue
            last = event
            descriptor, mask, name = event
            if mask & IN_Q_OVERFLOW or not name or (mask & IN_ISDIR and mask & _APPEARED):
                changes.rescan = True
            if mask & IN_IGNORED:
                for directory in self._directories.pop(descriptor, set()):
                    self._descriptors.pop(directory, None)
            if name:
                changes.paths.update(
                    os.path.join(directory, name) for directory in self._directories.get(descriptor, ())
                )

    def _give_up(self, what: str, error: OSError) -> None:
        _log.warning(
            "inotify_unavailable",
            what=what,
            error=str(error),
            consequence="files are polled",
            remedy="raise fs.inotify.max_user_watches or max_user_instances",
        )
        if self._inotify is not None:
            self._poller.unregister(self._inotify.fd)
            self._inotify.close()
            self._inotify = None
