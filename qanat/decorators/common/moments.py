"""Points in time out of text, with vector operations: a regular expression finds the fields, arithmetic does the calendar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from qanat import ops
from qanat.decorators.common.layouts import MONTHS, Layout
from qanat.decorators.common.patterns import Extraction

_INT = pa.int64()
_DAYS_OF_MONTH = pa.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], _INT)
_MONTHS = pa.array([month[:3].lower() for month in MONTHS], pa.string())
_YEARS = (1678, 2261)  # what 64 bits of nanoseconds hold
_NS_MAX = (1 << 63) - 1  # of them: signed
# Of the calendar and the clock: no choice of ours.
_SECOND_NS = 1_000_000_000
_DAY_S = 86_400
_DATE = frozenset(
    ("month", "month_name", "day")
)  # without any of them, and without a year, it is the time of a day


@dataclass(frozen=True, slots=True)
class Moments:
    """int64 each, null where no time was found or there is no such time. `ns` is without an offset: as if in UTC."""

    year: pa.Array
    month: pa.Array
    day: pa.Array
    hour: pa.Array
    minute: pa.Array
    second: pa.Array
    ns: pa.Array
    offset_s: pa.Array  # null: none was written


class Reader:
    """Reads times of one layout. Raises ConfigError."""

    def __init__(self, layout: Layout) -> None:
        self._fields = layout.fields
        self._extraction = Extraction(layout.pattern, range(1, len(layout.fields) + 1), "format")

    def read(self, column: pa.Array, now_ns: int) -> Moments:
        """`now_ns`: a time without a year is the last one before it, or within a day after it."""
        found = self._extraction.find(column)
        fields = {name: _given(found[number]) for number, name in enumerate(self._fields, 1)}
        if "epoch" in fields:
            return _of_epoch(fields["epoch"], fields.get("fraction"))
        return _of_calendar(fields, len(column), now_ns)


def in_zone(moments: Moments, zone: str) -> pa.Array:
    """int64 ns since 1970 UTC: by the offset that was written, else in this zone (a name of the IANA database)."""
    local = moments.ns
    if zone != "UTC":
        aware = pc.assume_timezone(
            local.cast(pa.timestamp("ns")), zone, ambiguous="earliest", nonexistent="earliest"
        )
        local = aware.cast(pa.timestamp("ns", "UTC")).cast(_INT)
    shifted = ops.subtract(moments.ns, ops.multiply(moments.offset_s, _SECOND_NS))
    return ops.if_else(pc.is_valid(moments.offset_s), shifted, local)


def _given(column: pa.Array) -> pa.Array:
    """A group that takes no part in a match is empty."""
    return ops.if_else(ops.equal(column, ""), ops.NO_TEXT, column)


def _number(column: pa.Array) -> pa.Array:
    return pc.ascii_trim_whitespace(column).cast(_INT)


def _of_epoch(whole: pa.Array, fraction: pa.Array | None) -> Moments:
    """Seconds up to 11 digits, milliseconds up to 14, else microseconds or nanoseconds: by the number of digits."""
    size = pc.utf8_length(whole)
    scale = ops.if_else(
        ops.less(size, 12),
        ops.constant(_SECOND_NS),
        ops.if_else(
            ops.less(size, 15),
            ops.constant(1_000_000),
            ops.if_else(ops.less(size, 18), ops.constant(1000), ops.constant(1)),
        ),
    )
    # 11 digits of seconds may be more than 64 bits of ns, and so may 19 digits of ns.
    is_number = pc.or_(ops.less(size, 19), pc.and_(ops.equal(size, 19), ops.less_equal(whole, str(_NS_MAX))))
    number = _number(ops.if_else(is_number, whole, ops.NO_TEXT))
    fits = ops.less_equal(number, ops.divide(ops.constant(_NS_MAX), scale))
    ns = ops.multiply(ops.if_else(fits, number, ops.NO_INTEGER), scale)
    if fraction is not None:
        ns = ops.add(ns, ops.if_else(ops.equal(scale, _SECOND_NS), _fraction_ns(fraction), 0))
    day_s = ops.divide(ns, _SECOND_NS)
    at = ns.cast(pa.timestamp("ns"))
    year, month, day = (part(at).cast(_INT) for part in (pc.year, pc.month, pc.day))
    hour, minute, second = (part(at).cast(_INT) for part in (pc.hour, pc.minute, pc.second))
    return Moments(year, month, day, hour, minute, second, ns, ops.multiply(day_s, 0))


def _of_calendar(fields: dict[str, pa.Array], count: int, now_ns: int) -> Moments:
    year = _year(fields, count)
    month, day = _date(fields, count, year)
    hour, minute, second = (
        _hour(fields, count),
        _field(fields, "minute", count, 0),
        _field(fields, "second", count, 0),
    )
    clock_s = ops.add(ops.add(ops.multiply(hour, 3600), ops.multiply(minute, 60)), second)
    clock_ns = ops.add(ops.multiply(clock_s, _SECOND_NS), _fraction_ns(fields.get("fraction"), count))
    if year is not None:
        ns = _ns(year, month, day, clock_ns)
    elif _DATE.isdisjoint(fields):
        year, month, day, ns = _nearest(now_ns, clock_ns)
    else:
        year, ns = _last(now_ns, month, day, clock_ns)
    is_time = pc.and_(pc.and_(ops.less(hour, 24), ops.less(minute, 60)), ops.less(second, 61))
    ns = ops.if_else(is_time, ns, ops.NO_INTEGER)
    offset = fields.get("offset")
    offset_s = pa.nulls(count, _INT) if offset is None else _offset_s(offset)
    return Moments(year, month, day, hour, minute, second, ns, offset_s)


def _field(fields: dict[str, pa.Array], name: str, count: int, default: int) -> pa.Array:
    """Null only where nothing matched at all: a field that is not in the layout, or takes no part, is the default."""
    if name not in fields:
        return ops.repeated(default, count)
    return _number(fields[name])


def _month(fields: dict[str, pa.Array], count: int) -> pa.Array:
    if "month_name" not in fields:
        return _field(fields, "month", count, 1)
    name = pc.utf8_lower(pc.utf8_slice_codeunits(fields["month_name"], 0, 3))
    return ops.add(pc.index_in(name, _MONTHS).cast(_INT), 1)


def _date(fields: dict[str, pa.Array], count: int, year: pa.Array | None) -> tuple[pa.Array, pa.Array]:
    """Month and day: as they are written, or by the number of the day; the month is null where the year has no such day."""
    if year is None or "year_day" not in fields:
        return _month(fields, count), _field(fields, "day", count, 1)
    first = _ns(year, ops.repeated(1, count), ops.repeated(1, count), ops.repeated(0, count))
    days = ops.subtract(_number(fields["year_day"]), 1)
    at = ops.add(first, ops.multiply(days, _DAY_S * _SECOND_NS)).cast(pa.timestamp("ns"))
    month = ops.if_else(ops.equal(pc.year(at), year), pc.month(at).cast(_INT), ops.NO_INTEGER)
    return month, pc.day(at).cast(_INT)


def _hour(fields: dict[str, pa.Array], count: int) -> pa.Array:
    if "hour_12" not in fields:
        return _field(fields, "hour", count, 0)
    hour = _number(fields["hour_12"])
    hour = ops.if_else(ops.equal(hour, 12), ops.constant(0), hour)
    if "half" not in fields:
        return hour
    return ops.if_else(ops.equal(pc.utf8_lower(fields["half"]), "pm"), ops.add(hour, 12), hour)


def _year(fields: dict[str, pa.Array], count: int) -> pa.Array | None:
    if "year" in fields:
        return _number(fields["year"])
    if "year_2" in fields:  # as POSIX: 69 to 99 are the last century's
        year = _number(fields["year_2"])
        return ops.add(year, ops.if_else(ops.less(year, 69), ops.constant(2000), ops.constant(1900)))
    return None


def _nearest(now_ns: int, clock_ns: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """Year, month and day, and the time in them, at which a clock that shows such a time is nearest to now."""
    day_ns = _DAY_S * _SECOND_NS
    ns = ops.add(clock_ns, now_ns // day_ns * day_ns)
    ahead = ops.subtract(ns, now_ns)
    ns = ops.if_else(ops.less(ops.constant(day_ns // 2), ahead), ops.subtract(ns, day_ns), ns)
    ns = ops.if_else(ops.less(ahead, ops.constant(-day_ns // 2)), ops.add(ns, day_ns), ns)
    at = ns.cast(pa.timestamp("ns"))
    year, month, day = (part(at).cast(_INT) for part in (pc.year, pc.month, pc.day))
    return year, month, day, ns


def _last(now_ns: int, month: pa.Array, day: pa.Array, clock_ns: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The year, and the time in it, that such a date last had."""
    this = pc.year(pa.scalar(now_ns, pa.timestamp("ns"))).as_py()
    years = [ops.repeated(year, len(month)) for year in (this + 1, this, this - 1)]
    found = [_ns(year, month, day, clock_ns) for year in years]
    latest = ops.constant(now_ns + _DAY_S * _SECOND_NS)
    year, ns = years[-1], found[-1]
    for other, at in zip(years[-2::-1], found[-2::-1], strict=True):
        is_better = ops.fill_null(ops.less_equal(at, latest), False)
        year, ns = ops.if_else(is_better, other, year), ops.if_else(is_better, at, ns)
    return year, ns


