"""What an agent lost or dropped, by reason: counted at once, said now and then and at the end."""

from __future__ import annotations

import threading
from collections import Counter

import structlog

from agent import pushed
from qanat.channels import streams
from qanat.component import Context
from qanat.metrics import AgentMetrics

log = structlog.get_logger(__name__)

# Often enough to see that it goes on, rare enough that a full channel fills no disk with log lines.
LOG_S = 60.0

# What live sources count.
DATAGRAMS_LOST = "datagrams_lost"
OVERSIZE_LOST = "events_oversize_lost"

REASONS = {
    streams.DROPPED: "channel_full",
    streams.LOST: "gone",  # for one destination: dropped in favour of others, or acked by a collector that then crashed
    streams.DAMAGED: "damaged",
    pushed.UNACCEPTED: "not_accepted",  # received, when the agent stopped and the channel took nothing more
    DATAGRAMS_LOST: "socket_full",  # by the kernel, for want of a reader; who sends datagrams can't be asked to wait
    OVERSIZE_LOST: "oversize",
}


class Losses:
    """Takes the place of `Context.count` for a channel. *Thread*: any."""

    def __init__(self, context: Context, metrics: AgentMetrics) -> None:
        self._context = context
        self._metrics = metrics
        self._lock = threading.Lock()
        self._total: Counter[str] = Counter()
        self._said: Counter[str] = Counter()
        self._say_at_s = 0.0

    def count(self, name: str, number: int) -> None:
        """See Context.count."""
        self._context.count(name, number)
        reason = REASONS.get(name)
        if reason is None:
            return
        self._metrics.dropped(reason, number)
        with self._lock:
            self._total[reason] += number
            now_s = self._context.clock.monotonic_s()
            if now_s >= self._say_at_s:
                self._say_at_s = now_s + LOG_S
                self._say()

    def close(self) -> None:
        """Say what was not said yet."""
        with self._lock:
            if self._total != self._said:
                self._say()

    def _say(self) -> None:
        new = self._total - self._said
        log.warning(
            "events_lost", node=self._context.logical_node, events=dict(new), events_total=dict(self._total)
        )
        self._said = self._total.copy()
