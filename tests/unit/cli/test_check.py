"""Faults of components are listed, all at once and with their places, before anything is started."""

from __future__ import annotations

import re

import pytest

from qanat.cli.main import EXIT_OK, EXIT_USAGE, main

WRONG = """\
app : tail("/var/log/x", start=middle) | file("/data/%Q/", "app-") ;
web : tail(strt=end) | agentE2EChain("host:port") ;
coll : collectorSource("35853") | file("/data/", fromat="json") ;
"""


@pytest.mark.parametrize("command", [["run"], ["run", "--check"]], ids=" ".join)
def test_every_fault_of_a_flow_is_reported(tmp_path, capfd, command):
    flow = tmp_path / "app.flow"
    flow.write_text(WRONG)
    assert main([*command, str(flow), "--state-dir", str(tmp_path / "state")]) == EXIT_USAGE
    errors = capfd.readouterr().err
    found = re.findall(rf"{re.escape(str(flow))}:(\d):\d+: (.*)", errors)
    assert [line for line, _ in found] == sorted(line for line, _ in found)
    for line, fault in (
        ("1", "tail, start: the name middle was given"),
        ("1", "file: directory '/data/%Q/', column 7: unknown escape '%Q'"),
        ("2", 'tail has no argument "strt"; did you mean "start"?'),
        ("2", 'tail needs "paths"'),
        ("2", "agentE2EChain: "),
        ("3", "collectorSource, port"),
        ("3", 'file has no argument "fromat"; did you mean "format"?'),
    ):
        assert any(each[0] == line and each[1].startswith(fault) for each in found), fault
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(("tier", "lines"), [("agent", ["2", "2", "2"]), ("collector", ["3", "3"])])
def test_a_program_reports_the_faults_of_its_tier(tmp_path, capfd, tier, lines):
    flow = tmp_path / "app.flow"
    flow.write_text(WRONG)
    assert main([tier, str(flow), "--state-dir", str(tmp_path / "state")]) == EXIT_USAGE
    errors = capfd.readouterr().err
    assert re.findall(rf"{re.escape(str(flow))}:(\d):\d+: ", errors) == lines


def test_check_prints_what_each_tier_would_run(tmp_path, capfd):
    flow = tmp_path / "app.flow"
    flow.write_text('app : tail("/var/log/x") | file("/data/", "app-") ;')
    assert main(["run", "--check", str(flow)]) == EXIT_OK
    out = capfd.readouterr().out
    assert "# agent" in out
    assert 'file("/data/", "app-") ;' in out


@pytest.mark.parametrize("name", ["", "a/b", "../../elsewhere", "a\nb", "a\0b"])
def test_a_name_that_is_no_part_of_a_path_is_refused(tmp_path, capfd, name):
    flow = tmp_path / "app.flow"
    flow.write_text('web : tail("/x") | agentE2EChain("localhost") ;')
    state = tmp_path / "1" / "2" / "state"
    assert main(["agent", str(flow), "--name", name, "--state-dir", str(state)]) == EXIT_USAGE
    assert "--name" in capfd.readouterr().err
    assert not (tmp_path / "1").exists()
