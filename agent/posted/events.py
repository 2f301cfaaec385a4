"""What is posted to `http`: JSON events as of Flume NG, JSON lines, and lines. All of a request, or none of it."""

from __future__ import annotations

import codecs
import json
import re
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain, starmap
from operator import attrgetter, methodcaller
from typing import Any

import msgspec
import pyarrow as pa

from agent.posted.bodies import BAD_REQUEST, TOO_LARGE, UNSUPPORTED, Refusal
from agent.posted.rows import TooManyNamesError, rows

JSON = ("application/json", "text/json")
JSON_LINES = (
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/json-lines",
    "application/json-seq",
)
LINES = ("text/plain",)
# What clients say that say nothing: `curl --data`, and those of Flume NG, whose handler never looked.
UNSAID = ("", "application/octet-stream", "application/x-www-form-urlencoded")

_LINE_END = b"\n"
_AROUND = b" \t\r\x1e"  # a line; the last is before each text of a JSON sequence (RFC 7464)

# Without one of them no line has a `body`: in JSON a letter may be written by its number.
_BODY_NAMES = (b'"body"', b"\\u")
_EVENT_NAMES = (*_BODY_NAMES, b'"headers"')

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_Value = str | int | float | bool | None


class JsonEvent(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """As Flume NG's JSONHandler has it. An object with other names is no event, but somebody's record."""

    headers: dict[str, _Value] | None = None
    body: _Value | msgspec.UnsetType = msgspec.UNSET


_HEADERS, _BODY = attrgetter("headers"), attrgetter("body")

_EVENTS = msgspec.json.Decoder(list[JsonEvent])
_EVENT = msgspec.json.Decoder(JsonEvent)
_ANY = msgspec.json.Decoder(msgspec.Raw)
_RAW = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SCANNER = json.JSONDecoder()  # msgspec's can't say where a value ends
# What a client is told first.
_NO_EVENTS = 'the body is no JSON array of {"headers": {...}, "body": "..."} or other objects'
_SPACE = re.compile(r"\s*")


def parsed(kind: str, charset: str, data: bytes, event_bytes_max: int) -> bytes | pa.RecordBatch:
    """Lines, or columns. `kind`: of Content-Type, in small letters. Raises Refusal."""
    if kind in LINES:
        return _lines(data, event_bytes_max)
    if kind in JSON or kind in UNSAID:
        return _of_json(_utf8(data, charset), event_bytes_max)
    if kind in JSON_LINES:
        return _of_json_lines(_utf8(data, charset), event_bytes_max)
    known = ", ".join((JSON[0], JSON_LINES[0], *LINES))
    raise Refusal(UNSUPPORTED, f"Content-Type {kind[:60]!r} is not known here; {known} are")


def _lines(data: bytes, event_bytes_max: int) -> bytes:
    """The last needs no line end; an empty line is no event."""
    if b"\r\n" in data:
        data = data.replace(b"\r\n", _LINE_END)
    if data and not data.endswith(_LINE_END):
        data += _LINE_END
    if b"\n\n" in data or data.startswith(_LINE_END):
        data = b"".join(line + _LINE_END for line in data.split(_LINE_END) if line)
    if len(data) > event_bytes_max + 1:
        _check_sizes(data.split(_LINE_END), event_bytes_max)
    return data


def _utf8(data: bytes, charset: str) -> bytes:
    """NG took UTF-8, UTF-16 and UTF-32."""
    try:
        name = codecs.lookup(charset or "utf-8").name
        if name in ("utf-8", "ascii", "utf-8-sig"):
            return data.removeprefix(codecs.BOM_UTF8)
        if not name.startswith(("utf-16", "utf-32")):
            raise LookupError
        return data.decode(name).encode()
    except LookupError as error:
        raise Refusal(
            UNSUPPORTED, f"charset {charset[:40]!r} is not known here; send JSON as UTF-8"
        ) from error
    except ValueError as error:
        raise Refusal(BAD_REQUEST, f"the body is not {charset[:40]}: {error}") from error


def _of_json(data: bytes, event_bytes_max: int) -> pa.RecordBatch:
    """An array of events, an event, or what Fluent Bit and Vector send: an array of any objects, or objects one after the other.
    One with other names than `headers` and `body` is itself the body."""
    is_array = data.lstrip()[:1] != b"{"
    if is_array and any(map(data.__contains__, _EVENT_NAMES)):
        try:  # all at once, if they are alike
            events = _EVENTS.decode(data)
            if all(map(_is_said, events)):
                return _of_events(events, event_bytes_max)
        except _UNREADABLE:
            pass
    found = _array(data) if is_array else _values(data) or [data.strip()]
    if any(map(data.__contains__, _EVENT_NAMES)):
        return _of_events([*starmap(_of_member, enumerate(found, 1))], event_bytes_max)
    for number, value in enumerate(found, 1):
        _names(number, value)
    return _of_bodies(pa.array(found, pa.binary()), event_bytes_max)


def _array(data: bytes) -> list[bytes]:
    try:
        return [*map(bytes, _RAW.decode(data))]
    except _UNREADABLE as error:
        raise Refusal(BAD_REQUEST, f"{_NO_EVENTS}: {error}; nothing of it was taken") from error


def _of_member(number: int, value: bytes) -> JsonEvent:
    """An event, or any other object as the body of one."""
    try:
        if not _names(number, value) - {"headers", "body"} and _is_said(event := _EVENT.decode(value)):
            return event
        return JsonEvent(body=value.decode())
    except _UNREADABLE as error:
        raise Refusal(BAD_REQUEST, f"event {number}: {error}; nothing of the request was taken") from error


def _names(number: int, value: bytes) -> set[str]:
    try:
        return set(_OBJECT.decode(value))
    except _UNREADABLE as error:
        raise Refusal(
            BAD_REQUEST, f"{_NO_EVENTS}: event {number}: {error}; nothing of the request was taken"
        ) from error


def _values(data: bytes) -> list[bytes]:
    """JSON values that follow each other, with white space between them or nothing; none where it is one, or something is not."""
    try:
        _ANY.decode(data)
        return []
    except _UNREADABLE:
        pass
    found: list[bytes] = []
    try:
        text = data.decode().strip()
        at = 0
        while at < len(text):
            begins = at
            _, at = _SCANNER.raw_decode(text, at)
            found.append(text[begins:at].encode())
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr] # matches always
    except (ValueError, RecursionError):
        return []
    return found


