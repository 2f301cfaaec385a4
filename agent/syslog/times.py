"""Timestamps of syslog messages: RFC 3339, and the one of RFC 3164, which has neither year nor zone. [pure]"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

import pyarrow as pa
import pyarrow.compute as pc

from agent.syslog.columns import mapped, text
from qanat.columns import TIMESTAMP_TYPE

# RFC 5424, 6.2.3, and nine digits of a second where it has six.
_RFC3339 = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$"

_BSD = re.compile(rb"([A-Z][a-z]{2}) ([ 0-3]?[0-9]) ([012][0-9]):([0-5][0-9]):([0-5][0-9])")
_MONTHS = {name: number for number, name in enumerate(
    (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
)}  # fmt: skip

# How far a sender's clock, or its zone, may be ahead of ours: further is last year's.
AHEAD = timedelta(days=1)
YEARS_BACK = 8  # between two leap years, across 2100

BSD_BYTES = 15  # "Oct 11 22:14:15"


def rfc3339(values: pa.Array) -> pa.Array:
    """In ns; null for what is none. Where all of them can be cast nothing else is looked at: what Arrow takes is clear enough."""
    as_text = text(values)
    try:
        return as_text.cast(TIMESTAMP_TYPE)
    except pa.ArrowInvalid:
        pass
    try:
        good = pc.match_substring_regex(as_text, pattern=_RFC3339)
        as_text = pc.if_else(good, as_text, pa.scalar(None, pa.string()))
        return as_text.cast(TIMESTAMP_TYPE)
    except pa.ArrowInvalid:  # the 30th of February
        return mapped(as_text, _one, TIMESTAMP_TYPE)


def _one(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def bsd(values: pa.Array, now: datetime, zone: tzinfo | None) -> pa.Array:
    """In ns; null for what is none. The year is the latest that does not put it more than a day beyond `now`. `zone`: None is
    this machine's."""

    def one(value: bytes) -> int | None:
        found = _BSD.fullmatch(value)
        if found is None or (month := _MONTHS.get(found[1])) is None:
            return None
        day, hour, minute, second = (int(each) for each in found.groups()[1:])
        for year in range(now.year + 1, now.year - YEARS_BACK, -1):
            try:
                local = datetime(year, month, day, hour, minute, second, tzinfo=zone)
                found_at = local.astimezone(UTC)
            except (ValueError, OverflowError):  # the 29th of February
                continue
            if found_at <= now + AHEAD:
                return int(found_at.timestamp()) * 1_000_000_000
        return None

    return mapped(values, one, pa.int64()).cast(TIMESTAMP_TYPE)
