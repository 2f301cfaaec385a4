"""`qanat dump` over a source defined here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pyarrow as pa
import pytest

from qanat import registry
from qanat.batch import Batch, PayloadForm, lines_batch
from qanat.cli.main import main
from qanat.component import Context, Source, StreamEvent, StreamFound


class Config(msgspec.Struct, frozen=True):
    batches: int = 2
    columns: bool = False


class Counted(Source):
    """Yields `batches` batches of two events, in LINES or COLUMNS form."""

    name = "counted"
    Config = Config
    made: ClassVar[list[Counted]] = []

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self.config = config
        self.calls: list[str] = []
        self.read_batches = -1
        Counted.made.append(self)

    def open(self) -> None:
        assert self.context.state_dir.is_dir()
        self.calls.append("open")

    def save(self) -> None:
        pass

    def recover(self, known: Mapping[str, int]) -> None:
        self.calls.append("recover")

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        return [StreamFound("s", 0)] if self.read_batches < 0 else []

    def seek(self, stream: str, position: int) -> None:
        self.read_batches = 0

    def read(self, max_bytes: int) -> Batch | None:
        if not 0 <= self.read_batches < self.config.batches:
            return None
        start = self.read_batches * 8
        self.read_batches += 1
        if self.config.columns:
            return columns_batch(start)
        return lines_batch(
            "s", start, b"\xff%d\n\x00\xc3\xa9!\n" % start, timestamp_ns=1, attributes={"host": "h"}
        )

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        self.calls.append("acknowledge")

    def wake(self) -> None:
        pass

    def lag_bytes(self) -> int:
        return 0

    def close(self) -> None:
        self.calls.append("close")


def columns_batch(start: int) -> Batch:
    rows = pa.RecordBatch.from_pylist(
        [
            {"body": b"a\nb", "position": start, "level": "ERROR"},
            {"body": b"", "position": start + 4, "level": None},
        ]
    )
    return Batch("s", start, start + 8, 2, PayloadForm.COLUMNS, rows, 1, {"host": "h"})


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = metadata.EntryPoint("counted", f"{__name__}:Counted", registry.SOURCES)
    real = registry.entries
    monkeypatch.setattr(
        registry, "entries", lambda group: [entry] if group == registry.SOURCES else real(group)
    )
    Counted.made.clear()


def dump(capfdbinary: pytest.CaptureFixture[bytes], *arguments: str) -> bytes:
    assert main(["dump", *arguments]) == 0
    return capfdbinary.readouterr().out


def test_dump_writes_bodies_byte_for_byte(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert dump(capfdbinary, "counted") == b"\xff0\n\x00\xc3\xa9!\n\xff8\n\x00\xc3\xa9!\n"


def test_dump_stops_after_count_events(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert dump(capfdbinary, "counted", "--count", "3", "--follow") == b"\xff0\n\x00\xc3\xa9!\n\xff8\n"
    assert dump(capfdbinary, "counted", "--count", "0") == b""


def test_dump_json_gives_stream_position_body_and_attributes(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    lines = [json.loads(line) for line in dump(capfdbinary, "counted(1)", "--json").splitlines()]
    common: dict[str, Any] = {"stream": "s", "attributes": {"host": "h"}}
    assert lines == [
        common | {"position": 0, "body_base64": "/zA="},
        common | {"position": 3, "body": "\x00é!"},
    ]


def test_dump_shows_columns_as_attributes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    lines = [json.loads(line) for line in dump(capfdbinary, "counted(1, true)", "--json").splitlines()]
    assert lines == [
        {"stream": "s", "position": 0, "body": "a\nb", "attributes": {"host": "h", "level": "ERROR"}},
        {"stream": "s", "position": 4, "body": "", "attributes": {"host": "h"}},
    ]
    assert dump(capfdbinary, "counted(1, true)") == b"a\nb\n\n"


def test_dump_closes_and_never_acknowledges(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    dump(capfdbinary, "counted", "-n", "1")
    (source,) = Counted.made
    assert source.calls == ["open", "recover", "close"]
    assert not source.context.state_dir.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("countd", 'did you mean "counted"?'),
        ('counted("x")', "SOURCE:1:9: counted, batches: the string"),
        ("counted(", "SOURCE:1:9: the text ends too early"),
    ],
)
def test_dump_explains_a_bad_source(capfd: pytest.CaptureFixture[str], text: str, message: str) -> None:
    assert main(["dump", text]) == 2
    assert message in capfd.readouterr().err


def test_dump_of_a_real_file(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\ntwo\n")
    command = [f'tail("{path}", start="beginning")']
    registry_entry = metadata.EntryPoint("tail", "agent.sources.tail:Tail", registry.SOURCES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            registry, "entries", lambda group: [registry_entry] if group == registry.SOURCES else []
        )
        assert dump(capfdbinary, *command) == b"one\ntwo\n"
