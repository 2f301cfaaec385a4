"""What the shell keeps of what was typed."""

from __future__ import annotations

import stat

import pytest

from qanat.cli.shell import history
from qanat.cli.shell.history import FileHistory, default_path, is_kept


@pytest.mark.parametrize(
    "line",
    [
        "status",
        "exec config web 'tail(\"/var/log/secrets.log\")' agentSink",
        'config es src \'elasticsearch("http://es:9200", password=secret("env:ES"))\'',
        "exec config a 'tail(\"/l\")' 'agentSink(\"c1\", 35853)'",
    ],
)
def test_commands_are_kept(line):
    assert is_kept(line)


@pytest.mark.parametrize(
    "line",
    [
        " status",
        "",
        'config es src \'elasticsearch("http://es:9200", password="word")\'',
        "config a b 'x(\"postgresql://me:word@db/logs\")'",
        'config a b \'s3("bucket", secret_access_key = "k")\'',
        "config a b 'x(API_KEY=\"k\")'",
        "config a b 'x(token: \"k\")'",
    ],
)
def test_what_seems_to_have_a_secret_in_it_is_not(line):
    assert not is_kept(line)


def test_history_is_its_owners_and_comes_back_with_lines_in_quotes(tmp_path):
    path = tmp_path / "state" / "qanat" / "shell_history"
    first = FileHistory(path)
    for line in ("status", "multiconfig 'a\\b :\n x'", "password=x"):
        first.store_string(line)
    assert list(FileHistory(path).load_history_strings()) == ["multiconfig 'a\\b :\n x'", "status"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_history_that_others_could_read_is_closed_to_them(tmp_path):
    path = tmp_path / "shell_history"
    path.write_text("old\n")
    path.chmod(0o644)
    FileHistory(path).store_string("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_history_forgets_what_is_oldest(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "LINES_MAX", 3)
    path = tmp_path / "shell_history"
    path.write_text("".join(f"line {number}\n" for number in range(7)))
    assert list(FileHistory(path).load_history_strings()) == ["line 6", "line 5", "line 4"]
    assert path.read_text().splitlines() == ["line 4", "line 5", "line 6"]
    assert [each.name for each in tmp_path.iterdir()] == ["shell_history"]


def test_shell_does_without_a_history_that_it_may_not_write(tmp_path):
    (tmp_path / "file").write_text("")
    kept = FileHistory(tmp_path / "file" / "shell_history")
    kept.store_string("status")
    assert list(kept.load_history_strings()) == []


def test_history_is_in_the_state_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "qanat" / "shell_history"
