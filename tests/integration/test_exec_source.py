"""The sources that run commands: what they write, how they end, and that nothing of them is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.command import command
from agent.running import permission
from agent.running.command import Run
from agent.sources.exec import (
    Exec,
    ExecConfig,
    ExecPeriodic,
    ExecPeriodicConfig,
    ExecStream,
    ExecStreamConfig,
)
from qanat.errors import ConfigError
from tests.unit.agent.live import Listening, listening, until
from tests.unit.agent.scripted import context


@pytest.fixture(autouse=True)
def _allowed(monkeypatch):
    monkeypatch.setenv(permission.VARIABLE, "1")


def source(tmp_path: Path, *arguments: object, **options: Any) -> Exec:
    return Exec(ExecConfig(*arguments, **options), context(tmp_path))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pid_in(path: Path) -> int:
    until(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def ended(heard: Listening) -> bool:
    return heard.source._thread is None or not heard.source._thread.is_alive()


def test_lines_of_both_outputs_are_events_and_say_which(tmp_path):
    made = source(tmp_path, "printf 'a\\nb\\nc'; echo d >&2", shell=True)
    with listening(made) as heard:
        rows = heard.wait_for(4)
        found = {
            name: [row["body"] for row in rows if row["stream"] == name] for name in ("stdout", "stderr")
        }
        assert found == {"stdout": [b"a", b"b", b"c"], "stderr": [b"d"]}


def test_without_a_shell_nothing_is_expanded(tmp_path):
    with listening(source(tmp_path, 'echo "$HOME" * ; exit | cat')) as heard:
        assert heard.wait_for(1)[0]["body"] == b"$HOME * ; exit | cat"


def test_error_output_is_left_out_when_it_is_not_wanted(tmp_path):
    with listening(source(tmp_path, "echo a >&2; echo b", shell=True, stderr="discard")) as heard:
        heard.wait_for(1)
        assert heard.bodies == [b"b"]


def test_aggregate_is_one_event_of_each_output_with_its_line_ends(tmp_path):
    with listening(source(tmp_path, "echo a; echo b; echo c >&2", True, shell=True)) as heard:
        assert sorted(row["body"] for row in heard.wait_for(2)) == [b"a\nb", b"c"]


def test_aggregate_is_cut_at_the_limit(tmp_path):
    made = source(tmp_path, "head -c 100000 /dev/zero", aggregate=True, event_bytes=10)
    with listening(made) as heard:
        assert heard.wait_for(1)[0]["body"] == bytes(10)


def test_restart_runs_again_and_again(tmp_path):
    with listening(source(tmp_path, "echo a", restart=True, period=0.01)) as heard:
        until(lambda: heard.take() and len(heard.rows) >= 3)


def test_without_restart_it_runs_once(tmp_path):
    with listening(source(tmp_path, "echo a")) as heard:
        heard.wait_for(1)
        until(lambda: ended(heard))


def test_periodic_is_one_event_a_run_and_stream_a_line(tmp_path):
    periodic = ExecPeriodic(ExecPeriodicConfig("seq 3", 0.01), context(tmp_path))
    with listening(periodic) as heard:
        until(lambda: heard.take() and len(heard.rows) >= 2)
        assert set(heard.bodies) == {b"1\n2\n3"}
    with listening(ExecStream(ExecStreamConfig("seq 3"), context(tmp_path))) as heard:
        heard.wait_for(3)
        assert heard.bodies == [b"1", b"2", b"3"]


def test_failures_are_counted_and_wait_longer(tmp_path):
    counted: dict[str, int] = {}
    made = Exec(
        ExecConfig("exit 3", restart=True, shell=True, throttle=0.05),
        replace(context(tmp_path), count=counting(counted)),
    )
    with listening(made):
        until(lambda: counted.get("commands_failed", 0) >= 3)


def counting(counted: dict[str, int]):
    def count(name: str, n: int) -> None:
        counted[name] = counted.get(name, 0) + n

    return count


def test_full_inlet_makes_the_command_wait(tmp_path):
    made = source(tmp_path, f"yes > /dev/stdout & echo $! > {tmp_path}/pid; wait", shell=True)
    with listening(made, inlet_bytes=100_000) as heard:
        pid = pid_in(tmp_path / "pid")

        def written() -> int:
            return int(Path(f"/proc/{pid}/io").read_text().split("wchar: ")[1].split()[0])

        until(lambda: heard.inlet.size_bytes > 0)  # how full depends on how the pipe is read
        last = -1
        while (now := written()) != last:
            last = now
            time.sleep(0.2)
        assert now < 2_000_000
        heard.take()
        until(lambda: heard.take() and written() > now)
    assert not is_alive(pid)


def test_stop_ends_the_command_with_all_that_it_started_also_the_deaf(tmp_path):
    script = f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/pid; echo up; while :; do sleep 1; done"
    with listening(source(tmp_path, script, shell=True)) as heard:
        heard.wait_for(1)
        pid = pid_in(tmp_path / "pid")
        assert is_alive(pid)
    until(lambda: not is_alive(pid))


def test_what_a_command_leaves_behind_ends_with_it(tmp_path):
    with listening(source(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/pid; echo a", shell=True)) as heard:
        heard.wait_for(1)
        until(lambda: ended(heard))
        assert not is_alive(pid_in(tmp_path / "pid"))


def test_killed_agent_leaves_no_command(tmp_path):
    child = f"sleep 1000 & echo $! > {tmp_path}/pid; wait"
    program = (
        "import sys\nfrom agent.running.command import Run\n"
        f"Run(['/bin/sh', '-c', {child!r}], print, stderr=True).finish()"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as agent:
        pid = pid_in(tmp_path / "pid")
        assert is_alive(pid)
        agent.send_signal(signal.SIGKILL)
    until(lambda: not is_alive(pid))


def test_exit_code_and_signal_are_as_a_shell_says(tmp_path):
    for text, code in (("exit 7", 7), ("kill -9 $$", 137), ("true", 0)):
        assert Run(["/bin/sh", "-c", text], lambda name, data: None, stderr=False).finish() == code


def test_node_that_allows_nothing_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv(permission.VARIABLE)
    with pytest.raises(ConfigError, match="--allow-exec"), listening(source(tmp_path, f"touch {tmp_path}/x")):
        pass
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("allowed", [False, True])
def test_check_says_that_it_is_not_allowed(tmp_path, monkeypatch, allowed):
    monkeypatch.delenv(permission.VARIABLE)
    flow = tmp_path / "flow.qanat"
    flow.write_text('a : exec("true") | agentE2EChain("h:1") ;\n')
    arguments = [str(flow), "--check", *(["--allow-exec"] if allowed else [])]
    result = CliRunner().invoke(command, arguments)
    monkeypatch.setenv(permission.VARIABLE, "")  # what the option has set goes with the test
    if allowed:
        assert result.exit_code == 0, result.output
    else:
        assert "--allow-exec" in (result.output + str(result.exception))


@pytest.mark.parametrize("text", ["/no/such/program", "no-such-program-at-all x"])
def test_missing_program_is_said_before_it_runs(tmp_path, text):
    with pytest.raises(ConfigError, match="no program"), listening(source(tmp_path, text)):
        pass


@pytest.mark.parametrize("text", ["", "  ", "echo 'a", "echo \0"])
def test_bad_command_is_a_fault(text):
    assert list(Exec.check(ExecConfig(text)))


def test_command_with_quotes_is_split_as_a_shell_would(tmp_path):
    with listening(source(tmp_path, "printf '%s|%s' 'a b' c")) as heard:
        assert heard.wait_for(1)[0]["body"] == b"a b|c"
