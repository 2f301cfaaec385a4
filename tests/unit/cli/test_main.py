"""The command line as a whole: listing, lazy imports, errors and exit codes."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click
import pytest
import structlog

from qanat import errors, log, registry
from qanat.cli.main import main


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def provide(monkeypatch: pytest.MonkeyPatch) -> object:
    """Makes `qanat x` raise the given error."""

    def install(error: BaseException) -> None:
        monkeypatch.setattr(sys.modules[__name__], "x_command", raising(error), raising=False)
        entry = metadata.EntryPoint("x", f"{__name__}:x_command", registry.COMMANDS)
        monkeypatch.setattr(registry, "entries", lambda group: [entry])

    return install


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.ConfigError("one fault", "another"), 2, "qanat: one fault\nanother\n"),
        (errors.RetryableError("server away"), 3, "qanat: server away\n"),
        (errors.NotConnectedError("nobody there"), 3, "qanat: nobody there\n"),
        (errors.OutcomeUnknownError("who knows"), 3, "qanat: who knows\n"),
        (errors.CorruptError("bad bytes"), 1, "qanat: bad bytes\n"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_main_turns_an_error_into_message_and_exit_code(
    provide: object, capfd: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    provide(error)  # type: ignore[operator]
    assert main(["x"]) == code
    err = capfd.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_command_ends_as_by_sigpipe_when_its_reader_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("seq=1\n")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "qanat", "verify", str(tmp_path), "--pattern", r"seq=(\d)"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_main_shows_the_traceback_when_debugging(provide: object, capfd: pytest.CaptureFixture[str]) -> None:
    provide(errors.ConfigError("a fault"))  # type: ignore[operator]
    assert main(["--debug", "x"]) == 2
    assert "Traceback" in capfd.readouterr().err


def test_main_suggests_a_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verfy"]) == 2
    assert 'did you mean "verify"?' in capfd.readouterr().err


def test_main_explains_a_command_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    entry = metadata.EntryPoint("y", "qanat.nowhere:command", registry.COMMANDS)
    monkeypatch.setattr(registry, "entries", lambda group: [entry])
    assert main(["y"]) == 2
    assert 'the command "y" (qanat.nowhere:command) could not be loaded' in capfd.readouterr().err


def test_help_lists_commands_without_importing_anything_heavy() -> None:
    script = (
        "import sys; from qanat.cli.main import main; main(['--help']); "
        "heavy = {'pyarrow', 'grpc', 'lark', 'rich', 'agent', 'collector', 'kazoo'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("agent", "collector", "demo", "dump", "run", "verify"):
        assert f"\n  {name} " in done.stdout


def test_module_runs_as_a_command() -> None:
    command = [sys.executable, "-m", "qanat", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"qanat, version {metadata.version('qanat')}\n")


def test_log_writes_json_lines_when_piped() -> None:
    out = io.StringIO()
    log.configure(level="info", stream=out)
    structlog.get_logger().debug("hidden")
    structlog.get_logger().info("claim_lost", epoch=3)
    logging.getLogger("kazoo").warning("session %s", "lost")
    own, foreign = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (own["event"], own["epoch"], own["level"]) == ("claim_lost", 3, "info")
    assert (foreign["event"], foreign["logger"], foreign["level"]) == ("session lost", "kazoo", "warning")


def test_log_writes_text_when_asked() -> None:
    out = io.StringIO()
    log.configure(level="warning", form="text", stream=out)
    structlog.get_logger().info("hidden")
    structlog.get_logger().warning("disk_full", path="/data")
    assert "disk_full" in out.getvalue()
    assert "path=/data" in out.getvalue()
    assert "hidden" not in out.getvalue()
