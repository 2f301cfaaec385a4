"""Sources of datagrams: what comes is an event, what is lost is counted."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.live.datagrams import DATAGRAMS_MAX
from agent.losses import DATAGRAMS_LOST
from agent.sources.netcat_udp import NetcatUdp, NetcatUdpConfig
from agent.sources.syslog_udp import SyslogUdp, SyslogUdpConfig
from tests.unit.agent.live import listening, until
from tests.unit.agent.scripted import context

LOOPBACK = "127.0.0.1"


def syslog(tmp_path: Path, counts: Counter[str] | None = None, **options: object) -> SyslogUdp:
    counts = Counter() if counts is None else counts
    where = context(tmp_path, lambda name, n: counts.update({name: n}))
    return SyslogUdp(SyslogUdpConfig(port=0, **options), where)  # type: ignore[arg-type]


@contextlib.contextmanager
def sending(port: int, host: str = LOOPBACK) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.connect((host, port))
        yield made


def test_datagrams_come_in_order_and_whole(tmp_path: Path) -> None:
    with listening(syslog(tmp_path, host=LOOPBACK)) as heard, sending(heard.source.port) as made:  # type: ignore[attr-defined]
        for number in range(3 * DATAGRAMS_MAX):
            made.send(b"<13>1 - h app - - - n=%d\n" % number)
        rows = heard.wait_for(3 * DATAGRAMS_MAX)
    assert [row["body"] for row in rows] == [b"n=%d" % number for number in range(3 * DATAGRAMS_MAX)]


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_source_hears_every_address_and_says_the_sender_where_there_is_no_host(
    tmp_path: Path, host: str
) -> None:
    with listening(syslog(tmp_path)) as heard, sending(heard.source.port, host) as made:  # type: ignore[attr-defined]
        made.send(b"<13>1 - - app - - - x")
        made.send(b"<13>1 - h app - - - y")
        made.send(b"rubbish")
        rows = heard.wait_for(3)
    assert [(row["body"], row["host"]) for row in rows] == [(b"x", host), (b"y", "h"), (b"rubbish", host)]


def test_largest_datagram_and_empty_one(tmp_path: Path) -> None:
    with listening(syslog(tmp_path, host=LOOPBACK)) as heard, sending(heard.source.port) as made:  # type: ignore[attr-defined]
        head = b"<13>1 - h app - - - "
        for body in (b"x" * (65_507 - len(head)), b""):
            made.send(head + body)
        made.send(b"")
        rows = heard.wait_for(3)
    assert [len(row["body"]) for row in rows] == [65_507 - len(head), 0, 0]


def test_long_message_follows_the_policy_and_keeps_its_sender(tmp_path: Path) -> None:
    source = syslog(tmp_path, host=LOOPBACK, event_bytes=30)
    with listening(source) as heard, sending(source.port) as made:
        made.send(b"<13>1 - - app - - - " + b"x" * 30)
        rows = heard.wait_for(2)
    assert [(row["body"], row["host"]) for row in rows] == [(b"x" * 10, LOOPBACK), (b"x" * 20, LOOPBACK)]


def test_what_the_kernel_has_no_room_for_is_counted(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    source = syslog(tmp_path, counts, host=LOOPBACK, buffer=10_000)
    source.open()
    with sending(source.port) as made:
        for _ in range(500):
            made.send(b"<13>1 - h app - - - " + b"x" * 200)
    source.open = lambda: None  # type: ignore[method-assign]
    with listening(source) as heard:
        until(lambda: heard.take(0.05) is None or len(heard.rows) + counts[DATAGRAMS_LOST] == 500)
    assert counts[DATAGRAMS_LOST] > 0
    assert heard.rows


def test_full_inlet_keeps_datagrams_in_the_kernel(tmp_path: Path) -> None:
    source = syslog(tmp_path, host=LOOPBACK)
    with listening(source, inlet_bytes=1) as heard, sending(source.port) as made:
        for number in range(100):
            made.send(b"<13>1 - h app - - - n=%d" % number)
        assert [row["body"] for row in heard.wait_for(100)] == [b"n=%d" % number for number in range(100)]


def test_netcat_takes_a_datagram_for_an_event_whatever_is_in_it(tmp_path: Path) -> None:
    source = NetcatUdp(NetcatUdpConfig(port=0, host=LOOPBACK), context(tmp_path))
    with listening(source) as heard, sending(source.port) as made:
        for each in (b"one\n", b"two\r\n", b"", b"\n", b"\xff\0"):
            made.send(each)
        heard.wait_for(3)
        made.send(b"with\nlines\n")
        heard.wait_for(4)
    assert heard.bodies == [b"one", b"two", b"\xff\0", b"with\nlines"]
    assert {row["host"] for row in heard.rows} == {"host"}


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=100), min_size=1, max_size=10))
def test_source_goes_on_after_any_datagrams(
    tmp_path_factory: pytest.TempPathFactory, data: list[bytes]
) -> None:
    source = syslog(tmp_path_factory.mktemp("udp"), host=LOOPBACK)
    with listening(source) as heard, sending(source.port) as made:
        for each in data:
            made.send(each)
        made.send(b"<13>1 - h app - - - end")
        assert heard.wait_for(len(data) + 1)[-1]["body"] == b"end"
