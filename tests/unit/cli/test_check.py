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


def test_agent_check_prints_the_general_form_and_starts_nothing(tmp_path, capfd):
    flow = tmp_path / "app.flow"
    flow.write_text('web : tail("/x") | memoryChannel | [ agentE2EChain("c1", "c2:5"), agentSink("c3") ] ;')
    assert main(["agent", "--check", str(flow), "--state-dir", str(tmp_path / "state")]) == EXIT_OK
    assert capfd.readouterr().out == (
        'web : tail("/x") | memoryChannel | '
        '[< agentE2ESink("c1") ? agentE2ESink("c2", 5) >, agentE2ESink("c3")] ;\n'
    )
    assert not (tmp_path / "state").exists()


def test_check_finds_faults_in_channels_and_branches(tmp_path, capfd):
    flow = tmp_path / "app.flow"
    flow.write_text(
        'a : tail("/x") | memoryChannel(capacty=1MiB) | [ agentSink(prt=5), agentBESink("c") ] ;\n'
        'b : tail("/x") | < agentE2ESink("c1") ? agentBESink("c2") > ;\n'
        'c : tail("/x") | memoryChannel | < file("/a/", "x") ? file("/b/", "x") > ;\n'
    )
    assert main(["run", "--check", str(flow)]) == EXIT_USAGE
    errors = capfd.readouterr().err
    for fault in (
        'memoryChannel has no argument "capacty"; did you mean "capacity"?',
        'agentSink has no argument "prt"',
        "agentBESink can't take over from agentE2ESink",
        "a failover is for an agent's collectors",
    ):
        assert fault in errors, errors


@pytest.mark.parametrize("name", ["", "a/b", "../../elsewhere", "a\nb", "a\0b"])
def test_a_name_that_is_no_part_of_a_path_is_refused(tmp_path, capfd, name):
    flow = tmp_path / "app.flow"
    flow.write_text('web : tail("/x") | agentE2EChain("localhost") ;')
    state = tmp_path / "1" / "2" / "state"
    assert main(["agent", str(flow), "--name", name, "--state-dir", str(state)]) == EXIT_USAGE
    assert "--name" in capfd.readouterr().err
    assert not (tmp_path / "1").exists()
