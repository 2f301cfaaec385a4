"""The source `avro` over real connections: Flume NG's own client (Java), one of ours, and those who mean no good."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
import time
import zlib
from pathlib import Path

import pytest

from agent.sources.avro import Avro, AvroConfig
from qanat.testing.certificates import Authority
from tests.conftest import jars_missing
from tests.unit.agent.avro_client import Client, batch, framed, handshake, other_text, single
from tests.unit.agent.live import Listening, listening, until
from tests.unit.agent.scripted import context

LOOPBACK = "127.0.0.1"
JARS = Path(
    os.environ.get("QANAT_JARS") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qanat" / "jars"
)  # fmt: skip
COUNT = 450
JAVA_S_MAX = 120

# A batch-size of 100; then some by append.
PROGRAM = """
import java.util.*;
import org.apache.flume.Event;
import org.apache.flume.api.*;
import org.apache.flume.event.EventBuilder;
public class Sender {
  public static void main(String[] arguments) throws Exception {
    Properties properties = new Properties();
    properties.load(new java.io.FileReader(arguments[0]));
    RpcClient client = RpcClientFactory.getInstance(properties);
    List<Event> events = new ArrayList<>();
    for (int n = 0; n < COUNT; n++) {
      Map<String, String> headers = new HashMap<>();
      headers.put("timestamp", Long.toString(1700000000000L + n));
      headers.put("host", "java");
      headers.put("n", "\\u00fc" + n);
      Event event = EventBuilder.withBody(("event\\n" + n).getBytes("UTF-8"), headers);
      if (n >= 400) { client.append(event); continue; }
      events.add(event);
      if (events.size() == 100) { client.appendBatch(events); events.clear(); }
    }
    client.close();
    System.out.println("sent");
  }
}
""".replace("COUNT", str(COUNT))


def avro(tmp_path: Path, **options: object) -> Avro:
    return Avro(AvroConfig(port=0, host=LOOPBACK, **options), context(tmp_path))


@pytest.fixture(scope="module")
def sender(tmp_path_factory) -> list[str]:
    """The command that runs Flume's client with a file of properties."""
    jars = JARS / "flume"
    if not list(jars.glob("flume-ng-sdk-*.jar")):
        jars_missing("no jars of Flume NG; run: sh tests/servers.sh flume")
    made = tmp_path_factory.mktemp("sender")
    (made / "Sender.java").write_text(PROGRAM)
    path = f"{jars}/*:{made}"
    subprocess.run(["javac", "-cp", path, "-d", str(made), str(made / "Sender.java")], check=True)
    return ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", path, "Sender"]


