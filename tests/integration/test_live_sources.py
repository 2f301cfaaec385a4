"""Live sources under agents and collectors that die: what was answered is stored, exactly once from the channel on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from qanat.testing.cluster import LOOPBACK, Cluster, free_port, published
from tests.integration.lines import assert_drains_clean, assert_exactly_once, assert_repeats_only, numbered

LINES = 12_000
CHUNK = 200
SOON = {"agent.delivery.RETRY_S_MAX": 0.2}
WAIT_S_MAX = 60.0


class Repeating(threading.Thread):
    """Sends numbered lines to netcat(...), some at a time, each until all of it is answered."""

    def __init__(self, port: int, stream: str) -> None:
        super().__init__()
        self._port = port
        self._stream = stream
        self._until_s = time.monotonic() + WAIT_S_MAX
        self.repeats = 0
        self.answered = 0

    def run(self) -> None:
        while self.answered < LINES and time.monotonic() < self._until_s:
            with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self._port), 5) as made:
                while self.answered < LINES:
                    self.repeats += 1  # if it is not answered
                    self._send(made)
                    self.repeats -= 1
            time.sleep(0.05)

    def _send(self, made: socket.socket) -> None:
        made.sendall(numbered(self.answered, self.answered + CHUNK, self._stream))
        heard = 0
        while heard < 3 * CHUNK:
            data = made.recv(1 << 16)
            if not data:
                raise ConnectionError
            heard += len(data)
        self.answered += CHUNK


def sending(cluster: Cluster, port: int, streams: int) -> list[Repeating]:
    made = [Repeating(port, f"s{number}") for number in range(streams)]
    for each in made:
        each.start()
    return made


def connected(cluster: Cluster, port: int) -> socket.socket:
    """As soon as the agent listens."""
    made = socket.socket()
    cluster.wait_until(lambda: made.connect_ex((LOOPBACK, port)) == 0, "the agent to listen")
    return made


def test_agent_killed_in_mid_stream_loses_nothing_that_was_answered(cluster):
    c1, port = cluster.collector("c1", "roll=300ms"), free_port()
    agent = cluster.agent("a1", f'netcat({port}, host="{LOOPBACK}")', c1, tune=SOON)
    cluster.start()
    senders = sending(cluster, port, 2)
    for share in range(1, 4):
        cluster.wait_until(
            lambda share=share: senders[0].answered > share * LINES // 5, "some to be answered"
        )
        agent.kill()
        agent.start()
    for each in senders:
        each.join()
    cluster.wait_until(lambda: all(each.answered == LINES for each in senders), "all to be answered")
    cluster.stop()
    assert_repeats_only(cluster.out, 2 * LINES, 2, sum(each.repeats for each in senders) * CHUNK)


def test_collector_killed_in_mid_stream_stores_exactly_once(cluster):
    c1, port = cluster.collector("c1", "roll=300ms"), free_port()
    cluster.agent("a1", f'netcat({port}, host="{LOOPBACK}")', c1, tune=SOON)
    cluster.start()
    (sender,) = sending(cluster, port, 1)
    for share in range(1, 4):
        cluster.wait_until(lambda share=share: sender.answered > share * LINES // 5, "some to be answered")
        c1.kill()
        c1.start()
    sender.join()
    assert (sender.answered, sender.repeats) == (LINES, 0)
    cluster.wait_until_stored(len(numbered(0, LINES, "s0")))
    assert_drains_clean(cluster, LINES)


def test_clean_stop_of_the_agent_keeps_what_it_received_and_syslog_comes_through_whole(cluster):
    c1, port = cluster.collector("c1", "roll=300ms"), free_port()
    agent = cluster.agent("a1", f'syslogTcp({port}, host="{LOOPBACK}")', c1, tune=SOON)
    cluster.start()
    with connected(cluster, port) as made:
        lines = numbered(0, LINES).split(b"\n")[:-1]
        made.sendall(b"".join(b"<13>1 - h app - - - %b\n" % line for line in lines))
        cluster.wait_until(lambda: agent.read_events() == LINES, "all to be in the channel")
        assert agent.stop() == 0
    agent.start()
    agent.wait_for("agent_started")
    cluster.wait_until_stored(len(numbered(0, LINES)))
    assert_drains_clean(cluster, LINES)


def test_numbers_are_stored_exactly_once_while_agent_and_collector_die(cluster):
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", "seq(60000, rate=30000)", c1, tune=SOON)
    cluster.start()
    for daemon in (agent, c1, agent):
        cluster.wait_until(lambda: c1.stored_events() > 0, "something to be stored")
        daemon.kill()
        daemon.start()
    wanted = "".join(f"{number}\n" for number in range(60_000))
    cluster.wait_until_stored(len(wanted))
    cluster.stop()
    stored = sorted(int(line) for path in published(cluster.out) for line in path.read_text().split())
    assert stored == list(range(60_000))


def test_fan_out_of_a_live_source_reaches_every_destination_once(cluster):
    c1, c2 = cluster.collector("c1", "roll=300ms"), cluster.collector("c2", "roll=300ms")
    port = free_port()
    sink = "[ agentE2EChain({0}), agentE2EChain({1}) ]"
    agent = cluster.agent("a1", f'netcat({port}, host="{LOOPBACK}")', c1, c2, tune=SOON, sink=sink)
    c1.start()
    agent.start()  # c2 comes later, and gets all
    (sender,) = sending(cluster, port, 1)
    sender.join()
    assert (sender.answered, sender.repeats) == (LINES, 0)
    c2.start()
    cluster.wait_until(lambda: c2.stored_events() == LINES, "the second to have all")
    cluster.stop()
    for each in (c1, c2):
        assert_exactly_once(each.out, LINES)
