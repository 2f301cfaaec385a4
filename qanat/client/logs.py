"""Records of the standard library's logging as events."""

from __future__ import annotations

import logging
from typing import Any

from qanat.client.publisher import Publisher

# What Flume OG calls Python's levels, from the highest.
_PRIORITIES = ((50, "FATAL"), (40, "ERROR"), (30, "WARN"), (20, "INFO"))

# Loggers that a connection of the handler itself writes to: their records would be sent about sending.
_OWN = ("qanat.client", "grpc")


class QanatHandler(logging.Handler):
    """`QanatHandler("localhost:4141")`, or with a publisher of yours. The message, as formatted, is the body; attributes are
    `priority`, `logger`, `level`, `thread`, and what `extra={"qanat": {...}}` has.

    By default a full buffer drops records rather than to hold up the program; `publisher.dropped` counts them."""

    def __init__(self, publisher: Publisher | str, level: int = logging.NOTSET, **options: Any) -> None:
        super().__init__(level)
        self._owns = isinstance(publisher, str)
        self.publisher = (
            Publisher(publisher, **{"full": "drop", **options}) if isinstance(publisher, str) else publisher
        )

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler.emit."""
        if record.name.startswith(_OWN):
            return
        try:
            more = getattr(record, "qanat", None)
            attributes = {
                "priority": next((name for least, name in _PRIORITIES if record.levelno >= least), "DEBUG"),
                "logger": record.name,
                "level": record.levelname,
                "thread": record.threadName or "",
                **({str(name): str(value) for name, value in more.items()} if isinstance(more, dict) else {}),
            }
            self.publisher.send(
                self.format(record), timestamp_ns=round(record.created * 1e9), attributes=attributes
            )
        except Exception:  # noqa: BLE001  # a program must not fail for its log; the library says how to report it
            self.handleError(record)

    def flush(self) -> None:
        """Begin to send; `publisher.flush` waits for the agent."""

    def close(self) -> None:
        """Wait for the agent, if the publisher is this handler's own."""
        if self._owns:
            self.publisher.close()
        super().close()
