"""A cluster: hosts with files, agents, collectors, a store, a network; and who starts again after what."""

from __future__ import annotations

from collections.abc import Iterator

from qanat.component import Full
from qanat.delivery import receiver_messages as r
from qanat.errors import RetryableError
from qanat.testing.simulation.adopter import Adopter
from qanat.testing.simulation.agent import Agent
from qanat.testing.simulation.channels import ChannelAgent
from qanat.testing.simulation.collector import Collector
from qanat.testing.simulation.coordination import SimulatedStore
from qanat.testing.simulation.destination import ChannelHost, Destination, Node
from qanat.testing.simulation.directory import ModelDirectory
from qanat.testing.simulation.disk import Disk
from qanat.testing.simulation.files import File, Host
from qanat.testing.simulation.kernel import Kernel
from qanat.testing.simulation.ledger import Ledger
from qanat.testing.simulation.network import KEEPALIVE_S, Network

FILES_MAX = 7  # of one host
P_MEMORY = 0.13  # of the hosts are acked on receipt, behind a channel in memory
P_FAN_OUT = 0.18  # of the worlds have collectors that store in several sinks
FAN_OUTS = ((0, 2), (0, 2), (1, 1), (2, 1))  # so many branches that are required, and that are not
P_AMENDED = 0.4  # of the starts of such a collector find other branches required
ADOPT_S = 0.5  # of virtual time, between looks at what a dead collector has left
P_SHARED = 0.6  # of those have their logs where adopters reach them
DESTINATIONS = (1, 1, 1, 1, 2, 2, 3)  # of a channel
P_REQUIRED = 0.35  # of several destinations
P_LOG = 0.13  # have a write-ahead log before level E2E


