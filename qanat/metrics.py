"""Every metric, with a sentence: `qanat_<noun>_<unit>[_total]`. Each program creates one `Metrics`; nothing
is global.

Batches are counted, not events: a call costs about a microsecond, once a batch. *Thread*: any.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    make_wsgi_app,
)

from qanat import health
from qanat.described import Described, NodeDescription
from qanat.moved import Moved

if TYPE_CHECKING:
    from qanat.component import Fill

# Commits take from a millisecond (fast disk, embedded store) to seconds (a slow disk with gigabytes to sync).
COMMIT_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_LABEL = "logical_node"

_FILLS = {
    "bytes": "Bytes in an agent's channel, as its capacity counts them, until all destinations have acknowledged.",
    "events": "Events in an agent's channel that some destination has not acknowledged.",
    "capacity_bytes": "Bytes that an agent's channel may hold; when that is reached its source waits, or events are dropped.",
    "capacity_events": "Events that an agent's channel may hold; +Inf where only bytes are limited.",
}

# Branches are numbered from 0, in the order of the flow.
_BRANCH_LAGS = {
    "bytes": "Bytes in a collector's fan-out log that one branch has not stored yet.",
    "events": "Events in a collector's fan-out log that one branch has not stored yet.",
    "seconds": "Since the oldest event that one branch of a collector's fan-out has not stored was read at its source.",
}


# What components count that is not in storage on purpose, and the reason.
_DROPPED = {"events_dead_lettered": "oversize"}


class Metrics:
    """The metrics of one program, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = _new_registry()
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
        self.lag_seconds = self._gauge(
            "qanat_lag_seconds",
            "How long the oldest event that a source has and did not read yet has been waiting, as far as this process knows.",
        )
        self.unacked_bytes = self._gauge(
            "qanat_unacked_bytes", "Bytes that a sender has read and that are not acknowledged."
        )
        self.waiting_seconds = self._gauge(
            "qanat_waiting_seconds", "How long the oldest event has been waiting in a channel for a sender."
        )
        self.unstored_bytes = self._gauge(
            "qanat_unstored_bytes", "Bytes that a collector has received and did not commit yet."
        )
        self.waiting_bytes = self._gauge("qanat_waiting_bytes", "Bytes that wait in a channel for a sender.")
        self._fills = {
            name: self._gauge(f"qanat_channel_{name}", sentence) for name, sentence in _FILLS.items()
        }
        self.unacked_age_seconds = self._gauge(
            "qanat_unacked_age_seconds",
            "Since when the oldest batch waits that was read (agent) or received (collector) and is not acknowledged.",
        )
        self.stranded_bytes = Gauge(
            "qanat_stranded_bytes",
            "Acknowledged bytes in the fan-out log of a dead collector, which nobody reaches but on its host, by its sink.",
            ("sink",),
            registry=self.registry,
        )
        self._branch_lags = {
            unit: Gauge(f"qanat_branch_lag_{unit}", sentence, (_LABEL, "branch"), registry=self.registry)
            for unit, sentence in _BRANCH_LAGS.items()
        }
        self.component = self._counter(
            "qanat_component_occurrences", "What sources and sinks count themselves, by name.", "what"
        )
        self._branches: dict[str, set[str]] = {}
        self._moved: dict[str, Moved] = {}
        self.describe: Callable[[], NodeDescription | None] = lambda: None  # under masters: what runs
        described = Described(lambda: list(self._moved.items()), lambda: self.describe())
        self.registry.register(described)

    # These have a value as soon as they are there: an agent, which has no store, must not seem to have lost it.

    @cached_property
    def store_connected(self) -> Gauge:
        """A collector's."""
        return Gauge(
            "qanat_store_connected",
            "Whether the coordination store answers; while it is 0, nothing is committed, nor acknowledged at level E2E.",
            registry=self.registry,
        )

    @cached_property
    def adoptions(self) -> Counter:
        """A collector's."""
        return Counter(
            "qanat_adoptions",
            "Sinks of dead collectors that were finished in their place.",
            registry=self.registry,
        )

    def moved(self, logical_node: str) -> Moved:
        """Where the streams of a logical node stand."""
        return self._moved.setdefault(logical_node, Moved())

    def agent(self, logical_node: str, *, of_channel: bool = False) -> AgentMetrics:
        """The metrics of one sender; `of_channel`: what it reads was read, and counted, before."""
        return AgentMetrics(self, logical_node, of_channel)

    def collector(self, logical_node: str) -> CollectorMetrics:
        """The metrics of one collector sink."""
        return CollectorMetrics(self, logical_node)

    def branch_lag(self, logical_node: str, branch: str, **by_unit: float) -> None:
        """How far one branch of a collector's fan-out is behind, in `bytes`, `events` and `seconds`."""
        self._branches.setdefault(logical_node, set()).add(branch)
        for unit, value in by_unit.items():
            self._branch_lags[unit].labels(logical_node, branch).set(value)

    def forget_branches(self, logical_node: str) -> None:
        """It has ended; another one may lack some of the branches."""
        for branch in self._branches.pop(logical_node, ()):
            for gauge in self._branch_lags.values():
                gauge.remove(logical_node, branch)

    def counts(self, logical_node: str) -> Callable[[str, int], None]:
        """What a component's `Context.count` should be."""

        def count(name: str, number: int) -> None:
            self.component.labels(logical_node, name).inc(number)
            if name in _DROPPED:
                self.dropped_events.labels(logical_node, _DROPPED[name]).inc(number)

        return count

    def render(self) -> bytes:
        """Everything in the Prometheus text format."""
        return generate_latest(self.registry)

    def why_not_ready(self) -> str:
        """Why this process does not do yet what it should; "" when it does. *Thread*: any."""
        if self.registry.get_sample_value("qanat_store_connected") == 0:
            return "the coordination store does not answer"
        return health.why_not_ready(self.describe())

    def serve(self, port: int, address: str = "127.0.0.1") -> Callable[[], None]:
        """Answer `GET /metrics`, `/healthz` and `/readyz` on a thread of its own until the returned function is called.

        Raises OSError when the port is taken."""
        return health.serve(
            health.application(make_wsgi_app(self.registry), self.why_not_ready), port, address
        )

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
        since = metrics.waiting_seconds if of_channel else metrics.lag_seconds
        self.lag_bytes = behind.labels(logical_node).set
        self.lag_s = since.labels(logical_node).set
        self.moved = metrics.moved(logical_node).moved
        self.unacked_age_s = metrics.unacked_age_seconds.labels(logical_node).set
        self.unacked_bytes = metrics.unacked_bytes.labels(logical_node).set
        self._dropped = metrics.dropped_events
        self._fills = metrics._fills
        self._logical_node = logical_node

    def filled(self, fill: Fill | None) -> None:
        """How full the channel is, if it can tell."""
        if fill is None:
            return
        for name, gauge in self._fills.items():
            value = getattr(fill, name) or (math.inf if name == "capacity_events" else 0)
            gauge.labels(self._logical_node).set(value)

    def dropped(self, reason: str, events: int) -> None:
        """These events will never be stored, and nobody should look for them."""
        self._dropped.labels(self._logical_node, reason).inc(events)

    def idle(self) -> None:
        """Nothing runs here any more: nothing waits, either."""
        for each in (self.lag_bytes, self.lag_s, self.unacked_age_s, self.unacked_bytes):
            each(0.0)


