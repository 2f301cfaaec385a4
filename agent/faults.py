"""What can be wrong with arguments that several kinds of sources take, for their `check`, and for their `open`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qanat import limits
from qanat.component import Wrong
from qanat.errors import ConfigError


def refuse(what: str, wrong: Iterable[Wrong]) -> None:
    """For `open`, of a source that nobody has checked. Raises ConfigError if anything is wrong."""
    if found := [f"{what}({each.argument}=): {each.why}." for each in wrong]:
        raise ConfigError(*found)


def wrong_event_bytes(event_bytes: int) -> Iterable[Wrong]:
    """Of a source that makes events no larger than it is told."""
    if not 1 <= event_bytes <= limits.EVENT_BYTES_MAX:
        yield Wrong("event_bytes", f"{event_bytes} must be from 1 to {limits.EVENT_BYTES_MAX}")


def wrong_pattern(argument: str, pattern: str) -> Iterable[Wrong]:
    """Of an argument that is one of Python's regular expressions."""
    try:
        re.compile(pattern, re.DOTALL)
    except re.error as error:
        yield Wrong(argument, f'"{pattern}" is no regular expression: {error}')
