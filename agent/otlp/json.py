"""Logs as OTLP/JSON has them: the same names as of the protobuf messages, so that what reads one reads the other. [pure]

Ids are hexadecimal, 64-bit numbers may be strings, unknown fields are left out (OTLP specification, JSON Protobuf Encoding).
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

_Int = int | str


class _Message(msgspec.Struct, rename="camel", gc=False):
    """Fields are of lower camel case; `null` is as if it were not there only where that is said."""


class Array(_Message):
    values: list[AnyValue] = []


class KeyValue(_Message):
    key: str = ""
    value: AnyValue | None = None


class KeyValues(_Message):
    values: list[KeyValue] = []


class AnyValue(_Message):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: _Int | None = None
    double_value: float | str | None = None
    array_value: Array | None = None
    kvlist_value: KeyValues | None = None
    bytes_value: str | None = None


class LogRecord(_Message):
    time_unix_nano: _Int = 0
    observed_time_unix_nano: _Int = 0
    severity_number: int = 0
    severity_text: str = ""
    body: AnyValue | None = None
    attributes: list[KeyValue] = []
    flags: int = 0
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""


class Scope(_Message):
    name: str = ""
    version: str = ""
    attributes: list[KeyValue] = []


class Resource(_Message):
    attributes: list[KeyValue] = []


class ScopeLogs(_Message):
    scope: Scope = msgspec.field(default_factory=Scope)
    log_records: list[LogRecord] = []


class ResourceLogs(_Message):
    resource: Resource = msgspec.field(default_factory=Resource)
    scope_logs: list[ScopeLogs] = []


class Request(_Message):
    resource_logs: list[ResourceLogs] = []


_DECODER = msgspec.json.Decoder(Request)


def parsed(data: bytes) -> Request:
    """Raises ValueError, RecursionError."""
    return _DECODER.decode(data)


def value(of: AnyValue) -> Any:
    """As Python has it. Raises ValueError."""
    if of.string_value is not None:
        return of.string_value
    if of.bool_value is not None:
        return of.bool_value
    if of.int_value is not None:
        return int(of.int_value)
    if of.double_value is not None:
        return float(of.double_value)
    if of.bytes_value is not None:
        return base64.b64decode(of.bytes_value)
    if of.array_value is not None:
        return [value(each) for each in of.array_value.values]
    if of.kvlist_value is not None:
        return {each.key: value(each.value) if each.value else None for each in of.kvlist_value.values}
    return None
