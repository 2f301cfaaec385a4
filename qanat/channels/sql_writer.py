"""The thread of `sqlChannel` that writes: one transaction at a time, repeated until its outcome is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from qanat.channels.sql_connections import DiskFullError
from qanat.errors import PermanentError, QanatError, RetryableError
from qanat.rpc.backoff import backoff_s

if TYPE_CHECKING:
    from qanat.channels.sql_database import Database, Dropped, Group, State

log = structlog.get_logger(__name__)

RETRY_S_MAX = 30.0  # a database that was away for minutes is found within half of one
FULL_S_MAX = 1.0  # looking at a full disk costs nothing, and meanwhile destinations make room
CLOSE_S_MAX = (
    10.0  # a stopping agent waits so long for the last transaction; what isn't accepted is read again
)


class Writer:
    """Calls `take` for what to write, commits it, and calls `done` with what came of it; both are called with `changed` held.

    `take` gives None when there is nothing to do yet, and how long to wait for it at most. While the disk is full,
    `relief` gives what can be done all the same, and `relieved` is called with what came of it. `trouble`: why the last attempt
    failed, None while all is well; `failure`: why nothing will ever be written again."""

    def __init__(
        self,
        database: Database,
        changed: threading.Condition,
        take: Callable[[bool], Group | float | None],
        done: Callable[[Group, State | Dropped], None],
        relief: Callable[[Group], Group | None],
        relieved: Callable[[Group, Group, State | Dropped], bool],
    ) -> None:
        self.trouble: str | None = None
        self.failure: QanatError | None = None
        self._database = database
        self._changed = changed
        self._take = take
        self._done = done
        self._relief = relief
        self._relieved = relieved
        self._closing = False
        # A daemon, so that a server that never answers can't keep a process alive; `close` waits for it.
        self._thread = threading.Thread(target=self._run, name="qanat-channel-sql", daemon=True)
        self._thread.start()

    def close(self) -> bool:
        """*Blocking* until all is written, or the database is away, or has not answered for a while; whether it ended."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S_MAX)
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raises why nothing can be written now, or ever."""
        if self.failure is not None:
            raise self.failure
        if self.trouble is not None:
            raise RetryableError(self.trouble, retry_after_s=1.0)

    def _run(self) -> None:
        try:
            while (group := self._next()) is not None:
                result = self._commit(group)
                if result is None:
                    return
                with self._changed:
                    self._done(group, result)
                    self._changed.notify_all()
        except QanatError as error:
            log.error("channel_failed", where=self._database.where, error=str(error))
            with self._changed:
                self.failure = error
                self._changed.notify_all()

    def _next(self) -> Group | None:
        """*Blocking* until there is something to write; None at the end."""
        with self._changed:
            while True:
                taken = self._take(self._closing)
                if taken is not None and not isinstance(taken, float):
                    return taken
                if self._closing:
                    return None
                self._changed.wait(taken)

    def _commit(self, group: Group) -> State | Dropped | None:
        """*Blocking* until it is certain that the group is stored; None when closing, and it is not."""
        attempt = 0
        while True:
            try:
                result = self._database.commit(group)
            except DiskFullError as error:
                attempt += 1
                if not self._relieve(group) and not self._wait(attempt, error, FULL_S_MAX):
                    self._relieve(group)
                    return None
                continue
            except RetryableError as error:
                attempt += 1
                if not self._wait(attempt, error, RETRY_S_MAX):
                    return None
                continue
            if attempt:
                log.info("channel_database_is_back", where=self._database.where, attempts=attempt)
            self.trouble = None
            return result

    def _relieve(self, group: Group) -> bool:
        """Instead of `group`, which finds no room: what only deletes. Whether there is more room then."""
        with self._changed:
            relief = self._relief(group)
        if relief is None:
            return False
        try:
            result = self._database.commit(relief)
        except (RetryableError, PermanentError):
            return False
        with self._changed:
            is_room = self._relieved(group, relief, result)
            self._changed.notify_all()
        return is_room

    def _wait(self, attempt: int, error: RetryableError, pause_s_max: float) -> bool:
        """False when closing: whoever wrote what is not accepted has it still."""
        if attempt == 1:
            log.warning("channel_waits_for_database", error=str(error))
        deadline_s = time.monotonic() + backoff_s(attempt, pause_s_max)
        with self._changed:
            self.trouble = str(error)
            self._changed.notify_all()
            while not self._closing and (left_s := deadline_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return not self._closing
