"""docs/deployment.md, typed on hosts that are network namespaces."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qanat.testing import namespaces
from qanat.testing.zookeeper import classpath
from tests.conftest import servers_missing
from tests.integration.lines import PATTERN
from tests.tidy.tree import ROOT

PAGE = ROOT / "docs" / "deployment.md"
HOSTS = ("m1", "m2", "m3", "c1", "c2", "c3", "a1", "a2", "admin")
# As long as a person takes to get to the next host.
PERSON_S = 4.0
# A block that waits does so for two minutes at most.
BLOCK_S_MAX = 200

# What a host has of its own.
DIRECTORIES = (
    "/etc/qanat",
    "/etc/zookeeper/conf",
    "/var/lib/zookeeper",
    "/var/lib/qanat-master",
    "/var/lib/qanat-collector",
    "/var/lib/qanat-agent",
    "/var/log/nginx",
    "/opt/qanat/bin",
    "/data",
)


def blocks() -> list[tuple[list[str], str]]:
    """Hosts and script of each."""
    found = re.findall(r"^```sh\n# on ([\w ]+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [(names.split(), script) for names, script in found]


@pytest.fixture
def network(tmp_path: Path, zookeeper_installed: None) -> Iterator[namespaces.Network]:
    try:
        namespaces.check()
    except namespaces.NoNamespacesError as why:
        if why.is_installable:
            servers_missing(str(why))
        pytest.skip(f"no hosts here: {why}")
    shared = {Path(each): f"hosts{each}" for each in DIRECTORIES}
    made = [each for each in _with_parents(shared) if not each.exists()]
    (tmp_path / "run").mkdir()
    try:
        with namespaces.Network(tmp_path, shared) as made_network:
            for name in HOSTS:
                made_network.host(name)
                _furnish(made_network, name)
            try:
                yield made_network
            finally:
                _end(tmp_path / "run")
    finally:
        for each in reversed(made):  # mount points, which are empty
            each.rmdir()


def _with_parents(paths: dict[Path, str]) -> list[Path]:
    return sorted({parent for path in paths for parent in (path, *path.parents)})


def _furnish(network: namespaces.Network, name: str) -> None:
    """What a package or `pip install` would have put there."""
    program = network.disk(name, "hosts/opt/qanat/bin")
    commands = {
        "qanat": f"{sys.executable} -m qanat",
        "systemctl": f"{sys.executable} {Path(__file__).with_name('systemctl.py')}",
    }
    for command, line in commands.items():
        (program / command).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (program / command).chmod(0o755)
    # No such user here, and no need of one.
    (program / "install").write_text(
        '#!/bin/sh\n[ "$2" = -o ] && shift 5 && exec mkdir -p "$3"\nexec /usr/bin/install "$@"\n'
    )
    (program / "install").chmod(0o755)
    (network.disk(name, "hosts/var/lib/zookeeper") / "myid").symlink_to("/etc/zookeeper/conf/myid")


def _end(run: Path) -> None:
    for path in run.glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.read_text()), signal.SIGKILL)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_block_of_the_page_works_and_every_line_arrives_once(network, tmp_path):
    bin_ = "/opt/qanat/bin"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("QANAT_")} | {
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "QANAT_MASTER": "m1,m2,m3",
        "QANAT_CONFIG": "/nonexistent",
        "PYTHONPATH": str(ROOT),
        "UNITS": str(ROOT / "deploy" / "systemd"),
        "RUN": str(tmp_path / "run"),
        "ZOOKEEPER": shlex.join(
            [
                "java",
                "-Xmx128m",
                "-cp",
                classpath(),
                "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                "/etc/zookeeper/conf/zoo.cfg",
            ]
        ),
    }
    for names, script in blocks():
        time.sleep(PERSON_S)
        with contextlib.ExitStack() as ending:
            typed = {
                name: ending.enter_context(_typed(network.hosts[name], script, environment, tmp_path))
                for name in names
            }
            answers = {name: _done(each) for name, each in typed.items()}
        for name, (code, said) in answers.items():
            print(f"--- {name}\n{script}{said}")
            assert code == 0, f"on {name}:\n{script}\n{said}\n{_logs(tmp_path / 'run')}"
    from qanat.testing.cluster import ledger

    stored = tmp_path / "hosts" / "data"
    report = ledger(stored, PATTERN, first=0, last=19_999)
    counted = (report.events, report.streams, report.lost, report.doubled, report.reordered)
    assert counted == (40_000, 2, 0, 0, 0), report


@contextlib.contextmanager
def _typed(
    host: namespaces.Host, script: str, environment: dict[str, str], directory: Path
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*host.prefix, "bash", "-euo", "pipefail", "-c", script],
        cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def _done(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=BLOCK_S_MAX)
    return process.returncode, out


def _logs(run: Path) -> str:
    return "\n".join(f"{path.name}:\n{path.read_text()[-1500:]}" for path in sorted(run.glob("*.log")))
