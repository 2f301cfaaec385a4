"""Logs as OTLP/JSON has them: the same names as of the protobuf messages, so that what reads one reads the other. [pure]

Ids are hexadecimal, numbers may be strings, unknown fields are left out (OTLP specification, JSON Protobuf Encoding).
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

_Int = int | str

_URL_SAFE = str.maketrans("-_", "+/")
_NAMES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_SEVERITIES: dict[_Int, int] = {
    "SEVERITY_NUMBER_UNSPECIFIED": 0,
    **{
        f"SEVERITY_NUMBER_{name}{count if count > 1 else ''}": 4 * at + count
        for at, name in enumerate(_NAMES)
        for count in range(1, 5)
    },
}


class _Message(msgspec.Struct, rename="camel", gc=False):
    """Fields are of lower camel case; `null` is as if it were not there, as in all of protobuf's JSON."""


class Array(_Message):
    values: list[AnyValue] | None = None


class KeyValue(_Message):
    key: str | None = None
    value: AnyValue | None = None


class KeyValues(_Message):
    values: list[KeyValue] | None = None


class AnyValue(_Message):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: _Int | None = None
    double_value: float | str | None = None
    array_value: Array | None = None
    kvlist_value: KeyValues | None = None
    bytes_value: str | None = None


class LogRecord(_Message):
    time_unix_nano: _Int | None = None
    observed_time_unix_nano: _Int | None = None
    severity_number: _Int | None = None
    severity_text: str | None = None
    body: AnyValue | None = None
    attributes: list[KeyValue] | None = None
    flags: _Int | None = None
    trace_id: str | None = None
    span_id: str | None = None
    event_name: str | None = None


class Scope(_Message):
    name: str | None = None
    version: str | None = None
    attributes: list[KeyValue] | None = None


class Resource(_Message):
    attributes: list[KeyValue] | None = None


class ScopeLogs(_Message):
    scope: Scope | None = None
    log_records: list[LogRecord] | None = None


class ResourceLogs(_Message):
    resource: Resource | None = None
    scope_logs: list[ScopeLogs] | None = None


class Request(_Message):
    resource_logs: list[ResourceLogs] | None = None


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
        return _bytes(of.bytes_value)
    if of.array_value is not None:
        return [value(each) for each in of.array_value.values or ()]
    if of.kvlist_value is not None:
        return {
            each.key or "": value(each.value) if each.value else None for each in of.kvlist_value.values or ()
        }
    return None


def severity(number: int | str) -> int:
    """By its number, or by its name in the protocol, which protobuf's JSON takes, too. Raises ValueError."""
    return _SEVERITIES[number] if number in _SEVERITIES else int(number)


def _bytes(text: str) -> bytes:
    """Base64 of either alphabet, with padding or without."""
    return base64.b64decode(text.translate(_URL_SAFE).rstrip("=") + "==")
