"""One destination's view of `sqlChannel`: from memory while it keeps up, else in pages from the database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from qanat.batch import Batch
from qanat.channels import streams
from qanat.channels.reader import ChannelReader
from qanat.errors import RetryableError
from qanat.limits import MIB
from qanat.rpc.backoff import backoff_s

if TYPE_CHECKING:
    from qanat.channels.sql import SqlChannel

log = structlog.get_logger(__name__)

PAGE_BYTES_MAX = 4 * MIB  # a page costs three queries: some milliseconds on a server nearby
RETRY_S_MAX = 10.0  # the longest pause between attempts to read while the database is away


class SqlReader(ChannelReader):
    """See the module."""

    def __init__(self, channel: SqlChannel, cursor: str) -> None:
        super().__init__(channel.context, channel.changed)
        self._channel = channel
        self._cursor = cursor
        self._page: list[Batch] = []
        self._attempt = 0
        self._away_until_s = 0.0

    @property
    def stream(self) -> str:
        return self._channel.stream

    def bounds(self) -> tuple[int, int]:
        """What is committed."""
        with self._changed:
            return self._channel.oldest, self._channel.end

    def position(self) -> int:
        return self._channel.cursors[self._cursor]

    def read(self, max_bytes: int) -> Batch | None:
        """As every reader; nothing while the database is away."""
        if self._is_away():
            return None
        try:
            batch = super().read(max_bytes)
        except RetryableError as error:
            self._attempt += 1
            self._away_until_s = time.monotonic() + backoff_s(self._attempt, RETRY_S_MAX)
            if self._attempt == 1:
                log.warning("channel_reader_waits_for_database", cursor=self._cursor, error=str(error))
            return None
        self._attempt = 0
        return batch

    def fetch(self, number: int, max_bytes: int) -> Batch:
        """From memory, from the page at hand, or from a new one."""
        with self._changed:
            hot = self._channel.hot
            if hot.oldest <= number < hot.end:
                self._page = []
                return hot.covering(number)
        for index, batch in enumerate(self._page):
            if batch.start <= number < batch.end:
                del self._page[:index]
                return batch
        assert self._channel.database is not None
        self._page = self._channel.database.page(self.stream, number, PAGE_BYTES_MAX)
        if not self._page:  # deleted meanwhile, for all that is committed
            return streams.gap(self.stream, self.bounds()[1], self.bounds()[1], 0)
        return self._page[0]

    def move(self, position: int) -> None:
        self._channel.acknowledge(self._cursor, position)

    def lost(self, start: int, end: int) -> int:
        return self._channel.cursors.newly_lost(self._cursor, start, end)

    def save(self) -> None:
        """*Blocking* until the cursor is stored where it is now. Raises RetryableError."""
        self._channel.flush()

    def lag_bytes(self) -> int:
        """Payload bytes that were not read; what is not in memory is estimated by its share of the events."""
        with self._changed:
            channel = self._channel
            number = self.position() if self._number is None else self._number
            if number >= channel.hot.oldest:
                return channel.hot.bytes_from(number)
            waiting = channel.end - max(number, channel.oldest)
            return channel.stored_bytes * waiting // max(1, channel.end - channel.oldest)

    def close(self) -> None:
        """Forget the page."""
        super().close()
        self._page = []

    @property
    def has_data(self) -> bool:
        """Not while the database is away."""
        return not self._is_away() and super().has_data

    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until_s
