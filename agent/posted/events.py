"""What is posted to `http`: JSON events as of Flume NG, JSON lines, and lines. All of a request, or none of it."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

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
_RECORD_SEPARATOR = b"\x1e"  # before each text of a JSON sequence (RFC 7464)

_Value = str | int | float | bool | None


class JsonEvent(msgspec.Struct, frozen=True, gc=False):
    """As Flume NG's JSONHandler has it; what else is in the object is not looked at."""

    headers: dict[str, _Value] | None = None
    body: _Value | msgspec.UnsetType = msgspec.UNSET


class _OnlyEvent(JsonEvent, frozen=True, gc=False, forbid_unknown_fields=True):
    """A line that is an event, and no other object."""


_EVENTS = msgspec.json.Decoder(list[JsonEvent])
_EVENT = msgspec.json.Decoder(JsonEvent)
_LINE = msgspec.json.Decoder(_OnlyEvent)
_ANY = msgspec.json.Decoder(msgspec.Raw)


def parsed(kind: str, charset: str, data: bytes, event_bytes_max: int) -> bytes | pa.RecordBatch:
    """Lines, or columns. `kind`: of Content-Type, in small letters. Raises Refusal."""
    if kind in LINES:
        return _lines(data, event_bytes_max)
    if kind in JSON or kind in UNSAID:
        return _of_events(_json(_utf8(data, charset)), event_bytes_max)
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


def _json(data: bytes) -> Sequence[JsonEvent]:
    try:
        if data.lstrip()[:1] == b"{":
            return [_EVENT.decode(data)]
        return _EVENTS.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(
            BAD_REQUEST,
            f'the body is no JSON array of {{"headers": {{...}}, "body": "..."}}: {error}; nothing of it was taken',
        ) from error


def _of_json_lines(data: bytes, event_bytes_max: int) -> pa.RecordBatch:
    """A line with `body`, and `headers` or none, and nothing else is an event; any other object is itself the body."""
    found = [line for part in data.split(_LINE_END) if (line := part.strip(b" \t\r" + _RECORD_SEPARATOR))]
    events: list[JsonEvent] = []
    for number, line in enumerate(found, 1):
        try:
            event: JsonEvent = _LINE.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = JsonEvent()
        if event.body is msgspec.UNSET:
            event = JsonEvent(body=_whole(line, number))
        events.append(event)
    return _of_events(events, event_bytes_max)


def _whole(line: bytes, number: int) -> str:
    try:
        _ANY.decode(line)
        return line.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(
            BAD_REQUEST, f"line {number} is no JSON: {error}; nothing of the request was taken"
        ) from error


def _of_events(events: Sequence[JsonEvent], event_bytes_max: int) -> pa.RecordBatch:
    for number, event in enumerate(events, 1):
        if event.body is msgspec.UNSET and event.headers is None:
            raise Refusal(
                BAD_REQUEST, f"event {number} has neither headers nor body; nothing of the request was taken"
            )
    try:
        bodies = [_text(event.body).encode() for event in events]
        attributes = [
            {name: _text(value) for name, value in event.headers.items() if value is not None}
            if event.headers
            else {}
            for event in events
        ]
        _check_sizes(bodies, event_bytes_max)
        return rows(bodies, attributes)
    except (TooManyNamesError, UnicodeEncodeError) as error:
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
