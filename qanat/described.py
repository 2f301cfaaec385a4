"""Metrics that are looked up when somebody asks: where streams stand, and what a node under masters runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from qanat.moved import STREAMS_MAX, Moved


@dataclass(frozen=True, slots=True)
class LogicalDescription:
    """A logical node under masters. `wanted`, `running`: hashes of statements, "" for none."""

    logical_node: str
    state: str
    wanted: str
    running: str
    attempts: int


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """A physical node under masters. `wanted`, `applied`: revisions, "" for none. `states`: that there are."""

    is_attached: bool
    wanted: str
    applied: str
    states: Sequence[str]
    logical: Sequence[LogicalDescription]


class Described:
    """A collector of prometheus_client. `describe`: None for a node that is under no masters. *Thread*: any."""

    def __init__(
        self, moved: Callable[[], list[tuple[str, Moved]]], describe: Callable[[], NodeDescription | None]
    ) -> None:
        self._moved = moved
        self._describe = describe

    def collect(self) -> Iterator[Metric]:
        """Every metric, also those without a value now."""
        node = self._describe()
        nodes = [] if node is None else [node]
        logical = [each for known in nodes for each in known.logical]
        yield self._positions()
        yield from _of_node(nodes)
        yield _family(
            "qanat_statement_info",
            "Hashes of the statement that masters want a logical node to run, and of the one that it runs.",
            ("logical_node", "wanted", "running"),
            [((each.logical_node, each.wanted, each.running), 1) for each in logical],
        )
        yield _family(
            "qanat_statement_applied",
            "1 while a logical node runs what masters want.",
            ("logical_node",),
            [((each.logical_node,), each.wanted == each.running) for each in logical],
        )
        yield _family(
            "qanat_statement_attempts",
            "Attempts in a row that failed to run what masters want.",
            ("logical_node",),
            [((each.logical_node,), each.attempts) for each in logical],
        )
        yield _family(
            "qanat_logical_node_state",
            "1 for the state that a logical node is in, 0 for the others.",
            ("logical_node", "state"),
            [
                ((each.logical_node, state), state == each.state)
                for known in nodes
                for each in known.logical
                for state in known.states
            ],
        )

    def _positions(self) -> Metric:
        return _family(
            "qanat_stream_position",
            f"Up to where a stream is acknowledged; only of the {STREAMS_MAX} of a logical node that moved last.",
            ("logical_node", "stream"),
            [
                ((logical_node, stream), position)
                for logical_node, moved in self._moved()
                for stream, position in moved.read().items()
            ],
        )


def _of_node(nodes: Sequence[NodeDescription]) -> Iterator[Metric]:
    yield _family(
        "qanat_assignment_info",
        "Revisions of what masters want to run here, and of what does.",
        ("wanted", "applied"),
        [((each.wanted, each.applied), 1) for each in nodes],
    )
    yield _family(
        "qanat_assignment_applied",
        "1 while all that masters want to run here runs.",
        (),
        [((), bool(each.wanted) and each.wanted == each.applied) for each in nodes],
    )
    yield _family(
        "qanat_master_attached",
        "1 while this node is attached to a master.",
        (),
        [((), each.is_attached) for each in nodes],
    )


def _family(
    name: str, sentence: str, labels: Sequence[str], samples: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = GaugeMetricFamily(name, sentence, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family
