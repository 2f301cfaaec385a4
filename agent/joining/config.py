"""What the sources that read files accept about events of more than one line. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from qanat import limits
from qanat.component import Wrong
from qanat.config import Bytes, Seconds
from qanat.errors import ConfigError

if TYPE_CHECKING:
    from agent.joining.joiner import Joiner

Format = Literal["lines", "cri", "docker"]

# Of one event: the deepest stack traces that are met have some hundred lines; each costs 12 bytes of offsets.
LINES_MAX = 1000

# How long the end of an event is waited for: the lines of one are written within milliseconds. As fluent-bit and
# filebeat have it.
TIMEOUT_S = 5.0


class Multiline(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="multiline"):
    """Which lines are one event. Patterns are regular expressions (RE2) that are looked for in each line; `^` is its beginning.

    `start`: a line with it begins an event, and others belong to the one before. `continue`: a line with it belongs to the event
    before, and others begin one. Both: a line with `start`, or without `continue`, begins one.
    """

    start: str = ""  # the pattern of the first lines of events
    continue_: str = msgspec.field(default="", name="continue")  # the pattern of all their other lines
    timeout: Seconds = TIMEOUT_S  # an event that nothing was added to for so long is over
    max_lines: Annotated[int, msgspec.Meta(ge=1)] = LINES_MAX  # beyond it, an event goes on as another one
    max_bytes: Bytes = limits.EVENT_BYTES_MAX  # as max_lines

    def __post_init__(self) -> None:
        if not (self.start or self.continue_):
            raise ValueError(
                'multiline() needs a pattern: multiline(start="^\\\\d{4}-"), or continue="^\\\\s"'
            )
        if not 1 <= self.max_bytes <= limits.EVENT_BYTES_MAX:
            raise ValueError(
                f"max_bytes={self.max_bytes} must be from 1 to {limits.EVENT_BYTES_MAX}, the largest event"
            )


def wrong_multiline(multiline: Multiline | None) -> Iterable[Wrong]:
    """Of an argument `multiline`: patterns that are none. *Blocking*: imports Arrow, if there is any."""
    try:
        joiner_for(multiline, "lines", lambda name, n: None)
    except ConfigError as error:
        yield Wrong("multiline", str(error).removesuffix("."))


def joiner_for(multiline: Multiline | None, form: Format, count: Callable[[str, int], None]) -> Joiner | None:
    """None when every line is an event. Raises ConfigError for a pattern that is none."""
    if multiline is None and form == "lines":
        return None
    from agent.joining.joiner import Joiner

    return Joiner(multiline, form, count)
