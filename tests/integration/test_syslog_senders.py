"""What Debian's own programs send: logger, rsyslog and syslog-ng, over UDP, TCP and TLS."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from agent.sources.syslog_tcp import SyslogTcp, SyslogTcpConfig, SyslogTls, SyslogTlsConfig
from agent.sources.syslog_udp import SyslogUdp, SyslogUdpConfig
from qanat.testing import senders
from qanat.testing.certificates import Authority
from qanat.testing.daemon import DaemonError
from tests.conftest import servers_missing
from tests.unit.agent.live import Listening, listening
from tests.unit.agent.scripted import context

LINES = 2000
LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    try:
        for each in ("rsyslogd", "syslog-ng"):
            senders.program(each)
    except DaemonError as missing:
        servers_missing(str(missing))
    if shutil.which("logger") is None:
        servers_missing("no logger (bsdutils)")


def tcp(tmp_path: Path) -> SyslogTcp:
    return SyslogTcp(SyslogTcpConfig(port=0, host=LOOPBACK), context(tmp_path))


def udp(tmp_path: Path) -> SyslogUdp:
    return SyslogUdp(SyslogUdpConfig(port=0, host=LOOPBACK), context(tmp_path))


def written(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text("".join(f"line {number} of: [many] \u00fc\n" for number in range(LINES)))
    return path


def assert_all_came(heard: Listening, *, in_order: bool = True) -> list[dict[str, object]]:
    rows = heard.wait_for(LINES)
    bodies = [row["body"].decode() for row in rows]
    wanted = [f"line {number} of: [many] \u00fc" for number in range(LINES)]
    assert [each.strip() for each in (bodies if in_order else sorted(bodies))] == (
        wanted if in_order else sorted(wanted)
    )
    assert not [row for row in rows if "syslog_error" in row]
    assert {row["app"] for row in rows} == {"app"}
    assert all("timestamp" in row for row in rows)
    return rows


def logger(*arguments: object) -> None:
    subprocess.run(["logger", *map(str, arguments)], check=True, timeout=20)


@pytest.mark.parametrize("form", ["--rfc5424", "--rfc3164"])
@pytest.mark.parametrize("way", ["udp", "newline", "counted"])
def test_logger(tmp_path: Path, form: str, way: str) -> None:
    source = udp(tmp_path) if way == "udp" else tcp(tmp_path)
    with listening(source) as heard:
        options = {"udp": ["-d"], "newline": ["-T"], "counted": ["-T", "--octet-count"]}[way]
        if form == "--rfc5424":
            options += ["--sd-id", "zoo@123", "--sd-param", 'tiger="hungry"', "--msgid", "M1"]
        logger(
            "-n",
            LOOPBACK,
            "-P",
            source.port,
            form,
            *options,
            "-p",
            "local3.err",
            "-t",
            "app",
            "--id=42",
            "hello: you",
        )
        (row,) = heard.wait_for(1)
    assert (row["body"], row["app"], row["procid"]) == (b"hello: you", "app", "42")
    assert (row["severity"], row["facility"], row["priority"]) == ("err", "local3", "ERROR")
    if form == "--rfc5424":
        assert (row["zoo@123.tiger"], row["msgid"]) == ("hungry", "M1")


@pytest.mark.parametrize(
    "template",
    ["SyslogProtocol23Format", "TraditionalForwardFormat", "ForwardFormat"],
)
@pytest.mark.parametrize("framing", ["traditional", "octet-counted"])
def test_rsyslog_over_tcp(tmp_path: Path, template: str, framing: str) -> None:
    source = tcp(tmp_path)
    with listening(source) as heard:
        target = f'target="{LOOPBACK}" port="{source.port}" protocol="tcp" template="RSYSLOG_{template}" TCP_Framing="{framing}"'
        with senders.rsyslog(tmp_path / "rsyslog", target, written(tmp_path)):
            rows = assert_all_came(heard)
    assert {(row["severity"], row["facility"]) for row in rows} == {("err", "local3")}


def test_rsyslog_over_udp(tmp_path: Path) -> None:
    source = udp(tmp_path)
    with listening(source) as heard:
        target = f'target="{LOOPBACK}" port="{source.port}" protocol="udp"'
        with senders.rsyslog(tmp_path / "rsyslog", target, written(tmp_path)):
            assert_all_came(heard)


@pytest.mark.parametrize(
    "driver",
    ['syslog("127.0.0.1" transport("tcp") port(%d))', 'network("127.0.0.1" transport("tcp") port(%d))'],
)
def test_syslog_ng_over_tcp(tmp_path: Path, driver: str) -> None:
    source = tcp(tmp_path)
    with (
        listening(source) as heard,
        senders.syslog_ng(tmp_path / "syslog-ng", driver % source.port, written(tmp_path)),
    ):
        assert_all_came(heard)


def test_syslog_ng_over_tls_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server, client = authority.certificate("server"), authority.certificate("client")
    source = SyslogTls(
        SyslogTlsConfig(
            0, str(server.cert), str(server.key), host=LOOPBACK, ca=str(server.ca), clients="required"
        ),
        context(tmp_path),
    )
    with listening(source) as heard:
        driver = (
            f'syslog("localhost" transport("tls") port({source.port}) tls(ca-file("{client.ca}")'
            f' key-file("{client.key}") cert-file("{client.cert}") peer-verify(required-trusted)))'
        )
        with senders.syslog_ng(tmp_path / "syslog-ng", driver, written(tmp_path)):
            assert_all_came(heard)
