"""AvroSourceProtocol over a connection that remembers its handshake: from requests to events, and the answers. [pure]

Avro's specification, "Protocol wire format": on a stateful transport each request begins with a handshake until one has
succeeded. Clients name protocols by MD5; NG's own is known here, any other is asked for, and accepted when its messages are the
same on the wire (names of types, documentation and properties don't matter).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from agent.avro.alike import events_alike
from agent.avro.datum import Reader, Received, many_events, number, one_event, string
from qanat import limits
from qanat.errors import CorruptError

PROTOCOL = (
    '{"protocol":"AvroSourceProtocol","namespace":"org.apache.flume.source.avro","types":'
    '[{"type":"enum","name":"Status","symbols":["OK","FAILED","UNKNOWN"]},{"type":"record","name":"AvroFlumeEvent",'
    '"fields":[{"name":"headers","type":{"type":"map","values":"string"}},{"name":"body","type":"bytes"}]}],"messages":'
    '{"append":{"request":[{"name":"event","type":"AvroFlumeEvent"}],"response":"Status"},'
    '"appendBatch":{"request":[{"name":"events","type":{"type":"array","items":"AvroFlumeEvent"}}],"response":"Status"}}}'
)
HASH = hashlib.md5(PROTOCOL.encode(), usedforsecurity=False).digest()

# Flume NG 1.x: its text differs by the licence in it.
NG_HASH = bytes.fromhex("86aadae2c45474c0fe93ffd0f2350a65")

# A protocol is some KB of text.
PROTOCOL_BYTES_MAX = 64 * limits.KIB

_EMPTY_META = b"\0"
_NULL, _PRESENT = b"\0", b"\2"
_BOTH, _CLIENT, _NONE = 0, 1, 2


class Status(Enum):
    """What a request is answered with: its number in the protocol."""

    OK = 0
    FAILED = 1  # none of it was taken
    UNKNOWN = 2  # it may be taken, or will be


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request without events."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """Events; the answer is `answer(status)`. `opening`: the handshake's part of it."""

    received: Received
    opening: bytes

    def answer(self, status: Status) -> bytes:
        """What the client is told."""
        return self.opening + _EMPTY_META + b"\0" + number(status.value)


class Session:
    """One connection."""

    def __init__(self) -> None:
        self._is_known = False

    def handle(self, data: bytes) -> Reply | Call:
        """A request. Raises CorruptError."""
        reader, opening = Reader(data), b""
        if not self._is_known:
            opening = self._shake_hands(reader)
            if not self._is_known:
                return Reply(opening)
        reader.skip_meta()
        name = reader.string()
        if name == "":  # a handshake and nothing more
            return Reply(opening)
        if name == "append":
            return Call(one_event(reader), opening)
        if name == "appendBatch":
            alike = events_alike(reader)
            return Call(many_events(reader) if alike is None else alike, opening)
        return Reply(
            opening + _refusal(f"there is no message {name[:100]!r}; there are append and appendBatch")
        )

    def _shake_hands(self, reader: Reader) -> bytes:
        client_hash = reader.fixed(16)
        protocol = _optional_bytes(reader)
        server_hash = reader.fixed(16)
        if _is_present(reader):
            reader.skip_meta()
        self._is_known = client_hash in (HASH, NG_HASH) or (protocol is not None and _is_alike(protocol))
        if not self._is_known:
            if protocol is not None:
                raise CorruptError("the client's protocol is not AvroSourceProtocol of Flume NG")
            return number(_NONE) + _ours()
        if server_hash in (HASH, NG_HASH):
            return number(_BOTH) + _NULL + _NULL + _NULL
        return number(_CLIENT) + _ours()


def _ours() -> bytes:
    return _PRESENT + string(PROTOCOL) + _PRESENT + HASH + _NULL


def _refusal(why: str) -> bytes:
    """An error that the protocol doesn't declare: a string."""
    return _EMPTY_META + b"\1" + b"\0" + string(why)


def _is_present(reader: Reader) -> bool:
    """Of a union with null first."""
    branch = reader.number()
    if branch not in (0, 1):
        raise CorruptError(f"branch {branch} of a union of two")
    return branch == 1


def _optional_bytes(reader: Reader) -> bytes | None:
    return reader.block() if _is_present(reader) else None


def _is_alike(text: bytes) -> bool:
    """Whether its messages `append` and `appendBatch`, as far as it has them, are ours on the wire."""
    if len(text) > PROTOCOL_BYTES_MAX:
        raise CorruptError(f"a protocol of {len(text)} bytes, more than {PROTOCOL_BYTES_MAX}")
    try:
        theirs, ours = _messages(json.loads(text)), _messages(json.loads(PROTOCOL))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False
    common = ours.keys() & theirs.keys()
    return bool(common) and all(theirs[name] == ours[name] for name in common)


def _messages(protocol: dict[str, Any]) -> dict[str, Any]:
    types = {str(each["name"]).rpartition(".")[2]: each for each in protocol.get("types", ())}
    return {
        name: [_shape(each["type"], types) for each in message["request"]]
        + [_shape(message["response"], types)]
        for name, message in protocol["messages"].items()
        if name in ("append", "appendBatch")
    }


def _shape(of: Any, types: dict[str, Any], depth: int = 0) -> Any:
    """What of a type can be seen on the wire."""
    if depth > 8:  # ours has four levels; one that contains itself has no end
        raise ValueError("types too deep")
    if isinstance(of, str):
        named = types.get(of.rpartition(".")[2])
        return of if named is None else _shape(named, types, depth + 1)
    kind = of["type"]
    if kind == "record":
        return [_shape(each["type"], types, depth + 1) for each in of["fields"]]
    if kind == "array":
        return ["array", _shape(of["items"], types, depth + 1)]
    if kind == "map":
        return ["map", _shape(of["values"], types, depth + 1)]
    if kind == "enum":
        return ["enum", of["symbols"]]
    return _shape(kind, types, depth + 1)
