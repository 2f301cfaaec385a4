"""OTLP's requests in protobuf, with each record's attributes left as bytes until they are asked for.

Attributes repeat themselves from record to record, and a message in Python for each of them, and for its value, costs more than
all else of a record. As bytes those that are the same are one. On the wire a message and its bytes are the same (Protocol Buffers
encoding, "Length-Delimited Records"), so this is the published schema with another type for one field.

A string that is not UTF-8 is an error of the whole request, and libraries of C send such without a look, as Fluent Bit does with
lines of files: all that was sent together would be lost. `mended` reads strings as bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

_ATTRIBUTES = "opentelemetry.proto.logs.v1.LogRecord.attributes"
_REQUEST, _PAIR = "collector.logs.v1.ExportLogsServiceRequest", "common.v1.KeyValue"

_TYPES = descriptor_pb2.FieldDescriptorProto
_Change = Callable[[Any, str], None]  # of a field, by its whole name


def mended(data: bytes) -> bytes:
    """The request, with replacement characters for what is not UTF-8 in its strings. Raises DecodeError."""
    kind, texts = _untexted()
    request = kind.FromString(data)
    _mend(request, texts)
    made: bytes = request.SerializeToString()
    return made


def _mend(message: Any, texts: frozenset[str]) -> None:
    """Its depth is limited by the parser."""
    for field, value in message.ListFields():
        if field.full_name in texts:
            if isinstance(value, bytes):
                setattr(message, field.name, _utf8(value))
            else:
                value[:] = [*map(_utf8, value)]
        elif field.message_type is not None:
            for each in (value,) if isinstance(value, Message) else value:
                _mend(each, texts)


def _utf8(text: bytes) -> bytes:
    return text.decode(errors="replace").encode()


@cache
def _untexted() -> tuple[Any, frozenset[str]]:
    """The request with bytes for all strings, and the names of these."""
    texts: set[str] = set()

    def change(field: Any, name: str) -> None:
        if field.type == _TYPES.TYPE_STRING:
            field.type = _TYPES.TYPE_BYTES
            texts.add(name)

    return _messages(change, _REQUEST)[0], frozenset(texts)


def _change_attributes(field: Any, name: str) -> None:
    if name == _ATTRIBUTES:
        field.type = _TYPES.TYPE_BYTES
        field.ClearField("type_name")


def _add(pool: descriptor_pool.DescriptorPool, file: Any, known: set[str], change: _Change) -> None:
    """The file, after those that it needs."""
    for each in file.dependencies:
        _add(pool, each, known, change)
    if file.name in known:
        return
    known.add(file.name)
    made = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(made)
    for message in made.message_type:  # none of them has others in it
        for field in message.field:
            change(field, f"{made.package}.{message.name}.{field.name}")
    pool.AddSerializedFile(made.SerializeToString())


def _messages(change: _Change, *names: str) -> list[Any]:
    """The messages of these names, with their fields changed."""
    pool = descriptor_pool.DescriptorPool()
    _add(pool, logs_service_pb2.DESCRIPTOR, set(), change)
    found = (pool.FindMessageTypeByName(f"opentelemetry.proto.{name}") for name in names)
    return [*map(message_factory.GetMessageClass, found)]


Request, KeyValue = _messages(_change_attributes, _REQUEST, _PAIR)
