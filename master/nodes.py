"""The physical nodes that are attached to this master: what they should run, and what they say they run."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Iterator

import structlog

from master.outbox import Outbox
from master.tapping import TapQueue
from qanat.control.assignment import Assignment
from qanat.control.documents import KnownNode
from qanat.control.translation import Cluster, Physical
from qanat.wire.v1 import control_pb2 as wire

log = structlog.get_logger(__name__)

# A node reports at least so often, when nothing changed; more rarely, so that a master never gets more than so many a second:
# each costs it some 0.3 ms of Python, a tenth of a core at that rate.
REPORT_S, REPORT_S_MAX = 5.0, 60.0
REPORTS_PER_SECOND_MAX = 300

# A report is answered, and one that is not heard of for so many intervals is gone, whatever TCP thinks.
SILENT_REPORTS_MAX = 3

# A report that still says another assignment so long after a node was told was not on its way by then: it is told again.
AGAIN_S = 10.0

# Others know of a node half a second after it has come, when the store is quick, and read again every two seconds.
NEWCOMER_S = 10.0

# Messages that are kept: ten thousand agents with chains of three of ten collectors are told 720 different things.
MESSAGES_MAX = 1024

# Nodes between two breaths of a pass over all: 50 translations take some 5 ms.
SLICE = 50


class AttachedNode:
    """One physical node, for as long as its stream stands."""

    def __init__(self, register: wire.Register) -> None:
        self.physical = Physical(register.name, register.role, register.host, dict(register.labels))
        self.instance = register.instance
        self.version = register.version
        self.start = register.start
        self.report = register.report
        self.assignment: Assignment | None = None
        self.is_settled = False  # it runs exactly what it should, and waits for nothing
        self.outbox = Outbox()
        self.taps: dict[str, TapQueue] = {}
        self.attached_at_s = self.heard_at_s = self.said_at_s = self.told_at_s = time.monotonic()

    def assign(self, cluster: Cluster) -> bool:
        """Tell it what it should run in `cluster`, unless it knows; whether there was something to tell."""
        assignment = cluster.assignment(self.physical)
        knows = assignment.revision == (
            self._brought() if self.assignment is None else self.assignment.revision
        )
        if not knows or self.assignment is None:
            self.assignment = assignment
            self._judge(assignment)
        if not knows:
            self._tell(assignment)
        return not knows

    def _brought(self) -> str:
        """The revision that a process runs completely which comes from another master; "" for one that has just started, and
        for one that is not done."""
        return self.report.applied_revision if self.start and _is_done(self.report) else ""

    def _judge(self, assignment: Assignment) -> None:
        self.is_settled = self.report.applied_revision == assignment.revision and not any(
            each.waiting for each in assignment.statements
        )

    def _tell(self, assignment: Assignment) -> None:
        self.told_at_s = time.monotonic()
        self.outbox.put(as_message(assignment))

    def fence(self, role: str, host: str) -> None:
        """A later process of its name has registered, of this role and from `host`: it is told, and its stream ends."""
        why = _fenced(self.physical.name, role, host)
        self.outbox.put(wire.ToNode(refused=wire.Refused(why=why, fenced=True)))
        log.warning("node_fenced", node=self.physical.name, by=host)

    def heard(self, report: wire.Report) -> None:
        """A report came."""
        self.report = report
        self.heard_at_s = time.monotonic()
        assignment = self.assignment
        if assignment is None:
            return
        self._judge(assignment)
        is_late = self.heard_at_s - self.told_at_s > AGAIN_S
        if is_late and report.wanted_revision != assignment.revision:
            log.warning("node_told_again", node=self.physical.name, says=report.wanted_revision)
            self._tell(assignment)

    def tapped(self, events: wire.TapEvents) -> None:
        """A sample came."""
        queue = self.taps.get(events.tap_id)
        if queue is None:
            self.outbox.put(wire.ToNode(stop_tap=wire.StopTap(tap_id=events.tap_id)))
        else:
            queue.put(events)

    def status(self) -> wire.NodeStatus:
        """As other masters are told."""
        now_s = time.monotonic()
        assignment = self.assignment
        return wire.NodeStatus(
            name=self.physical.name,
            role=self.physical.role,
            host=self.physical.host,
            labels=self.physical.labels,
            instance=self.instance,
            version=self.version,
            wanted_revision="" if assignment is None else assignment.revision,
            wanted=[] if assignment is None else [_without_text(each) for each in _statements(assignment)],
            report=self.report,
            heard_s=now_s - self.heard_at_s,
            attached_s=now_s - self.attached_at_s,
        )

    @property
    def is_newcomer(self) -> bool:
        """It has started so lately that other masters need not have read of it."""
        return not self.start and time.monotonic() - self.attached_at_s < NEWCOMER_S

    def concerns(self, names: frozenset[str]) -> bool:
        """It is one of `names`, or one of its logical nodes is."""
        if not names or self.physical.name in names:
            return True
        wanted = () if self.assignment is None else self.assignment.statements
        return any(each.logical in names for each in (*wanted, *self.report.logical))


class Nodes:
    """All attached nodes, by name. *Thread*: the event loop's."""

    def __init__(self) -> None:
        self._nodes: dict[str, AttachedNode] = {}
        self.cluster: Cluster | None = None  # None until the store was read: nobody is told anything before
        self.limits = wire.Limits()
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[AttachedNode]:
        return iter(list(self._nodes.values()))

    def get(self, name: str) -> AttachedNode | None:
        """The node, if it is attached here."""
        return self._nodes.get(name)

    @property
    def report_s(self) -> float:
        """How often nodes should report."""
        return min(max(REPORT_S, len(self._nodes) / REPORTS_PER_SECOND_MAX), REPORT_S_MAX)

    def refusal(self, register: wire.Register) -> wire.Refused | None:
        """Why a process may not attach, if it may not: a later one of its name has, or one of which that is not known yet."""
        present = self._nodes.get(register.name)
        if present is None or present.instance == register.instance or not register.start:
            return None
        if not present.start:
            return wire.Refused(
                why=f"which of two processes named {register.name} is the later is not known yet"
            )
        if register.start < present.start:
            return wire.Refused(
                why=_fenced(register.name, present.physical.role, present.physical.host), fenced=True
            )
        return None

    def has(self, name: str, instance: str) -> bool:
        """This process is attached here."""
        node = self._nodes.get(name)
        return node is not None and node.instance == instance

    def attach(self, register: wire.Register) -> AttachedNode:
        """A node registers. An earlier stream of its name ends; an earlier process of its name is told to stop."""
        node = AttachedNode(register)
        earlier = self._nodes.get(register.name)
        self._nodes[register.name] = node
        if earlier is not None:
            if earlier.instance != node.instance:
                earlier.fence(register.role, register.host)
            earlier.outbox.close()
        return node

    def settled(self, name: str, known: KnownNode) -> None:
        """Which process of a name is the latest. An earlier one that is attached is told to stop."""
        node = self._nodes.get(name)
        if node is None:
            return
        if node.instance.startswith(known.instance):
            if node.start != known.start:
                node.start = known.start
                node.outbox.put(wire.ToNode(heard=wire.Heard(report_s=self.report_s, start=known.start)))
        elif 0 < node.start < known.start:  # without a number it was not looked up yet
            node.fence(known.role, known.host)
            self.detach(node)

    def welcome(self, node: AttachedNode) -> None:
        """Tell a new node what it should run, as far as that is known."""
        if self.cluster is not None:
            node.outbox.put(wire.ToNode(limits=self.limits))
            node.assign(self.cluster)

    def detach(self, node: AttachedNode) -> None:
        """Its stream has ended."""
        node.outbox.close()
        for tap_id, queue in node.taps.items():
            why = f"{node.physical.name} is not attached to this master any more"
            queue.put(wire.TapEvents(tap_id=tap_id, ended=True, why=why, lost=True))
        if self._nodes.get(node.physical.name) is node:
            del self._nodes[node.physical.name]
            if not self._nodes:
                self._emptied.set()

    def states(self) -> dict[str, int]:
        """How many logical nodes on attached ones are in each state."""
        counts = Counter(each.state for node in self for each in node.report.logical)
        return {
            wire.State.Name(state): counts[state]
            for state in wire.State.values()
            if state not in (wire.LOST, wire.STATE_UNSPECIFIED)
        }

    async def empty(self) -> None:
        """Wait until no node is attached."""
        while self._nodes:
            self._emptied.clear()
            await self._emptied.wait()

    async def push(self, cluster: Cluster) -> int:
        """Tell every node what it should run in `cluster`; how many had to be told."""
        self.cluster = cluster
        told = 0
        for number, node in enumerate(self, 1):
            told += node.assign(self.cluster)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        return told

    def limit(self, limits: wire.Limits) -> None:
        """Tell every node the rate limits, if they are others than before."""
        if limits != self.limits or not self.cluster:
            self.limits = limits
            for node in self:
                node.outbox.put(wire.ToNode(limits=limits))

    def drop_silent(self) -> int:
        """End the streams of nodes that are not heard of; how many."""
        limit_s = SILENT_REPORTS_MAX * self.report_s
        now_s = time.monotonic()
        silent = [node for node in self if now_s - node.heard_at_s > limit_s]
        for node in silent:
            log.warning("node_silent", node=node.physical.name, seconds=round(now_s - node.heard_at_s))
            self.detach(node)
        return len(silent)


def _is_done(report: wire.Report) -> bool:
    return report.wanted_revision == report.applied_revision


def _fenced(name: str, role: str, host: str) -> str:
    """With the role: an agent and a collector that are both called as their host is are in each other's way, too."""
    return f"another process has registered as {name}, as {role} from {host}; stop one of the two, or give it another --name"


@functools.lru_cache(maxsize=MESSAGES_MAX)
def as_message(assignment: Assignment) -> wire.ToNode:
    """An assignment as it is sent, to every node that should run the same: not to be changed."""
    assign = wire.Assign(revision=assignment.revision, statements=_statements(assignment))
    return wire.ToNode(assign=assign)


def _statements(assignment: Assignment) -> list[wire.Statement]:
    return [
        wire.Statement(
            logical=each.logical, flow=each.flow, text=each.text, hash=each.hash, waiting=each.waiting
        )
        for each in assignment.statements
    ]


def _without_text(statement: wire.Statement) -> wire.Statement:
    statement.ClearField("text")
    return statement
