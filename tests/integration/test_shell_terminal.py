"""`qanat shell` as somebody at a terminal has it: real masters, nodes and a pseudo terminal. And Tab in bash."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from qanat.testing.cluster import published
from qanat.testing.daemon import wait_until
from qanat.testing.managed import ManagedCluster

# Everything here is started on loaded machines: long enough for Python to start, with much beside it.
SECONDS_MAX = 30
PROMPT = r"\[qanat 127\.0\.0\.1:(\d+)\]"
TAB, CTRL_C, CTRL_D, UP = "\t", "\x03", "\x04", "\x1b[A"

BASH = """
eval "$({python} -m qanat completion bash)"
qanat() {{ {python} -m qanat "$@"; }}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
_qanat_completion {program}
echo "[${{COMPREPLY[*]}}]"
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ManagedCluster(tmp_path_factory.mktemp("shell"), masters=2) as made:
        made.managed("collector", "c1")
        made.managed("agent", "a1", tier="web")
        made.start()
        # Whoever types faster than they attach is told that what is mapped runs nowhere.
        made.wait_until(lambda: attached(made) == {"c1", "a1"}, "both nodes to attach")
        yield made


def attached(cluster) -> set[str]:
    nodes = json.loads(cluster.qanat("nodes", "-o", "json"))["nodes"]
    return {each["name"] for each in nodes if each["state"] == "attached"}


@contextlib.contextmanager
def terminal(cluster, home: Path, *options):
    """A shell at a terminal of its own."""
    env = {
        **os.environ,
        "QANAT_MASTER": ",".join(cluster.addresses),
        "QANAT_CONFIG": "/nonexistent",
        "XDG_STATE_HOME": str(home),
        "TERM": "xterm",
        "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody here answers where the cursor is
    }
    child = pexpect.spawn(
        sys.executable,
        ["-m", "qanat", "shell", *options],
        env=env,
        dimensions=(50, 160),
        encoding="utf-8",
        timeout=SECONDS_MAX,
    )
    try:
        yield child
    finally:
        child.close(force=True)


def prompted(child) -> str:
    """The port of the master in the next prompt."""
    child.expect(PROMPT)
    return child.match[1]


def said(child, line: str, expected: str):
    """Type a line, and wait for what it says and for the next prompt."""
    child.sendline(line)
    child.expect(expected)
    return prompted(child)


def left(child) -> int | None:
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus


def test_node_is_reconfigured_by_typing(cluster, tmp_path):
    (cluster.directory / "in").mkdir()
    with terminal(cluster, tmp_path) as child:
        child.expect("Qanat shell .*`help` lists the commands")
        prompted(child)
        said(child, "exec map c1 coll", "coll is not configured yet.*Command succeeded")
        out = cluster.directory / "out"
        said(
            child,
            f'exec config coll autoCollectorSource \'file("{out}", "x-")\'',
            "runs on c1.*Command succeeded",
        )
        child.sendline("exec config web 'tail(\"" + str(cluster.directory / "in") + '/*.log")')
        child.expect(r"\.\.\.")  # the quote is open
        said(child, "' autoE2EChain", "web runs nowhere.*Command succeeded")
        said(child, "map a1 web", "a1 .*web")
        said(child, "waitForNodesActive 60000 web coll", "Nodes are active")
        said(child, "getnodestatus", "coll --> ACTIVE.*web --> ACTIVE")
        said(child, "status web -o text", "web\\s+a1\\s+ACTIVE\\s+applied")
        said(child, "staus", 'did you mean "status"')
        said(child, "exec config a b", "say: exec config")
        child.sendline("unconfig web")
        child.expect("Delete the configuration of web")
        said(child, "n", "")
        said(child, "getconfigs", "web\\s+default-flow")
        child.sendline("quit")
        assert left(child) == 0


OG_SCRIPT = """
# As Flume OG's own system tests were written; $NODE1 and $NODE2 are filled in.
connect {masters}
exec unmapAll
exec spawn c1 collector
exec spawn a1 node
exec noop 100

exec config collector  autoCollectorSource 'collectorSink("file://{out}","data",1000)'
exec config node 'tail("{log}")' 'autoDFOChain'
# and with a flow, as the guide has it
exec config fooNode1 flowfoo 'tail("{log}.none")' autoBEChain
exec config fooConsumer flowfoo autoCollectorSource 'collectorSink("file://{out}/foo")'
exec setChokeLimit a1 Cid 1000

waitForNodesActive 60000 node collector
getnodestatus
getconfigs
getmappings
getmappings a1
getreports
submit refresh node
submit refreshAll
wait 0
waitForNodesActive 60000 node collector
exec noop 4000

exec unconfig fooNode1
exec decommission fooNode1
exec decommission fooConsumer
exec decommission node
exec decommission collector
exec purge node
exec unmapAll
quit
this is not read any more
"""


def test_script_of_flume_og_runs_on_real_nodes(cluster, tmp_path):
    out, log, script = tmp_path / "out", tmp_path / "app.log", tmp_path / "og.fsh"
    lines = [f"line={number}" for number in range(1000)]
    log.write_text("".join(f"{line}\n" for line in lines))
    script.write_text(OG_SCRIPT.format(masters=",".join(cluster.addresses), out=out, log=log))
    printed = cluster.qanat("shell", "-s", str(script))
    assert printed.count("Command succeeded") == printed.count("[id: ") - 1, (
        "all were waited for but the first submitted"
    )
    assert printed.count("Nodes are active") == 2
    assert re.findall(r"^\t(node|collector) --> (\w+)$", printed, re.MULTILINE) == [
        ("collector", "ACTIVE"),
        ("node", "ACTIVE"),
    ]
    wait_until(lambda: stored_lines(out) == lines, "all lines are stored, in order")
    assert "a1" not in cluster.qanat("mappings")


