"""A flow has references to secrets; values are on the node, and in no message."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from qanat.errors import ConfigError
from qanat.flow.bind import bind
from qanat.flow.concealed import masked
from qanat.flow.parser import parse_component
from qanat.flow.printer import print_value
from qanat.secret import SECRET_BYTES_MAX, Secret


class Store(msgspec.Struct, frozen=True):
    url: str
    password: Secret | None = None
    tokens: list[Secret] = []
    retries: int = 1


def test_a_config_has_the_reference_and_the_node_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_PASSWORD", "hunter2")
    text = 'store("http://es", secret("env:ES_PASSWORD"))'
    config = bind(parse_component(text), Store)
    assert config == Store("http://es", Secret("env:ES_PASSWORD"))
    assert config.password is not None
    assert config.password.reveal() == "hunter2"
    assert print_value(parse_component(text)) == text
    for shown in (repr(config), str(config), str(pickle.dumps(config.password))):
        assert "hunter2" not in shown
    assert "env:ES_PASSWORD" in repr(config)
    assert bind(parse_component('store("u", tokens=[secret("env:A"), secret("env:B")])'), Store).tokens == [
        Secret("env:A"),
        Secret("env:B"),
    ]


def test_a_secret_in_a_file_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "token"
    secret = Secret(f"file:{path}")
    with pytest.raises(ConfigError, match="can't be read on this node: No such file"):
        secret.reveal()
    path.write_text("one\n")
    assert secret.reveal() == "one"
    path.write_text(" two \r\n")
    assert secret.reveal() == " two "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n", "not set or empty"),
        (b"hunter2\xff", "no UTF-8"),
        (b"x" * (SECRET_BYTES_MAX + 1), "it is no secret"),
    ],
)
def test_what_is_no_secret_is_refused_without_showing_it(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        Secret(f"file:{path}").reveal()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r'secret\("env:QANAT_NO_SUCH"\): .* QANAT_NO_SUCH is not set'):
        Secret("env:QANAT_NO_SUCH").reveal()


@pytest.mark.parametrize(
    "reference", ["", "env:", "env:A B", "env:A=B", "file:relative", "vault:x", "hunter2"]
)
def test_other_references_are_refused_at_their_place(reference: str) -> None:
    with pytest.raises(ConfigError, match=r'f:1:\d+: store, password: .*write secret\("env:NAME"\)'):
        bind(parse_component(f'store("u", secret("{reference}"))', "f"), Store)


def test_a_secret_in_plain_text_is_refused_and_its_line_shown_nowhere() -> None:
    with pytest.raises(ConfigError) as caught:
        bind(parse_component('store("u", "hunter2", retries="x", url=3)', "f"), Store)
    assert len(caught.value.faults) == 3
    assert "hunter2" not in str(caught.value)
    assert caught.value.faults[0].startswith("f:1:12: store, password: this is kept secret: write secret(")


def test_what_is_no_secret_takes_none() -> None:
    with pytest.raises(ConfigError, match="this is no secret: its value is shown in status and logs"):
        bind(parse_component('store(secret("env:URL"))'), Store)


class Table(msgspec.Struct, frozen=True):
    url: str = ""
    token: Annotated[str, msgspec.Meta(max_length=3)] = ""


@pytest.mark.parametrize(
    "text",
    [
        'table(password="hunter2")',
        'table(Passwort = "hunter2", url="u")',
        "table(secret_word=hunter2)",
        'table(whatever="hunter2")',
        'table(token="hunter2")',
        'table(url=3, pwd="x \\" hunter2")',
        'table("postgresql://me:hunter2@host/db", token="abcd")',
    ],
)
def test_what_may_be_a_secret_is_not_shown_with_a_fault_of_its_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bind(parse_component(text, "f"), Table)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.__cause__)


def test_a_line_is_shown_up_to_the_argument_that_does_not_exist() -> None:
    with pytest.raises(ConfigError) as caught:
        bind(parse_component('table(url="u", whatever="hunter2")', "f"), Table)
    (fault,) = caught.value.faults
    assert fault.splitlines()[1:] == ['    table(url="u", whatever=...', " " * 19 + "^"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('es("h", password="a b")', 'es("h", password=*****)'),
        ('es("h", password = secret("env:P"))', 'es("h", password = secret("env:P"))'),
        ('jdbc("pg://me:word@h/d")', 'jdbc("pg://me:****@h/d")'),
        ('tail("/var/log/*.log", start="end")', 'tail("/var/log/*.log", start="end")'),
    ],
)
def test_masks_have_the_length_of_what_they_hide(line: str, shown: str) -> None:
    assert masked(line) == shown
