"""Programs that publish through `grpc` and post to `http`, while agents and collectors die."""

from __future__ import annotations

import http.client
import logging
import threading
import time

from qanat.client import Publisher, QanatHandler
from qanat.testing.cluster import LOOPBACK, Cluster, free_port
from tests.integration.lines import assert_drains_clean, assert_repeats_only, numbered

LINES = 12_000
SOON = {"agent.delivery.RETRY_S_MAX": 0.2}
WAIT_S_MAX = 90.0


def lines() -> list[bytes]:
    return numbered(0, LINES, "s0").split(b"\n")[:-1]


def publishing(publisher: Publisher) -> threading.Thread:
    def run() -> None:
        for number, line in enumerate(lines()):
            publisher.send(line)
            if number % 200 == 0:
                time.sleep(0.02)

    made = threading.Thread(target=run)
    made.start()
    return made


def test_published_events_are_stored_exactly_once_while_agent_and_collector_die(cluster):
    c1, port = cluster.collector("c1", "roll=300ms"), free_port()
    agent = cluster.agent("a1", f'grpc({port}, host="{LOOPBACK}")', c1, tune=SOON)
    cluster.start()
    with Publisher(f"{LOOPBACK}:{port}", batch_events=50) as publisher:
        thread = publishing(publisher)
        for share, daemon in enumerate((agent, c1, agent, agent), 1):
            cluster.wait_until(
                lambda share=share: publisher._outbox.acked > share * LINES // 6, "some to be acknowledged"
            )
            daemon.kill()
            daemon.start()
        thread.join()
        assert publisher.flush(WAIT_S_MAX)
    assert publisher.dropped == 0
    cluster.wait_until_stored(len(numbered(0, LINES, "s0")))
    assert_drains_clean(cluster, LINES)


def test_clean_restarts_of_the_agent_double_nothing_that_is_published(cluster):
    c1, port = cluster.collector("c1", "roll=300ms"), free_port()
    agent = cluster.agent("a1", f'grpc({port}, host="{LOOPBACK}")', c1, tune=SOON)
    cluster.start()
    with Publisher(f"{LOOPBACK}:{port}", batch_events=50) as publisher:
        thread = publishing(publisher)
        for share in range(1, 3):
            cluster.wait_until(
                lambda share=share: publisher._outbox.acked > share * LINES // 4, "some to be acknowledged"
            )
            agent.wait_for("agent_started")
            assert agent.stop() == 0
            agent.start()
        thread.join()
        assert publisher.flush(WAIT_S_MAX)
    cluster.wait_until_stored(len(numbered(0, LINES, "s0")))
    assert_drains_clean(cluster, LINES)


def test_log_records_are_stored_as_their_messages(cluster):
    c1, port = cluster.collector("c1", "roll=300ms"), free_port()
    cluster.agent("a1", f'grpc({port}, host="{LOOPBACK}")', c1, tune=SOON)
    cluster.start()
    handler = QanatHandler(f"{LOOPBACK}:{port}")
    logger = logging.Logger("shop")
    logger.addHandler(handler)
    for line in lines()[:100]:
        logger.info("%s", line.decode())
    handler.close()
    cluster.wait_until_stored(len(numbered(0, 100, "s0")))
    assert_drains_clean(cluster, 100)


class Posting(threading.Thread):
    """Posts lines, each request until it is answered 200."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.answered = 0
        self.repeats = 0

    def run(self) -> None:
        until_s = time.monotonic() + WAIT_S_MAX
        while self.answered < LINES and time.monotonic() < until_s:
            body = numbered(self.answered, self.answered + 100, "s0")
            connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=5)
            try:
                connection.request("POST", "/", body, {"Content-Type": "text/plain"})
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException):
                status = 0
                time.sleep(0.05)
            finally:
                connection.close()
            if status == 200:
                self.answered += 100
            else:
                self.repeats += 1


def test_posted_events_are_stored_at_least_once_while_agent_and_collector_die(cluster: Cluster):
    c1, port = cluster.collector("c1", "roll=300ms"), free_port()
    agent = cluster.agent("a1", f'http({port}, host="{LOOPBACK}")', c1, tune=SOON)
    cluster.start()
    posting = Posting(port)
    posting.start()
    for share, daemon in enumerate((agent, c1, agent), 1):
        cluster.wait_until(lambda share=share: posting.answered > share * LINES // 5, "some to be answered")
        daemon.kill()
        daemon.start()
    posting.join()
    assert posting.answered == LINES
    cluster.wait_until(lambda: c1.stored_events() >= 0, "the collector")
    cluster.stop()
    assert_repeats_only(cluster.out, LINES, 1, posting.repeats * 100)
