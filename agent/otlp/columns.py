"""Records of OTLP as columns: what each has of its own, and attributes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, groupby, islice, repeat
from operator import attrgetter, methodcaller
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agent.otlp import json as otlp_json
from agent.otlp.values import OWN, Reading, free_name
from agent.posted.rows import CELLS_MAX, COLUMNS_MAX
from qanat.columns import PRIORITY, TIMESTAMP, TIMESTAMP_TYPE

MORE = "more_attributes"  # JSON of those beyond the limit of columns

_NS_MAX = (1 << 63) - 1  # what a signed column holds: the year 2262
_ATTRIBUTES_MAX = COLUMNS_MAX - len(OWN) - 1  # beside them, and what is beyond
# The first number of each severity (TRACE 1, DEBUG 5, INFO 9, WARN 13, ERROR 17, FATAL 21), as Flume OG calls them.
_PRIORITIES = ((21, "FATAL"), (17, "ERROR"), (13, "WARN"), (9, "INFO"), (1, "DEBUG"))

_FIELDS = attrgetter(
    "time_unix_nano",
    "observed_time_unix_nano",
    "severity_number",
    "severity_text",
    "trace_id",
    "span_id",
    "flags",
    "event_name",
)
_ATTRIBUTES = attrgetter("attributes")


def own_columns(records: Sequence[Any]) -> dict[str, pa.Array]:
    """All of them, also those that no record has. Raises ValueError."""
    times, observed, numbers, severities, traces, spans, flags, names = zip(
        *map(_FIELDS, records), strict=True
    )
    known = {number: otlp_json.severity(number or 0) for number in {*numbers}}
    levels = [*map(known.__getitem__, numbers)]
    return {
        TIMESTAMP: _times(times, observed),
        PRIORITY: _of_few(_priority, levels),
        "severity": _of_few(_or_none, severities),
        "severity_number": _of_few(lambda level: str(level) if level else None, levels),
        "trace_id": _ids(traces),
        "span_id": _ids(spans),
        "trace_flags": _of_few(_trace_flags, flags),
        "event_name": _of_few(_or_none, names),
    }


def _times(times: Sequence[Any], observed: Sequence[Any]) -> pa.TimestampArray:
    """The one that was observed where there is no other."""
    found: list[Any] = [int(time or 0) for time in times] if None in times else [*map(int, times)]
    if 0 in found:
        found = [one or int(other or 0) for one, other in zip(found, observed, strict=True)]
    if not 0 < min(found) <= max(found) <= _NS_MAX:
        found = [time if 0 < time <= _NS_MAX else None for time in found]
    return pa.array(found, TIMESTAMP_TYPE)


def _of_few(function: Callable[[Any], str | None], values: Sequence[Any]) -> pa.StringArray:
    """The function of each value, called once for each that is different: for what has few of them."""
    known = {value: function(value) for value in {*values}}
    if len(known) == 1:
        return pa.repeat(pa.scalar(known[values[0]], pa.string()), len(values))
    return pa.array([*map(known.__getitem__, values)], pa.string())


def _priority(number: int) -> str | None:
    return next((name for least, name in _PRIORITIES if number >= least), None)


def _trace_flags(flags: int | str | None) -> str | None:
    number = int(flags or 0)
    return str(number & 0xFF) if number else None


def _or_none(text: str | None) -> str | None:
    return text or None


def _ids(values: Sequence[Any]) -> pa.StringArray:
    """As hexadecimal digits, null where there is none. `values`: bytes, or such digits."""
    if not any(values):
        return pa.nulls(len(values), pa.string())
    digits = [*map(bytes.hex, values if isinstance(values[0], bytes) else _unhexed(values))]
    return pa.array([each or None for each in digits] if "" in digits else digits, pa.string())


def _unhexed(values: Sequence[str]) -> list[bytes]:
    found: list[bytes] = []
    try:
        found.extend(map(bytes.fromhex, (value or "" for value in values)))
    except ValueError as error:
        shown = values[len(found)][:40]
        raise ValueError(
            f"the id {shown!r} is not hexadecimal, as traceId and spanId must be in JSON"
        ) from error
    return found


def attribute_columns(
    shared: Sequence[Mapping[str, str]], owners: Sequence[int], records: Sequence[Any], reading: Reading
) -> dict[str, pa.Array]:
    """`shared`: what records have in common; `owners`: which of these each one has. Its own come first. Raises ValueError."""
    own = _attributes(records, reading)
    names = _names(shared, owners, own)
    kept = names[: min(_ATTRIBUTES_MAX, CELLS_MAX // len(records))]
    where = pa.array(owners, pa.int32())
    own_names = {*chain.from_iterable(own)}
    made = {}
    for name in kept:
        columns = []
        if name in own_names:
            columns.append(pa.array([*map(methodcaller("get", name), own)], pa.string()))
        if any(name in each for each in shared):
            columns.append(_spread([each.get(name) for each in shared], where))
        made[name] = columns[0] if len(columns) == 1 else pc.coalesce(*columns)
    if len(names) > len(kept):
        known = frozenset(kept)
        rest = [
            {name: text for name, text in {**shared[owner], **each}.items() if name not in known}
            for owner, each in zip(owners, own, strict=True)
        ]
        made[MORE] = pa.array([json.dumps(each) if each else None for each in rest], pa.string())
    return made


def _spread(values: Sequence[str | None], where: pa.Int32Array) -> pa.StringArray:
    if len(values) == 1:
        return pa.repeat(pa.scalar(values[0], pa.string()), len(where))
    return pa.array(values, pa.string()).take(where)


def _attributes(records: Sequence[Any], reading: Reading) -> list[dict[str, str]]:
    """Of each record."""
    lists = [each or () for each in map(_ATTRIBUTES, records)]
    flat = [*chain.from_iterable(lists)]
    keys, texts = reading.attributes(flat)
    free = {key: free_name(key or "") for key in {*keys}}
    pairs = zip(map(free.__getitem__, keys), texts, strict=True)
    parts = map(islice, repeat(pairs), map(len, lists))
    if None in texts:  # it has no value
        return [{name: text for name, text in part if text is not None} for part in parts]
    return [*map(dict, parts)]  # type: ignore[list-item]  # None is in none of them


def _names(
    shared: Sequence[Mapping[str, str]], owners: Sequence[int], own: Sequence[Mapping[str, str]]
) -> list[str]:
    """In the order in which they come."""
    names: dict[str, None] = {}
    at = 0
    for owner, alike in groupby(owners):
        end = at + len([*alike])
        names |= dict.fromkeys(shared[owner])
        names |= dict.fromkeys(chain.from_iterable(own[at:end]))
        at = end
    return [*names]
