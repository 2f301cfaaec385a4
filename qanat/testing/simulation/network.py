"""Connections that are slow, cut without anybody noticing, and outlived by what was sent on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from qanat.delivery import receiver_messages as r
from qanat.delivery import sender_messages as s
from qanat.testing.simulation.kernel import Kernel

if TYPE_CHECKING:
    from qanat.testing.simulation.agent import Agent
    from qanat.testing.simulation.collector import Collector

KEEPALIVE_S = 1.2  # silence after which an agent gives a connection up


class Network:
    """All connections, with their faults: `p_*` are probabilities for each message."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.delay_s_max = 0.02
        self.p_slow = 0.0
        self.p_corrupt = 0.0
        self.p_hello_again = 0.0
        self.connections: list[Connection] = []
        self._cuts: dict[tuple[str, str], float] = {}  # (from, to) -> until when
        self._made = 0

    def connect(self, agent: Agent, local: int, collector: Collector | None) -> None:
        """Answers Connected or Disconnected, in time."""
        delay_s = self.delay_s()
        if collector is None or not collector.listens or self.is_cut(agent.host.name, collector.name):
            agent.soon(
                delay_s if collector is None else KEEPALIVE_S, agent.handle, s.Disconnected(local, "refused")
            )
            return
        connection = Connection(self, agent, local, collector)
        self.connections.append(connection)
        agent.connection = connection
        agent.soon(delay_s, agent.handle, s.Connected(local))

    def number(self) -> int:
        """The collector's number of a connection."""
        self._made += 1
        return self._made

    def delay_s(self) -> float:
        """How long one message takes."""
        if self.kernel.chance(self.p_slow):
            self.kernel.faults["slow_message"] += 1
            return self.kernel.between(0.05, 2.0)
        return self.kernel.between(0.001, self.delay_s_max)

    def cut(self, sender: str, receiver: str, seconds: float) -> None:
        """Nothing gets from one to the other for so long; what is sent arrives afterwards, as TCP would have it."""
        until_s = self.kernel.now_s + seconds
        self._cuts[sender, receiver] = max(until_s, self._cuts.get((sender, receiver), 0.0))

    def is_cut(self, one: str, other: str) -> bool:
        """In either direction."""
        now_s = self.kernel.now_s
        return self._cuts.get((one, other), 0.0) > now_s or self._cuts.get((other, one), 0.0) > now_s

    def arrival_s(self, sender: str, receiver: str) -> float:
        """When something that is sent now arrives."""
        now_s = self.kernel.now_s
        if self._cuts:
            now_s = max(now_s, self._cuts.get((sender, receiver), 0.0))
        return now_s + self.delay_s()

    def give_up(self, host: str, collector: str) -> None:
        """The keepalive of agents fails where nothing gets through."""
        for connection in [c for c in self.connections if c.agent.host.name == host]:
            if connection.collector.name == collector and connection.agent_open:
                connection.agent_end_fails("keepalive")

    def heal(self) -> None:
        """No new faults; what is held up arrives when it was to arrive."""
        self.p_slow = self.p_corrupt = self.p_hello_again = 0.0
        now_s = self.kernel.now_s
        for key, until_s in self._cuts.items():
            self._cuts[key] = min(until_s, now_s)


class Connection:
    """One gRPC stream. Each end learns of the other's end in its own time."""

    def __init__(self, network: Network, agent: Agent, local: int, collector: Collector) -> None:
        self._network = network
        self.agent = agent
        self.local = local
        self.collector = collector
        self.number = network.number()
        self.agent_open = True
        self.collector_open = True
        self._last_up_s = 0.0
        self._last_down_s = 0.0
        collector.connections[self.number] = self

    def up(self, event: r.Event) -> None:
        """From the agent to the collector."""
        if not self.agent_open:
            return
        network, kernel = self._network, self._network.kernel
        if isinstance(event, r.BatchReceived) and kernel.chance(network.p_corrupt):
            kernel.fault("corrupt_batch", self.collector.name, f"{event.stream} {event.start}")
            event = replace(event, corrupt=True)
        self._arrive_up(self.collector.receive, event)
        if isinstance(event, r.HelloReceived) and kernel.chance(network.p_hello_again):
            self._hello_again(event)

    def down(self, event: s.Event) -> None:
        """From the collector to the agent."""
        if not self.collector_open:
            return
        self._last_down_s = max(
            self._last_down_s, self._network.arrival_s(self.collector.name, self.agent.host.name)
        )
        self.agent.at(self._last_down_s, self._hear_down, event)

    def _hear_down(self, event: s.Event) -> None:
        if self.agent_open:
            if isinstance(event, s.Disconnected):
                self.agent_open = False
            self.agent.handle(event)

    def agent_closes(self) -> None:
        """What was sent still arrives, then the end of it."""
        if self.agent_open:
            self.agent_open = False
            self._arrive_up(self.collector.lost, self)

    def agent_end_fails(self, reason: str) -> None:
        """The agent gives up; the collector learns of it when it can."""
        self.agent_closes()
        self.agent.hear(self.agent.handle, s.Disconnected(self.local, reason))

    def collector_closes(self) -> None:
        """What was sent still arrives, then the end of it."""
        if self.collector_open:
            self.down(s.Disconnected(self.local, "closed by the collector"))
            self.collector_open = False

    def collector_end_fails(self) -> None:
        """The collector's keepalive gives it up first: what still arrives is not heard."""
        self.collector_closes()
        self.collector.hear(self.collector.lost, self)

    def _arrive_up(self, action: Callable[..., None], *args: object) -> None:
        self._last_up_s = max(
            self._last_up_s, self._network.arrival_s(self.agent.host.name, self.collector.name)
        )
        self.collector.at(self._last_up_s, action, *args)

    def _hello_again(self, hello: r.HelloReceived) -> None:
        """The same hello once more: on this connection, or late, on one that its agent has long given up."""
        network, kernel = self._network, self._network.kernel
        kernel.fault("hello_again", self.collector.name, hello.sender)
        if kernel.chance(0.3):
            self._arrive_up(self.collector.receive, hello)
            return
        late = Connection(network, self.agent, -1, self.collector)
        late.agent_open = False
        delay_s = kernel.between(0.0, 4.0)
        target = self.collector
        target.soon(delay_s, target.receive, replace(hello, connection=late.number))
        target.soon(delay_s + kernel.between(0.5, 3.0), target.lost, late)
