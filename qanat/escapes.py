"""Flume's escapes: `%{attribute}` and `%Y`-like ones for the time of an event. [pure]

The set is Flume OG's (its user guide's "Output bucketing", and what its code knew beyond), with `%e` and `%n` from
Flume NG, and `%Z`. As in OG: `%t` is Unix time in milliseconds (not a tab), `%k` and `%l` are not padded, and a missing
attribute is the empty string. Names of days and months are English, whatever the locale of the process.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from qanat.errors import ConfigError

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _hour_12(at: datetime) -> int:
    return (at.hour + 11) % 12 + 1


_CALENDAR: Mapping[str, Callable[[datetime], str]] = {
    "a": lambda at: _DAYS[at.weekday()][:3],
    "A": lambda at: _DAYS[at.weekday()],
    "b": lambda at: _MONTHS[at.month - 1][:3],
    "B": lambda at: _MONTHS[at.month - 1],
    "c": lambda at: (
        f"{_DAYS[at.weekday()][:3]} {_MONTHS[at.month - 1][:3]} {at.day} {at:%H:%M:%S} {at.year:04d}"
    ),
    "d": lambda at: f"{at.day:02d}",
    "D": lambda at: f"{at.month:02d}/{at.day:02d}/{at.year % 100:02d}",
    "e": lambda at: f"{at.day}",
    "H": lambda at: f"{at.hour:02d}",
    "I": lambda at: f"{_hour_12(at):02d}",
    "j": lambda at: f"{at.timetuple().tm_yday:03d}",
    "k": lambda at: f"{at.hour}",
    "l": lambda at: f"{_hour_12(at)}",
    "m": lambda at: f"{at.month:02d}",
    "M": lambda at: f"{at.minute:02d}",
    "n": lambda at: f"{at.month}",
    "p": lambda at: "AM" if at.hour < 12 else "PM",
    "P": lambda at: "am" if at.hour < 12 else "pm",
    "S": lambda at: f"{at.second:02d}",
    "y": lambda at: f"{at.year % 100:02d}",
    "Y": lambda at: f"{at.year:04d}",
    "z": lambda at: f"{at:%z}"[:5],
    "Z": lambda at: at.tzname() or "",
}
_EPOCH: Mapping[str, Callable[[int], str]] = {
    "s": lambda ns: str(ns // 1_000_000_000),
    "t": lambda ns: str(ns // 1_000_000),
}
KNOWN = frozenset(_CALENDAR) | frozenset(_EPOCH)

# How finely an escape tells times apart, in ns; what is not listed changes at minutes at most (as all of the world's
# time zones have had offsets of whole minutes since 1972).
MINUTE_NS = 60_000_000_000
_FINER_NS = {"S": 1_000_000_000, "s": 1_000_000_000, "c": 1_000_000_000, "t": 1_000_000}

BODY = "body"
NANOS = "nanos"  # as `%{nanos}`: the timestamp itself
PRIORITY = "priority"
PRIORITY_DEFAULT = "INFO"  # what OG gave an event that came without one
_ALIASES = {"hostname": "host"}  # OG knew both

_ESCAPE = re.compile(r"%(?:\{(?P<name>[^{}]*)\}|(?P<open>\{)|(?P<code>.)|(?P<end>$))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Literal:
    """Text as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """`%{name}`."""

    name: str


@dataclass(frozen=True, slots=True)
class Time:
    """`%Y`, `%s`, ...: `code` is the letter."""

    code: str

    @property
    def resolution_ns(self) -> int:
        """Two times within one such step expand to the same text."""
        return _FINER_NS.get(self.code, MINUTE_NS)

    def expand(self, timestamp_ns: int, zone: tzinfo) -> str:
        """The text for this time."""
        if self.code in _EPOCH:
            return _EPOCH[self.code](timestamp_ns)
        return _CALENDAR[self.code](datetime.fromtimestamp(timestamp_ns // 1_000_000_000, zone))


Piece = Literal | Attribute | Time


def parse(text: str, argument: str, *, with_body: bool = False) -> list[Piece]:
    """The pieces of a template. Raises ConfigError that lists every bad escape, with its column in `argument`.

    `with_body`: `%{body}` is one of them; for names of files it is a fault."""
    pieces: list[Piece] = []
    faults: list[str] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        if match.start() > at:
            pieces.append(Literal(text[at : match.start()]))
        at = match.end()
        fault = _fault(match, with_body)
        if fault is None:
            pieces.append(_piece(match))
        else:
            faults.append(f"{argument} {text!r}, column {match.start() + 1}: {fault}")
    if at < len(text):
        pieces.append(Literal(text[at:]))
    if faults:
        raise ConfigError(*faults)
    return pieces


def _piece(match: re.Match[str]) -> Piece:
    name, code = match["name"], match["code"]
    if name is not None:
        return Attribute(_ALIASES.get(name, name))
    return Literal("%") if code == "%" else Time(code)


def _fault(match: re.Match[str], with_body: bool) -> str | None:
    name, code = match["name"], match["code"]
    if match["open"]:
        return "'%{' has no closing '}'"
    if name is not None:
        return None if with_body and name == BODY else _name_fault(name)
    if code is None:
        return "a lone '%' at the end; write '%%' for a percent sign"
    if code != "%" and code not in KNOWN:
        return f"unknown escape '%{code}'; {_suggestion(code)}"
    return None


def _name_fault(name: str) -> str | None:
    if not name.strip():
        return "'%{}' names no attribute"
    if name == BODY:
        return "'%{body}' would make a file for every event; extract an attribute from it, with regex(...) for example"
    return None


def _suggestion(code: str) -> str:
    if code.swapcase() in KNOWN:
        return f"did you mean '%{code.swapcase()}'?"
    near = difflib.get_close_matches(code.lower(), KNOWN, n=1)
    known = " ".join(f"%{letter}" for letter in sorted(KNOWN, key=lambda letter: (letter.lower(), letter)))
    return (
        f"did you mean '%{near[0]}'?"
        if near
        else f"known are {known}, %{{attribute}}, and %% for a percent sign"
    )


def zone(name: str) -> tzinfo:
    """The time zone of this IANA name. Raises ConfigError with a suggestion."""
    if name.upper() in ("UTC", "Z", "GMT"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"timezone {name!r} is not known on this host; use a name of the IANA database as 'Europe/Berlin' or 'UTC' "
            "(the system's package tzdata, or pip install tzdata, brings it)"
        ) from error
