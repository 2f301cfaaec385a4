"""How fast requests become columns: `avro`, `http`, `otlp`, `grpc`, `kafka`. Run by `bench/sources.py`.

What a source does with the bytes of a request, or the messages that a library gives, up to a batch for its channel; without
sockets, so that nothing is measured but this. Events have bodies of 200 bytes and three attributes; `per_request` is how many
come together. Rates are for a second of CPU, the best of some turns, as other work on the machine can only make it slower.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

TURNS, TURN_S = 20, 0.1
PER_REQUEST = (100, 1000)
FORMED_EVENTS = 5000  # what the feed puts together: 1 MiB
KINDS = ("avro", "http-json", "http-ndjson", "http-ndjson-any", "otlp-protobuf", "otlp-json", "grpc", "kafka")
NAMES = ("timestamp", "host", "app")


def body(number: int) -> bytes:
    """Of 200 bytes."""
    return b"%08d " % number + b"x" * 191


def headers(number: int) -> dict[str, str]:
    """One of each kind: always another, one of a few, the same."""
    return {
        "timestamp": str(1_763_800_000_000 + number),
        "host": f"web-{number % 20}.example.org",
        "app": "shop",
    }


def measured(kind: str, per_request: int) -> dict[str, Any]:
    """Best rate of some turns."""
    decode = _DECODERS[kind](per_request)
    events, best = decode(), 0.0
    for _ in range(TURNS):
        count, began_s = 0, time.process_time()
        while (busy_s := time.process_time() - began_s) < TURN_S:
            count += decode()
        best = max(best, count / busy_s)
    return {"kind": kind, "per_request": per_request, "formed": events, "events_cpu_s": round(best)}


def _avro(per_request: int) -> Callable[[], int]:
    import fastavro

    from agent.avro.columns import events_of
    from agent.avro.protocol import NG_HASH, PROTOCOL, Call, Session
    from agent.live.framing import SizePolicy

    (event,) = (each for each in json.loads(PROTOCOL)["types"] if each["name"] == "AvroFlumeEvent")
    records = [{"headers": headers(number), "body": body(number)} for number in range(per_request)]
    data = io.BytesIO()
    fastavro.schemaless_writer(data, {"type": "array", "items": event}, records)
    request = b"\0" + b"\x16appendBatch" + data.getvalue()
    session = Session()
    session.handle(NG_HASH + b"\0" + NG_HASH + b"\0" + request)
    policy = SizePolicy(1 << 20, "split")

    def decode() -> int:
        calls = [session.handle(request) for _ in range(max(1, FORMED_EVENTS // per_request))]
        formed = events_of([call.received for call in calls if isinstance(call, Call)], policy, "h")
        return sum(each.count for each in formed)

    return decode


def _http(kind: str, request: bytes, per_request: int) -> Callable[[], int]:
    from agent.posted.events import parsed
    from agent.posted.rows import joined
    from qanat.component import Events

    def decode() -> int:
        parts = [parsed(kind, "", request, 1 << 20) for _ in range(max(1, FORMED_EVENTS // per_request))]
        formed = joined([Events(part, part.num_rows, {"host": "h"}) for part in parts])  # type: ignore[union-attr]
        return sum(each.count for each in formed)

    return decode


def _json_events(per_request: int) -> list[dict[str, Any]]:
    return [{"headers": headers(number), "body": body(number).decode()} for number in range(per_request)]


def _http_json(per_request: int) -> Callable[[], int]:
    return _http("application/json", json.dumps(_json_events(per_request)).encode(), per_request)


def _http_ndjson(per_request: int) -> Callable[[], int]:
    lines = "\n".join(map(json.dumps, _json_events(per_request)))
    return _http("application/x-ndjson", lines.encode(), per_request)


def _http_ndjson_any(per_request: int) -> Callable[[], int]:
    """Lines that are no events of Flume's: each is a body."""
    lines = "\n".join(
        json.dumps({**headers(number), "message": body(number).decode()}) for number in range(per_request)
    )
    return _http("application/x-ndjson", lines.encode(), per_request)


def _otlp(per_request: int) -> Any:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add()
    logs.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = logs.scope_logs.add()
    for number in range(per_request):
        record = scope.log_records.add(time_unix_nano=1_763_800_000_000_000_000 + number, severity_number=9)
        record.severity_text = "INFO"
        record.body.string_value = body(number).decode()
        record.trace_id, record.span_id = number.to_bytes(16, "big"), number.to_bytes(8, "big")
        for name, value in headers(number).items():
            record.attributes.add(key=name).value.string_value = value
    return request


def _otlp_protobuf(per_request: int) -> Callable[[], int]:
    from agent.otlp.logs import of_protobuf

    return _formed(of_protobuf, _otlp(per_request).SerializeToString(), per_request)


def _otlp_json(per_request: int) -> Callable[[], int]:
    from google.protobuf.json_format import MessageToDict

    from agent.otlp.logs import of_json

    request = MessageToDict(_otlp(per_request))
    for record in request["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        record["severityNumber"] = 9
        record["traceId"], record["spanId"] = "0123456789abcdef" * 2, "0123456789abcdef"
    return _formed(of_json, json.dumps(request).encode(), per_request)


def _formed(parse: Callable[[bytes, int], Any], request: bytes, per_request: int) -> Callable[[], int]:
    from agent.posted.rows import joined
    from qanat.component import Events

    def decode() -> int:
        parts = [parse(request, 1 << 20).rows for _ in range(max(1, FORMED_EVENTS // per_request))]
        return sum(each.count for each in joined([Events(part, part.num_rows, {}) for part in parts]))

    return decode


def _grpc(per_request: int) -> Callable[[], int]:
    from agent.published.columns import events
    from qanat.wire.v1 import publish_pb2 as wire

    message = wire.FromProducer()
    message.events.body.extend(map(body, range(per_request)))
    message.events.timestamp_ns.extend(range(1, per_request + 1))
    for name in NAMES:
        message.events.columns.add(name=f"a.{name}", value=[headers(n)[name] for n in range(per_request)])
    data = message.SerializeToString()
    return lambda: events(wire.FromProducer.FromString(data).events, {}).count


def _kafka(per_request: int) -> Callable[[], int]:
    from confluent_kafka import Message

    from agent.kafka.columns import columns_of

    messages = [
        Message(
            topic="t",
            partition=0,
            offset=number,
            key=b"%d" % number,
            value=body(number),
            headers=[
                (name, value.encode()) for name, value in headers(number).items() if name != "timestamp"
            ],
            timestamp=(1, 1_763_800_000_000 + number),
        )
        for number in range(per_request)
    ]
    return lambda: int(columns_of(messages, 1 << 20, lambda name, n: None).num_rows)


_DECODERS: dict[str, Callable[[int], Callable[[], int]]] = {
    "avro": _avro,
    "http-json": _http_json,
    "http-ndjson": _http_ndjson,
    "http-ndjson-any": _http_ndjson_any,
    "otlp-protobuf": _otlp_protobuf,
    "otlp-json": _otlp_json,
    "grpc": _grpc,
    "kafka": _kafka,
}
