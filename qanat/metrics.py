"""Every metric, with a sentence: `qanat_<noun>_<unit>[_total]`. Each program creates one `Metrics`; nothing
is global.

Batches are counted, not events: a call costs about a microsecond, once a batch. *Thread*: any.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server

# Commits take from a millisecond (fast disk, embedded store) to seconds (a slow disk with gigabytes to sync).
COMMIT_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_LABEL = "logical_node"


class Metrics:
    """The metrics of one program, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.read = Flow(self, "read", "that sources read")
        self.taken = Flow(self, "taken", "that senders took out of a channel, again after a rewind too")
        self.sent = Flow(self, "sent", "sent to a collector, again after a rewind or failover too")
        self.received = Flow(self, "received", "that a collector accepted from senders")
        self.stored = Flow(self, "stored", "committed in storage")
        self.acked = Flow(self, "acked", "that senders know to be in storage")
        self.dropped_events = self._counter(
            "qanat_dropped_events", "Events that are not in storage on purpose, by reason.", "reason"
        )
        self.rewinds = self._counter("qanat_rewinds", "Times that a sender was asked to send again.")
        self.failovers = self._counter(
            "qanat_failovers", "Times that a sender moved to another collector of its chain."
        )
        self.commits = self._counter("qanat_commits", "Commit records that a collector wrote.")
        self.aborts = self._counter(
            "qanat_aborted_transactions",
            "Transactions that a collector had to undo: its sink failed, or it was fenced.",
        )
        self.commit_seconds = Histogram(
            "qanat_commit_seconds",
            "From the cut through the appended data to the acknowledgement.",
            (_LABEL,),
            buckets=COMMIT_SECONDS_BUCKETS,
            registry=self.registry,
        )
        self.lag_bytes = self._gauge("qanat_lag_bytes", "Bytes that a source has and did not read yet.")
        self.waiting_bytes = self._gauge("qanat_waiting_bytes", "Bytes that wait in a channel for a sender.")
        self.unacked_age_seconds = self._gauge(
            "qanat_unacked_age_seconds", "Age of the oldest batch that was read and is not acknowledged."
        )
        self.store_connected = Gauge(
            "qanat_store_connected",
            "Whether the coordination store answers; while it is 0, nothing is committed, nor acknowledged at level E2E.",
            registry=self.registry,
        )
        self.adoptions = Counter(
            "qanat_adoptions",
            "Sinks of dead collectors that were finished in their place.",
            registry=self.registry,
        )
        self.component = self._counter(
            "qanat_component_occurrences", "What sources and sinks count themselves, by name.", "what"
        )

    def agent(self, logical_node: str, *, of_channel: bool = False) -> AgentMetrics:
        """The metrics of one sender; `of_channel`: what it reads was read, and counted, before."""
        return AgentMetrics(self, logical_node, of_channel)

    def collector(self, logical_node: str) -> CollectorMetrics:
        """The metrics of one collector sink."""
        return CollectorMetrics(self, logical_node)

    def counts(self, logical_node: str) -> Callable[[str, int], None]:
        """What a component's `Context.count` should be."""

        def count(name: str, number: int) -> None:
            self.component.labels(logical_node, name).inc(number)

        return count

    def render(self) -> bytes:
        """Everything in the Prometheus text format."""
        return generate_latest(self.registry)

    def serve(self, port: int, address: str = "127.0.0.1") -> Callable[[], None]:
        """Answer `GET /metrics` on a thread of its own until the returned function is called.

        Raises OSError when the port is taken."""
        server, thread = start_http_server(port, address, self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop

    def _counter(self, name: str, sentence: str, *labels: str) -> Counter:
        return Counter(name, sentence, (_LABEL, *labels), registry=self.registry)

    def _gauge(self, name: str, sentence: str) -> Gauge:
        return Gauge(name, sentence, (_LABEL,), registry=self.registry)


class Passed(Protocol):
    """Counts what passed: events, payload bytes, and the batches they came in."""

    def __call__(self, event_count: int, payload_bytes: int, batch_count: int = 1) -> None: ...


class Flow:
    """Batches, events and bytes that passed one place."""

    def __init__(self, metrics: Metrics, verb: str, what: str) -> None:
        self._batches = metrics._counter(f"qanat_{verb}_batches", f"Batches {what}.")
        self._events = metrics._counter(f"qanat_{verb}_events", f"Events {what}.")
        self._bytes = metrics._counter(f"qanat_{verb}_bytes", f"Payload bytes {what}.")

    def of(self, logical_node: str) -> Passed:
        """Count so many events, payload bytes and batches. The labels are looked up once, here."""
        batches, events, size = (
            each.labels(logical_node) for each in (self._batches, self._events, self._bytes)
        )

        def passed(event_count: int, payload_bytes: int, batch_count: int = 1) -> None:
            batches.inc(batch_count)
            events.inc(event_count)
            size.inc(payload_bytes)

        return passed


class AgentMetrics:
    """What one sender counts. `read`, `sent`, `acked` take events, payload bytes and batches."""

    def __init__(self, metrics: Metrics, logical_node: str, of_channel: bool = False) -> None:
        self.read = (metrics.taken if of_channel else metrics.read).of(logical_node)
        self.sent = metrics.sent.of(logical_node)
        self.acked = metrics.acked.of(logical_node)
        self.rewound = metrics.rewinds.labels(logical_node).inc
        self.failed_over = metrics.failovers.labels(logical_node).inc
        behind = metrics.waiting_bytes if of_channel else metrics.lag_bytes
        self.lag_bytes = behind.labels(logical_node).set
        self.unacked_age_s = metrics.unacked_age_seconds.labels(logical_node).set
        self._dropped = metrics.dropped_events
        self._logical_node = logical_node

    def dropped(self, reason: str, events: int) -> None:
        """These events will never be stored, and nobody should look for them."""
        self._dropped.labels(self._logical_node, reason).inc(events)


class CollectorMetrics:
    """What one collector sink counts. `received`, `stored` take the events and payload bytes of one batch."""

    def __init__(
        self, metrics: Metrics, logical_node: str, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.received = metrics.received.of(logical_node)
        self.stored = metrics.stored.of(logical_node)
        self.rewound = metrics.rewinds.labels(logical_node).inc
        self.aborted = metrics.aborts.labels(logical_node).inc
        self._commits = metrics.commits.labels(logical_node)
        self._seconds = metrics.commit_seconds.labels(logical_node)
        self._dropped = metrics.dropped_events
        self._logical_node = logical_node
        self._monotonic_s = monotonic_s
        self._began_s: float | None = None

    def committing(self) -> None:
        """A commit begins, with the cut; one that was given up before is forgotten."""
        self._began_s = self._monotonic_s()

    def acked(self) -> None:
        """The commit that began last is done, and a sender was told; its other senders don't count again."""
        if self._began_s is not None:
            self._commits.inc()
            self._seconds.observe(self._monotonic_s() - self._began_s)
            self._began_s = None

    def dropped(self, reason: str, events: int) -> None:
        """These events will never be stored, and nobody should look for them."""
        self._dropped.labels(self._logical_node, reason).inc(events)


class MasterMetrics:
    """The metrics of a master, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges = {
            "attached": self._gauge(
                "qanat_attached_nodes", "Physical nodes that are attached to this master."
            ),
            "settled": self._gauge(
                "qanat_settled_nodes", "Of them, those that run exactly what they should."
            ),
            "revision": self._gauge(
                "qanat_config_revision", "Configuration that every attached node was told."
            ),
            "leads": self._gauge("qanat_master_leads", "1 while this master leads."),
            "store_connected": self._gauge(
                "qanat_store_connected",
                "1 while the coordination store answers; while it is 0, nothing changes.",
            ),
        }
        self._told = Counter(
            "qanat_assignments",
            "Times that an attached node was told something else.",
            registry=self.registry,
        )
        self._seconds = Histogram(
            "qanat_push_seconds",
            "From the first to the last node that was told of a change.",
            buckets=COMMIT_SECONDS_BUCKETS,
            registry=self.registry,
        )

    def pushed(self, nodes: int, seconds: float) -> None:
        """A change was translated for all nodes, and so many were told."""
        self._told.inc(nodes)
        self._seconds.observe(seconds)

    def measure(self, **values: float) -> None:
        """What is so now, by the name of the gauge without its prefix and unit."""
        for name, value in values.items():
            self._gauges[name].set(value)

    def render(self) -> bytes:
        """Everything in the Prometheus text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, sentence: str) -> Gauge:
        return Gauge(name, sentence, registry=self.registry)
