"""What a `zookeeper` URL may say, and what is said about one that is wrong."""

from __future__ import annotations

import ssl

import pytest

from qanat.coordination.open import open_store
from qanat.coordination.request import OP_BYTES
from qanat.coordination.zookeeper_url import PASSWORD_VARIABLE, PREFIX_BYTES_MAX, SESSION_S, parse_url
from qanat.errors import ConfigError

PASSWORD = {PASSWORD_VARIABLE: "p:w@d"}


def faults(url, environment=None):
    with pytest.raises(ConfigError) as caught:
        parse_url(url, environment or {})
    return caught.value.faults


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ("zk1", "zk1:2181"),
        ("zk1:2000,zk2,10.0.0.1:2181", "zk1:2000,zk2:2181,10.0.0.1:2181"),
        ("[::1]:2000,[fe80::1]", "[::1]:2000,[fe80::1]:2181"),
    ],
)
def test_hosts_have_ports(hosts, expected):
    assert parse_url(f"zookeeper://{hosts}", {}).hosts == expected


@pytest.mark.parametrize(
    ("end", "prefix"), [("", ""), ("/", ""), ("/qanat/eu", "/qanat/eu"), ("/a%20b", "/a b")]
)
def test_path_is_a_prefix(end, prefix):
    assert parse_url(f"zookeeper://h{end}", {}).prefix == prefix


@pytest.mark.parametrize(
    ("option", "seconds"), [("", SESSION_S), ("?session_timeout=4s", 4.0), ("?session_timeout=2500ms", 2.5)]
)
def test_session_timeout_has_a_unit(option, seconds):
    assert parse_url(f"zookeeper://h{option}", {}).session_timeout_s == seconds


def test_password_comes_from_the_environment_or_a_file_and_is_not_shown(tmp_path):
    assert parse_url("zookeeper://us%65r@h", PASSWORD).credential == "user:p:w@d"
    (tmp_path / "password").write_text("from file\n")
    options = parse_url(f"zookeeper://user@h?password_file={tmp_path}/password", PASSWORD)
    assert options.credential == "user:from file"
    assert "from file" not in repr(options)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("zookeeper://", "'' is no host"),
        ("zookeeper://a,,b", "'' is no host"),
        ("zookeeper://a:0", "port 0"),
        ("zookeeper://a:99999", "port 99999"),
        ("zookeeper://a b", "is no host"),
        ("zookeeper://h//x", "empty name"),
        ("zookeeper://h/" + "x" * PREFIX_BYTES_MAX, f"limit {PREFIX_BYTES_MAX}"),
        ("zookeeper://h?sesion_timeout=4s", "did you mean session_timeout?"),
        ("zookeeper://h?timeout_of_all=4s", "there are session_timeout"),
        ("zookeeper://h?session_timeout=4", "write 10s"),
        ("zookeeper://h?session_timeout=4KiB", "write 10s"),
        ("zookeeper://h?session_timeout=4parsecs", '"parsecs" is not a unit'),
        ("zookeeper://h?session_timeout=1ms", "between 1s and 120s"),
        ("zookeeper://h?session_timeout=4s&session_timeout=5s", "given twice"),
        ("zookeeper://h?ca=", "has no value"),
        ("zookeeper://h?verify=maybe&tls=yes", "write yes or no"),
        ("zookeeper://h?tls=no&ca=/x", "contradicts ca"),
        ("zookeeper://h?verify=no", "contradicts verify"),
        ("zookeeper://h?key=/x", "key has no cert"),
        ("zookeeper://h?ca=/nowhere/ca.pem", "ca=/nowhere/ca.pem: [Errno 2]"),
        ("zookeeper://user@h", PASSWORD_VARIABLE),
        ("zookeeper://user@h?password_file=/nowhere", "password_file: [Errno 2]"),
        ("zookeeper://@h", "has a name"),
        ("zookeeper://h#x", "'#'"),
    ],
)
def test_fault_is_explained(url, says):
    (fault,) = faults(url)
    assert says in fault


def test_all_faults_are_listed_at_once():
    assert len(faults("zookeeper://h:0,?session_timeout=1&tsl=yes")) == 4


def test_password_in_the_url_is_refused_and_not_repeated():
    (fault,) = faults("zookeeper://user:secret@h", PASSWORD)
    assert "secret" not in fault
    assert PASSWORD_VARIABLE in fault


def test_password_without_a_user_is_not_ignored():
    (fault,) = faults("zookeeper://h", PASSWORD)
    assert "no user" in fault


def test_tls_verifies_unless_told_not_to():
    assert parse_url("zookeeper://h", {}).tls is None
    verifying = parse_url("zookeeper://h?tls=yes", {}).tls
    assert (verifying.verify_mode, verifying.check_hostname) == (ssl.CERT_REQUIRED, True)
    trusting = parse_url("zookeeper://h?tls=yes&verify=no", {}).tls
    assert (trusting.verify_mode, trusting.check_hostname) == (ssl.CERT_NONE, False)


def test_prefix_fits_into_what_an_operation_is_counted_for():
    assert OP_BYTES >= PREFIX_BYTES_MAX + 80


@pytest.mark.parametrize("url", ["zookeeper:h", "zk://h", "zookeeper"])
def test_open_store_shows_the_form_of_a_url(url):
    with pytest.raises(ConfigError, match="zookeeper://host"):
        open_store(url)
