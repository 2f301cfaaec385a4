"""`http`: what becomes of requests, and what their senders are told."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gzip
import http.client
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.posted import server
from agent.posted.bodies import Refusal, decoded
from agent.posted.events import parsed
from agent.posted.rows import COLUMNS_MAX
from qanat.component import Context
from tests.unit.agent.live import Listening, listening, until
from tests.unit.agent.scripted import context
from tests.unit.agent.test_made_sources import made

JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "text/plain"}


@pytest.fixture
def counted() -> dict[str, int]:
    return {}


@pytest.fixture
def where(tmp_path: Path, counted: dict[str, int]) -> Context:
    return context(tmp_path, lambda name, n: counted.update({name: counted.get(name, 0) + n}))


class Feeding:
    """A source whose inlet is emptied by a thread, as a feed does it; `pause` stops that."""

    def __init__(self, open_: Listening) -> None:
        self.open = open_
        self.safe: bool | None = True
        self.going = threading.Event()
        self.going.set()
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended:
            if self.going.wait(0.02):
                self.open.take(0.01, safe=self.safe)

    def pause(self) -> None:
        self.going.clear()
        time.sleep(0.05)  # the take that is under way

    def end(self) -> None:
        self._ended = True
        self._thread.join()


@pytest.fixture
def feeding(where: Context) -> Iterator[Feeding]:
    with listening(made('http(0, host="127.0.0.1", headers=["X-App"], wait=300ms)', where), 1 << 20) as each:
        feed = Feeding(each)
        try:
            yield feed
        finally:
            feed.end()


def post(feed: Feeding, body: bytes, headers: dict[str, str], method: str = "POST") -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", feed.open.source.port, timeout=20)
    try:
        connection.request(method, "/any/path", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


def test_json_events_become_events_with_attributes(feeding: Feeding) -> None:
    events = [
        {"headers": {"timestamp": "1700000000123", "host": "web1", "n": 7, "ok": True}, "body": "a\nb"},
        {"headers": {}, "body": "ü"},
        {"headers": {"body": "x", "timestamp": "soon"}},
    ]
    assert post(feeding, json.dumps(events).encode(), JSON | {"X-App": "shop"})[0] == 200
    first, second, third = feeding.open.rows
    assert (first["body"], first["host"], first["n"], first["ok"], first["x-app"]) == (
        b"a\nb",
        "web1",
        "7",
        "true",
        "shop",
    )
    assert first["timestamp"].timestamp() == 1700000000.123
    assert (second["body"], second["host"], "timestamp" in second) == ("ü".encode(), "host", False)
    assert (third["body"], third["attribute.body"], third["attribute.timestamp"]) == (b"", "x", "soon")


@pytest.mark.parametrize(
    "kind", ["", "application/octet-stream", "application/x-www-form-urlencoded", "text/json; charset=UTF-8"]
)
def test_json_needs_no_content_type_as_of_flume_ng(feeding: Feeding, kind: str) -> None:
    assert post(feeding, b'[{"body": "x"}]', {"Content-Type": kind} if kind else {})[0] == 200
    assert feeding.open.bodies == [b"x"]


@pytest.mark.parametrize("charset", ["utf-16", "utf-32", "UTF-16LE"])
def test_json_may_be_of_the_charsets_of_flume_ng(feeding: Feeding, charset: str) -> None:
    body = '[{"body": "ünï"}]'.encode(charset)
    assert post(feeding, body, {"Content-Type": f"application/json; charset={charset}"})[0] == 200
    assert feeding.open.bodies == ["ünï".encode()]


def test_json_lines_are_events_or_bodies(feeding: Feeding) -> None:
    body = b'{"headers": {"a": "1"}, "body": "x"}\r\n\n{"level": "info", "body": 1}\n[1]\n"s"\n'
    assert post(feeding, body, {"Content-Type": "application/x-ndjson"})[0] == 200
    assert feeding.open.bodies == [b"x", b'{"level": "info", "body": 1}', b"[1]", b'"s"']


@pytest.mark.parametrize(
    ("body", "bodies"),
    [
        (
            b'[{"date": 1.5, "log": "x"}, {"a": {"b": [1]}}]',
            [b'{"date": 1.5, "log": "x"}', b'{"a": {"b": [1]}}'],
        ),
        (b' {"log": "x"}\n', [b'{"log": "x"}']),
        (b'{"log": "x"}{"log": "\xc3\xbc\\n}"}', [b'{"log": "x"}', b'{"log": "\xc3\xbc\\n}"}']),
        (b'{"log": 1}\n{"body": "b", "headers": {}}\r\n\n', [b'{"log": 1}', b"b"]),
        (b'{"headers": {},\n "body": "b"}', [b"b"]),
        (b'[{"body": "b", "severity": 9}, {"body": "c"}]', [b'{"body": "b", "severity": 9}', b"c"]),
        (b'[{"body": "b"}, {}, {"headers": {}}]', [b"b", b"{}", b""]),
        (b'{"headers": {"a": "1"}}{"body": {"b": 1}, "n": 2}', [b"", b'{"body": {"b": 1}, "n": 2}']),
    ],
)
def test_records_of_other_programs_are_bodies(feeding: Feeding, body: bytes, bodies: list[bytes]) -> None:
    assert post(feeding, body, JSON)[0] == 200
    assert feeding.open.bodies == bodies


def test_who_waits_to_be_told_before_it_sends_is_told(feeding: Feeding) -> None:
    with socket.create_connection(("127.0.0.1", feeding.open.source.port), timeout=30) as peer:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        peer.sendall(head)
        answers = peer.makefile("rb")
        assert [answers.readline(), answers.readline()] == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"]
        peer.sendall(b"a\n")
        assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
    with socket.create_connection(("127.0.0.1", feeding.open.source.port), timeout=30) as peer:
        peer.sendall(head.replace(b": 2", b": 200000000"))  # what is refused anyway is not asked for
        assert peer.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")
    assert feeding.open.bodies == [b"a"]


def test_lines_are_events_also_the_last_without_an_end(feeding: Feeding) -> None:
    assert post(feeding, b"a\r\n\nb\nc", LINES)[0] == 200
    assert feeding.open.bodies == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("status", "body", "headers", "why"),
    [
        (400, b'[{"body": "x"}, {"body": "y"', JSON, "no JSON array"),
        (400, b'[{"body": "x"}, {"headers": "y"}]', JSON, "event 2"),
        (400, b'[{"body": "x"}, 1]', JSON, "event 2"),
        (400, b'[{"body": "x"}, {"a": "\xff"}]', JSON, "event 2"),
        (400, b'[{"body": {"a": 1}}]', JSON, "body"),
        (400, b"[" * 100_000, JSON, "no JSON array"),
        (400, b'{"a": ' * 100_000, JSON, "no JSON array"),
        (400, b'{"a": 1}{"b": NaN}', JSON, "event 2"),
        (400, b'{"a": 1}{"b": 2', JSON, "no JSON array"),
        (400, b'["a", 1]', JSON, "no JSON array"),
        (400, b'{"a": 1}\n{"b"\n', {"Content-Type": "application/x-ndjson"}, "line 2"),
        (400, b"no gzip", LINES | {"Content-Encoding": "gzip"}, "not compressed"),
        (400, gzip.compress(b"a\nb\n", mtime=0)[:-5], LINES | {"Content-Encoding": "gzip"}, "too early"),
        (413, gzip.compress(b"a\n" * (3 << 20), mtime=0), LINES | {"Content-Encoding": "gzip"}, "decompressed"),
        (413, zlib.compress(bytes(64 << 20)), LINES | {"Content-Encoding": "deflate"}, "decompressed"),
        (413, b"a" * ((1 << 20) + 1), LINES, "event 1"),
        (413, b"a\n" * (3 << 20), LINES, "fewer events"),
        (415, b"a", {"Content-Type": "application/avro"}, "application/avro"),
        (415, b"a", LINES | {"Content-Encoding": "br"}, "br"),
        (415, b"[]", {"Content-Type": "application/json; charset=koi8-r"}, "koi8-r"),
        (405, b"", {}, "POST"),
    ],
)  # fmt: skip
def test_request_is_refused_whole_and_told_why(
    feeding: Feeding, counted: dict[str, int], status: int, body: bytes, headers: dict[str, str], why: str
) -> None:
    answer = post(feeding, body, headers, "GET" if status == 405 else "POST")
    assert (answer[0], why in answer[1]) == (status, True), answer
    assert post(feeding, b"after\n", LINES)[0] == 200
    assert feeding.open.bodies == [b"after"]
    assert counted == {server.REJECTED: 1}


def test_too_many_names_are_refused(feeding: Feeding) -> None:
    events = [{"headers": {f"n{number}": "x"}, "body": ""} for number in range(COLUMNS_MAX + 1)]
    assert post(feeding, json.dumps(events).encode(), JSON)[0] == 400
    for at in range(0, COLUMNS_MAX, 64):
        assert post(feeding, json.dumps(events[at : at + 64]).encode(), JSON)[0] == 200
    assert len(feeding.open.rows) == COLUMNS_MAX


def test_many_names_in_many_events_are_refused(feeding: Feeding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.posted.rows.CELLS_MAX", 5)
    events = [{"headers": {"a": "x", "b": "x"}}, {"body": ""}, {"body": ""}]
    answer = post(feeding, json.dumps(events).encode(), JSON)
    assert (answer[0], "2 different headers in 3 events" in answer[1]) == (400, True), answer
    assert post(feeding, json.dumps(events[:2]).encode(), JSON)[0] == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw", "members"])
def test_compressed_bodies_are_decompressed(feeding: Feeding, encoding: str) -> None:
    raw = zlib.compressobj(wbits=-15)
    data = {
        "gzip": gzip.compress(b"a\nb\n"),
        "deflate": zlib.compress(b"a\nb\n"),
        "raw": raw.compress(b"a\nb\n") + raw.flush(),
        "members": gzip.compress(b"a\n") + gzip.compress(b"b\n"),
    }[encoding]
    name = "gzip" if encoding in ("gzip", "members") else "deflate"
    assert post(feeding, data, LINES | {"Content-Encoding": name})[0] == 200
    assert feeding.open.bodies == [b"a", b"b"]


def test_request_is_answered_only_once_it_is_safe(feeding: Feeding) -> None:
    feeding.pause()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(post, feeding, b"a\n", LINES)
        until(lambda: feeding.open.inlet.size_bytes)
        assert not answer.done()
        feeding.going.set()
        assert answer.result()[0] == 200


def test_full_channel_answers_503_with_retry_after_and_takes_nothing(
    feeding: Feeding, counted: dict[str, int]
) -> None:
    feeding.pause()
    line = b"x" * 1023 + b"\n"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: post(feeding, line * 300, LINES), range(8))]
    assert {(status, headers["Retry-After"]) for status, _, headers in answers} == {(503, "1")}
    assert all("nothing was taken" in why for _, why, _ in answers)
    assert counted == {server.REFUSED: 8}
    feeding.going.set()
    assert post(feeding, b"after\n", LINES)[0] == 200
    assert feeding.open.bodies == [b"after"]


def test_stopping_source_refuses_what_is_not_safe(feeding: Feeding) -> None:
    feeding.pause()
    feeding.safe = False
    feeding.going.set()
    status, why, _ = post(feeding, b"a\n", LINES)
    assert (status, "stops" in why) == (503, True)


def test_slow_clients_block_nobody_and_hold_little(
    feeding: Feeding, counted: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HELD_BYTES_MAX", 8 << 20)
    port = feeding.open.source.port
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    try:
        for number, each in enumerate(slow):
            if number % 2:
                each.sendall(
                    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\nabc"
                )
            else:
                each.sendall(b"POST / HT")
        for _ in range(20):
            assert post(feeding, b"quick\n", LINES)[0] == 200
        for each in slow[1::2]:
            each.settimeout(5)
            try:
                each.sendall(b"x" * 600_000)
            except OSError:
                continue
        until(lambda: counted.get(server.REFUSED, 0) > 10)
        assert feeding.open.source._server._held_bytes <= 8 << 20
    finally:
        for each in slow:
            each.close()
    until(lambda: post(feeding, b"after\n", LINES)[0] == 200)


def test_request_that_stalls_is_ended(feeding: Feeding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S_MAX", 0.2)
    for said, heard in (
        (b"", b""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", b"HTTP/1.1 408"),
    ):
        with socket.create_connection(("127.0.0.1", feeding.open.source.port)) as stalled:
            stalled.settimeout(20)
            stalled.sendall(said)
            assert stalled.recv(12) == heard


def test_connections_beyond_the_limit_are_closed(where: Context, counted: dict[str, int]) -> None:
    with listening(made('http(0, host="127.0.0.1", connections=2)', where)) as each:
        first = [socket.create_connection(("127.0.0.1", each.source.port)) for _ in range(2)]
        until(lambda: len(each.source._server._server.connections) == 2)
        with socket.create_connection(("127.0.0.1", each.source.port)) as third:
            third.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert third.recv(1) == b""
        assert counted == {server.CONNECTIONS_REFUSED: 1}
        for connection in first:
            connection.close()


KINDS = st.sampled_from(["application/json", "application/x-ndjson", "text/plain", ""])
NAMES = st.sampled_from(["headers", "body", "timestamp", "host", "position"]) | st.text(max_size=3)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSONS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TEXTS = st.lists(JSONS.map(lambda value: json.dumps(value).encode()), max_size=4)
BODIES = st.binary() | TEXTS.map(b"\n".join) | TEXTS.map(lambda each: b"[" + b",".join(each) + b"]")
COMPRESSED = st.binary() | st.binary().map(gzip.compress) | st.binary().map(zlib.compress)


@settings(deadline=None)
@given(KINDS, st.sampled_from(["", "utf-8", "utf-16", "x", "ascii"]), BODIES)
def test_nothing_that_is_posted_fails_otherwise_than_refused(kind: str, charset: str, body: bytes) -> None:
    found: object = None
    refusal = None
    try:
        found = parsed(kind, charset, body, 1000)
    except Refusal as raised:
        refusal = raised
    if refusal is not None:
        assert refusal.status in (400, 413, 415)
        assert refusal.why
        return
    if isinstance(found, bytes):
        assert b"".join(found.split(b"\n")) == body.replace(b"\r\n", b"").replace(b"\n", b"")
    else:
        found.validate(full=True)  # type: ignore[attr-defined]


@settings(deadline=None)
@given(st.sampled_from(["gzip", "deflate", "", "x"]), COMPRESSED, st.integers(0, 40))
def test_decompression_makes_no_more_than_it_may(encoding: str, data: bytes, size: int) -> None:
    try:
        found = decoded(data, encoding, size)
    except Refusal:
        return
    assert len(found) <= size or not encoding


def test_garbage_instead_of_http_ends_its_connection_alone(feeding: Feeding) -> None:
    for garbage in (
        b"\x16\x03\x01\x00garbage\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"A" * 20_000 + b"\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", feeding.open.source.port)) as made_:
            made_.settimeout(20)
            made_.sendall(garbage)
            assert made_.recv(100).startswith((b"HTTP/1.", b""))
    assert post(feeding, b"after\n", LINES)[0] == 200


def test_many_requests_at_a_time_are_all_taken(feeding: Feeding) -> None:
    async def one(number: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", feeding.open.source.port)
        body = b"%d\n" % number
        writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer[:12]

    async def all_() -> set[bytes]:
        return set(await asyncio.gather(*(one(number) for number in range(200))))

    assert asyncio.run(all_()) == {b"HTTP/1.1 200"}
    assert sorted(map(int, feeding.open.bodies)) == list(range(200))
