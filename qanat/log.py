"""Logging set up once by each program: readable lines on a terminal, JSON lines when piped; always to stderr.

Lines of libraries (kazoo, grpc) that use the standard `logging` come out in the same form, from warning up.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO

# structlog would import rich, and with it pygments, to draw tracebacks: 10 MB in every daemon for what is printed plain.
_rich_was_absent = "rich" not in sys.modules
if _rich_was_absent:
    sys.modules["rich"] = None  # type: ignore[assignment]  # "can't be imported", says the import system
import structlog  # noqa: E402

if _rich_was_absent:
    del sys.modules["rich"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(*, level: str = "info", form: str | None = None, stream: TextIO | None = None) -> None:
    """Set up structlog and `logging`. `form`: "text", "json", or None to choose by whether stderr is a terminal."""
    stream = sys.stderr if stream is None else stream
    os.environ.setdefault(
        "GRPC_VERBOSITY", "NONE"
    )  # its core would write lines of its own form; errors are raised too
    text = stream.isatty() if form is None else form == "text"
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[Any] = (
        [_console(stream)]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        # Loggers live as long as their module: a later call of this function must reach them too.
        cache_logger_on_first_use=False,
    )
    _configure_standard_logging(shared, rendering, level, stream)


def _console(stream: TextIO) -> Any:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _configure_standard_logging(shared: list[Any], rendering: list[Any], level: str, stream: TextIO) -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(LEVELS[level], logging.WARNING) if level != "debug" else logging.DEBUG)