def _ns(year: pa.Array, month: pa.Array, day: pa.Array, clock_ns: pa.Array) -> pa.Array:
    """Null where there is no such day, or it is not within 64 bits. Days by H. Hinnant's days_from_civil."""
    fine = pc.and_(_within(year, *_YEARS), _within(month, 1, 12))
    safe_month = ops.if_else(ops.fill_null(fine, False), month, ops.constant(1))
    leap = pc.and_(_divisible(year, 4), pc.or_(pc.invert(_divisible(year, 100)), _divisible(year, 400)))
    last = ops.add(
        pc.take(_DAYS_OF_MONTH, ops.subtract(safe_month, 1)),
        ops.if_else(pc.and_(ops.equal(safe_month, 2), leap), ops.constant(1), ops.constant(0)),
    )
    fine = pc.and_(fine, pc.and_(ops.greater_equal(day, 1), ops.less_equal(day, last)))
    is_early = ops.less_equal(safe_month, 2)
    of_year = ops.subtract(year, is_early.cast(_INT))
    era = ops.divide(of_year, 400)
    in_era = ops.subtract(of_year, ops.multiply(era, 400))
    from_march = ops.if_else(is_early, ops.add(safe_month, 9), ops.subtract(safe_month, 3))
    in_year = ops.add(ops.divide(ops.add(ops.multiply(from_march, 153), 2), 5), ops.subtract(day, 1))
    leaps = ops.subtract(ops.divide(in_era, 4), ops.divide(in_era, 100))
    in_era_days = ops.add(ops.add(ops.multiply(in_era, 365), leaps), in_year)
    days = ops.subtract(ops.add(ops.multiply(era, 146_097), in_era_days), 719_468)
    ns = ops.add(ops.multiply(days, _DAY_S * _SECOND_NS), clock_ns)
    return ops.if_else(ops.fill_null(fine, False), ns, ops.NO_INTEGER)


