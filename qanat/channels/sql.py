"""Guarantee: in order, exactly once, whatever crashes: what the source is told is safe has been committed to the database,
together with the source's positions.

    web : tail("/var/log/app.log") | sqlChannel(capacity=1GiB) | agentE2EChain("c1", "c2") ;
    app : tail("/var/log/app.log") | sqlChannel(url="postgresql://qanat@db/qanat", password_env="DB") | agentE2ESink("c1") ;

Without `url` it is an SQLite file in the agent's state directory. Any database that SQLAlchemy has a driver for will do;
PostgreSQL is tested. Several agents may share one: rows carry the node. Needs the extra `qanat[sql]`. `jdbcChannel` is another
name for it.

Batches are committed together, every `commit_interval`. While the database is away the source waits, and the channel tries
again with growing pauses; a commit whose reply was lost is looked up. Of two agents with one name the later has the channel,
the earlier stops.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import structlog

from qanat.batch import Batch
from qanat.channels import streams
from qanat.channels.backlog import Backlog, room_bytes
from qanat.channels.cursors import Cursors
from qanat.channels.sql_connections import check_database
from qanat.channels.sql_reader import SqlReader
from qanat.channels.sql_writer import CLOSE_S_MAX, Writer
from qanat.channels.taken import Taken
from qanat.component import Channel, ChannelConfig, Context, Cursor, Fill, Full, Level, Source, Wrong
from qanat.config import Bytes, Seconds
from qanat.errors import ConfigError, RetryableError
from qanat.limits import GIB, MIB

if TYPE_CHECKING:
    from qanat.channels.sql_database import Database, Dropped, Group, State

log = structlog.get_logger(__name__)

# Committed batches that are kept in memory too: readers that keep up never ask the database.
HOT_BYTES_MAX = 8 * MIB

# Batches that wait for a transaction: the next one grows while one is under way, and the source waits when it is this large.
PENDING_BYTES_MAX = 8 * MIB

# How much of the capacity is freed at once at the expense of who is not required: not a transaction for each batch.
ROOM_SHARE = 1 / 32

# Acknowledgements alone are worth a transaction no more often: one that is lost costs a second delivery, which is dropped.
CURSOR_S = 0.2


class SqlChannelConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`sqlChannel(capacity=1GiB, url="postgresql://user@host/database", password_file="/path")`"""

    capacity: Bytes = 1 * GIB  # bytes that may wait, some 500 more for each batch
    url: str = ""  # an SQLAlchemy URL without a password; none: a file in the state directory
    password_file: str = ""  # the first line of this file is the password
    password_env: str = ""  # the environment variable with the password
    commit_interval: Seconds = 0.01  # the least time between two transactions


