"""What is lost is counted by reason at once, and said now and then and at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from agent.losses import LOG_S, Losses
from qanat.channels import streams
from qanat.clock import ManualClock
from qanat.metrics import Metrics
from tests.unit.agent.scripted import context


def test_losses_are_counted_at_once_and_said_rarely(tmp_path: Path) -> None:
    clock, metrics = ManualClock(), Metrics()
    counted: list[tuple[str, int]] = []
    where = replace(context(tmp_path, lambda name, n: counted.append((name, n))), clock=clock)
    losses = Losses(where, metrics.agent("web"))
    with capture_logs() as logs:
        losses.count(streams.DROPPED, 5)
        losses.count(streams.DROPPED, 6)
        losses.count("segments_sealed", 1)
        clock.advance(LOG_S)
        losses.count(streams.LOST, 1)
        losses.close()
        losses.close()
    assert [(entry["events"], entry["events_total"]) for entry in logs] == [
        ({"channel_full": 5}, {"channel_full": 5}),
        ({"channel_full": 6, "gone": 1}, {"channel_full": 11, "gone": 1}),
    ]
    assert counted == [
        (streams.DROPPED, 5),
        (streams.DROPPED, 6),
        ("segments_sealed", 1),
        (streams.LOST, 1),
    ]
    text = metrics.render().decode()
    assert 'qanat_dropped_events_total{logical_node="web",reason="channel_full"} 11.0' in text
    assert 'qanat_dropped_events_total{logical_node="web",reason="gone"} 1.0' in text


def test_losses_that_were_not_said_are_said_at_the_end(tmp_path: Path) -> None:
    losses = Losses(context(tmp_path), Metrics().agent("web"))
    with capture_logs() as logs:
        losses.count(streams.DROPPED, 1)
        losses.count(streams.DAMAGED, 2)
        losses.close()
    assert logs[-1]["events_total"] == {"channel_full": 1, "damaged": 2}
