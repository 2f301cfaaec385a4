"""What nodes report, as administrators see it. [pure]"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qanat.control.documents import KnownNode, Live
from qanat.control.operations.cluster import Destination, LogicalRow, PhysicalRow, Progress
from qanat.control.translation import Cluster, Physical
from qanat.wire.v1 import control_pb2 as wire

LOST = "LOST"


def listening(live: Live) -> dict[str, str]:
    """Collectors by the addresses that they listen at."""
    return {address: name for name, logical in live.collectors.items() for address in logical.values()}


def physical_row(
    master: str, status: wire.NodeStatus, collectors: Mapping[str, str] | None = None
) -> PhysicalRow:
    """A node that is attached to `master`. `collectors`: their names, by address."""
    report = status.report
    wanted = {each.logical: each for each in status.wanted}
    reported = {each.logical: each for each in report.logical}
    names = sorted(wanted.keys() | reported.keys())
    return PhysicalRow(
        name=status.name,
        role=status.role,
        host=status.host,
        labels=dict(sorted(status.labels.items())),
        master=master,
        version=status.version,
        instance=status.instance,
        applied=bool(status.wanted_revision)
        and status.wanted_revision == report.applied_revision
        and not any(each.waiting for each in status.wanted),
        wanted_revision=status.wanted_revision,
        applied_revision=report.applied_revision,
        heard_s=round(status.heard_s, 3),
        attached_s=round(status.attached_s, 3),
        logical=[
            _logical_row(
                name, wanted.get(name), reported.get(name), report.at_ns, status.heard_s, collectors or {}
            )
            for name in names
        ],
    )


def _logical_row(
    name: str,
    wanted: wire.Statement | None,
    reported: wire.LogicalState | None,
    at_ns: int,
    heard_s: float,
    collectors: Mapping[str, str],
) -> LogicalRow:
    said = reported or wire.LogicalState()

    def age_s(since_ns: int) -> float:
        """Both by the node's clock, and how long ago it said so by ours: clocks need not agree."""
        return round(max(0, at_ns - since_ns) / 1e9 + heard_s, 3)

    counters = said.counters
    return LogicalRow(
        logical=name,
        flow=wanted.flow if wanted is not None else "",
        state=wire.State.Name(said.state or wire.HELLO),
        progress=_progress(wanted, said),
        why=said.why or (wanted.waiting if wanted is not None else ""),
        wanted=wanted.hash if wanted is not None else "",
        running=said.running_hash,
        since_s=age_s(said.since_ns) if said.since_ns else 0.0,
        address=said.address,
        attempts=said.attempts,
        events=counters.events,
        bytes=counters.bytes,
        events_s=counters.events_s,
        bytes_s=counters.bytes_s,
        lag_bytes=counters.lag_bytes,
        lag_s=counters.lag_s,
        unacked_age_s=counters.unacked_age_s,
        dropped_events=counters.dropped_events,
        positions=dict(counters.positions),
        delivers_to=[
            Destination(
                address=each.address,
                collector=collectors.get(each.address, ""),
                for_s=age_s(each.since_ns),
            )
            for each in said.delivers_to
        ],
    )


def _progress(wanted: wire.Statement | None, said: wire.LogicalState) -> Progress:
    if wanted is not None and wanted.waiting:
        return "waiting"
    wanted_hash = "" if wanted is None else wanted.hash
    if said.running_hash == wanted_hash and said.state != wire.ERROR:
        return "applied"
    return "failed" if said.state == wire.ERROR or said.attempts else "applying"


def lost_row(name: str, known: KnownNode, cluster: Cluster | None) -> PhysicalRow:
    """A node that registered once, and is attached to no master."""
    logical = [] if cluster is None else cluster.runs(as_physical(name, known))
    return PhysicalRow(
        name=name,
        role=known.role,
        host=known.host,
        labels=known.labels,
        state="lost",
        logical=[LogicalRow(logical=each, state=LOST) for each in logical],
    )


def as_physical(name: str, known: KnownNode) -> Physical:
    """A known node, for translation."""
    return Physical(name, known.role, known.host, known.labels)


def physical_of(status: wire.NodeStatus) -> Physical:
    """An attached node, for translation."""
    return Physical(status.name, status.role, status.host, dict(status.labels))


def merged(replies: Mapping[str, wire.StatusReply]) -> dict[str, tuple[str, wire.NodeStatus]]:
    """Each node with its master. One that is still listed by the master it came from is where it was heard of last."""
    found: dict[str, tuple[str, wire.NodeStatus]] = {}
    for master, reply in sorted(replies.items()):
        for status in reply.nodes:
            other = found.get(status.name)
            if other is None or _freshness(status) < _freshness(other[1]):
                found[status.name] = (master, status)
    return found


def _freshness(status: wire.NodeStatus) -> tuple[float, float]:
    return (status.attached_s, status.heard_s)


def configured_nowhere(cluster: Cluster, known: Iterable[Physical]) -> list[str]:
    """A sentence for each logical node that no known physical node runs."""
    placed: set[str] = set()
    for node in known:
        placed.update(cluster.runs(node))
    notes = []
    for name, statement in sorted(cluster.statements.items()):
        if statement.fault:
            notes.append(f"{name}: {statement.fault}")
        elif name not in placed:
            notes.append(f"{name} runs nowhere: {_why_nowhere(name, cluster)}")
    return notes


def _why_nowhere(name: str, cluster: Cluster) -> str:
    statement = cluster.statements[name]
    mapped = sorted(physical for physical, logical in cluster.mapping.items() if name in logical)
    if mapped:
        return f"it is mapped to {', '.join(mapped)}, which never registered as {statement.role}"
    if statement.node is not None and statement.node.selector is not None:
        return f"no {statement.role} matches @ {statement.node.selector}"
    return f"it has no selector, no mapping, and no {statement.role} has its name; place it with `qanat map NODE {name}`"