def stored_lines(directory: Path) -> list[str]:
    return [line for file in published(directory) for line in file.read_text().splitlines()]


def test_keys_do_what_they_do_elsewhere(cluster, tmp_path):
    with terminal(cluster, tmp_path) as child:
        prompted(child)
        child.send("getno" + TAB)
        child.expect("destatus")  # only what is new is drawn
        child.send("\r")
        child.expect("Master knows about")
        prompted(child)
        child.send("status --nonsense" + CTRL_C)
        prompted(child)  # the line is given up, not done
        child.sendline("exec noop 600000")
        child.expect("Execing command : noop")
        child.send(CTRL_C)
        child.expect("interrupted")
        prompted(child)
        said(child, "exec noop", "Command succeeded")  # and it is not waited for any more
        child.sendline("top --interval 500ms")
        child.expect("events/s")
        child.send(CTRL_C)
        child.expect("interrupted")
        prompted(child)
        said(child, " exec noop 2", "Command succeeded")
        said(child, "masters # password=word", "LEADS")
        child.send(CTRL_D)
        assert left(child) == 0
    kept = tmp_path / "qanat" / "shell_history"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().splitlines()[-2:] == ["exec noop", "top --interval 500ms"]
    with terminal(cluster, tmp_path) as child:
        prompted(child)
        child.send(UP + UP + "\r")
        child.expect("Execing command : noop.*Command succeeded")
        child.send(CTRL_D)
        assert left(child) == 0


def test_submitted_commands_are_told_of_and_waited_for(cluster, tmp_path):
    with terminal(cluster, tmp_path) as child:
        prompted(child)
        said(child, "submit noop 1500", r"\[id: 1\] Submitted command : noop")
        child.sendline("exec noop")
        child.expect("waiting for noop .id 1., which was submitted before")
        child.expect("Command succeeded")
        child.expect(r"\[id: 1\] noop succeeded")
        prompted(child)
        said(child, "submit noop 600000", "Submitted")
        child.sendline("quit")
        child.expect("noop .id 3. is not done yet; waiting, Ctrl-C gives up")
        child.send(CTRL_C)
        child.expect("noop failed: interrupted")
        assert left(child) == 1


def test_shell_moves_to_another_master_when_one_is_killed(tmp_path):
    with ManagedCluster(tmp_path, masters=2) as masters:
        masters.start()
        with terminal(masters, tmp_path) as child:
            port = prompted(child)
            by_port = {
                address.rpartition(":")[2]: each
                for address, each in zip(masters.addresses, masters.masters, strict=True)
            }
            by_port.pop(port).kill()
            child.sendline("mappings")
            child.expect("does not answer; connected to")
            assert prompted(child) in by_port
            said(child, "exec noop", "Command succeeded")
            child.sendline("connect 127.0.0.1:1")
            child.expect("no master answers at 127.0.0.1:1")
            child.expect(r"\[qanat \(disconnected\)\]")


def test_shell_without_a_screen_to_draw_on_reads_lines(cluster, tmp_path):
    log = tmp_path / "log"
    with terminal(cluster, tmp_path) as child:
        prompted(child)
        child.send(CTRL_D)
        assert left(child) == 0
    env = {**os.environ, "QANAT_MASTER": cluster.addresses[0], "QANAT_CONFIG": "/nonexistent"}
    with log.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-m", "qanat", "shell", "-q"],
            input="getmappings nohost\nquit\nstaus\n",
            text=True,
            stdout=file,
            env=env,
            timeout=SECONDS_MAX,
        )
    assert done.returncode == 0
    assert log.read_text().splitlines() == [
        "No physical / logic node mappings for physical node nohost. Use spawn to map a logical node to a physical node."
    ]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "masters", "completed"),
    [
        ("qanat stat", "living", "[status]"),
        ("qanat map a", "living", "[a1]"),
        ("qanat completion f", "living", "[fish]"),
        ("qanat map a", "127.0.0.1:1", "[]"),
        ("qanat map a", "no address at all", "[]"),
        ("qanat nonsense a", "living", "[]"),
        # Addresses that nothing answers from (RFC 5737): a shell must not wait for them for long.
        ("qanat map a", "192.0.2.1,192.0.2.2,192.0.2.3", "[]"),
    ],
)
def test_bash_completes_names_quickly_or_not_at_all(cluster, tmp_path, words, masters, completed):
    program = tmp_path / "qanat"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qanat "$@"\n')
    program.chmod(0o755)
    script = BASH.format(python=sys.executable, words=words, program=program)
    env = {
        **os.environ,
        "QANAT_MASTER": ",".join(cluster.addresses) if masters == "living" else masters,
        "QANAT_CONFIG": "/nonexistent",
    }
    if completed == "[a1]":
        wait_until(lambda: "a1" in cluster.qanat("nodes", "-o", "text"), "a1 is known")
    done = subprocess.run(
        ["bash", "-c", script], env=env, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    assert (done.stdout.strip(), done.stderr) == (completed, "")
