"""Tab in zsh and fish, at a pseudo terminal, with names that a real master knows."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time

import pexpect
import pytest

from qanat.testing.managed import ManagedCluster
from tests.conftest import servers_missing

# With every character that the scripts of completion use themselves.
NODE = "web,1:a"
SECONDS_MAX = 60

# Completes as qanat does, and otherwise says what it was called with.
PROGRAM = """#!/bin/sh
[ -n "$_QANAT_COMPLETE" ] && exec "{python}" -m qanat "$@"
[ "$1" = completion ] && exec "{python}" -m qanat "$@"
echo "ran: <$*>"
"""
SHELLS = {
    "zsh": (["-f", "-i"], 'autoload -Uz compinit; compinit -D -u; eval "$(qanat completion zsh)"'),
    "fish": (["--no-config", "-i"], "qanat completion fish | source"),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ManagedCluster(tmp_path_factory.mktemp("completion")) as made:
        made.managed("agent", NODE)
        made.start()
        made.wait_until(lambda: NODE in made.qanat("nodes", "-o", "text"), f"{NODE} to be known")
        yield made


@pytest.fixture(params=SHELLS)
def shell(cluster, request, tmp_path):
    """A shell that completes `qanat`, in a directory with a flow file."""
    if shutil.which(request.param) is None:
        servers_missing(f"there is no {request.param} here: apt-get install {request.param}")
    program = tmp_path / "bin" / "qanat"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    (tmp_path / "all.flow").touch()
    env = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "QANAT_MASTER": ",".join(cluster.addresses),
        "QANAT_CONFIG": "/nonexistent",
        "TERM": "xterm",
    }
    options, setup = SHELLS[request.param]
    child = pexpect.spawn(
        request.param,
        options,
        env=env,
        cwd=tmp_path,
        encoding="utf-8",
        timeout=SECONDS_MAX,
        dimensions=(40, 150),
    )
    with contextlib.closing(child):
        child.expect("[%#>]")  # the prompt: what is typed before a shell has its terminal may be lost
        child.sendline(f"{setup}; echo rea''dy")
        child.expect("ready\r\n")
        yield child


@pytest.mark.parametrize(
    ("typed", "ran"),
    [
        ("stat", "status"),
        ("status --outp", "status --output"),
        ("apply al", "apply all.flow"),
        ("map we", f"map {NODE}"),
    ],
)
def test_tab_completes(shell, typed, ran):
    """A shell reads what is typed in order, so the line runs when it is completed. Tab gives up soon where a machine is busy."""
    deadline_s = time.monotonic() + SECONDS_MAX
    said = ""
    while said != ran and time.monotonic() < deadline_s:
        shell.send(f"qanat {typed}\t\r")
        shell.expect("ran: <([^>]*)>")
        said = shell.match[1].strip()
    assert said == ran