def _within(value: pa.Array, first: int, last: int) -> pa.Array:
    return pc.and_(ops.greater_equal(value, first), ops.less_equal(value, last))


def _divisible(value: pa.Array, by: int) -> pa.Array:
    return ops.equal(ops.multiply(ops.divide(value, by), by), value)


def _fraction_ns(fraction: pa.Array | None, count: int = 0) -> pa.Array:
    """Of a second, from its digits behind the point."""
    if fraction is None:
        return ops.repeated(0, count)
    digits = pc.utf8_slice_codeunits(pc.utf8_rpad(fraction, 9, "0"), 0, 9)
    return ops.fill_null(digits.cast(_INT), 0)


def _offset_s(text: pa.Array) -> pa.Array:
    """`Z`, `UTC`, `+0200`, `+02:00`, `+02`."""
    digits = pc.utf8_rpad(pc.replace_substring_regex(text, r"[^0-9]", ""), 4, "0").cast(_INT)
    hours = ops.divide(digits, 100)
    seconds = ops.add(
        ops.multiply(hours, 3600), ops.multiply(ops.subtract(digits, ops.multiply(hours, 100)), 60)
    )
    return ops.if_else(pc.starts_with(text, "-"), pc.negate(seconds), seconds)


Readers = Sequence[Reader]


def first_found(readers: Readers, column: pa.Array, now_ns: int) -> Iterator[Moments]:
    """What each finds, in their order, until all have something."""
    missing = ops.repeated(True, len(column))
    for reader in readers:
        moments = reader.read(column, now_ns)
        yield moments
        missing = pc.and_(missing, pc.is_null(moments.ns))
        if not pc.any(missing).as_py():
            return
