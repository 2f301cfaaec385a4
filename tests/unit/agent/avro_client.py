"""A client of Flume NG's Avro RPC, written from Avro's specification; datums by fastavro, so not by what is tested."""

from __future__ import annotations

import io
import json
import socket
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro

from agent.avro.protocol import NG_HASH, PROTOCOL

MD5 = {"type": "fixed", "name": "MD5", "size": 16}
META = {"type": "map", "values": "bytes"}
REQUEST = fastavro.parse_schema({
    "type": "record", "name": "HandshakeRequest", "fields": [
        {"name": "clientHash", "type": MD5},
        {"name": "clientProtocol", "type": ["null", "string"]},
        {"name": "serverHash", "type": "MD5"},
        {"name": "meta", "type": ["null", META]},
    ],
})  # fmt: skip
RESPONSE = fastavro.parse_schema({
    "type": "record", "name": "HandshakeResponse", "fields": [
        {"name": "match", "type": {"type": "enum", "name": "HandshakeMatch", "symbols": ["BOTH", "CLIENT", "NONE"]}},
        {"name": "serverProtocol", "type": ["null", "string"]},
        {"name": "serverHash", "type": ["null", MD5]},
        {"name": "meta", "type": ["null", META]},
    ],
})  # fmt: skip
EVENT = fastavro.parse_schema({
    "type": "record", "name": "AvroFlumeEvent", "fields": [
        {"name": "headers", "type": {"type": "map", "values": "string"}}, {"name": "body", "type": "bytes"},
    ],
})  # fmt: skip
EVENTS = fastavro.parse_schema({"type": "array", "items": EVENT})
STATUS = fastavro.parse_schema({"type": "enum", "name": "Status", "symbols": ["OK", "FAILED", "UNKNOWN"]})

Event = tuple[bytes, Mapping[str, str]]


def datum(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def handshake(
    client_hash: bytes = NG_HASH, server_hash: bytes = NG_HASH, protocol: str | None = None
) -> bytes:
    record = {
        "clientHash": client_hash,
        "clientProtocol": protocol,
        "serverHash": server_hash,
        "meta": None,
    }
    return datum(REQUEST, record)


def batch(events: Sequence[Event]) -> bytes:
    records = [{"headers": headers, "body": body} for body, headers in events]
    return datum(META, {}) + datum("string", "appendBatch") + datum(EVENTS, records)


def single(event: Event) -> bytes:
    return datum(META, {}) + datum("string", "append") + datum(EVENT, {"headers": event[1], "body": event[0]})


def framed(serial: int, data: bytes, buffer_bytes: int = 8192) -> bytes:
    pieces = [data[at : at + buffer_bytes] for at in range(0, len(data), buffer_bytes)]
    return struct.pack(">II", serial, len(pieces)) + b"".join(
        struct.pack(">I", len(piece)) + piece for piece in pieces
    )


class Client:
    """One connection."""

    def __init__(self, port: int, *, deflate: bool = False, protocol: str | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self._pack, self._unpack = (zlib.compressobj(6), zlib.decompressobj()) if deflate else (None, None)
        self._received = b""
        self._serial = 0
        self._opening = handshake() if protocol is None else handshake(b"x" * 16, protocol=protocol)

    def send(self, data: bytes) -> int:
        """A request; its serial number."""
        self._serial += 1
        whole = framed(self._serial, self._opening + data)
        self._opening = b""
        if self._pack is not None:
            whole = self._pack.compress(whole) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(whole)
        return self._serial

    def response(self) -> tuple[int, io.BytesIO]:
        serial, count = struct.unpack(">II", self._bytes(8))
        return serial, io.BytesIO(
            b"".join(self._bytes(struct.unpack(">I", self._bytes(4))[0]) for _ in range(count))
        )

    def status(self, *, opens: bool = False) -> str:
        """Of the next response; `opens`: with a handshake before it."""
        _, data = self.response()
        if opens:
            assert fastavro.schemaless_reader(data, RESPONSE, None)["match"] == "BOTH"
        assert fastavro.schemaless_reader(data, META, None) == {}
        assert fastavro.schemaless_reader(data, "boolean", None) is False
        return str(fastavro.schemaless_reader(data, STATUS, None))

    def close(self) -> None:
        self.socket.close()

    def _bytes(self, count: int) -> bytes:
        while len(self._received) < count:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the server has ended the connection")
            self._received += data if self._unpack is None else self._unpack.decompress(data)
        taken, self._received = self._received[:count], self._received[count:]
        return taken


def other_text() -> str:
    """The protocol as another library would write it."""
    made = json.loads(PROTOCOL)
    made["doc"] = "another"
    made["types"][1]["fields"][0]["type"]["avro.java.string"] = "String"
    return json.dumps(made)
