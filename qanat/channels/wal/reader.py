"""A log's stream, read for one of its cursors."""

from __future__ import annotations

from collections.abc import Callable

from qanat.batch import Batch
from qanat.channels.reader import ChannelReader
from qanat.channels.streams import stream_name
from qanat.channels.wal.log import Log
from qanat.channels.wal.tape import Tape
from qanat.component import Context
from qanat.errors import RetryableError


class LogReader(ChannelReader):
    """A batch is a record: what was put together is read together. `on_move`: told when the cursor was acknowledged."""

    def __init__(
        self, log: Log, cursor: str, context: Context, *, on_move: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(context, log.guard)
        self._log = log
        self._cursor = cursor
        self._on_move = on_move
        self._stream = stream_name(context.logical_node, log.incarnation)
        self._tape = Tape(log, self._stream, context.clock.wall_ns)

    @property
    def stream(self) -> str:
        """A new one when the log is deleted."""
        return self._stream

    def bounds(self) -> tuple[int, int]:
        """What is in the log, and durable."""
        with self._log.guard:
            return self._log.segments.oldest, self._log.durable

    def position(self) -> int:
        """Of the cursor."""
        return self._log.cursors.position(self._cursor)

    def fetch(self, number: int, max_bytes: int) -> Batch:
        """One record. Raises RetryableError."""
        try:
            return self._tape.fetch(number)
        except OSError as error:
            raise RetryableError(
                f"the log of {self._stream!r} can't be read at {number}: {error}; see to its disk"
            ) from error

    def move(self, position: int) -> None:
        """In memory; saved a little later."""
        self._log.acknowledge(self._cursor, position)
        self._on_move()

    def lost(self, start: int, end: int) -> int:
        """What is before the log was given, but for what was skipped; what damage took inside of it was counted then."""
        with self._log.guard:
            return max(0, self._log.segments.given(start, min(end, self._log.segments.oldest)))

    def save(self) -> None:
        """Raises RetryableError."""
        self._log.cursors.save(self._cursor)

    def lag_bytes(self) -> int:
        """Bytes of records that were not read."""
        number = self._number if self._number is not None else self.position()
        return self._tape.unread_bytes(max(number, self.bounds()[0]))

    def close(self) -> None:
        """Release the file."""
        super().close()
        self._tape.close()
