"""Sources over connections: many peers, slow and hostile ones, back-pressure, TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.live import tcp
from agent.sources.netcat import Netcat, NetcatConfig
from agent.sources.syslog_tcp import SyslogTcp, SyslogTcpConfig, SyslogTls, SyslogTlsConfig
from qanat.errors import ConfigError
from qanat.testing.certificates import Authority
from tests.unit.agent.live import listening, until
from tests.unit.agent.scripted import context

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((LOOPBACK, port), timeout=20) as made:
        yield made


def is_over(connection: socket.socket) -> bool:
    """Ended by the other side, in whatever way."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def syslog(tmp_path: Path, counts: Counter[str] | None = None, **options: object) -> SyslogTcp:
    counts = Counter() if counts is None else counts
    where = context(tmp_path, lambda name, n: counts.update({name: n}))
    return SyslogTcp(SyslogTcpConfig(port=0, host=LOOPBACK, **options), where)  # type: ignore[arg-type]


def netcat(tmp_path: Path, counts: Counter[str] | None = None, **options: object) -> Netcat:
    counts = Counter() if counts is None else counts
    where = context(tmp_path, lambda name, n: counts.update({name: n}))
    return Netcat(NetcatConfig(port=0, host=LOOPBACK, **options), where)  # type: ignore[arg-type]


def message(number: int, connection: int = 0) -> bytes:
    return b"<13>1 - h%d app - - - n=%d" % (connection, number)


def test_many_connections_each_in_order_with_both_framings(tmp_path: Path) -> None:
    source = syslog(tmp_path)

    def send(connection: int) -> None:
        with connected(source.port) as made:
            for number in range(200):
                each = message(number, connection)
                made.sendall(b"%d %b" % (len(each), each) if connection % 2 else each + b"\n")

    with listening(source) as heard:
        senders = [threading.Thread(target=send, args=(each,)) for each in range(20)]
        for sender in senders:
            sender.start()
        rows = heard.wait_for(4000)
        for sender in senders:
            sender.join()
    for connection in range(20):
        own = [row["body"] for row in rows if row["host"] == f"h{connection}"]
        assert own == [b"n=%d" % number for number in range(200)]


def test_message_without_a_host_gets_the_address_of_its_sender(tmp_path: Path) -> None:
    with listening(syslog(tmp_path)) as heard, connected(heard.source.port) as made:  # type: ignore[attr-defined]
        made.sendall(b"<13>1 - - app - - - x\nrubbish\n")
        rows = heard.wait_for(2)
    assert [row["host"] for row in rows] == [LOOPBACK, LOOPBACK]
    assert rows[1]["syslog_error"] == "no priority"


def test_last_message_without_an_end_is_one(tmp_path: Path) -> None:
    with listening(syslog(tmp_path)) as heard:
        with connected(heard.source.port) as made:  # type: ignore[attr-defined]
            made.sendall(b"<13>1 - h app - - - x\n<13>1 - h app - - - y")
        assert [row["body"] for row in heard.wait_for(2)] == [b"x", b"y"]


def test_peer_that_stops_in_the_middle_blocks_nobody(tmp_path: Path) -> None:
    with listening(syslog(tmp_path)) as heard, contextlib.ExitStack() as stack:
        port = heard.source.port  # type: ignore[attr-defined]
        for each in (b"<13>1 - h a - - - beg", b"500 <13>", b"9", b""):
            stack.enter_context(connected(port)).sendall(each)
        with connected(port) as made:
            made.sendall(message(1) + b"\n")
            assert heard.wait_for(1)[0]["body"] == b"n=1"


def test_stop_takes_what_has_arrived_and_ends_the_connections(tmp_path: Path) -> None:
    source = syslog(tmp_path)
    with contextlib.ExitStack() as stack:
        with listening(source) as heard:
            made = stack.enter_context(connected(source.port))
            made.sendall(b"".join(message(number) + b"\n" for number in range(1000)) + b"half a li")
            until(lambda: heard.inlet.size_bytes)
        assert heard.bodies == [b"n=%d" % number for number in range(1000)] + [b"half a li"]
        assert is_over(made)


