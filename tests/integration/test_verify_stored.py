"""`qanat verify` reads what the file sink writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qanat.cli.main import main
from tests.integration.file_driver import EVERY_FORMAT, Driver, lines


@pytest.mark.parametrize(("format", "compression"), EVERY_FORMAT)
def test_verify_finds_every_event_in_every_format(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], format: str, compression: str
) -> None:
    driver = Driver(tmp_path / "stored", format=format, compression=compression).open()
    events = [b'"seq=%d" \\ and \xff\x00, which is not UTF-8\r' % number for number in range(50)]
    driver.sink.append(lines("a", [*events, b"seq=50", "seq=51 \u00fc".encode()]))
    driver.finish()
    assert (
        main(["verify", str(tmp_path / "stored"), "--pattern", r"seq=(\d+)", "--first", "0", "--json"]) == 0
    )
    report = json.loads(capfd.readouterr().out)
    assert (report["events"], report["last"]) == (52, 51)
