"""TLS of the sources `http`, `otlp` and `grpc`, with the clients that people have."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter

from agent.live.handshakes import Handshakes
from qanat.client import Publisher
from qanat.errors import ConfigError
from qanat.testing.certificates import Authority, Certificate
from tests.unit.agent.live import Listening, listening, until
from tests.unit.agent.scripted import Shelf, context
from tests.unit.agent.test_http import Feeding
from tests.unit.agent.test_made_sources import made
from tests.unit.agent.test_otlp import EXPORT, log_through, request
from tests.unit.agent.test_publish import Agent, bodies

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries of the clients

NAMES = {
    "http": 'http(0, host="127.0.0.1"',
    "otlp": 'otlp(0, 0, host="127.0.0.1"',
    "grpc": 'grpc(0, host="127.0.0.1"',
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Certificate:
    return authority.certificate("server")


@pytest.fixture(scope="module")
def client(authority: Authority) -> Certificate:
    return authority.certificate("client")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of an authority that nobody here knows."""
    return Authority(tmp_path_factory.mktemp("tls") / "other").certificate("stranger")


@pytest.fixture(autouse=True)
def _own_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """`requests`, which the SDK uses, takes these over what it is told."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def described(kind: str, server: Certificate, clients: str) -> str:
    ca = f', ca="{server.ca}", clients={clients}' if clients != "none" else ""
    return f'{NAMES[kind]}, certificate="{server.cert}", key="{server.key}"{ca})'


@contextlib.contextmanager
def fed(kind: str, tmp_path: Path, server: Certificate, clients: str = "none") -> Iterator[Listening]:
    with listening(made(described(kind, server, clients), context(tmp_path)), 1 << 20) as heard:
        feed = Feeding(heard)
        try:
            yield heard
        finally:
            feed.end()


def tls(ca: Path, shown: Certificate | None = None) -> ssl.SSLContext:
    made_ = ssl.create_default_context(cafile=str(ca))
    if shown is not None:
        made_.load_cert_chain(shown.cert, shown.key)
    return made_


def credentials(ca: Path, shown: Certificate | None = None) -> grpc.ChannelCredentials:
    if shown is None:
        return grpc.ssl_channel_credentials(ca.read_bytes())
    return grpc.ssl_channel_credentials(ca.read_bytes(), shown.key.read_bytes(), shown.cert.read_bytes())


def post(port: int, secure: ssl.SSLContext | None) -> int:
    """The status. Raises OSError or HTTPException when there is none."""
    connection: http.client.HTTPConnection
    if secure is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=secure)
    with contextlib.closing(connection):
        connection.request("POST", "/", b"a line\n", {"Content-Type": "text/plain"})
        return connection.getresponse().status


def export(port: int, secure: grpc.ChannelCredentials | None) -> bytes:
    """Raises RpcError."""
    target = f"127.0.0.1:{port}"
    channel = grpc.insecure_channel(target) if secure is None else grpc.secure_channel(target, secure)
    with channel:
        call = channel.unary_unary(EXPORT)
        return call(request("a record").SerializeToString(), timeout=30)  # type: ignore[no-any-return]


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except (OSError, http.client.HTTPException, grpc.RpcError):
        return True
    return False


def test_http_is_spoken_over_tls_and_not_without(tmp_path: Path, server: Certificate) -> None:
    with fed("http", tmp_path, server) as heard:
        port = heard.source.port  # type: ignore[attr-defined]
        assert refused(lambda: post(port, None))
        assert refused(lambda: post(port, ssl.create_default_context())), "it trusts nobody of this test"
        assert post(port, tls(server.ca)) == 200
        heard.wait_for(1)


def test_http_wants_certificates_of_clients_if_told_to(
    tmp_path: Path, server: Certificate, client: Certificate, stranger: Certificate
) -> None:
    with fed("http", tmp_path, server, "required") as heard:
        port = heard.source.port  # type: ignore[attr-defined]
        assert refused(lambda: post(port, tls(server.ca)))
        assert refused(lambda: post(port, tls(server.ca, stranger)))
        assert post(port, tls(server.ca, client)) == 200
        heard.wait_for(1)


def test_http_takes_clients_without_a_certificate_where_it_is_optional(
    tmp_path: Path, server: Certificate, client: Certificate, stranger: Certificate
) -> None:
    with fed("http", tmp_path, server, "optional") as heard:
        port = heard.source.port  # type: ignore[attr-defined]
        assert refused(lambda: post(port, tls(server.ca, stranger)))
        assert post(port, tls(server.ca)) == post(port, tls(server.ca, client)) == 200
        heard.wait_for(2)


def test_sdk_of_opentelemetry_logs_over_tls(tmp_path: Path, server: Certificate, client: Certificate) -> None:
    with fed("otlp", tmp_path, server, "required") as heard:
        of_grpc, of_http = heard.source.ports  # type: ignore[attr-defined]
        log_through(
            HttpExporter(
                endpoint=f"https://127.0.0.1:{of_http}/v1/logs",
                certificate_file=str(server.ca),
                client_certificate_file=str(client.cert),
                client_key_file=str(client.key),
            )
        )
        log_through(
            GrpcExporter(endpoint=f"https://127.0.0.1:{of_grpc}", credentials=credentials(server.ca, client))
        )
        assert [row["body"] for row in heard.wait_for(2)] == [b"sold out", b"sold out"]


@pytest.mark.parametrize("clients", ["none", "required"])
def test_otlp_refuses_who_does_not_speak_tls_or_is_not_known(
    tmp_path: Path, server: Certificate, client: Certificate, stranger: Certificate, clients: str
) -> None:
    with fed("otlp", tmp_path, server, clients) as heard:
        of_grpc, of_http = heard.source.ports  # type: ignore[attr-defined]
        assert refused(lambda: export(of_grpc, None))
        assert refused(lambda: post(of_http, None))
        if clients == "required":
            for shown in (None, stranger):
                assert refused(lambda shown=shown: export(of_grpc, credentials(server.ca, shown)))  # type: ignore[misc]
                assert refused(lambda shown=shown: post(of_http, tls(server.ca, shown)))  # type: ignore[misc]
        assert not refused(lambda: export(of_grpc, credentials(server.ca, client)))
        heard.wait_for(1)


@pytest.mark.parametrize("clients", ["none", "required"])
def test_python_client_publishes_over_tls(
    tmp_path: Path, server: Certificate, client: Certificate, stranger: Certificate, clients: str
) -> None:
    shelf = Shelf(context(tmp_path))
    agent = Agent(tmp_path, shelf, described=described("grpc", server, clients))
    try:
        wrong: list[Any] = [None]
        if clients == "required":
            wrong += [credentials(server.ca), credentials(server.ca, stranger)]
        for each in wrong:
            publisher = Publisher(f"127.0.0.1:{agent.port}", credentials=each)
            publisher.send("nothing")
            assert not publisher.flush(0.7)
            assert publisher.close(0.0) == 1
        with Publisher(f"127.0.0.1:{agent.port}", credentials=credentials(server.ca, client)) as publisher:
            publisher.send("sold")
            assert publisher.flush(30)
    finally:
        agent.stop()
    assert bodies(shelf) == [b"sold"]


@pytest.mark.parametrize("kind", sorted(NAMES))
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"key": "stranger"}, r"key values mismatch|KEY_VALUES_MISMATCH"),
        ({"key": "nowhere"}, "No such file"),
        ({"certificate": "nowhere"}, "No such file"),
        ({"certificate": "key"}, "can't be used"),
    ],
)
def test_wrong_file_is_a_clear_error_when_the_source_opens(
    tmp_path: Path,
    server: Certificate,
    stranger: Certificate,
    kind: str,
    change: dict[str, str],
    fault: str,
) -> None:
    files = {"stranger": stranger.key, "nowhere": tmp_path / "nowhere.pem", "key": server.key}
    said = {"certificate": server.cert, "key": server.key} | {
        name: files[file] for name, file in change.items()
    }
    source = made(
        f'{NAMES[kind]}, certificate="{said["certificate"]}", key="{said["key"]}")', context(tmp_path)
    )
    with pytest.raises(ConfigError, match=fault) as raised:
        source.open()
    assert str(said["key"]) in str(raised.value)
    assert kind in str(raised.value)
    source.close()


@pytest.mark.parametrize(
    ("clients", "reason"),
    [("none", "the peer speaks HTTP without TLS"), ("required", "the peer shows no certificate")],
)
def test_log_says_why_a_peer_is_refused(
    tmp_path: Path, server: Certificate, clients: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with fed("http", tmp_path, server, clients) as heard:
        port = heard.source.port  # type: ignore[attr-defined]
        assert refused(lambda: post(port, None if clients == "none" else tls(server.ca)))
        said = ""

        def is_said() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return "handshake_failed" in said

        until(is_said)
    assert reason in said
    assert "http" in said


def test_log_of_refused_peers_has_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    handshakes = Handshakes("syslogTls")
    for _ in range(100):
        handshakes.failed(ssl.SSLError(1, "[SSL] odd"))
    assert capsys.readouterr().out.count("handshake_failed") == 1