class World:
    """Everything there is. `collectors` has the living ones by sink name."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.ledger = Ledger(kernel)
        self.store = SimulatedStore(kernel, lambda paths: self.ledger.written(self.store.tree, paths))
        self.network = Network(kernel)
        self.p_slow_disk = 0.0
        self.p_slow_read = 0.0
        self.p_new_file = 0.2
        self.p_slow_branch = 0.0
        self.healing = False
        self.disks: dict[str, Disk] = {}
        self.hosts: dict[str, Host] = {}
        self.senders: dict[str, Host] = {}  # hosts, and what else their processes send as
        self.chains: dict[str, tuple[str, ...]] = {}
        self.collectors: dict[str, Collector] = {}
        self.adopters: list[Adopter] = []  # the living
        self.dead: set[str] = set()  # collectors that never return
        self.agents: list[Agent] = []  # the living
        self.instances: dict[str, Agent] = {}  # all that ever lived
        self._started = 0
        self._build()

    def _build(self) -> None:
        chance = self.kernel.random
        required, fed = chance.choice(FAN_OUTS) if self.kernel.chance(P_FAN_OUT) else (0, 0)
        is_shared = chance.random() < P_SHARED
        for name in [f"c{index}" for index in range(chance.choice((2, 2, 3)) if not required + fed else 2)]:
            self.disks[name] = Disk(self.kernel, name)
            self.disks[name].branches = self._new_branches(name, required, fed)
            self.disks[name].is_shared = is_shared
            self.ledger.add_sink(self.disks[name])
            self.start_collector(name)
        senders = chance.choice((1, 1, 2, 3))
        while len(self.senders) < senders:
            self._build_host(f"h{len(self.hosts)}")
        for name in self.hosts:
            self.kernel.after(self.kernel.between(0.0, 0.3), self.start_agent, name)

    def _new_branches(self, sink: str, required: int, fed: int) -> list[Disk]:
        found = [Disk(self.kernel, f"{sink}+{index}") for index in range(required + fed)]
        for branch in found[:required]:
            branch.is_required = True
        return found

    def _build_host(self, name: str) -> None:
        host = self.hosts[name] = self._new_host(name)
        for sender in host.node.hosts if isinstance(host, ChannelHost) else [host]:
            self.senders[sender.name] = sender
            self.ledger.add_host(sender)
            self.chains[sender.name] = self._new_chain()
        for _ in range(self.kernel.random.choice((1, 2, 3))):
            self.add_file(host)

    def _new_chain(self) -> tuple[str, ...]:
        chain = list(self.disks)
        self.kernel.random.shuffle(chain)
        if self.kernel.chance(0.25):
            first, second = chain[:2]  # tries the second twice: it comes back to where it was at once
            chain = [first, second, second]
        return tuple(chain)

    def _new_host(self, name: str) -> Host:
        """Most read files and send them, at level E2E; others have a channel."""
        kind = self.kernel.random.random()
        if kind < P_MEMORY:
            full = Full.DROP if kind < P_MEMORY / 2 else Full.BLOCK
            return self._new_destinations(name, Node(Host(name), full), ack_on_receipt=True)
        if kind < P_MEMORY + P_LOG:
            node = Node(Host(name), is_exact=True, directory=ModelDirectory(self.kernel, name))
            return self._new_destinations(name, node, ack_on_receipt=False)
        return Host(name)

    def _new_destinations(self, name: str, node: Node, *, ack_on_receipt: bool) -> ChannelHost:
        """One, or several of which some are required. Gives the first, which has the node's name."""
        number = self.kernel.random.choice(DESTINATIONS)
        for index in range(number):
            suffix = f"#{index}" if index else ""
            required = number == 1 or self.kernel.chance(P_REQUIRED)
            node.hosts.append(
                ChannelHost(
                    name + suffix, ack_on_receipt=ack_on_receipt, suffix=suffix, node=node, required=required
                )
            )
        return node.hosts[0]

    def all_disks(self) -> list[Disk]:
        """Also those of branches."""
        branches = [each for disk in self.disks.values() for each in disk.branches]
        return [*self.disks.values(), *branches]

    # Files.

    def add_file(self, host: Host, before: File | None = None) -> None:
        """A new file, which may be read from its middle, or takes the place of another."""
        start = self.kernel.random.choice((0, 0, 7))
        file = File(f"{host.name}/f{len(host.written)}", start, start + self.kernel.random.choice((0, 5, 30)))
        file.before = before
        host.written[file.stream] = file
        if host.written is host.files:
            self.ledger.add_stream(host, file.stream, start)
        for agent in self.agents:
            if agent.host is host:
                agent.notice(file)

    def write(self, host: Host) -> None:
        """An application writes to some file, or is done with it; the first file is never done."""
        chance = self.kernel.random
        file = chance.choice(list(host.written.values()))
        if not file.finished:
            file.size += chance.randint(1, 20)
            file.finished = file.stream != f"{host.name}/f0" and chance.random() < 0.25
        if len(host.written) < FILES_MAX and chance.random() < self.p_new_file:
            self.add_file(host, self._rotated(host))
        self.look()

    def _rotated(self, host: Host) -> File | None:
        """A file that is finished now, and that the next one takes the place of; or none."""
        file = self.kernel.random.choice(list(host.written.values()))
        if file.finished or file.stream == f"{host.name}/f0":
            return None
        file.finished = True
        return file

    def write_to_first(self, host: Host) -> None:
        """The file that is never finished grows a little."""
        host.written[f"{host.name}/f0"].size += 3
        self.look()

    def look(self) -> None:
        """Sources notice what was written."""
        for agent in self.agents:
            agent.hear(agent.look)

    # Processes.

    def start_agent(self, name: str) -> None:
        """A process of this sender, even if there is another."""
        self._started += 1
        host, instance = self.hosts[name], f"{name}.{self._started}"
        try:
            agent = (
                ChannelAgent(self, host, instance, self.chains[name])
                if isinstance(host, ChannelHost)
                else Agent(self, host, instance, self.chains[name])
            )
        except RetryableError as error:
            self.kernel.note(instance, f"does not start: {error}")
            self.kernel.after(self.kernel.between(0.05, 1.2), self.ensure_agent, name)
            return
        for each in agent.senders if isinstance(agent, ChannelAgent) else [agent]:
            self.instances[each.name] = each
            self.agents.append(each)

    def agents_of(self, name: str) -> list[Agent]:
        """The living processes of this sender."""
        return [agent for agent in self.agents if agent.host.name == name]

    def crash_agent(self, agent: Agent, *, power: bool = False) -> None:
        """SIGKILL, its sockets are closed by the kernel of its host; or with the machine's power."""
        self._end_agent(agent)
        if power and isinstance(agent.host, ChannelHost) and agent.host.directory is not None:
            agent.host.directory.lose_power()
        self.kernel.after(self.kernel.between(0.05, 1.2), self.ensure_agent, _process_name(agent))

    def ensure_agent(self, name: str) -> None:
        """A supervisor starts the agent unless it runs."""
        if not self.agents_of(name):
            self.start_agent(name)

    def agent_halts(self, agent: Agent) -> None:
        """It was told that a newer process exists. Right only if there was one while it lived, or after."""
        self.kernel.note(agent.name, "halts")
        self._end_agent(agent)
        rivals = [
            other
            for other in self.instances.values()
            if other is not agent
            and other.host is agent.host
            and (other.ended_s is None or other.ended_s > agent.started_s)
        ]
        if not rivals:
            self.kernel.fail(
                f"{agent.name} halts, though every other process of its name ended before it began"
            )
        name = _process_name(agent)
        if not self.agents_of(name):
            self.kernel.after(self.kernel.between(0.05, 1.2), self.ensure_agent, name)

    def _end_agent(self, agent: Agent) -> None:
        agent.end()
        for each in agent.process.senders if isinstance(agent, Destination) else [agent]:
            each.alive = False
            each.ended_s = self.kernel.now_s
            self.agents.remove(each)
            if each.connection is not None:
                each.connection.agent_closes()

    def start_collector(self, name: str) -> None:
        """A process of this sink, unless there is one: the directory is locked."""
        if name not in self.collectors and name not in self.dead:
            self._started += 1
            self._amend(self.disks[name].branches)
            self.collectors[name] = Collector(self, self.disks[name], f"p{self._started}")

    def _amend(self, branches: list[Disk]) -> None:
        """The flow may have been changed: others are required now, but never all, so that the ledger sees everything in the
        log."""
        if branches and self.kernel.chance(P_AMENDED):
            for branch in branches:
                branch.is_required = self.kernel.chance(0.5)
            self.kernel.random.choice(branches).is_required = False

    def crash_collector(self, collector: Collector, *, power: bool) -> None:
        """SIGKILL, or with the machine's power; what it asked the store for may still happen."""
        self._end_collector(collector, power=power)
        self.kernel.after(self.kernel.between(0.05, 1.5), self.start_collector, collector.name)

    def stop_collector(self, collector: Collector) -> None:
        """SIGTERM; it may take its time, and is started again afterwards."""
        collector.listens = False
        collector.hear(collector.handle, r.Stop())

    def collector_stopped(self, collector: Collector) -> None:
        """It ended by itself."""
        self._end_collector(collector)
        self.kernel.after(self.kernel.between(0.05, 1.5), self.start_collector, collector.name)

    def _end_collector(self, collector: Collector, *, power: bool = False) -> None:
        collector.alive = False
        collector.tenant.ends(power=power)
        del self.collectors[collector.name]
        for connection in collector.connections.values():
            connection.collector_closes()

    def has_left_something(self, name: str) -> bool:
        """What an adopter looks for; of a sink that is one file it finds out by trying."""
        return not self.disks[name].is_fan_out or self.ledger.token(name) is not None

    def adopt(self, name: str) -> Adopter:
        """Somebody takes this sink's process for dead."""
        self._started += 1
        adopter = Adopter(self, self.disks[name], f"p{self._started}")
        self.adopters.append(adopter)
        return adopter

    def die(self, name: str) -> None:
        """The machine of this collector is gone for good; what it left is adopted, as often as that takes."""
        self.dead.add(name)
        if name in self.collectors:
            self._end_collector(self.collectors[name], power=True)
        self._look_after(name)

    def _look_after(self, name: str) -> None:
        is_alone = all(adopter.disk.name != name for adopter in self.adopters)
        if is_alone and self.has_left_something(name) and any(self.ledger.unpublished(name)):
            self.adopt(name)
        self.kernel.after(ADOPT_S, self._look_after, name)

    def adopter_ended(self, adopter: Adopter) -> None:
        """By itself, or it was killed."""
        if adopter.alive:
            adopter.alive = False
            adopter.tenant.ends()
            self.adopters.remove(adopter)

    def cut(self, host: str, collector: str, *, up: bool, down: bool, seconds: float) -> None:
        """A partition, in one direction or both; the agent notices when it lasts, the collector perhaps before."""
        if up:
            self.network.cut(host, collector, seconds)
        if down:
            self.network.cut(collector, host, seconds)
        if seconds > KEEPALIVE_S:
            self.kernel.after(KEEPALIVE_S, self.network.give_up, host, collector)

    def pause(self, collector: Collector, seconds: float) -> None:
        """SIGSTOP: the kernel still takes what is sent to it."""
        collector.pause()
        self.kernel.after(seconds, collector.wake)
        if seconds > KEEPALIVE_S:
            self.kernel.after(KEEPALIVE_S, self._keepalive_fails, collector)

    def _keepalive_fails(self, collector: Collector) -> None:
        if collector.paused and collector.alive:
            for host in self.senders:
                self.network.give_up(host, collector.name)

    # The end.

    def heal(self) -> None:
        """No faults from here on: everybody is up, and reaches everybody."""
        self.healing = self.kernel.is_calm = True
        self.store.heal()
        self.network.heal()
        self.p_slow_disk = self.p_slow_read = self.p_slow_branch = 0.0
        for disk in self.all_disks():
            disk.heal()
        for host in self.senders.values():
            host.p_slow = 0.0
            if isinstance(host, ChannelHost) and host.directory is not None:
                host.directory.heal()
        for agent in list(self.agents):
            agent.p_crash_between_commands = agent.p_power_cut_before_sync = 0.0
            agent.wake()
        for collector in [*self.collectors.values(), *self.adopters]:
            collector.wake()
        for name in self.disks:
            self.kernel.after(0.5, self.start_collector, name)
        for name in self.hosts:
            self.kernel.after(0.5, self.ensure_agent, name)

    def unfinished_business(self) -> Iterator[str]:
        """Why it is not over yet."""
        yield from self.ledger.unfinished_business()
        for agent in self.agents:
            yield from agent.unacked()
        for name in self.hosts:
            number = len(self.agents_of(name))
            if number != 1:
                yield f"{number} processes of {name} run, not 1"
        for collector in self.collectors.values():
            yield from collector.unforgotten()
        yield from (f"{adopter.name} has not ended" for adopter in self.adopters)
        yield from (f"{name} is not up" for name in self.disks.keys() - self.dead - self.collectors.keys())


def _process_name(agent: Agent) -> str:
    """What it is started by."""
    return agent.process.host.name if isinstance(agent, Destination) else agent.host.name
