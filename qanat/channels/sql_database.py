"""What `sqlChannel` keeps in a database, and the transactions on it. The only file that imports SQLAlchemy.

    qanat_channel            one row a node: incarnation of its stream, epoch of the process that may write, next number
    qanat_channel_batch      events that wait, a row for each batch; numbers `[first, last)`
    qanat_channel_position   how far each stream of the source was taken
    qanat_channel_cursor     how far each destination has acknowledged

Everything that changes them begins with a compare-and-set of the row in `qanat_channel`: epoch and next number are what the
writer thinks they are. So a transaction whose outcome is unknown is simply repeated: it either finds that it was
committed, since the next number is the one it wanted, or it wasn't; an earlier attempt that is still under way holds the
row's lock until it is decided.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import event, exc

from qanat import limits
from qanat.batch import Batch, PayloadForm
from qanat.channels import sql_connections
from qanat.channels.backlog import room_bytes
from qanat.channels.sql_connections import DiskFullError, is_disk_full
from qanat.errors import ConfigError, FencedError, PermanentError, RetryableError

# A name is part of keys, and not every database has keys of any length.
NAME_CHARACTERS_MAX = 255

# Rows looked at together to decide how many to read or to drop: a page of small batches.
HEADS_MAX = 256

# Rows that one transaction deletes: what it takes in SQLite's journal has a limit (`sql_connections.JOURNAL_BYTES`).
DROPS_MAX = 4096

# Every payload fits, and MySQL chooses a type that is large enough.
_PAYLOAD_BYTES_MAX = 2 * limits.BATCH_BYTES_MAX

_METADATA = sa.MetaData()
_NODE = sa.String(NAME_CHARACTERS_MAX)
_CHANNEL = sa.Table(
    "qanat_channel",
    _METADATA,
    sa.Column("node", _NODE, primary_key=True),
    sa.Column("incarnation", sa.String(32), nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("next", sa.BigInteger, nullable=False),
)
_BATCH = sa.Table(
    "qanat_channel_batch",
    _METADATA,
    sa.Column("node", _NODE, primary_key=True),
    sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("room_bytes", sa.BigInteger, nullable=False),
    sa.Column("form", sa.String(16), nullable=False),
    sa.Column("timestamp_ns", sa.BigInteger, nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),
    sa.Column("source_stream", sa.Text, nullable=False),
    sa.Column("source_start", sa.BigInteger, nullable=False),
    sa.Column("source_end", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.LargeBinary(_PAYLOAD_BYTES_MAX), nullable=False),
)
_POSITION = sa.Table(
    "qanat_channel_position",
    _METADATA,
    sa.Column("node", _NODE, primary_key=True),
    sa.Column("key", sa.String(32), primary_key=True),  # a hash of the stream's name, which may be long
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
)
_CURSOR = sa.Table(
    "qanat_channel_cursor",
    _METADATA,
    sa.Column("node", _NODE, primary_key=True),
    sa.Column("name", sa.String(NAME_CHARACTERS_MAX), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class State:
    """What is stored for a node. Events `[oldest, end)` wait and count for `stored_bytes` of a capacity."""

    incarnation: str
    epoch: int
    oldest: int
    end: int
    stored_bytes: int
    positions: dict[str, int]
    cursors: dict[str, int]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows that a transaction deleted: what they counted for, and the number behind the last of them (0: none)."""

    room_bytes: int
    end: int


@dataclass(frozen=True, slots=True)
class Row:
    """A batch of the channel's stream, and what it was in its source's."""

    batch: Batch
    source: Batch


@dataclass(slots=True)
class Group:
    """What one transaction does; numbers `[first, end)` are new.

    `passed`: all cursors are beyond. If more than what is before it has to go for `needed_bytes` of room, then not
    beyond `expendable`."""

    first: int
    end: int
    rows: list[Row] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    cursors: dict[str, int] = field(default_factory=dict)
    passed: int = 0
    expendable: int = 0
    needed_bytes: int = 0


