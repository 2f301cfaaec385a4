"""What NG's clients and commands send, under agents and collectors that die in mid-stream."""

from __future__ import annotations

import threading
import time

from qanat.testing.cluster import LOOPBACK, free_port, stored_bytes
from tests.integration.lines import assert_drains_clean, assert_repeats_only, numbered
from tests.unit.agent.avro_client import Client, batch

LINES = 6000
CHUNK = 100
SOON = {"agent.delivery.RETRY_S_MAX": 0.2}
WAIT_S_MAX = 120.0


class Repeating(threading.Thread):
    """Sends numbered lines to avro(...), a request at a time, each until it is answered OK."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._until_s = time.monotonic() + WAIT_S_MAX
        self.repeats = 0
        self.answered = 0

    def run(self) -> None:
        while self.answered < LINES and time.monotonic() < self._until_s:
            try:
                client = Client(self._port)
            except OSError:
                time.sleep(0.05)
                continue
            try:
                self._send_all(client)
            except OSError:
                self.repeats += 1  # it was not answered
            client.close()

    def _send_all(self, client: Client) -> None:
        is_first = True
        while self.answered < LINES:
            lines = numbered(self.answered, self.answered + CHUNK).split(b"\n")[:-1]
            client.send(batch([(line, {"k": "v"}) for line in lines]))
            if client.status(opens=is_first) == "OK":
                self.answered += CHUNK
            else:
                self.repeats += 1
            is_first = False


def test_killed_agent_loses_nothing_that_avro_was_answered(cluster):
    c1, port = cluster.collector("c1", "roll=300ms"), free_port()
    agent = cluster.agent("a1", f'avro({port}, host="{LOOPBACK}")', c1, tune=SOON)
    cluster.start()
    sender = Repeating(port)
    sender.start()
    for share in (1, 2, 3):
        cluster.wait_until(lambda share=share: sender.answered > share * LINES // 5, "some to be answered")
        agent.kill()
        agent.start()
    sender.join()
    assert sender.answered == LINES
    cluster.stop()
    assert_repeats_only(cluster.out, LINES, 1, sender.repeats * CHUNK)


def test_killed_collector_stores_what_avro_sent_exactly_once(cluster):
    c1, port = cluster.collector("c1", "roll=300ms"), free_port()
    cluster.agent("a1", f'avro({port}, host="{LOOPBACK}")', c1, tune=SOON)
    cluster.start()
    sender = Repeating(port)
    sender.start()
    for share in (1, 2, 3):
        cluster.wait_until(lambda share=share: sender.answered > share * LINES // 5, "some to be answered")
        c1.kill()
        c1.start()
    sender.join()
    assert (sender.answered, sender.repeats) == (LINES, 0)
    cluster.wait_until_stored(len(numbered(0, LINES)))
    assert_drains_clean(cluster, LINES)


def test_killed_collector_stores_what_a_command_writes_exactly_once(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("QANAT_ALLOW_EXEC", "1")
    lines = tmp_path / "lines"
    lines.write_bytes(numbered(0, LINES))
    c1 = cluster.collector("c1", "roll=300ms")
    script = f'while read -r line; do echo \\"$line\\"; done < {lines}; sleep 1000'
    cluster.agent("a1", f'exec("{script}", shell=true)', c1, tune=SOON)
    cluster.start()
    size = lines.stat().st_size
    for _ in range(2):  # the first life may have had time for everything
        cluster.wait_until(
            lambda: c1.stored_events() > 0 or stored_bytes(cluster.out) == size, "something to be stored"
        )
        c1.kill()
        c1.start()
    cluster.wait_until_stored(size)
    assert_drains_clean(cluster, LINES)