def run_java(sender: list[str], tmp_path: Path, heard: Listening, **properties: str) -> None:
    lines = {"hosts": "h1", "hosts.h1": f"{LOOPBACK}:{heard.source.port}", "batch-size": "100", **properties}
    (tmp_path / "client.properties").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    command = [*sender, str(tmp_path / "client.properties")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline_s = time.monotonic() + JAVA_S_MAX
        while process.poll() is None and time.monotonic() < deadline_s:
            heard.take()
        if process.poll() is None:
            process.kill()
        assert "sent" in process.stdout.read()
    rows = heard.wait_for(COUNT)
    assert heard.bodies == [f"event\n{n}".encode() for n in range(COUNT)]
    assert [row["n"] for row in rows] == [f"\u00fc{n}" for n in range(COUNT)]
    assert [round(row["timestamp"].timestamp() * 1000) for row in rows] == [
        1_700_000_000_000 + n for n in range(COUNT)
    ]
    assert {row["host"] for row in rows} == {"java"}


def test_flume_ng_client_sends_here_unchanged(tmp_path, sender):
    with listening(avro(tmp_path)) as heard:
        run_java(sender, tmp_path, heard)


def test_flume_ng_client_compresses(tmp_path, sender):
    with listening(avro(tmp_path)) as heard:
        run_java(sender, tmp_path, heard, **{"compression-type": "deflate"})


def test_flume_ng_client_encrypts(tmp_path, sender):
    certificate = Authority(tmp_path / "ca").certificate("server")
    source = avro(tmp_path, certificate=str(certificate.cert), key=str(certificate.key))
    with listening(source) as heard:
        run_java(sender, tmp_path, heard, ssl="true", **{"trust-all-certs": "true"})


@pytest.mark.parametrize("deflate", [False, True])
def test_answer_comes_when_events_are_safe_and_not_before(tmp_path, deflate):
    with listening(avro(tmp_path)) as heard:
        client = Client(heard.source.port, deflate=deflate)
        client.send(batch([(b"a", {"k": "1"}), (b"b", {})]))
        parcels = []
        until(lambda: parcels or parcels.extend(heard.take(safe=None)))
        client.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.status(opens=True)
        client.socket.settimeout(30)
        parcels[0].settled(True)
        assert client.status(opens=True) == "OK"
        client.send(single((b"c", {"k": "3"})))
        assert [row.get("k") for row in heard.wait_for(3)] == ["1", None, "3"]
        assert client.status() == "OK"
        client.close()


def test_another_library_s_protocol_is_taken(tmp_path):
    with listening(avro(tmp_path)) as heard:
        client = Client(heard.source.port, protocol=other_text())
        client.send(batch([(b"a", {})]))
        heard.wait_for(1)
        assert client.status(opens=True) == "OK"
        client.close()


def test_request_without_room_is_refused_after_a_while_and_later_ones_are_taken(tmp_path):
    with listening(avro(tmp_path, wait=0.5), inlet_bytes=100) as heard:
        first, second = Client(heard.source.port), Client(heard.source.port)
        first.send(batch([(b"a", {})]))
        assert first.status(opens=True) == "UNKNOWN"  # it is in the inlet
        second.send(batch([(b"b", {})]))
        assert second.status(opens=True) == "FAILED"
        assert [row["body"] for row in heard.wait_for(1)] == [b"a"]
        second.send(batch([(b"b", {})]))
        heard.wait_for(2)
        assert second.status() == "OK"
        for each in (first, second):
            each.close()


def test_stopping_refuses_what_was_not_taken(tmp_path):
    with listening(avro(tmp_path)) as heard:
        client = Client(heard.source.port)
        client.send(batch([(b"a", {})]))
        parcels = []
        until(lambda: parcels or parcels.extend(heard.take(safe=None)))
        heard.source.stop()
        parcels[0].settled(False)
        assert client.status(opens=True) == "FAILED"
        client.close()


def test_too_large_bodies_are_cut_and_headers_stay_with_each_part(tmp_path):
    with listening(avro(tmp_path, event_bytes=4)) as heard:
        client = Client(heard.source.port)
        client.send(
            batch([(b"abcdefgh-", {"k": "1"}), (b"x", {}), (b"", {"k": "2", "body": "no", "timestamp": "?"})])
        )
        rows = heard.wait_for(5)
        assert [(row["body"], row.get("k")) for row in rows] == [
            (b"abcd", "1"),
            (b"efgh", "1"),
            (b"-", "1"),
            (b"x", None),
            (b"", "2"),
        ]
        assert (rows[-1]["header.body"], rows[-1]["header.timestamp"]) == ("no", "?")
        client.close()


def _bomb() -> bytes:
    packed = zlib.compressobj(9)
    return packed.compress(struct.pack(">III", 1, 1, 1 << 30) + bytes(1 << 26)) + packed.flush()


HOSTILE = {
    "lying length": struct.pack(">III", 1, 1, 0xFFFFFFFF),
    "text": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "bomb": _bomb(),
    "bad zlib": b"\x78\x9c" + b"\xff" * 100,
    "other protocol": framed(1, handshake(b"x" * 16, protocol="{}")),
    "datum": framed(1, handshake() + b"\0\x16appendBatch\xff\xff\xff\xff\x7f"),
    "garbage": b"\x00" * 8 + os.urandom(4000),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_peer_loses_its_connection_and_nobody_else_does(tmp_path, data):
    with listening(avro(tmp_path)) as heard:
        good = Client(heard.source.port)
        good.send(batch([(b"a", {})]))
        heard.wait_for(1)
        assert good.status(opens=True) == "OK"
        with socket.create_connection((LOOPBACK, heard.source.port), 20) as bad:
            bad.settimeout(20)
            try:
                bad.sendall(data)
                bad.shutdown(socket.SHUT_WR)
                while bad.recv(1 << 16):
                    pass
            except ConnectionError:
                pass
        good.send(batch([(b"b", {})]))
        heard.wait_for(2)
        assert good.status() == "OK"
        good.close()


def test_half_a_request_and_a_silent_peer_block_nobody(tmp_path):
    with listening(avro(tmp_path)) as heard:
        silent = socket.create_connection((LOOPBACK, heard.source.port))
        silent.sendall(framed(1, handshake() + batch([(b"x" * 1000, {})]))[:-10])
        client = Client(heard.source.port)
        client.send(batch([(b"a", {})]))
        heard.wait_for(1)
        assert client.status(opens=True) == "OK"
        client.close()
        silent.close()
        until(lambda: heard.source._server.held_bytes == 0)


def test_many_clients_have_their_answers(tmp_path):
    with listening(avro(tmp_path)) as heard:
        answers: list[str] = []

        def send(number: int) -> None:
            client = Client(heard.source.port, deflate=bool(number % 2))
            for turn in range(20):
                client.send(batch([(b"%d-%d-%d" % (number, turn, n), {}) for n in range(10)]))
                answers.append(client.status(opens=not turn))
            client.close()

        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for each in threads:
            each.start()
        bodies = [row["body"] for row in heard.wait_for(800)]
        for each in threads:
            while each.is_alive():
                heard.take(0.01)
        assert answers == ["OK"] * 80
        for number in range(4):
            mine = [body for body in bodies if body.startswith(b"%d-" % number)]
            assert mine == [b"%d-%d-%d" % (number, turn, n) for turn in range(20) for n in range(10)]
