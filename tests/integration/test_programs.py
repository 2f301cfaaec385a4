"""The programs as their users meet them: names, locks, ports, flow files, signals, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from qanat.testing.cluster import free_port, stored_bytes
from qanat.testing.daemon import wait_until
from tests.integration.lines import append, assert_drains_clean, assert_exactly_once, numbered, tail


def test_of_two_agents_with_one_name_the_later_wins_and_the_earlier_says_why(cluster):
    log = cluster.directory / "in" / "a.log"
    c1 = cluster.collector("c1", "roll=300ms")
    earlier = cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    written = append(log, numbered(0, 1_000))
    cluster.wait_until(lambda: c1.stored_events() == 1_000, "the earlier agent to deliver")
    later = cluster.agent("a1", tail(cluster), c1, state=cluster.directory / "elsewhere")
    later.log = cluster.directory / "logs" / "later.txt"
    later.start()
    assert earlier.wait() == 1
    assert "another process is sending as 'a1/web'" in earlier.text()
    assert "Give each agent a name and a state directory of its own" in earlier.text()
    assert "Traceback" not in earlier.text()
    cluster.daemons.remove(earlier)
    written += append(log, numbered(1_000, 2_000))
    cluster.wait_until_stored(written)
    assert_drains_clean(cluster, 2_000)


def test_agent_whose_state_is_lost_goes_on_from_the_collectors_positions(cluster):
    log = cluster.directory / "in" / "a.log"
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    written = append(log, numbered(0, 1_000))
    cluster.wait_until_stored(written)
    log.rename(log.with_suffix(".log.1"))
    written += append(log, numbered(1_000, 2_000))
    cluster.wait_until_stored(written)
    agent.kill()
    shutil.rmtree(cluster.directory / "state" / "agent-a1")
    written += append(log, numbered(2_000, 3_000))
    agent.start()
    cluster.wait_until_stored(written)
    assert_drains_clean(cluster, 3_000)


def test_second_collector_with_the_same_name_is_refused(cluster):
    c1 = cluster.collector("c1")
    again = cluster.daemon("c1-again", list(c1.arguments))
    c1.start()
    c1.wait_for("sink_ready")
    again.start()
    assert again.wait() == 3
    assert "is in use by another process" in again.text()
    assert "--state-dir" in again.text()
    assert c1.is_running


def test_second_collector_on_the_same_directory_waits_until_the_first_is_gone(cluster):
    log = cluster.directory / "in" / "a.log"
    c1 = cluster.collector("c1", "roll=300ms")
    c1.start()
    c1.wait_for("sink_ready")
    state = cluster.directory / "state"
    moved = [argument.replace(str(state), str(cluster.directory / "state-2")) for argument in c1.arguments]
    # The same sink under another state directory, as after a careless move: its port is taken first of all.
    port = free_port()
    flow = cluster.directory / "flows" / "c1-2.flow"
    flow.write_text((cluster.directory / "flows" / "c1.flow").read_text().replace(str(c1.port), str(port)))
    moved[1], moved[-1] = str(flow), str(free_port())
    second = cluster.daemon("c1-second", moved)
    second.start()
    second.wait_for("recovery_waits")
    assert "is locked: another process runs this very sink" in second.text()
    waits = next(line for line in second.text().splitlines() if "recovery_waits" in line)
    assert "warning" in waits  # a sink that can't store is not to be looked for among what is news
    c1.stop()
    second.wait_for("sink_ready")
    written = append(log, numbered(0, 100))
    cluster.agent("a1", tail(cluster), f"127.0.0.1:{port}").start()
    cluster.wait_until_stored(written)
    assert_drains_clean(cluster, 100)


def test_port_that_is_taken_is_named(cluster):
    c1 = cluster.collector("c1")
    other = cluster.collector("c2", port=c1.port)
    c1.start()
    c1.wait_for("collector_listening")
    other.start()
    assert other.wait() == 3  # whoever has it may go away
    assert f"can't listen on 127.0.0.1:{c1.port}" in other.text()
    assert "Traceback" not in other.text()


def test_wrong_flow_file_ends_with_every_fault(cluster):
    flow = cluster.directory / "wrong.flow"
    flow.write_text(
        'web : tial("/x") | agentE2ESink("c1") ;\n'
        'coll : collectorSource(35853) | file("/x", "", fromat="raw") ;\n'
        'more : tail("/x") | agentE2EChian("c1") ;\n'
    )
    for program in ("agent", "collector", "run"):
        ended = cluster.daemon(
            f"wrong-{program}", [program, str(flow), "--state-dir", str(cluster.directory / "s")]
        )
        ended.start()
        assert ended.wait() == 2
        assert 'did you mean "tail"' in ended.text()
        assert 'did you mean "agentE2EChain"' in ended.text()
        assert f"{flow}:1:7" in ended.text()
        assert f"{flow}:3:" in ended.text()
        assert "Traceback" not in ended.text()


def test_wrong_configuration_of_a_component_ends_with_every_fault(cluster):
    c1 = cluster.collector("c1", 'format="parkett", open_files_max=0, timezone="Mars/Olympus"')
    c1.start()
    assert c1.wait() == 2
    for what in ("parkett", "open_files_max", "Mars/Olympus"):
        assert what in c1.text()
    assert "Traceback" not in c1.text()


def local_flow(cluster) -> list[str]:
    flow = cluster.directory / "local.flow"
    flow.write_text(f'app : {tail(cluster)} | file("{cluster.out}", "web-", roll=300ms) ;\n')
    return ["run", str(flow), "--state-dir", str(cluster.directory / "state")]


def children(pid: int) -> dict[str, int]:
    """The programs that `qanat run` has started, by tier."""
    found = {}
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        found |= {tier: child for tier in ("agent", "collector") if tier.encode() in command}
    return found


def test_run_stores_everything_and_ends_in_order_on_sigterm(cluster):
    written = append(cluster.directory / "in" / "a.log", numbered(0, 20_000))
    program = cluster.daemon("run", local_flow(cluster))
    program.start()
    cluster.wait_until(lambda: cluster.out.exists() and stored_bytes(cluster.out) == written, "everything")
    started = children(program.process.pid)
    assert sorted(started) == ["agent", "collector"]
    assert_drains_clean(cluster, 20_000)
    assert program.text().index("agent_stopped") < program.text().index("collector_stopped")
    assert not any(os.path.exists(f"/proc/{pid}") for pid in started.values())


def test_run_ends_with_the_cause_as_its_last_word_when_a_program_is_refused(cluster):
    flow = cluster.directory / "local.flow"
    flow.write_text(f'app : {tail(cluster)} | python("no.such.module:f") file("{cluster.out}", "web-") ;\n')
    arguments = [
        sys.executable,
        "-m",
        "qanat",
        "run",
        str(flow),
        "--state-dir",
        str(cluster.directory / "state"),
    ]
    ended = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("qanat: ")
    assert " refuses its configuration: python('no.such.module:f'): No module named 'no'" in last


def test_run_starts_a_killed_program_again_and_nothing_is_lost_or_doubled(cluster):
    log = cluster.directory / "in" / "a.log"
    program = cluster.daemon("run", local_flow(cluster))
    program.start()
    lines = written = 0
    for victim in ("collector", "agent", "collector"):
        cluster.wait_until(lambda v=victim: v in children(program.process.pid), f"the {victim}")
        written += append(log, numbered(lines, lines + 30_000))
        lines += 30_000
        killed = children(program.process.pid)[victim]
        os.kill(killed, signal.SIGKILL)
        cluster.wait_until(
            lambda v=victim, k=killed: children(program.process.pid).get(v, k) != k, f"another {victim}"
        )
    cluster.wait_until(lambda: stored_bytes(cluster.out) == written, "everything")
    assert_drains_clean(cluster, lines)


def test_killed_run_takes_its_programs_along_and_can_be_started_again(cluster):
    log = cluster.directory / "in" / "a.log"
    program = cluster.daemon("run", local_flow(cluster))
    program.start()
    written = append(log, numbered(0, 1_000))
    cluster.wait_until(lambda: cluster.out.exists() and stored_bytes(cluster.out) == written, "everything")
    started = children(program.process.pid)
    program.kill()
    try:
        wait_until(lambda: not any(is_alive(pid) for pid in started.values()), "its programs to end", 30)
    finally:
        for pid in filter(is_alive, started.values()):
            os.kill(pid, signal.SIGKILL)
    program.start()
    written += append(log, numbered(1_000, 2_000))
    cluster.wait_until(lambda: stored_bytes(cluster.out) == written, "everything")
    assert_drains_clean(cluster, 2_000)


def is_alive(pid: int) -> bool:
    """Not ended, and no zombie that only waits to be counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def dumped(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "qanat", "dump", *arguments], capture_output=True, timeout=60, check=False
    )


def test_dump_prints_what_tail_yields_byte_for_byte(cluster):
    data = numbered(0, 100) + b"\x00\xff\r\n\n" + numbered(100, 200)
    (cluster.directory / "in" / "a.log").write_bytes(data)
    done = dumped(tail(cluster))
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def test_dump_as_json_says_where_each_event_stands(cluster):
    (cluster.directory / "in" / "a.log").write_bytes(b"one\ntwo\n\xff\n")
    done = dumped(tail(cluster), "--json", "--count", "3")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event.get("body") for event in events] == ["one", "two", None]
    assert [event["position"] for event in events] == [0, 4, 8]


def test_dump_disturbs_no_running_agent(cluster):
    log = cluster.directory / "in" / "a.log"
    c1 = cluster.collector("c1", "roll=300ms")
    cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    written = append(log, numbered(0, 1_000))
    assert dumped(tail(cluster)).stdout == numbered(0, 1_000)
    written += append(log, numbered(1_000, 2_000))
    cluster.wait_until_stored(written)
    assert_exactly_once(cluster.out, 2_000)