class CollectorMetrics:
    """What one collector sink counts. `received`, `stored` take the events and payload bytes of one batch."""

    def __init__(
        self, metrics: Metrics, logical_node: str, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.received = metrics.received.of(logical_node)
        self.stored = metrics.stored.of(logical_node)
        self.rewound = metrics.rewinds.labels(logical_node).inc
        self.aborted = metrics.aborts.labels(logical_node).inc
        self.unstored_bytes = metrics.unstored_bytes.labels(logical_node).set
        self.unacked_age_s = metrics.unacked_age_seconds.labels(logical_node).set
        self.moved = metrics.moved(logical_node).moved
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


def _new_registry() -> CollectorRegistry:
    """With what is asked of every process: memory, CPU time, open files, and which version it is."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, which says when it was made
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    Gauge("qanat_build_info", "The version of the program.", ("version",), registry=registry).labels(
        metadata.version("qanat")
    ).set(1)
    return registry


class MasterMetrics:
    """The metrics of a master, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = _new_registry()
        self._gauges = {
            "attached": self._gauge(
                "qanat_attached_nodes", "Physical nodes that are attached to this master."
            ),
            "settled": self._gauge(
                "qanat_settled_nodes", "Of them, those that run exactly what they should."
            ),
            "revision": self._gauge(
                "qanat_config_revision", "Revision of the configuration as this master has read it."
            ),
            "pushed": self._gauge(
                "qanat_pushed_revision",
                "Revision of the configuration that every node attached to this master was told.",
            ),
            "configured": self._gauge("qanat_configured_nodes", "Logical nodes that are configured."),
            "masters": self._gauge("qanat_masters", "Masters that live, as this one knows."),
            "leads": self._gauge("qanat_master_leads", "1 while this master leads."),
            "store_connected": self._gauge(
                "qanat_store_connected",
                "1 while the coordination store answers; while it is 0, nothing changes.",
            ),
        }
        self._logical = Gauge(
            "qanat_logical_nodes",
            "Logical nodes on the physical nodes that are attached to this master, by state.",
            ("state",),
            registry=self.registry,
        )
        self._operations = Counter(
            "qanat_operations",
            "Operations that administrators asked for; the outcome is ok, or the kind of the error.",
            ("operation", "outcome"),
            registry=self.registry,
        )
        self._operation_seconds = Histogram(
            "qanat_operation_seconds",
            "How long operations took that give one reply.",
            ("operation",),
            buckets=COMMIT_SECONDS_BUCKETS,
            registry=self.registry,
        )
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

    def performed(self, operation: str, outcome: str, seconds: float | None) -> None:
        """`seconds`: None for those that give replies until their caller goes."""
        self._operations.labels(operation, outcome).inc()
        if seconds is not None:
            self._operation_seconds.labels(operation).observe(seconds)

    def states(self, counts: Mapping[str, int]) -> None:
        """How many logical nodes are in each state; all states."""
        for state, count in counts.items():
            self._logical.labels(state).set(count)

    def measure(self, **values: float) -> None:
        """What is so now, by the name of the gauge without its prefix and unit."""
        for name, value in values.items():
            self._gauges[name].set(value)

    def render(self) -> bytes:
        """Everything in the Prometheus text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, sentence: str) -> Gauge:
        return Gauge(name, sentence, registry=self.registry)