class SqlChannel(Channel):
    """See the module."""

    name: ClassVar[str] = "sqlChannel"
    Config = SqlChannelConfig
    keeps: ClassVar[Level] = Level.E2E

    def __init__(self, config: SqlChannelConfig, context: Context) -> None:
        super().__init__(config, context)
        self.config = config
        self.changed = threading.Condition()
        self.stream = ""
        self.database: Database | None = None
        self.cursors = Cursors((), 0)
        self.oldest = self.end = 0  # what is committed
        self.hot = Backlog(0)  # the newest of it
        self.stored_bytes = 0
        self._writer: Writer | None = None
        self._taken, self._safe = Taken(), Taken()
        self._pending: Group | None = None
        self._pending_bytes = self._writing_bytes = 0
        self._stored_cursors: dict[str, int] = {}
        self._refused: Batch | None = None
        self._is_flush_wanted = False
        self._written_at_s = 0.0

    @classmethod
    def check(cls, config: SqlChannelConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from super().check(config)
        yield from check_database(config.url, config.password_file, config.password_env)

    def open(self, cursors: Sequence[Cursor]) -> Mapping[str, int]:
        """Become the one who writes for this node. Raises ConfigError, and RetryableError when the database is away."""
        self.database = self._database()
        try:
            state = self.database.open([cursor.name for cursor in cursors])
        except BaseException:
            self.database.close()
            raise
        self.stream = streams.stream_name(self.context.logical_node, state.incarnation)
        self.cursors = Cursors(cursors, state.oldest, state.cursors)
        self._stored_cursors = dict(state.cursors)
        self._taken, self._safe = Taken(state.positions), Taken(state.positions)
        self._learn(state)
        self.hot = Backlog(state.end)
        self._pending = self._group(state.end)
        self._writer = Writer(
            self.database, self.changed, self._take, self._done, self._relief, self._relieved
        )
        return dict(state.positions)

    def put(self, batch: Batch) -> bool:
        """Take it for the next transaction, refuse it, or drop it; see Channel.put."""
        with self.changed:
            assert self._writer is not None
            self._writer.check()
            new = self._taken.new_part(batch)
            if new is None:
                return True
            self._refused = None
            if new.count and not self._has_room_in_time(new):
                self._writer.check()
                self._refused = new
                self._wake_writer()
                if self.config.full is Full.BLOCK:
                    return False
                self.context.count(streams.DROPPED, new.count)
            elif new.count:
                self._append(new)
            self._taken.advance(new.stream, new.end)
            self._pending_group().positions[new.stream] = new.end
            self._wake_writer()
        return True

    def wait_for_room(self, timeout_s: float) -> None:
        """*Blocking* until rows were deleted or written, or the time is over."""
        with self.changed:
            self._wake_writer()
            self.changed.wait_for(lambda: self._refused is None or self._has_room(self._refused), timeout_s)

    def accepted(self) -> Mapping[str, int]:
        """What is committed."""
        with self.changed:
            return self._safe.moved()

    def forget(self, streams: Sequence[str]) -> None:
        """Their rows go with the next transaction."""
        with self.changed:
            self._taken.forget(streams)
            self._safe.forget(streams)
            pending = self._pending_group()
            pending.forgotten.update(streams)
            for stream in streams:
                pending.positions.pop(stream, None)

    def next_number(self) -> int:
        """Behind what was put, committed or not."""
        return self._pending_group().end

    def reader(self, cursor: str) -> Source:
        """A view of the rows."""
        return SqlReader(self, cursor)

    def fill(self) -> Fill:
        """What is in the table, and what waits for it."""
        with self.changed:
            waiting_bytes = self.stored_bytes + self._pending_bytes + self._writing_bytes
            return Fill(
                waiting_bytes,
                self._pending_group().end - self.oldest,
                self.config.capacity,
                self.config.events,
            )

    def flush(self) -> None:
        """*Blocking* until the cursors as they are now are stored. Raises RetryableError, FencedError."""
        with self.changed:
            if self._writer is None:
                return
            wanted = dict(self.cursors.at)
            self._is_flush_wanted = True
            self._wake_writer()

            def is_over() -> bool:
                assert self._writer is not None
                stored = all(self._stored_cursors[name] >= at for name, at in wanted.items())
                return stored or bool(self._writer.trouble or self._writer.failure)

            if not self.changed.wait_for(is_over, CLOSE_S_MAX):
                raise RetryableError(f"the database of sqlChannel has not answered for {CLOSE_S_MAX:g} s")
            self._writer.check()

    def close(self) -> None:
        """Write what was put and acknowledged, if the database is there."""
        writer, self._writer = self._writer, None
        if writer is not None and not writer.close():
            log.warning(
                "channel_database_does_not_answer", node=self.context.logical_node, waited_s=CLOSE_S_MAX
            )
        if self.database is not None:
            self.database.close()

    def acknowledge(self, cursor: str, position: int) -> None:
        """A reader's cursor moved."""
        with self.changed:
            self.cursors.move(cursor, position)
            self.hot.free_before(self.cursors.passed(self.hot.end))
            self.changed.notify_all()

    # Opening.

    def _database(self) -> Database:
        node = f"{self.context.physical_node}/{self.context.logical_node}"
        try:
            from qanat.channels.sql_database import NAME_CHARACTERS_MAX, Database
        except ImportError as error:
            raise ConfigError(f"sqlChannel needs SQLAlchemy ({error}): install qanat[sql]") from error
        if len(node) > NAME_CHARACTERS_MAX:
            raise ConfigError(f"sqlChannel: the name {node!r} has more than {NAME_CHARACTERS_MAX} characters")
        url = self.config.url or f"sqlite:///{self.context.state_dir / 'channel.db'}"
        return Database(url, self._password(), node)

    def _password(self) -> Callable[[], str] | None:
        """How to get it; it is read for every connection, since it may be replaced."""
        file, variable = self.config.password_file, self.config.password_env
        if file and variable:
            raise ConfigError("sqlChannel: give password_file or password_env, not both")
        if variable:
            if variable not in os.environ:
                raise ConfigError(
                    f"sqlChannel: the environment variable {variable!r} (password_env) is not set"
                )
            return lambda: os.environ[variable]
        if not file:
            return None
        _first_line(file)
        return lambda: _first_line(file)

    def _learn(self, state: State) -> None:
        self.oldest, self.end, self.stored_bytes = state.oldest, state.end, state.stored_bytes

    # Room.

    def _has_room_in_time(self, batch: Batch) -> bool:
        """A channel that drops waits for the transaction under way, and for the deletion of what others need no more, before
        it calls itself full."""
        if self._has_room(batch) or self.config.full is Full.BLOCK:
            return self._has_room(batch)
        self._refused = batch
        self._wake_writer()
        self.changed.wait_for(lambda: self._has_room(batch) or self._is_hopeless(batch), CLOSE_S_MAX)
        return self._has_room(batch)

    def _is_hopeless(self, batch: Batch) -> bool:
        """No transaction will make room for it before a reader moves, or the database is back."""
        assert self._writer is not None
        is_away = self._writer.trouble is not None or self._writer.failure is not None
        return is_away or not self._fits(batch, self._spare())

    def _has_room(self, batch: Batch) -> bool:
        pending = self._pending_bytes + self._writing_bytes
        return (not pending or pending + room_bytes(batch) <= PENDING_BYTES_MAX) and self._fits(
            batch, self.oldest
        )

    def _fits(self, batch: Batch, oldest: int) -> bool:
        """Whether it fits the capacity when what is before `oldest` is deleted. The largest batch fits when nothing waits."""
        end = self._pending_group().end
        if oldest >= end:
            return True
        # What is stored is some of it, as far as events tell.
        waiting = self.stored_bytes * (self.end - max(oldest, self.oldest)) // max(1, self.end - self.oldest)
        used = max(0, waiting) + self._pending_bytes + self._writing_bytes
        events = self.config.events
        return used + room_bytes(batch) <= self.config.capacity and (
            not events or end - oldest + batch.count <= events
        )

    def _spare(self) -> int:
        """What is before this need not wait."""
        return max(self.cursors.passed(self.end), min(self.cursors.expendable(), self.end))

    # The writer's side; `changed` is held.

    def _pending_group(self) -> Group:
        assert self._pending is not None, "the channel is not open"
        return self._pending

    def _group(self, first: int) -> Group:
        from qanat.channels.sql_database import Group

        return Group(first, first)

    def _append(self, new: Batch) -> None:
        from qanat.channels.sql_database import Row

        pending = self._pending_group()
        batch = streams.numbered(new, self.stream, pending.end)
        pending.rows.append(Row(batch, new))
        pending.end = batch.end
        self._pending_bytes += room_bytes(batch)

    def _wake_writer(self) -> None:
        self.changed.notify_all()

    def _take(self, closing: bool) -> Group | float | None:
        pending = self._pending_group()
        moved = self._moved_cursors()
        is_urgent = bool(pending.positions or pending.rows) or self._is_flush_wanted or self._can_free()
        if not (is_urgent or moved or (closing and pending.forgotten)):
            return None
        interval_s = self.config.commit_interval if is_urgent else CURSOR_S
        wait_s = self._written_at_s + interval_s - time.monotonic()
        if wait_s > 0 and not closing:
            return wait_s
        pending.cursors = moved
        pending.passed = self.cursors.passed(self.end)
        pending.expendable = min(self.cursors.expendable(), self.end)
        if self._refused is not None:
            pending.needed_bytes = self._missing_bytes(self._refused)
        self._pending = self._group(pending.end)
        self._pending_bytes, self._writing_bytes = 0, self._pending_bytes
        self._is_flush_wanted = False
        self._written_at_s = time.monotonic()
        return pending

    def _moved_cursors(self) -> dict[str, int]:
        return {name: at for name, at in self.cursors.at.items() if at != self._stored_cursors[name]}

    def _relief(self, group: Group) -> Group | None:
        """What can be done although there is no room for `group`: move cursors, and delete what all have passed."""
        moved, passed = self._moved_cursors(), self.cursors.passed(self.end)
        if not moved and passed <= self.oldest:
            return None
        relief = self._group(group.first)
        relief.cursors, relief.passed = moved, passed
        return relief

    def _relieved(self, group: Group, relief: Group, result: State | Dropped) -> bool:
        """`group` is tried again, and must not take back what its relief has done."""
        group.cursors.update(relief.cursors)
        group.passed = max(group.passed, relief.passed)
        self._stored_cursors.update(relief.cursors)
        from qanat.channels.sql_database import State

        if isinstance(result, State):
            self._learn(result)
            return False
        self.oldest = max(self.oldest, result.end)
        self.stored_bytes -= result.room_bytes
        return result.room_bytes > 0

    def _can_free(self) -> bool:
        """Somebody waits for room that a deletion may give."""
        return self._refused is not None and not self._has_room(self._refused) and self._spare() > self.oldest

    def _missing_bytes(self, batch: Batch) -> int:
        """All that has to go, so that `batch` fits; when it is events that are too many, as large as they are on average."""
        used = self.stored_bytes + self._pending_bytes
        missing = used + room_bytes(batch) - self.config.capacity
        if self.config.events:
            events = self._pending_group().end - self.oldest + batch.count - self.config.events
            missing = max(missing, self.stored_bytes * events // max(1, self.end - self.oldest))
        return 0 if missing <= 0 else max(missing, int(self.config.capacity * ROOM_SHARE))

    def _done(self, group: Group, result: State | Dropped) -> None:
        for row in group.rows:
            self.hot.append(row.batch)
        from qanat.channels.sql_database import State

        if isinstance(result, State):
            self._learn(result)
        else:
            self.end, self.oldest = group.end, max(self.oldest, result.end)
            self.stored_bytes += self._writing_bytes - result.room_bytes
        for stream, position in group.positions.items():
            self._safe.advance(stream, position)
        self._stored_cursors.update(group.cursors)
        self._writing_bytes = 0
        while self.hot.size_bytes > HOT_BYTES_MAX:
            self.hot.free_first()


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise ConfigError(f"sqlChannel: can't read password_file {path!r}: {error.strerror}") from error
