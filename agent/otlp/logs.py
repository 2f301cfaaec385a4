"""From requests of OTLP to columns."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from agent.otlp import json as otlp_json
from agent.posted.rows import COLUMNS_MAX, TAKEN_PREFIX, record_batch
from qanat.columns import BODY, HOST, POSITION, PRIORITY, TIMESTAMP, TIMESTAMP_TYPE

# What is a column of its own, and so no name of an attribute. SEVERITY_NUMBER and so on are as the specification calls them.
OWN = (
    BODY,
    POSITION,
    TIMESTAMP,
    HOST,
    PRIORITY,
    "severity",
    "severity_number",
    "trace_id",
    "span_id",
    "trace_flags",
    "event_name",
)
MORE = "more_attributes"  # JSON of those beyond the limit of columns

_NS_MAX = (1 << 63) - 1  # what a signed column holds: the year 2262
_ATTRIBUTES_MAX = COLUMNS_MAX - len(OWN) - 1  # beside them, and what is beyond
# The first number of each severity (TRACE 1, DEBUG 5, INFO 9, WARN 13, ERROR 17, FATAL 21), as Flume OG calls them.
_PRIORITIES = ((21, "FATAL"), (17, "ERROR"), (13, "WARN"), (9, "INFO"), (1, "DEBUG"))


class WrongRequestError(ValueError):
    """It would be wrong again; says what is."""


@dataclass(frozen=True, slots=True)
class Logs:
    """`rejected`: records that were too large; they are not among the rows."""

    rows: pa.RecordBatch | None
    rejected: int


def of_protobuf(data: bytes, event_bytes_max: int) -> Logs:
    """Raises WrongRequestError."""
    try:
        request = ExportLogsServiceRequest.FromString(data)
    except DecodeError as error:
        raise WrongRequestError(f"the request is no ExportLogsServiceRequest: {error}") from error
    return _logs(request, _value, event_bytes_max)


def of_json(data: bytes, event_bytes_max: int) -> Logs:
    """Raises WrongRequestError."""
    try:
        return _logs(otlp_json.parsed(data), otlp_json.value, event_bytes_max)
    except (ValueError, RecursionError, OverflowError) as error:
        raise WrongRequestError(f"the request is no ExportLogsServiceRequest in JSON: {error}") from error


def _logs(request: Any, value: Any, event_bytes_max: int) -> Logs:
    records: list[Any] = []
    bodies: list[bytes] = []
    attributes: list[dict[str, str]] = []
    rejected = 0
    for shared, record in _records(request, value):
        body = _text(value(record.body)) if record.body is not None else ""
        data = body.encode(errors="replace")
        if len(data) > event_bytes_max:
            rejected += 1
            continue
        records.append(record)
        bodies.append(data)
        attributes.append({**shared, **_named(record, value, "")})
    if not records:
        return Logs(None, rejected)
    made = _own(records, bodies)
    made |= _columns(attributes)
    return Logs(
        record_batch({name: values for name, values in made.items() if _is_used(name, values)}), rejected
    )


def _records(request: Any, value: Any) -> Iterator[tuple[Mapping[str, str], Any]]:
    """Each with what it shares with others of its resource and scope."""
    for resource_logs in request.resource_logs or ():
        resource = _named(resource_logs.resource, value, "resource.")
        host = {HOST: resource["resource.host.name"]} if "resource.host.name" in resource else {}
        for scope_logs in resource_logs.scope_logs or ():
            scope = scope_logs.scope
            said = {"scope.name": scope.name, "scope.version": scope.version} if scope else {}
            shared = {
                **host,
                **resource,
                **{name: text for name, text in said.items() if text},
                **_named(scope, value, "scope."),
            }
            for record in scope_logs.log_records or ():
                yield shared, record


def _named(holder: Any, value: Any, prefix: str) -> dict[str, str]:
    """The attributes of a record, a scope or a resource, if there is one."""
    made: dict[str, str] = {}
    for pair in (holder.attributes if holder else None) or ():
        name = prefix + (pair.key or "")
        found = None if pair.value is None else value(pair.value)
        if found is not None:
            made[TAKEN_PREFIX + name if name in OWN or not name else name] = _text(found)
    return made


def _own(records: list[Any], bodies: list[bytes]) -> dict[str, pa.Array]:
    times = [int(each.time_unix_nano or 0) or int(each.observed_time_unix_nano or 0) for each in records]
    numbers = [otlp_json.severity(each.severity_number or 0) for each in records]
    priorities = [next((name for least, name in _PRIORITIES if number >= least), None) for number in numbers]
    text = pa.string()
    return {
        BODY: pa.array(bodies, pa.binary()),
        TIMESTAMP: pa.array([time if 0 < time <= _NS_MAX else None for time in times], pa.int64()).cast(
            TIMESTAMP_TYPE
        ),
        PRIORITY: pa.array(priorities, text),
        "severity": pa.array([each.severity_text or None for each in records], text),
        "severity_number": pa.array([str(number) if number else None for number in numbers], text),
        "trace_id": pa.array([_hex(each.trace_id) for each in records], text),
        "span_id": pa.array([_hex(each.span_id) for each in records], text),
        "trace_flags": pa.array([str(each.flags & 0xFF) if each.flags else None for each in records], text),
        "event_name": pa.array([each.event_name or None for each in records], text),
    }


def _columns(attributes: list[dict[str, str]]) -> dict[str, pa.Array]:
    names = list(dict.fromkeys(name for each in attributes for name in each))
    kept = names[:_ATTRIBUTES_MAX]
    made = {name: pa.array([each.get(name) for each in attributes], pa.string()) for name in kept}
    if len(names) > len(kept):
        known = frozenset(kept)
        rest = [{name: text for name, text in each.items() if name not in known} for each in attributes]
        made[MORE] = pa.array([json.dumps(each) if each else None for each in rest], pa.string())
    return made


def _is_used(name: str, values: pa.Array) -> bool:
    return name == BODY or values.null_count < len(values)


def _hex(identity: bytes | str | None) -> str | None:
    if isinstance(identity, bytes):
        return identity.hex() or None
    try:
        return bytes.fromhex(identity or "").hex() or None
    except ValueError as error:
        shown = (identity or "")[:40]
        raise ValueError(
            f"the id {shown!r} is not hexadecimal, as traceId and spanId must be in JSON"
        ) from error


def _value(of: Any) -> Any:
    """Of an AnyValue of protobuf, as Python has it; its depth is limited by the parser."""
    match kind := of.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(each) for each in of.array_value.values]
        case "kvlist_value":
            return {each.key: _value(each.value) for each in of.kvlist_value.values}
    return getattr(of, kind)


def _text(found: Any) -> str:
    """A string as it is, all else as JSON."""
    if isinstance(found, str):
        return found.encode(errors="replace").decode()
    return "" if found is None else json.dumps(found, default=_base64, ensure_ascii=True)


def _base64(found: bytes) -> str:
    return base64.b64encode(found).decode()