def test_full_inlet_makes_senders_wait_and_loses_nothing(tmp_path: Path) -> None:
    source, sent = netcat(tmp_path, ack=False), threading.Event()
    lines = b"".join(b"%d %b\n" % (number, b"x" * 200) for number in range(100_000))

    def send() -> None:
        with connected(source.port) as made:
            made.sendall(lines)
        sent.set()

    with listening(source, inlet_bytes=100_000) as heard:
        sender = threading.Thread(target=send)
        sender.start()
        assert not sent.wait(0.5)
        assert heard.inlet.size_bytes <= 100_000 + tcp.READ_BYTES_MAX
        heard.wait_for(100_000)
        sender.join()
    assert b"".join(each + b"\n" for each in heard.bodies) == lines


def test_lines_are_answered_only_when_they_are_safe(tmp_path: Path) -> None:
    source = netcat(tmp_path)
    with listening(source) as heard, connected(source.port) as made:
        made.sendall(b"a\nb\n")
        parcels: list[object] = []
        until(lambda: parcels.extend(heard.take(safe=None)) or parcels)
        made.settimeout(0.2)
        with pytest.raises(TimeoutError):
            made.recv(1)
        for parcel in parcels:
            parcel.settled(True)  # type: ignore[attr-defined]
        made.settimeout(20)
        assert made.recv(100) == b"OK\nOK\n"
        made.sendall(b"c\n")
        until(lambda: heard.take(safe=False))
        made.settimeout(0.2)
        with pytest.raises(TimeoutError):
            made.recv(1)


def test_peer_that_has_said_all_still_gets_its_answers(tmp_path: Path) -> None:
    source = netcat(tmp_path)
    with listening(source) as heard, connected(source.port) as made:
        made.sendall(b"one\ntwo\nlast")
        made.shutdown(socket.SHUT_WR)
        heard.wait_for(3)
        assert made.makefile("rb").read() == b"OK\n" * 3


def test_peer_that_reads_no_answers_is_not_read_and_blocks_nobody(tmp_path: Path) -> None:
    source = netcat(tmp_path)

    def flood() -> None:
        with contextlib.suppress(OSError), connected(source.port) as made:
            made.settimeout(5)
            while True:
                made.sendall(b"x\n" * 1_000_000)

    def is_answered(content: bytes) -> bool:
        """Everything that came is safe now; whether this was among it."""
        parcels = heard.inlet.take(1 << 20, 0.05)
        for parcel in parcels:
            assert parcel.settled is not None
            parcel.settled(True)
        return any(content in parcel.content for parcel in parcels)

    with listening(source) as heard:
        flooding = threading.Thread(target=flood)
        flooding.start()
        until(lambda: len(source._server.connections) == 1)
        (deaf,) = source._server.connections
        until(lambda: is_answered(b"?") or deaf._is_deaf)
        with connected(source.port) as made:
            made.sendall(b"hello\n")
            until(lambda: is_answered(b"hello\n"))
            assert made.recv(10) == b"OK\n"
        flooding.join()


def test_events_that_never_end_take_so_much_memory_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "HELD_BYTES_MAX", 300_000)
    counts: Counter[str] = Counter()
    source = netcat(tmp_path, counts, event_bytes=200_000)
    with listening(source) as heard, contextlib.ExitStack() as stack:
        for _ in range(10):
            with contextlib.suppress(OSError):
                stack.enter_context(connected(source.port)).sendall(b"x" * 100_000)
        until(lambda: heard.take(0.01) is None or counts["connections_overfull"] >= 7)
        assert source._server.held_bytes <= 300_000