class Database:
    """One node's part of a database. *Thread*: any; the pool has a connection for each."""

    def __init__(self, url: str, password: Callable[[], str] | None, node: str) -> None:
        """`password` is asked for at every connection. Raises ConfigError for a URL that can't be used."""
        self.node = node
        self._url = _parse(url)
        self._password = password
        self._epoch = 0
        try:
            self._engine = sa.create_engine(self._url, hide_parameters=True, **self._options())
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
            raise ConfigError(
                f"sqlChannel: {self.where} can't be used: {error}; install its driver"
            ) from error
        event.listen(self._engine, "do_connect", self._before_connect)
        if set_up := sql_connections.SET_UP.get(self._engine.dialect.name):
            event.listen(self._engine, "connect", set_up)

    def _options(self) -> dict[str, Any]:
        return sql_connections.options(self._url.get_backend_name(), self._url.query)

    @property
    def where(self) -> str:
        """The database, as it may be shown."""
        return self._url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Release all connections."""
        self._engine.dispose()

    def open(self, cursors: Sequence[str]) -> State:
        """Become the one writer, keep just these cursors. *Blocking*. Raises RetryableError, ConfigError."""
        with self._explained("open"):
            for last in (False, False, True):
                try:
                    _METADATA.create_all(self._engine)
                    if self._engine.dialect.name == "sqlite":
                        sql_connections.reserve_journal(self._url.database or "")
                    with self._engine.begin() as connection:
                        return self._open(connection, cursors)
                except (
                    exc.DBAPIError
                ) as error:  # another agent created the tables, or the row, at the same time
                    if last or error.connection_invalidated or isinstance(error, exc.OperationalError):
                        raise
        raise AssertionError("unreachable")

    def commit(self, group: Group) -> State | Dropped:
        """One transaction, or the discovery that it was committed before. *Blocking*.

        Gives what was dropped, or, when that is not known any more, all there is. Raises RetryableError:
        repeat it, with the same group; FencedError: another process has the node."""
        with self._explained("store"), self._engine.begin() as connection:
            mine = sa.and_(_CHANNEL.c.node == self.node, _CHANNEL.c.epoch == self._epoch)
            move = sa.update(_CHANNEL).where(mine, _CHANNEL.c.next == group.first).values(next=group.end)
            if connection.execute(move).rowcount == 0:
                self._check_committed(connection, group)
                return self._state(connection)
            if group.rows:
                connection.execute(sa.insert(_BATCH), [_row_values(self.node, row) for row in group.rows])
            self._write_positions(connection, group.positions, group.forgotten)
            self._write_cursors(connection, group.cursors)
            return self._drop(connection, group)

    def page(self, stream: str, number: int, max_bytes: int) -> list[Batch]:
        """Consecutive batches from the one that covers `number`, or begins behind it, up to about `max_bytes`.

        *Blocking*. Raises RetryableError."""
        with self._explained("read"), self._engine.connect() as connection:
            mine = _BATCH.c.node == self.node
            covering = sa.select(sa.func.max(_BATCH.c.first)).where(mine, _BATCH.c.first <= number)
            start = connection.execute(covering).scalar() or 0
            heads = sa.select(_BATCH.c.first, _BATCH.c.room_bytes).where(
                mine, _BATCH.c.first >= start, _BATCH.c.last > number
            )
            page: list[int] = []
            for first, size in connection.execute(heads.order_by(_BATCH.c.first).limit(HEADS_MAX)):
                max_bytes -= size
                if page and max_bytes < 0:
                    break
                page.append(first)
            if not page:
                return []
            rows = (
                sa.select(_BATCH)
                .where(mine, _BATCH.c.first.between(page[0], page[-1]))
                .order_by(_BATCH.c.first)
            )
            return [_batch(stream, dict(row)) for row in connection.execute(rows).mappings()]

    # Opening.

    def _open(self, connection: sa.Connection, cursors: Sequence[str]) -> State:
        newer = sa.update(_CHANNEL).where(_CHANNEL.c.node == self.node).values(epoch=_CHANNEL.c.epoch + 1)
        if connection.execute(newer).rowcount == 0:
            new = {"node": self.node, "incarnation": secrets.token_hex(6), "epoch": 1, "next": 0}
            connection.execute(sa.insert(_CHANNEL).values(new))
        state = self._state(connection)
        gone = [name for name in state.cursors if name not in cursors]
        if gone:
            connection.execute(
                sa.delete(_CURSOR).where(_CURSOR.c.node == self.node, _CURSOR.c.name == sa.bindparam("gone")),
                [{"gone": name} for name in gone],
            )
        known = {name: state.cursors.get(name, state.oldest) for name in cursors}
        self._write_cursors(connection, known)
        self._epoch = state.epoch
        return State(
            state.incarnation,
            state.epoch,
            state.oldest,
            state.end,
            state.stored_bytes,
            state.positions,
            known,
        )

    def _state(self, connection: sa.Connection) -> State:
        channel = connection.execute(sa.select(_CHANNEL).where(_CHANNEL.c.node == self.node)).mappings().one()
        stored = sa.select(sa.func.min(_BATCH.c.first), sa.func.sum(_BATCH.c.room_bytes))
        oldest, stored_bytes = connection.execute(stored.where(_BATCH.c.node == self.node)).one()
        positions = sa.select(_POSITION.c.stream, _POSITION.c.position).where(_POSITION.c.node == self.node)
        cursors = sa.select(_CURSOR.c.name, _CURSOR.c.position).where(_CURSOR.c.node == self.node)
        return State(
            channel["incarnation"],
            channel["epoch"],
            channel["next"] if oldest is None else oldest,
            channel["next"],
            int(stored_bytes or 0),
            {row[0]: row[1] for row in connection.execute(positions)},
            {row[0]: row[1] for row in connection.execute(cursors)},
        )

    # Within a commit.

    def _check_committed(self, connection: sa.Connection, group: Group) -> None:
        query = sa.select(_CHANNEL.c.epoch, _CHANNEL.c.next).where(_CHANNEL.c.node == self.node)
        epoch, following = connection.execute(query).one()
        if epoch != self._epoch:
            raise FencedError(
                f"another process has opened the channel of {self.node!r} in {self.where}, so this one stops; give each "
                "agent a name of its own"
            )
        if following != group.end:
            raise PermanentError(
                f"the channel of {self.node!r} in {self.where} goes on at {following}, this process wrote [{group.first}, "
                f"{group.end}): somebody changed the table qanat_channel, or restored it from a backup"
            )

    def _write_positions(
        self, connection: sa.Connection, positions: Mapping[str, int], forgotten: set[str]
    ) -> None:
        """Delete and insert: every database can do that."""
        old = [{"old": _key(stream)} for stream in (*positions, *forgotten)]
        if old:
            theirs = sa.and_(_POSITION.c.node == self.node, _POSITION.c.key == sa.bindparam("old"))
            connection.execute(sa.delete(_POSITION).where(theirs), old)
        new = [
            {"node": self.node, "key": _key(stream), "stream": stream, "position": position}
            for stream, position in positions.items()
        ]
        if new:
            connection.execute(sa.insert(_POSITION), new)

    def _write_cursors(self, connection: sa.Connection, cursors: Mapping[str, int]) -> None:
        for name, position in cursors.items():
            one = sa.and_(_CURSOR.c.node == self.node, _CURSOR.c.name == name)
            if connection.execute(sa.update(_CURSOR).where(one).values(position=position)).rowcount == 0:
                connection.execute(sa.insert(_CURSOR).values(node=self.node, name=name, position=position))

    def _drop(self, connection: sa.Connection, group: Group) -> Dropped:
        """Delete what all cursors have passed, and more when there has to be room."""
        before = self._few(connection, group.passed)
        dropped = self._rows_until(connection, before)
        if dropped.room_bytes < group.needed_bytes and group.expendable > before:
            before = self._drop_up_to(connection, group)
            dropped = self._rows_until(connection, before)
        if dropped.end:
            connection.execute(sa.delete(_BATCH).where(self._rows_before(before)))
        return dropped

    def _few(self, connection: sa.Connection, number: int) -> int:
        """What is before it are at most so many rows as one transaction deletes; the next one takes the next."""
        rows = sa.select(_BATCH.c.last).where(self._rows_before(number)).order_by(_BATCH.c.first)
        last = connection.execute(rows.offset(DROPS_MAX - 1).limit(1)).scalar()
        return number if last is None else int(last)

    def _rows_before(self, number: int) -> sa.ColumnElement[bool]:
        return sa.and_(_BATCH.c.node == self.node, _BATCH.c.first < number, _BATCH.c.last <= number)

    def _rows_until(self, connection: sa.Connection, number: int) -> Dropped:
        total = sa.select(sa.func.sum(_BATCH.c.room_bytes), sa.func.max(_BATCH.c.last))
        size, end = connection.execute(total.where(self._rows_before(number))).one()
        return Dropped(int(size or 0), end or 0)

    def _drop_up_to(self, connection: sa.Connection, group: Group) -> int:
        heads = sa.select(_BATCH.c.last, _BATCH.c.room_bytes).where(self._rows_before(group.expendable))
        before, freed = group.passed, 0
        for last, size in connection.execute(heads.order_by(_BATCH.c.first).limit(HEADS_MAX)):
            before, freed = max(before, last), freed + size
            if freed >= group.needed_bytes:
                break
        return before

    # Connections.

    def _before_connect(self, dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:
        """With the password as it is now: it may have been replaced."""
        if self._password is None:
            return
        try:
            parameters["password"] = self._password()
        except ConfigError as error:  # it was there when the channel was opened
            raise RetryableError(str(error)) from None

    @contextlib.contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (exc.DBAPIError, exc.TimeoutError) as error:
            cause = getattr(error, "orig", None) or error
            reason = " ".join(str(cause).split())
            kind = DiskFullError if is_disk_full(cause) else RetryableError
            raise kind(
                f"cannot {verb} events of {self.node!r} in the database {self.where}: {reason}; nothing is lost, it is "
                "tried again"
            ) from None  # its own text could show more of the connection than we do


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError as error:
        raise ConfigError(
            'sqlChannel: the URL can\'t be parsed; write for example url="postgresql://user@host/database"'
        ) from error
    if parsed.password is not None or "password" in parsed.query:
        raise ConfigError(
            f"sqlChannel: a password in the URL of {parsed.host or parsed.database!r} would be shown to everybody who may see "
            'the flow; write password_file="/path" or password_env="NAME" instead'
        )
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _key(stream: str) -> str:
    return hashlib.blake2b(stream.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _row_values(node: str, row: Row) -> dict[str, Any]:
    batch, source = row.batch, row.source
    return {
        "node": node,
        "first": batch.start,
        "last": batch.end,
        "room_bytes": room_bytes(batch),
        "form": batch.form.value,
        "timestamp_ns": batch.timestamp_ns,
        "attributes": msgspec.json.encode(dict(batch.attributes)).decode(),
        "source_stream": source.stream,
        "source_start": source.start,
        "source_end": source.end,
        "payload": _payload(batch),
    }


def _payload(batch: Batch) -> bytes:
    if isinstance(batch.payload, bytes):
        return batch.payload
    from qanat import columns  # Arrow: only for who has columns

    return columns.encode(batch.payload)


def _batch(stream: str, row: Mapping[str, Any]) -> Batch:
    form = PayloadForm(row["form"])
    payload: Any = bytes(row["payload"])
    if form is PayloadForm.COLUMNS:
        from qanat import columns

        payload = columns.decode(payload)
    attributes = msgspec.json.decode(row["attributes"], type=dict[str, str])
    count = row["last"] - row["first"]
    return Batch(stream, row["first"], row["last"], count, form, payload, row["timestamp_ns"], attributes)
