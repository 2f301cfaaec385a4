"""What `--output json` leaves on standard output, and what it must not leave out."""

from __future__ import annotations

import io
import json

import pytest

from qanat.cli.admin import command
from qanat.cli.main import main
from qanat.control.operations.cluster import Waiting
from qanat.control.operations.configuration import Change, Plan, Saved
from qanat.errors import NotConnectedError

STATEMENT = 'web : tail("/l") | autoE2EChain ;\n'


class Answering:
    """A client of masters that give the same answer to whatever they are asked."""

    is_stale = False
    master = "m1:35872"

    def __init__(self, reply):
        self.reply = reply

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def call(self, method, request):
        return self.reply

    def follow(self, method, left, lost):
        return iter([self.reply])


@pytest.fixture
def answer(monkeypatch):
    def answering(reply):
        monkeypatch.setattr(command, "_client", lambda master, file: Answering(reply))

    return answering


def test_save_writes_its_file_though_json_is_asked_for(answer, tmp_path, capsys):
    answer(Saved(text=STATEMENT, mapping={}))
    file = tmp_path / "all.flow"
    assert main(["save", str(file), "-o", "json"]) == 0
    assert file.read_text() == STATEMENT
    assert json.loads(capsys.readouterr().out)["text"] == STATEMENT


def test_save_replaces_a_backup_at_once_and_keeps_its_mode(answer, tmp_path, capsys):
    answer(Saved(text=STATEMENT, mapping={}))
    file = tmp_path / "all.flow"
    file.write_text("# yesterday's\n")
    file.chmod(0o600)
    before = file.stat()
    assert main(["save", str(file)]) == 0
    after = file.stat()
    assert (file.read_text(), after.st_mode) == (STATEMENT, before.st_mode)
    assert after.st_ino != before.st_ino  # another file: the old one was whole until then
    assert capsys.readouterr().out == ""


def test_question_is_not_asked_on_standard_output(answer, tmp_path, monkeypatch, capsys):
    change = Change(logical="web", flow="f", change="create", before="", after=STATEMENT, version=0)
    answer(Plan(changes=[change], applied=True, revision=1))
    file = tmp_path / "web.flow"
    file.write_text(STATEMENT)
    terminal = io.StringIO("y\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["apply", str(file), "-o", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["applied"]
    assert "Apply?" in err


@pytest.mark.parametrize("command_line", [["apply"], ["load"]])
def test_nothing_to_change_is_no_success_while_the_store_does_not_answer(
    answer, tmp_path, monkeypatch, capsys, command_line
):
    def call(self, method, request):
        if not request.dry_run:
            raise NotConnectedError("nothing was changed: no connection")
        return self.reply

    monkeypatch.setattr(Answering, "is_stale", True)
    monkeypatch.setattr(Answering, "call", call)
    answer(Plan(changes=[], applied=False, revision=1))
    file = tmp_path / "web.flow"
    file.write_text(STATEMENT)
    assert main([*command_line, str(file), "--dry-run"]) == 0
    assert main([*command_line, str(file), "--yes"]) == 3
    assert "nothing was changed" in capsys.readouterr().err


@pytest.mark.parametrize(("done", "code"), [(True, 0), (False, 1)])
def test_wait_says_in_the_end_how_far_it_is(answer, capsys, done, code):
    answer(Waiting(done=done, settled=int(done), total=1, pending=[] if done else ["a1: web ACTIVE"]))
    assert main(["wait", "done", "web", "-o", "json"]) == code
    said = json.loads(capsys.readouterr().out)
    assert (said["done"], said["settled"], said["total"]) == (done, int(done), 1)


def test_wait_for_nobody_is_over_at_once_and_says_so(answer, capsys):
    answer(Waiting(done=True, settled=0, total=0))
    assert main(["wait", "applied", "-o", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["total"] == 0
    assert "no node is attached" in err


@pytest.mark.parametrize("rate", ["nan", "inf", "1e999", "-1"])
@pytest.mark.parametrize("option", ["--bytes-s", "--events-s"])
def test_limit_that_is_no_rate_is_wrong_usage(capsys, option, rate):
    assert main(["limit", "lan", option, rate]) == 2
    assert f"Invalid value for '{option}'" in capsys.readouterr().err