def test_so_many_connections_and_no_more(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    source = netcat(tmp_path, counts, connections=2)
    with listening(source) as heard, contextlib.ExitStack() as stack:
        first, _second, third = (stack.enter_context(connected(source.port)) for _ in range(3))
        with contextlib.suppress(ConnectionResetError):
            assert third.recv(1) == b""
        assert counts["connections_refused"] == 1
        first.sendall(b"a\n")
        assert heard.wait_for(1)[0]["body"] == b"a"


def test_long_lines_follow_the_policy(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    source = netcat(tmp_path, counts, event_bytes=10, oversize="truncate", ack=False)
    with listening(source) as heard, connected(source.port) as made:
        made.sendall(b"x" * 1000 + b"\nshort\n")
        assert [row["body"] for row in heard.wait_for(2)] == [b"x" * 10, b"short"]
    assert counts["events_truncated"] == 1


def test_port_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    with listening(netcat(tmp_path)) as heard:
        second = Netcat(NetcatConfig(port=heard.source.port, host=LOOPBACK), context(tmp_path))  # type: ignore[attr-defined]
        with pytest.raises(
            ConfigError, match=r"netcat can't listen on 127.0.0.1, port \d+: .* somebody else listens"
        ):
            second.open()
        second.close()


def test_port_is_taken_before_the_start(tmp_path: Path) -> None:
    first = netcat(tmp_path)
    first.open()
    second = Netcat(NetcatConfig(port=first.port, host=LOOPBACK), context(tmp_path))
    with pytest.raises(ConfigError, match="somebody else listens"):
        second.open()
    first.close()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"event_bytes": 0}, "0 must be from 1 to"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"timezone": "../x"}, "x"),
    ],
)
def test_what_can_not_work_is_said(tmp_path: Path, options: dict[str, object], fault: str) -> None:
    source = syslog(tmp_path, **options)
    with pytest.raises(ConfigError, match=fault):
        source.open()
    source.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@contextlib.contextmanager
def encrypted(port: int, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with connected(port) as plain, context.wrap_socket(plain, server_hostname="localhost") as made:
        yield made


def tls(tmp_path: Path, authority: Authority, clients: str = "none") -> SyslogTls:
    server = authority.certificate("server")
    config = SyslogTlsConfig(
        0,
        str(server.cert),
        str(server.key),
        host=LOOPBACK,
        ca=str(server.ca),
        clients=clients,  # type: ignore[arg-type]
    )
    return SyslogTls(config, context(tmp_path))


def test_tls_carries_messages_while_a_handshake_never_ends(tmp_path: Path, authority: Authority) -> None:
    source = tls(tmp_path, authority)
    client = ssl.create_default_context(cafile=str(authority.certificate("x").ca))
    with listening(source) as heard, connected(source.port) as silent:
        silent.sendall(b"\x16\x03")
        with encrypted(source.port, client) as made:
            made.sendall(b"".join(message(number) + b"\n" for number in range(20_000)))
            rows = heard.wait_for(20_000)
        with encrypted(source.port, client) as made:
            made.sendall(b"22 <13>1 - h app - - - end")
            heard.wait_for(20_001)
    assert [row["body"] for row in rows[:20_000]] == [b"n=%d" % number for number in range(20_000)]


def test_tls_asks_clients_for_certificates_if_wanted(tmp_path: Path, authority: Authority) -> None:
    source = tls(tmp_path, authority, clients="required")
    known = authority.certificate("client")
    anonymous = ssl.create_default_context(cafile=str(known.ca))
    stranger = ssl.create_default_context(cafile=str(known.ca))
    other = Authority(tmp_path / "other").certificate("stranger")
    stranger.load_cert_chain(other.cert, other.key)
    with listening(source) as heard:
        for each in (anonymous, stranger):
            with contextlib.suppress(OSError), encrypted(source.port, each) as made:
                made.sendall(message(1) + b"\n")
                assert is_over(made)
        anonymous.load_cert_chain(known.cert, known.key)
        with encrypted(source.port, anonymous) as made:
            made.sendall(message(2) + b"\n")
            assert [row["body"] for row in heard.wait_for(1)] == [b"n=2"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"certificate": "/nowhere.pem"}, "can't be used"),
        ({"clients": "required"}, "needs ca="),
        ({"clients": "required", "ca": "/nowhere.pem"}, "can't be used"),
    ],
)
def test_tls_without_what_it_needs_is_a_clear_error(
    tmp_path: Path, authority: Authority, change: dict[str, str], fault: str
) -> None:
    server = authority.certificate("server")
    values = {"certificate": str(server.cert), "key": str(server.key), **change}
    source = SyslogTls(SyslogTlsConfig(port=0, **values), context(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=fault):
        source.open()
    source.close()
