"""Logs of OpenTelemetry's SDK, through its exporters, while agents and collectors die: what was answered is stored, in order."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)

from qanat.testing.cluster import LOOPBACK, Cluster, free_port, ledger
from tests.integration.lines import PATTERN, assert_repeats_only, numbered

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK

LINES = 3_000
REQUEST = 100  # records
SOON = {"agent.delivery.RETRY_S_MAX": 0.2}
WAIT_S_MAX = 90.0


def records(first: int, last: int) -> Sequence[Any]:
    """As a program's logger makes them."""
    kept = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    logger = provider.get_logger("shop")
    for line in numbered(first, last, "s0").decode().splitlines():
        logger.emit(LogRecord(body=line, severity_number=SeverityNumber.INFO))
    return kept.get_finished_logs()


class Exporting(threading.Thread):
    """Exports one request after the other. The SDK repeats what failed for `timeout` seconds, and gives it up then; a program
    that wants all of it exports it again, as this one does."""

    def __init__(self, exporter: Any) -> None:
        super().__init__()
        self._exporter = exporter
        self.answered = 0

    def run(self) -> None:
        until_s = time.monotonic() + WAIT_S_MAX
        while self.answered < LINES and time.monotonic() < until_s:
            some = records(self.answered, self.answered + REQUEST)
            while time.monotonic() < until_s:
                if self._exporter.export(some) is LogRecordExportResult.SUCCESS:
                    self.answered += REQUEST
                    break
        self._exporter.shutdown()


def exporting(transport: str, ports: tuple[int, int]) -> Exporting:
    if transport == "grpc":
        return Exporting(GrpcExporter(endpoint=f"http://{LOOPBACK}:{ports[0]}", insecure=True, timeout=20))
    return Exporting(HttpExporter(endpoint=f"http://{LOOPBACK}:{ports[1]}/v1/logs", timeout=20))


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_what_the_sdk_was_answered_is_stored_and_only_a_request_without_an_answer_is_there_twice(
    cluster: Cluster, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # the SDK's, of every attempt
    c1, ports = cluster.collector("c1", "roll=300ms"), (free_port(), free_port())
    agent = cluster.agent("a1", f'otlp({ports[0]}, {ports[1]}, host="{LOOPBACK}")', c1, tune=SOON)
    cluster.start()
    agent.wait_for("agent_started")
    thread = exporting(transport, ports)
    thread.start()
    with contextlib.ExitStack() as ended:
        ended.callback(thread.join)
        for share, daemon in enumerate((c1, agent), 1):
            cluster.wait_until(
                lambda share=share: thread.answered > share * LINES // 4,  # type: ignore[misc]
                "some to be answered",
            )
            daemon.kill()
            daemon.start()
    assert thread.answered == LINES
    cluster.wait_until(lambda: stored_once(cluster) == LINES, "all is stored", WAIT_S_MAX)
    cluster.stop()
    # One request at a time is on its way: the death of the agent can leave one without an answer, that of a collector none.
    assert_repeats_only(cluster.out, LINES, 1, REQUEST)


def stored_once(cluster: Cluster) -> int:
    """Events, each counted once."""
    report = ledger(cluster.out, PATTERN, first=0)
    return report.events - report.doubled