def _of_json_lines(data: bytes, event_bytes_max: int) -> pa.RecordBatch:
    """A line with `body`, and `headers` or none, and nothing else is an event; any other object is itself the body."""
    found = [*filter(None, map(methodcaller("strip", _AROUND), data.split(_LINE_END)))]
    try:  # all at once, if they are alike
        if any(map(data.__contains__, _BODY_NAMES)):
            events = [*map(_EVENT.decode, found)]
            if msgspec.UNSET not in map(_BODY, events):
                return _of_events(events, event_bytes_max)
        else:
            deque(map(_ANY.decode, found), 0)
            _LINE_END.join(found).decode()
            return _of_bodies(pa.array(found, pa.binary()), event_bytes_max)
    except _UNREADABLE:
        pass
    return _of_events([*starmap(_of_line, enumerate(found, 1))], event_bytes_max)


def _of_line(number: int, line: bytes) -> JsonEvent:
    try:
        event = _EVENT.decode(line)
    except _UNREADABLE:
        event = JsonEvent()
    return JsonEvent(body=_whole(line, number)) if event.body is msgspec.UNSET else event


def _whole(line: bytes, number: int) -> str:
    try:
        _ANY.decode(line)
        return line.decode()
    except _UNREADABLE as error:
        raise Refusal(
            BAD_REQUEST, f"line {number} is no JSON: {error}; nothing of the request was taken"
        ) from error


def _of_events(events: Sequence[JsonEvent], event_bytes_max: int) -> pa.RecordBatch:
    bodies: list[Any] = [*map(_BODY, events)]
    headers: list[Any] = [*map(_HEADERS, events)]
    if {*map(type, bodies)} - {str}:
        bodies = [*map(_text, bodies)]
    if None in headers:
        headers = [each or {} for each in headers]
    if {*map(type, chain.from_iterable(map(dict.values, headers)))} - {str}:
        headers = [
            {name: _text(value) for name, value in each.items() if value is not None} for each in headers
        ]
    return _of_bodies(pa.array(bodies, pa.binary()), event_bytes_max, headers)


def _is_said(event: JsonEvent) -> bool:
    return event.body is not msgspec.UNSET or event.headers is not None


def _of_bodies(
    bodies: pa.BinaryArray, event_bytes_max: int, headers: Sequence[Mapping[str, str]] = ()
) -> pa.RecordBatch:
    if bodies.nbytes > event_bytes_max:  # else none of them is
        _check_sizes(bodies.to_pylist(), event_bytes_max)
    try:
        return rows(bodies, headers)
    except TooManyNamesError as error:
        raise Refusal(BAD_REQUEST, f"{error}; nothing of the request was taken") from error


def _text(value: _Value | msgspec.UnsetType) -> str:
    """As NG's library made text of JSON's other values."""
    if isinstance(value, str):
        return value
    if value is None or value is msgspec.UNSET:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _check_sizes(bodies: Sequence[bytes], event_bytes_max: int) -> None:
    if bodies and max(map(len, bodies)) > event_bytes_max:
        number = next(number for number, body in enumerate(bodies, 1) if len(body) > event_bytes_max)
        raise Refusal(
            TOO_LARGE,
            f"event {number} has {len(bodies[number - 1])} bytes, limit {event_bytes_max}; nothing of the request was taken",
        )
