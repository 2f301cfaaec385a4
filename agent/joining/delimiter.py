"""Flume OG's `delim` and `delimMode` of `tail`: a pattern between events, in the words of `multiline`. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from agent.joining.config import Multiline
from qanat.component import Wrong
from qanat.errors import ConfigError

DelimMode = Literal["exclude", "prev", "next"]

LINE_END = "\n"

# As a character, and as regular expressions write it.
_LINE_ENDS = (LINE_END, r"\n")

_BEHIND = ("(?=", ")")  # what follows belongs to the next event


def multiline_of(what: str, delim: str, mode: DelimMode) -> Multiline | None:
    """Which lines are one event; None when each is. Raises ConfigError for what can't be said of lines: it says what to write.

    Events end where lines do, so a delimiter can be a line end, alone or with what the next line begins with."""
    if mode == "exclude" and delim in _LINE_ENDS:
        return None
    behind = next((delim.removeprefix(each) for each in _LINE_ENDS if delim.startswith(each)), "")
    begin, end = _BEHIND
    if mode == "exclude":
        is_next = behind.startswith(begin) and behind.endswith(end)
        behind = behind[len(begin) : -len(end)] if is_next else ""
    if mode == "prev" or not behind or any(each in behind for each in _LINE_ENDS):
        raise ConfigError(f"{what}: {_instead(delim, mode)}.")
    return Multiline(start=f"^(?:{behind})")


def wrong_delim(delim: str, mode: DelimMode) -> Iterable[Wrong]:
    """See Component.check."""
    try:
        multiline_of("", delim, mode)
    except ConfigError:
        yield Wrong("delim", _instead(delim, mode))


def _instead(delim: str, mode: DelimMode) -> str:
    shown = delim.replace("\\", "\\\\").replace(LINE_END, "\\n").replace('"', '\\"')
    return (
        f'delim="{shown}", delimMode={mode} has no counterpart: events are made of whole lines, whose ends are not kept. '
        'Events that begin with a pattern are delim="\\nPATTERN", delimMode=next, or multiline=multiline(start="^PATTERN"); '
        'those whose other lines have one are multiline=multiline(continue="PATTERN"); for an event a line leave both out'
    )
