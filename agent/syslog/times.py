"""Timestamps of syslog messages: RFC 3339; that of RFC 3164, without year and zone; what devices make of both. [pure]"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

import pyarrow as pa
import pyarrow.compute as pc

from agent.syslog.columns import mapped, text, without
from qanat import ops
from qanat.columns import TIMESTAMP_TYPE

# RFC 5424, 6.2.3, and nine digits of a second where it has six.
_RFC3339 = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$"

# What else ISO 8601 has, as some senders write it: no zone, no colon in it, a comma, more digits.
_ISO8601 = re.compile(
    r"(?P<clock>\d{4}-\d\d-\d\d[T ]\d\d(?::\d\d(?::\d\d)?)?)(?:(?<=:\d\d:\d\d)[.,](?P<fraction>\d+))?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)

_MONTHS = {name: number for number, name in enumerate(
    (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
)}  # fmt: skip
_BSD = re.compile(rb"[A-Z][a-z]{2} [ 0-3]?[0-9] [012][0-9]:[0-5][0-9]:[0-5][0-9]")

# What devices write in its place, as rsyslog and syslog-ng take it. Cisco's have a number, their own name and another number
# before it, all optional, and a sign for a clock that is not set; a fraction; a zone; a colon. Others: the month in any case, a
# day of one digit, a year before the month or before the hour.
_DEVICE = (
    rb"(?s)^ ?(?:\d{1,10}: )?(?:(?P<host>[A-Za-z][\w.-]{0,254}): )?(?:\d{1,10}: )?[*.]?"
    rb"(?P<stamp>(?:\d{4} )?(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec) +\d{1,2} (?:\d{4} )?\d{1,2}:\d\d:\d\d"
    rb"(?:\.\d{1,9})?(?: [A-Z]{2,5}:)?):?(?: (?P<rest>.*))?$"
)
_STAMP = re.compile(
    rb"(?:(?P<first>\d{4}) )?(?P<month>[A-Za-z]{3}) +(?P<day>\d+) (?:(?P<year>\d{4}) )?"
    rb"(?P<hour>\d+):(?P<minute>\d+):(?P<second>\d+)(?:\.(?P<fraction>\d+))?(?: (?P<zone>[A-Z]+):)?"
)
_UNIVERSAL = (b"UTC", b"GMT")  # other short names mean several zones: theirs is what `timezone=` says

# How far a sender's clock, or its zone, may be ahead of ours: further is last year's.
AHEAD = timedelta(days=1)
YEARS_BACK = 8  # between two leap years, across 2100

BSD_BYTES = 15  # "Oct 11 22:14:15"


def rfc3339(values: pa.Array, zone: tzinfo | None) -> pa.Array:
    """In ns; null for what is none. Where all of them can be cast nothing else is looked at: what Arrow takes is clear enough.
    `zone`: of those without one; None is this machine's."""
    as_text = text(values)
    try:
        return as_text.cast(TIMESTAMP_TYPE)
    except pa.ArrowInvalid:
        pass
    good = pc.match_substring_regex(as_text, pattern=_RFC3339)
    try:
        found = pc.if_else(good, as_text, ops.NO_TEXT).cast(TIMESTAMP_TYPE)
    except pa.ArrowInvalid:  # the 30th of February
        found = pa.nulls(len(as_text), TIMESTAMP_TYPE)
    if found.null_count == as_text.null_count:
        return found
    others = mapped(without(as_text, pc.is_valid(found)), lambda value: _one(value, zone), pa.int64())
    return pc.coalesce(found, others.cast(TIMESTAMP_TYPE))


def _one(value: str | None, zone: tzinfo | None) -> int | None:
    """In ns."""
    found = None if value is None else _ISO8601.fullmatch(value)
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found["clock"] + (found["zone"] or ""))
        at = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return _ns(at, found["fraction"] or "")


def bsd(values: pa.Array, now: datetime, zone: tzinfo | None) -> pa.Array:
    """In ns; null for what is none. The year is the latest that does not put it more than a day beyond `now`. `zone`: None is
    this machine's."""

    def one(value: bytes) -> int | None:
        return _moment(value, now, zone) if _BSD.fullmatch(value) else None

    return mapped(values, one, pa.int64()).cast(TIMESTAMP_TYPE)


def device(rest: pa.Array, now: datetime, zone: tzinfo | None) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Of what begins with a device's timestamp: that in ns, the host before it, and what comes after it; else nulls."""
    host, stamps, after = pc.extract_regex(rest, pattern=_DEVICE).flatten()
    moments = mapped(stamps, lambda value: _moment(value, now, zone), pa.int64()).cast(TIMESTAMP_TYPE)
    is_none = pc.is_null(moments)
    host = without(host, pc.or_(is_none, ops.equal(host, b"")))
    return moments, host, without(after, is_none)


def _moment(stamp: bytes, now: datetime, zone: tzinfo | None) -> int | None:
    """In ns."""
    found = _STAMP.fullmatch(stamp)
    if found is None or (month := _MONTHS.get(found["month"].lower())) is None:
        return None
    zone = UTC if found["zone"] in _UNIVERSAL else zone
    rest = (month, *(int(found[name]) for name in ("day", "hour", "minute", "second")))
    said = found["first"] or found["year"]
    for year in (int(said),) if said else range(now.year + 1, now.year - YEARS_BACK, -1):
        try:
            at = datetime(year, *rest, tzinfo=zone).astimezone(UTC)  # type: ignore[misc, arg-type]
        except (ValueError, OverflowError):  # the 29th of February
            continue
        if said or at <= now + AHEAD:
            return _ns(at, (found["fraction"] or b"").decode())
    return None


def _ns(at: datetime, fraction: str) -> int | None:
    """Of a whole second and digits of a fraction; None where 64 bits don't hold it."""
    found = int(at.timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9])
    return found if abs(found) < 1 << 63 else None
