"""`qanat fmt`: files are replaced whole, or only looked at."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from qanat.cli.main import EXIT_FAILED, EXIT_OK, EXIT_USAGE, main

UGLY = "# why\na:tail( 'x' )|b ;\n".replace("'", '"')
NEAT = '# why\na : tail("x") | b ;\n'


def test_fmt_replaces_the_file_and_keeps_its_mode(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flow, link = tmp_path / "a.flow", tmp_path / "link.flow"
    flow.write_text(UGLY)
    flow.chmod(0o640)
    link.symlink_to(flow)
    assert main(["fmt", str(link)]) == EXIT_OK
    assert flow.read_text() == NEAT
    assert flow.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"a.flow", "link.flow"}
    assert capfd.readouterr() == ("", "")


def test_fmt_does_not_touch_what_is_laid_out(tmp_path: Path) -> None:
    flow = tmp_path / "a.flow"
    flow.write_text(NEAT)
    before = flow.stat()
    assert main(["fmt", str(flow)]) == EXIT_OK
    assert (flow.stat().st_ino, flow.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(("option", "code"), [("--check", EXIT_FAILED), ("--diff", EXIT_OK)])
def test_fmt_only_shows_what_would_change(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str, code: int
) -> None:
    ugly, neat = tmp_path / "ugly.flow", tmp_path / "neat.flow"
    ugly.write_text(UGLY.rstrip())
    neat.write_text(NEAT)
    assert main(["fmt", option, str(neat), str(ugly)]) == code
    out = capfd.readouterr().out
    assert out.splitlines() == [
        f"--- {ugly}",
        f"+++ {ugly} (laid out)",
        "@@ -1,2 +1,2 @@",
        " # why",
        '-a:tail( "x" )|b ;',
        "\\ No newline at end of file",
        '+a : tail("x") | b ;',
    ]
    assert ugly.read_text() == UGLY.rstrip()
    assert main(["fmt", "--check", str(neat)]) == EXIT_OK
    assert capfd.readouterr().out == ""


def test_fmt_leaves_a_file_with_faults_alone_and_does_the_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong, ugly = tmp_path / "wrong.flow", tmp_path / "ugly.flow"
    wrong.write_text("a : b | ;  # x")
    ugly.write_text(UGLY)
    assert main(["fmt", str(wrong), str(ugly)]) == EXIT_USAGE
    assert f"{wrong}:1:9: found" in capfd.readouterr().err
    assert (wrong.read_text(), ugly.read_text()) == ("a : b | ;  # x", NEAT)


def test_fmt_is_a_filter(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(UGLY.encode())))
    assert main(["fmt", "-"]) == EXIT_OK
    assert capfd.readouterr().out == NEAT
