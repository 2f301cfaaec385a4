"""What every test gets: a check for what it leaves behind, and the hypothesis profile.

`QANAT_HYPOTHESIS=thorough` looks at many random examples; the default at the same few each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import psutil
import pytest
import structlog
from hypothesis import HealthCheck, settings

from qanat.testing.daemon import DaemonError
from qanat.testing.postgres import Postgres, programs
from qanat.testing.zookeeper import Ensemble, classpath

T = TypeVar("T")

MAVEN = "https://repo.maven.apache.org/maven2/org/slf4j/slf4j-simple/1.7.36/slf4j-simple-1.7.36.pom"

# How long a thread or a child may take to end after its test: a bounded poll, paid only by a test that leaks.
LEAK_GRACE_S = 3.0

# A test that never ends its loop's work fails with its name, long before pytest-timeout ends the whole run.
RUN_S_MAX = 60.0

_TOO_SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "ci", derandomize=True, max_examples=50, deadline=None, database=None, suppress_health_check=_TOO_SLOW
)
settings.register_profile(
    "thorough", max_examples=2000, deadline=None, print_blob=True, suppress_health_check=_TOO_SLOW
)
settings.load_profile(os.environ.get("QANAT_HYPOTHESIS", "ci"))


@pytest.fixture(autouse=True)
def _default_logging() -> Iterator[None]:
    """A test that runs a command line sets up logging to a stream that is closed with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine to its end on a loop of its own: `run(store.get("/a"))`."""

    def runner(coroutine: Coroutine[Any, Any, T], *, timeout_s: float = RUN_S_MAX) -> T:
        return asyncio.run(asyncio.wait_for(coroutine, timeout_s), debug=False)

    return runner


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Call it for a TCP port on 127.0.0.1 that nobody uses now."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


def servers_missing(why: str) -> NoReturn:
    """Skip the test; fail it where leaving out is not allowed (QANAT_REQUIRE_SERVERS=1)."""
    if os.environ.get("QANAT_REQUIRE_SERVERS") == "1":
        pytest.fail(f"QANAT_REQUIRE_SERVERS is set, and {why}", pytrace=False)
    pytest.skip(why)


def jars_missing(why: str) -> NoReturn:
    """The same for what only Maven has: nobody can be required to reach its repository."""
    try:
        urllib.request.urlopen(MAVEN, timeout=10).close()
    except OSError as error:
        pytest.skip(f"{why} ({MAVEN} does not answer: {error})")
    servers_missing(why)


@pytest.fixture(scope="session")
def zookeeper_installed() -> None:
    """For tests that start an ensemble of their own."""
    try:
        classpath()
    except DaemonError as missing:
        servers_missing(str(missing))


@pytest.fixture(scope="session")
def zookeeper(zookeeper_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """Three ZooKeeper servers that all tests share: who breaks servers starts others.

    Who asks for it by `getfixturevalue` does so in a fixture of module scope: it must be there before a test's children are
    counted."""
    with Ensemble(tmp_path_factory.mktemp("zookeeper")) as ensemble:
        yield ensemble


@pytest.fixture(scope="session")
def postgresql_installed() -> None:
    """For tests that start a server of their own."""
    try:
        programs()
    except DaemonError as missing:
        servers_missing(str(missing))


@pytest.fixture(scope="session")
def postgresql(postgresql_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server that all tests share: who breaks servers starts others. In a fixture of module scope, as above."""
    with Postgres(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


# Who is started in the background by a script ignores Ctrl-C, and so would every program that is started from here; some tests
# press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What repeats on an ensemble, in another format or with a channel between what the other tests show on the embedded store, in
# raw files and without one; one of several ways to be killed; and large values: `make long`.
_LONG = re.compile(
    r"test_(adoption|master_processes)\.py.*zookeeper|test_large_values\.py|test_large_changes\.py.*embedded"
    r"|test_zookeeper\.py.*(leaders_are_killed|all_servers_were_paused|without_a_majority)"
    r"|test_master_processes\.py.*majority|test_managed\.py.*(agent_that_is_killed|pushed_to_one)"
    r"|test_adoption\.py.*(it|on)\[embedded-parquet|test_demo\.py.*no_process_behind\[(15|9)"
    r"|test_(agent_fan_out|levels)\.py.*\[\| memoryChannel|test_(decorators|routing)\.py.*\[ \| fileChannel"
    r"|test_end_to_end\.py.*ten_thousand|test_otlp\.py.*there_twice\[http|test_levels\.py.*counted\[DFO"
    r"|test_files_killed\.py.*killed\[order|test_routing\.py.*killed\[files-\]"
    r"|test_crashes\.py.*(truncation_at_rest|agents_alone)"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything under tests/chaos is marked so, and what takes long."""
    chaos = Path(__file__).parent / "chaos"
    for item in items:
        if item.path.is_relative_to(chaos):
            item.add_marker(pytest.mark.chaos)
        if _LONG.search(item.nodeid):
            item.add_marker(pytest.mark.long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What failed before it was tried again: each is a test to mend."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"tried again: {report.nodeid}")
        terminalreporter.line(report.longreprtext)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread or a child process behind; end the child, so that only it fails."""
    threads, children = _threads(), _children()
    yield
    deadline_s = time.monotonic() + LEAK_GRACE_S
    while _left(threads, children) and time.monotonic() < deadline_s:
        gc.collect()
        time.sleep(0.01)
    left = _left(threads, children)
    for pid in _children() - children:
        child = psutil.Process(pid)
        child.kill()
        child.wait(LEAK_GRACE_S)
    assert not left, f"left behind: {', '.join(left)}"


def _left(threads: set[threading.Thread], children: set[int]) -> list[str]:
    new_threads = [f"thread {thread.name}" for thread in _threads() - threads]
    return new_threads + [f"process {pid}" for pid in _children() - children]


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.daemon}


def _children() -> set[int]:
    """Process ids of our children; a zombie that nobody waited for is one too.

    Read from /proc because it is done twice a test: psutil looks at every process of the machine for it.
    """
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread just ended
            found.update(map(int, (task / "children").read_text().split()))
    return {pid for pid in found if not _is_helper(pid)}


def _is_helper(pid: int) -> bool:
    """A process that multiprocessing keeps for the whole run."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True  # gone
    return b"multiprocessing.resource_tracker" in command or b"multiprocessing.forkserver" in command
