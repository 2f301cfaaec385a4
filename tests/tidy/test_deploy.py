"""The files in deploy/ fit the programs as they are."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys

import click
import pytest

from qanat.flow.parser import parse
from tests.tidy.tree import ROOT, name

FLOWS = sorted((ROOT / "deploy").rglob("*.flow"))
UNITS = sorted((ROOT / "deploy").rglob("*.service"))


@pytest.mark.parametrize("flow", FLOWS, ids=name)
def test_example_flow_can_be_parsed(flow):
    assert parse(flow.read_text(), name(flow)).nodes


def _command_line(unit):
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str
    parser.read_string(unit.read_text())
    return parser["Service"]["ExecStart"].split()


@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_unit_starts_a_command_with_options_that_it_has(unit):
    from qanat.cli.main import LazyGroup

    _, program, *arguments = _command_line(unit)
    command = LazyGroup().get_command(click.Context(LazyGroup()), program)
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_systemd_takes_the_unit(unit, tmp_path):
    program = _command_line(unit)[0]
    copy = tmp_path / unit.name  # the program is not installed where the unit expects it
    copy.write_text(unit.read_text().replace(program, sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in verified.stderr.splitlines() if unit.name in line]
    assert not complaints
