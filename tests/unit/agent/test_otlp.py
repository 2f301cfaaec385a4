"""`otlp`: what the SDK of OpenTelemetry sends, over gRPC and HTTP, and what others may send."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from agent.otlp.columns import MORE
from agent.otlp.logs import WrongRequestError, of_json, of_protobuf
from agent.otlp.service import METHOD, SERVICE
from tests.unit.agent.live import listening
from tests.unit.agent.scripted import context
from tests.unit.agent.test_http import Feeding
from tests.unit.agent.test_made_sources import made

EXPORT = f"/{SERVICE}/{METHOD}"


@pytest.fixture
def feeding(tmp_path: Path) -> Iterator[Feeding]:
    with listening(made('otlp(0, 0, host="127.0.0.1", wait=300ms)', context(tmp_path)), 1 << 20) as each:
        feed = Feeding(each)
        try:
            yield feed
        finally:
            feed.end()


def request(*bodies: str) -> ExportLogsServiceRequest:
    made_ = ExportLogsServiceRequest()
    scope = made_.resource_logs.add().scope_logs.add()
    for body in bodies:
        scope.log_records.add().body.string_value = body
    return made_


def post(feed: Feeding, body: bytes, kind: str, path: str = "/v1/logs") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", feed.open.source.ports[1], timeout=20)  # type: ignore[attr-defined]
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def call(feed: Feeding, data: bytes) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{feed.open.source.ports[0]}") as channel:  # type: ignore[attr-defined]
        return channel.unary_unary(EXPORT)(data, timeout=20)  # type: ignore[no-any-return]


def log_through(exporter: Any) -> None:
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    provider = LoggerProvider(resource=Resource.create({"service.name": "shop", "host.name": "web1"}))
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    record = LogRecord(
        timestamp=1_700_000_000_000_000_000,
        body="sold out",
        severity_number=SeverityNumber.WARN,
        attributes={"item": 4711},
    )
    provider.get_logger("shop.cart").emit(record)
    provider.shutdown()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_log_of_the_python_sdk_becomes_an_event(feeding: Feeding, transport: str) -> None:
    of_grpc, of_http = feeding.open.source.ports  # type: ignore[attr-defined]
    if transport == "grpc":
        log_through(GrpcExporter(endpoint=f"http://127.0.0.1:{of_grpc}", insecure=True))
    else:
        log_through(HttpExporter(endpoint=f"http://127.0.0.1:{of_http}/v1/logs"))
    (row,) = feeding.open.wait_for(1) if not feeding.open.rows else feeding.open.rows
    assert (row["body"], row["priority"], row["host"], row["item"]) == (b"sold out", "WARN", "web1", "4711")
    assert (row["resource.service.name"], row["scope.name"]) == ("shop", "shop.cart")
    assert "timestamp" in row


JSON = {
    "resourceLogs": [
        {
            "resource": {"attributes": [{"key": "a", "value": {"intValue": "7"}}]},
            "scopeLogs": [
                {
                    "logRecords": [
                        {
                            "timeUnixNano": "1544712660300000000",
                            "severityNumber": 17,
                            "severityText": "ERR",
                            "traceId": "5B8EFFF798038103D269B633813FC60C",
                            "spanId": "EEE19B7EC3C1B174",
                            "body": {"kvlistValue": {"values": [{"key": "x", "value": {"boolValue": True}}]}},
                            "attributes": [{"key": "body", "value": {"stringValue": "taken"}}],
                            "unknown": 1,
                        }
                    ]
                }
            ],
        }
    ]
}


def test_json_is_read_as_the_specification_has_it(feeding: Feeding) -> None:
    assert post(feeding, json.dumps(JSON).encode(), "application/json") == (200, b"{}")
    (row,) = feeding.open.rows
    assert (row["body"], row["priority"], row["severity"]) == (b'{"x": true}', "ERROR", "ERR")
    assert (row["trace_id"], row["span_id"]) == ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174")
    assert (row["resource.a"], row["attribute.body"]) == ("7", "taken")
    assert row["timestamp"].timestamp() == 1544712660.3


def test_json_is_read_as_protobuf_reads_it() -> None:
    """Nulls are as if they were not there, enums may have their names, base64 either alphabet and no padding."""
    record = dict.fromkeys(
        [
            "timeUnixNano",
            "observedTimeUnixNano",
            "severityText",
            "body",
            "flags",
            "traceId",
            "spanId",
            "attributes",
        ]
    )
    record |= {"severityNumber": "SEVERITY_NUMBER_WARN2", "body": {"bytesValue": "-_8"}}
    values = {"kvlistValue": {"values": None}, "arrayValue": None}
    others = {"resource": None, "scopeLogs": None}, {"scopeLogs": [{"scope": None, "logRecords": None}]}
    said = {
        "resource": {"attributes": [{"key": "k", "value": values}]},
        "scopeLogs": [{"logRecords": [record, {}]}],
    }
    logs = of_json(json.dumps({"resourceLogs": [*others, said], "new": 1}).encode(), 100)
    assert logs.rows is not None
    first, second = logs.rows.to_pylist()
    assert (first["body"], first["priority"], first["severity_number"]) == (b'"+/8="', "WARN", "14")
    assert (first["resource.k"], second["body"], second["priority"]) == ("{}", b"", None)
    said["scopeLogs"] = [{"logRecords": [{"flags": "257"}, {"flags": 257}, {"flags": "0"}]}]
    logs = of_json(json.dumps({"resourceLogs": [said]}).encode(), 100)
    assert logs.rows is not None
    assert logs.rows.column("trace_flags").to_pylist() == ["1", "1", None]
    with pytest.raises(WrongRequestError, match="SEVERITY_NUMBER_LOUD"):
        of_json(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [
            {"severityNumber": "SEVERITY_NUMBER_LOUD"}]}]}]}).encode(), 100)  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "kind", "path"),
    [
        (400, b"\xff\xff", "application/x-protobuf", "/v1/logs"),
        (400, b"[", "application/json", "/v1/logs"),
        (
            400,
            b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "good"}}, {"traceId": "xyz"}]}]}]}',
            "application/json",
            "/v1/logs",
        ),
        (415, b"", "text/plain", "/v1/logs"),
        (404, b"", "application/json", "/v1/traces"),
    ],
)
def test_wrong_request_is_refused(feeding: Feeding, status: int, body: bytes, kind: str, path: str) -> None:
    assert post(feeding, body, kind, path)[0] == status
    assert call(feeding, request("after").SerializeToString()) == b""
    assert feeding.open.bodies == [b"after"]


def test_record_that_is_too_large_is_rejected_alone(feeding: Feeding) -> None:
    data = request("a", "x" * ((1 << 20) + 1)).SerializeToString()
    answers = (call(feeding, data), post(feeding, data, "application/x-protobuf")[1])
    assert [
        ExportLogsServiceResponse.FromString(each).partial_success.rejected_log_records for each in answers
    ] == [1, 1]
    assert feeding.open.bodies == [b"a", b"a"]


def test_full_channel_is_said_with_the_time_to_retry(feeding: Feeding) -> None:
    feeding.pause()
    with pytest.raises(grpc.RpcError) as raised:
        call(feeding, request("a").SerializeToString())
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert any(
        key == "grpc-status-details-bin" and b"RetryInfo" in value
        for key, value in raised.value.trailing_metadata()
    )
    assert post(feeding, request("a").SerializeToString(), "application/x-protobuf")[0] == 503
    with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
        call(feeding, b"\xff\xff")


def test_attributes_beyond_the_limit_are_kept_together() -> None:
    made_ = request("a")
    for number in range(500):
        made_.resource_logs[0].scope_logs[0].log_records[0].attributes.add(
            key=f"k{number}"
        ).value.int_value = number
    rows = of_protobuf(made_.SerializeToString(), 1000).rows
    assert rows is not None
    (row,) = rows.to_pylist()
    found = {**row, **json.loads(row[MORE])}
    assert all(found[f"k{number}"] == str(number) for number in range(500))


def test_attributes_have_fewer_columns_where_there_are_many_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.otlp.columns.CELLS_MAX", 10)
    made_ = request("a", "b", "c", "d", "e")
    for name in ("x", "y", "z"):
        made_.resource_logs[0].scope_logs[0].log_records[4].attributes.add(key=name).value.string_value = name
    rows = of_protobuf(made_.SerializeToString(), 1000).rows
    assert rows is not None
    assert rows.column(MORE).to_pylist() == [None, None, None, None, json.dumps({"z": "z"})]
    assert rows.column("x").to_pylist() == [None, None, None, None, "x"]


@pytest.mark.parametrize("kind", ["protobuf", "json"])
def test_what_becomes_much_larger_in_columns_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.otlp.logs.RECORDS_MAX", 100)
    of = of_protobuf if kind == "protobuf" else of_json

    def encoded(message: ExportLogsServiceRequest) -> bytes:
        return message.SerializeToString() if kind == "protobuf" else MessageToJson(message).encode()

    with pytest.raises(WrongRequestError, match=r"^more than 100 log records"):
        of(encoded(request(*["a"] * 101)), 1000)
    many = request(*["a"] * 100)
    many.resource_logs[0].resource.attributes.add(key="k").value.string_value = "x" * 1_000_000
    with pytest.raises(WrongRequestError, match=r"^attributes of resources and scopes"):
        of(encoded(many), 1000)
    scopes = ExportLogsServiceRequest()
    scopes.resource_logs.add().resource.attributes.add(key="k").value.string_value = "x" * 1_000_000
    for _ in range(100):
        scopes.resource_logs[0].scope_logs.add()
    with pytest.raises(WrongRequestError, match=r"^attributes of resources and scopes"):
        of(encoded(scopes), 1000)


@pytest.mark.parametrize("where", ["body", "key", "value", "inner", "severity", "resource", "scope"])
def test_text_that_is_no_utf8_is_mended(where: str) -> None:
    made_ = request("body", "other")
    resource_logs = made_.resource_logs[0]
    resource_logs.resource.attributes.add(key="r").value.string_value = "resource"
    resource_logs.scope_logs[0].scope.name = "scope"
    record = resource_logs.scope_logs[0].log_records[0]
    record.severity_text = "severity"
    record.attributes.add(key="key").value.string_value = "value"
    record.attributes.add(key="k").value.kvlist_value.values.add(key="i").value.string_value = "inner"
    sent = made_.SerializeToString().replace(where.encode(), b"\xff" + where[1:].encode())
    rows = of_protobuf(sent, 1000).rows
    assert rows is not None
    row, other = rows.to_pylist()
    texts = [*row, *(value.decode() if isinstance(value, bytes) else str(value) for value in row.values())]
    assert any("\N{REPLACEMENT CHARACTER}" + where[1:] in text.replace("\\ufffd", "\ufffd") for text in texts)
    assert other["body"] == b"other"


@settings(deadline=None)
@given(st.binary() | st.binary().map(lambda data: request("a").SerializeToString() + data))
def test_no_protobuf_fails_otherwise_than_as_wrong(data: bytes) -> None:
    try:
        logs = of_protobuf(data, 100)
    except WrongRequestError:
        return
    assert logs.rows is None or logs.rows.num_rows > 0


NAMES = "resourceLogs resource scopeLogs logRecords body attributes key value stringValue traceId timeUnixNano intValue"
KEYS = st.sampled_from(NAMES.split())
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=4) | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=20,
)


@settings(deadline=None)
@given(VALUES | st.fixed_dictionaries({"resourceLogs": st.just([{"scopeLogs": [{"logRecords": [{}]}]}])}))
def test_no_json_fails_otherwise_than_as_wrong(value: Any) -> None:
    try:
        logs = of_json(json.dumps(value).encode(), 100)
    except WrongRequestError:
        return
    assert logs.rows is None or logs.rows.num_rows > 0


@settings(max_examples=200)
@given(st.data())
def test_what_the_published_schema_does_not_read_is_refused_whole_unless_it_is_no_utf8(
    data: st.DataObject,
) -> None:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for number in range(3):
        record = records.add(time_unix_nano=number)
        record.body.string_value = "x" * (10 if number else 100)
        record.attributes.add(key="a").value.string_value = "ü"
        record.attributes.add(key="b").value.array_value.values.add(string_value="v")
    sent = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(0, 2))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    fault = ""
    try:
        ExportLogsServiceRequest.FromString(bytes(sent))
    except DecodeError as error:
        fault = str(error)
    try:
        of_protobuf(bytes(sent), 50)
    except WrongRequestError:
        assert fault
    else:
        assert not fault or "UTF-8" in fault
