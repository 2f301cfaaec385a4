"""Values of OTLP as text, many at a time, from either of its formats."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import Any

from agent.otlp import json as otlp_json
from agent.otlp import wire
from agent.posted.rows import TAKEN_PREFIX
from qanat.columns import BODY, HOST, POSITION, PRIORITY, TIMESTAMP

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

_KEY, _VALUE = attrgetter("key"), attrgetter("value")
_KIND, _STRING = methodcaller("WhichOneof", "value"), attrgetter("string_value")


@dataclass(frozen=True, slots=True)
class Reading:
    """Of a format. `strings`: those of AnyValues, None where one is something else; `value`: as Python has it; `pair`: an
    attribute of a record, as a message."""

    strings: Callable[[Sequence[Any]], list[str | None]]
    value: Callable[[Any], Any]
    pair: Callable[[Any], Any] | None = None  # None: it is one

    def attributes(self, found: Sequence[Any]) -> tuple[Sequence[str], Sequence[str | None]]:
        """Names, and texts. Raises ValueError, DecodeError."""
        if self.pair is None:
            return [*map(_KEY, found)], self.texts([*map(_VALUE, found)])
        distinct = [*dict.fromkeys(found)]
        pairs = [*map(self.pair, distinct)]
        numbers = dict(zip(distinct, range(len(distinct)), strict=True))
        which = [*map(numbers.__getitem__, found)]
        keys, texts = [*map(_KEY, pairs)], self.texts([*map(_VALUE, pairs)])
        return [*map(keys.__getitem__, which)], [*map(texts.__getitem__, which)]

    def check(self, found: Iterable[Any]) -> None:
        """That attributes which nobody asks for are messages. Raises DecodeError."""
        if self.pair is not None:
            deque(map(self.pair, found), 0)

    def texts(self, values: Sequence[Any]) -> list[str | None]:
        """Strings as they are, all else as JSON; None where there is nothing. Raises ValueError."""
        texts = self.strings(values)
        if None not in texts:
            return texts
        return [self._text(of) if text is None else text for text, of in zip(texts, values, strict=True)]

    def named(self, holder: Any, prefix: str) -> dict[str, str]:
        """The attributes of a scope or a resource, if there is one. Raises ValueError."""
        pairs = (holder.attributes if holder else None) or ()
        texts = self.texts([pair.value for pair in pairs])
        return {
            free_name(prefix + (pair.key or "")): text
            for pair, text in zip(pairs, texts, strict=True)
            if text is not None
        }

    def _text(self, of: Any) -> str | None:
        found = None if of is None else self.value(of)
        if found is None or type(found) is str:
            return found
        return str(found) if type(found) is int else json.dumps(found, default=_base64, ensure_ascii=True)


def free_name(name: str) -> str:
    """What an attribute is called as a column."""
    return TAKEN_PREFIX + name if name in OWN or not name else name


def _protobuf_strings(values: Sequence[Any]) -> list[str | None]:
    strings: list[str | None] = [*map(_STRING, values)]
    if all(strings):  # what is one of several has no other value then
        return strings
    return [
        text if text or _KIND(of) == "string_value" else None
        for text, of in zip(strings, values, strict=True)
    ]


def _protobuf_value(of: Any) -> Any:
    """Of an AnyValue; its depth is limited by the parser."""
    match kind := of.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_protobuf_value(each) for each in of.array_value.values]
        case "kvlist_value":
            return {each.key: _protobuf_value(each.value) for each in of.kvlist_value.values}
    return getattr(of, kind)


def _json_strings(values: Sequence[Any]) -> list[str | None]:
    if None in values:
        return [None if of is None else of.string_value for of in values]
    return [*map(_STRING, values)]


def _base64(found: bytes) -> str:
    return base64.b64encode(found).decode()


PROTOBUF = Reading(_protobuf_strings, _protobuf_value, wire.KeyValue.FromString)
JSON = Reading(_json_strings, otlp_json.value)
