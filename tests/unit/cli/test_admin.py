"""Settings of admin commands, plans as people read them, and what errors say."""

from __future__ import annotations

import click
import pytest

from qanat.cli.admin import plans, settings
from qanat.cli.main import main
from qanat.control.operations.configuration import Change, Plan
from qanat.errors import ConfigError


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    monkeypatch.setenv("QANAT_CONFIG", str(path))
    monkeypatch.delenv("QANAT_MASTER", raising=False)
    monkeypatch.delenv("QANAT_AUTHOR", raising=False)
    return path


def test_masters_come_from_the_command_line_before_the_file(file):
    file.write_text('master = ["m1", "m2:9"]\nauthor = "me"\n')
    read = settings.read()
    assert settings.masters(None, read) == ("m1:35872", "m2:9")
    assert settings.masters("m3,m3", read) == ("m3:35872",)
    assert settings.author(read) == "me"


@pytest.mark.parametrize("text", ["master = ", "mastr = 'm1'", "master = 5"])
def test_faulty_file_is_named_with_an_example(file, text):
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.toml: .*it should look like: master = "):
        settings.read()


def test_command_without_masters_says_where_to_name_them(file, capsys):
    assert main(["status"]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("--master", "QANAT_MASTER", str(file)))


def test_command_whose_masters_are_away_is_worth_trying_again(file, capsys):
    assert main(["status", "--master", "127.0.0.1:1"]) == 3
    assert "no master answers at 127.0.0.1:1" in capsys.readouterr().err


def test_plan_shows_lines_places_and_a_sum(capsys):
    plan = Plan(
        changes=[
            Change(
                logical="web",
                flow="a",
                change="update",
                before="x",
                after="y",
                runs_on=["h1"],
                runs_on_count=7,
            ),
            Change(logical="old", flow="a", change="delete", before="z"),
            Change(logical="same", flow="a", change="unchanged"),
        ],
        applied=False,
        revision=3,
        notes=["take care"],
    )
    plans.print_plan(plan)
    assert click.unstyle(capsys.readouterr().out).splitlines() == [
        "~ web (flow a)  runs on h1 and 6 more",
        "    -x",
        "    +y",
        "- old (flow a)  ",
        "    -z",
        "note: take care",
        "1 to update, 1 to delete, 1 unchanged",
    ]


def test_change_without_a_terminal_needs_yes(monkeypatch):
    from qanat.cli.admin.apply import agreed

    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ConfigError, match="--yes"):
        agreed("Apply?", yes=False)
    assert agreed("Apply?", yes=True)
