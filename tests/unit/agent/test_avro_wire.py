"""What a network can send to the source `avro`: the framing, the handshake, the datums; nothing of it harms the agent."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.avro import datum, frames
from agent.avro.frames import Frame, FrameReader, encoded
from agent.avro.protocol import HASH, NG_HASH, PROTOCOL, Call, Reply, Session, Status
from qanat.errors import CorruptError
from tests.unit.agent.avro_client import META, RESPONSE, STATUS, batch, framed, handshake, other_text, single

HEADERS = st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=5)
EVENTS = st.lists(st.tuples(st.binary(max_size=40), HEADERS), max_size=12)
OPEN = handshake()


def events_in(call: Call) -> list[tuple[bytes, dict[str, str]]]:
    found = call.received
    headers = {name: values.to_pylist() for name, values in found.headers.items()}
    return [
        (body, {name: values[row] for name, values in headers.items() if values[row] is not None})
        for row, body in enumerate(found.bodies.to_pylist())
    ]


@given(EVENTS, st.lists(st.integers(1, 50), max_size=30), st.integers(1, 64))
def test_events_come_out_as_fastavro_wrote_them_however_the_bytes_are_cut(events, cuts, buffer_bytes):
    whole, reader, at, found = framed(7, OPEN + batch(events), buffer_bytes), FrameReader(), 0, []
    for cut in [*cuts, len(whole)]:
        reader.feed(whole[at : at + cut])
        at += cut
        while (frame := reader.take()) is not None:
            found.append(frame)
    assert [frame.serial for frame in found] == [7]
    assert reader.held_bytes == 0
    call = Session().handle(found[0].data)
    assert isinstance(call, Call)
    assert events_in(call) == events


def test_append_is_one_event_and_answers_have_the_handshake_only_once():
    session = Session()
    first, second = session.handle(OPEN + single((b"a", {"k": "v"}))), session.handle(batch([(b"b", {})]))
    assert isinstance(first, Call)
    assert isinstance(second, Call)
    assert events_in(first) == [(b"a", {"k": "v"})]
    answer = io.BytesIO(first.answer(Status.OK))
    assert fastavro.schemaless_reader(answer, RESPONSE, None)["match"] == "BOTH"
    for data, wanted in ((answer, "OK"), (io.BytesIO(second.answer(Status.FAILED)), "FAILED")):
        assert fastavro.schemaless_reader(data, META, None) == {}
        assert fastavro.schemaless_reader(data, "boolean", None) is False
        assert fastavro.schemaless_reader(data, STATUS, None) == wanted
        assert data.read() == b""


def test_unknown_client_is_asked_for_its_protocol_and_then_served():
    session = Session()
    reply = session.handle(handshake(b"x" * 16, b"y" * 16) + batch([(b"a", {})]))
    assert isinstance(reply, Reply)
    response = fastavro.schemaless_reader(io.BytesIO(reply.data), RESPONSE, None)
    assert (response["match"], response["serverProtocol"], response["serverHash"]) == ("NONE", PROTOCOL, HASH)
    call = session.handle(handshake(b"x" * 16, HASH, other_text()) + batch([(b"a", {})]))
    assert isinstance(call, Call)
    assert events_in(call) == [(b"a", {})]


def test_client_that_does_not_know_the_server_is_told_its_protocol():
    reply = Session().handle(handshake(NG_HASH, b"y" * 16) + b"\0\0")
    assert isinstance(reply, Reply)
    assert fastavro.schemaless_reader(io.BytesIO(reply.data), RESPONSE, None)["match"] == "CLIENT"


def _of_another_shape() -> str:
    protocol = json.loads(PROTOCOL)
    protocol["types"][1]["fields"].reverse()
    return json.dumps(protocol)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"messages": 3}', _of_another_shape(), "[" * 60_000, "x" * 70_000]
)
def test_other_protocol_is_refused(text):
    with pytest.raises(CorruptError):
        Session().handle(handshake(b"x" * 16, HASH, text) + batch([(b"a", {})]))


def test_unknown_message_is_an_error_of_the_call():
    reply = Session().handle(OPEN + b"\0" + b"\x06foo")
    assert isinstance(reply, Reply)
    assert b"there is no message 'foo'" in reply.data


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_as_a_connection_are_frames_or_corrupt(data):
    reader = FrameReader()
    reader.feed(data)
    try:
        while reader.take() is not None:
            pass
    except CorruptError:
        pass
    assert reader.held_bytes <= len(data)


@settings(max_examples=500)
@given(EVENTS, st.data())
def test_damaged_request_is_events_a_reply_or_corrupt(events, data):
    whole = bytearray(OPEN + batch(events))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    whole = whole[: data.draw(st.integers(0, len(whole)))] + data.draw(st.binary(max_size=10))
    try:
        found = Session().handle(bytes(whole))
    except CorruptError:
        return
    assert isinstance(found, Reply | Call)


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_handshake_are_events_a_reply_or_corrupt(data):
    for name in (b"\0\x0cappend", b"\0\x16appendBatch", b""):
        try:
            found = Session().handle(OPEN + name + data)
        except CorruptError:
            continue
        assert isinstance(found, Reply | Call)


HUGE = datum.number((1 << 62) - 1)


@pytest.mark.parametrize(
    "events",
    [
        HUGE,  # events
        datum.number(-(1 << 62)) + HUGE,  # events, as a block with a size
        datum.number(1) + HUGE,  # headers
        datum.number(1) + datum.number(1) + HUGE,  # a header's name
        datum.number(1) + b"\0" + HUGE,  # a body
        datum.number(1) + b"\0" + datum.number(-5),
        b"\xff" * 20,
        datum.number(datum.EVENTS_MAX + 1) + b"\0\0" * (datum.EVENTS_MAX + 1) + b"\0",
        (datum.number(60_000) + b"\0\0" * 60_000) * 2 + b"\0",
        datum.number(1) + datum.number(300) + b"".join(b"\x04%c%c\0" % (n // 99, n % 99) for n in range(300)) + b"\0\0\0",
    ],
)  # fmt: skip
def test_lying_lengths_are_refused_before_memory_is_taken(events):
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError):
            Session().handle(OPEN + b"\0" + b"\x16appendBatch" + events)
        assert tracemalloc.get_traced_memory()[1] < (32 << 20)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">II", 1, frames.BUFFERS_MAX + 1),
        struct.pack(">III", 1, 1, 0xFFFFFFFF),
        struct.pack(">III", 1, 2, 8) + bytes(8) + struct.pack(">I", frames.REQUEST_BYTES_MAX),
    ],
)
def test_lying_frames_are_refused_at_once(data):
    reader = FrameReader()
    reader.feed(data)
    with pytest.raises(CorruptError):
        reader.take()


def test_frames_are_encoded_as_they_are_read():
    reader = FrameReader()
    reader.feed(encoded(Frame(3, b"abc")))
    assert reader.take() == Frame(3, b"abc")


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_numbers_are_encoded_as_they_are_read(value):
    assert datum.Reader(datum.number(value)).number() == value
