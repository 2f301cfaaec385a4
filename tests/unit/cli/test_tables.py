"""Tables and events as people see them on terminals of any width."""

from __future__ import annotations

import json
import os

import click
import pytest

from qanat.cli import main
from qanat.cli.admin import status, tables, tap
from qanat.control.operations.cluster import LogicalRow, PhysicalRow, TapEvent, TopReply

HEADER = ("NAME", "STATE", "WHY")
ROWS = [("web", "ERROR", "the disk is full; make room and it goes on"), ("語", "ACTIVE", "")]


def printed(capsys):
    return click.unstyle(capsys.readouterr().out).splitlines()


@pytest.fixture
def terminal(monkeypatch):
    def terminal(columns):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, 40)))

    return terminal


def test_last_column_stands_beside_the_others_where_there_is_room(terminal, capsys):
    terminal(80)
    tables.print_table(HEADER, ROWS)
    assert printed(capsys) == [
        "NAME  STATE   WHY",
        "web   ERROR   the disk is full; make room and it goes on",
        "語    ACTIVE",
    ]


def test_last_column_stands_below_where_there_is_none(terminal, capsys):
    terminal(30)
    tables.print_table(HEADER, ROWS)
    assert printed(capsys) == [
        "NAME  STATE",
        "web   ERROR",
        "    the disk is full; make",
        "    room and it goes on",
        "語    ACTIVE",
    ]


def test_pipe_gets_whole_lines(capsys):
    tables.print_table(HEADER, [("web", "ERROR", "x" * 500)])
    assert printed(capsys)[1] == f"web   ERROR  {'x' * 500}"


EVENT = TapEvent(
    physical="h1",
    logical="web",
    body="a\x1b[31m\tb",
    body_bytes=9,
    timestamp_ns=1_700_000_000_123_000_000,
    stream="s",
    position=7,
    attributes={"file": "f"},
)


def test_event_can_not_change_the_terminal():
    line = click.unstyle(tap._line("table", EVENT, is_long=False))
    assert line == "22:13:20.123 h1 web a\\x1b[31m\\tb"
    assert tap._line("text", EVENT, is_long=False).split("\t") == [
        "2023-11-14T22:13:20.123Z", "h1", "web", "s", "7", "file=f", "a\\x1b[31m\\tb"
    ]  # fmt: skip


def test_long_event_says_where_it_stands():
    lines = click.unstyle(tap._line("table", EVENT, is_long=True)).splitlines()
    assert lines == ["22:13:20.123 h1 web s @ 7, 9 bytes", "  file=f", "  a\\x1b[31m\\tb"]


def test_event_is_one_json_object_with_its_body_as_it_is():
    found = json.loads(tap._line("json", EVENT, is_long=False))
    assert (found["body"], found["position"], found["attributes"]) == (EVENT.body, 7, {"file": "f"})


def test_event_is_cut_to_the_line(terminal):
    terminal(40)
    assert tap._fitted("x" * 100, before=10) == "x" * 29 + "…"


def test_top_keeps_its_first_lines_where_the_terminal_has_no_room_for_all():
    lines = ["sum", "header", *(f"row {number}" for number in range(20))]
    assert status._fitted(lines, 22) == lines
    shown = status._fitted(lines, 7)
    assert shown[:6] == lines[:6]
    assert (len(shown), shown[6].partition(":")[0]) == (7, "... 16 lines more")


@pytest.mark.parametrize(
    ("variable", "value", "coloured"),
    [("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False)],
)
def test_colours_can_be_turned_off_by_the_environment(monkeypatch, variable, value, coloured):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(variable, value)
    seen = []

    @click.command()
    @click.pass_context
    def probe(context):
        seen.append(context.color is not False)

    monkeypatch.setattr(main, "_load", lambda name, target: probe)
    assert main.main(["status"]) == 0
    assert seen == [coloured]


def test_top_says_how_much_each_tier_does():
    def node(role, *events_s):
        rows = [LogicalRow(logical=f"n{rate}", events_s=rate, bytes_s=2e6) for rate in events_s]
        return PhysicalRow(name=role, role=role, logical=rows)

    nodes = [node("agent", 1000, 234), node("agent", 1), node("collector", 900)]
    reply = TopReply(nodes=nodes, events_s=2135.0, bytes_s=8e6)
    assert status._total(reply) == (
        "agents read 1,235 events/s, 6.0 MB/s; collectors receive 900 events/s, 2.0 MB/s"
    )
