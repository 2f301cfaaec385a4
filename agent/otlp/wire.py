"""OTLP's requests in protobuf, with each record's attributes left as bytes until they are asked for.

Attributes repeat themselves from record to record, and a message in Python for each of them, and for its value, costs more than
all else of a record. As bytes those that are the same are one. On the wire a message and its bytes are the same (Protocol Buffers
encoding, "Length-Delimited Records"), so this is the published schema with another type for one field.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

_RECORD, _FIELD = "LogRecord", "attributes"
_LOGS = "opentelemetry/proto/logs/v1/logs.proto"


def _add(pool: descriptor_pool.DescriptorPool, file: Any, known: set[str]) -> None:
    """The file, after those that it needs."""
    for each in file.dependencies:
        _add(pool, each, known)
    if file.name in known:
        return
    known.add(file.name)
    made = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(made)
    if made.name == _LOGS:
        (record,) = (each for each in made.message_type if each.name == _RECORD)
        (field,) = (each for each in record.field if each.name == _FIELD)
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
        field.ClearField("type_name")
    pool.AddSerializedFile(made.SerializeToString())


def _messages() -> tuple[Any, Any]:
    pool = descriptor_pool.DescriptorPool()
    _add(pool, logs_service_pb2.DESCRIPTOR, set())
    names = ("collector.logs.v1.ExportLogsServiceRequest", "common.v1.KeyValue")
    request, pair = (pool.FindMessageTypeByName(f"opentelemetry.proto.{name}") for name in names)
    return message_factory.GetMessageClass(request), message_factory.GetMessageClass(pair)


Request, KeyValue = _messages()
