"""What goes wrong: which faults a schedule has, how often, and how each is done."""

from __future__ import annotations

from collections.abc import Callable

from qanat.delivery import sender_messages as s
from qanat.testing.simulation.adopter import Adopter
from qanat.testing.simulation.agent import Agent
from qanat.testing.simulation.collector import Collector
from qanat.testing.simulation.destination import ChannelHost
from qanat.testing.simulation.disk import Disk
from qanat.testing.simulation.files import Host
from qanat.testing.simulation.world import World

P_HANDOVERS = 0.12  # of the schedules are about handovers
P_LATE_COMMITS = 0.12
P_ROTATIONS = 0.2
P_DAMAGE = 0.08
P_ADOPTIONS = 0.1
P_FAN_OUT_ADOPTIONS = 0.6  # of those that have a fan-out and no such theme
P_DEAD = 0.4  # of those lose a collector for good, if others can do without it
P_LOGS = 0.5  # of those that have a write-ahead log
P_DESTINATION_AWAY = 0.8  # of several destinations of a channel one
P_BRANCH_AWAY = 0.5  # of those that have a fan-out
NOBODY = "nobody"  # a collector that is not there


class Faults:
    """Breaks a world. Each schedule draws some kinds of faults, so that each kind also meets every other alone."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kernel = world.kernel
        self._p_adopter_crash = 0.2
        everything: list[Callable[[], None]] = [
            self._crash_collector,
            self._pause_collector,
            self._stop_collector,
            self._adopt,
            self._crash_agent,
            self._pause_agent,
            self._second_agent,
            self._cut,
            self._break_connection,
            self._store_away,
            self._session_expires,
            self._disk_full,
            self._disk_fails,
            self._log_fails,
            self._first_is_healthy,
            self._chain_changes,
        ]
        chance = self._kernel.random
        self._kinds = chance.sample(everything, chance.choice((2, 3, 4, 6, len(everything))))
        self._interval_s = chance.choice((0.07, 0.15, 0.3))
        self._draw_rates()
        self._draw_branches()
        self._draw_destinations()
        themes = (
            self._draw_handovers,
            self._draw_late_commits,
            self._draw_adoptions,
            self._draw_rotations,
            self._draw_damage,
            None,
        )
        shares = (P_HANDOVERS, P_LATE_COMMITS, P_ADOPTIONS, P_ROTATIONS, P_DAMAGE)
        (theme,) = chance.choices(themes, (*shares, 1.0 - sum(shares)))
        if theme is not None:
            theme()
        elif self._has_fan_out() and chance.random() < P_FAN_OUT_ADOPTIONS:
            self._draw_fan_out_adoptions()
        elif self._has_log() and chance.random() < P_LOGS:
            self._kinds = [self._crash_agent, self._crash_agent, self._log_fails, self._break_connection]
            self._interval_s = 0.15

    def _draw_branches(self) -> None:
        """Branches fail where only they can; one, which may be required, is away for most of the trouble."""
        branches = [disk for disk in self._world.all_disks() if disk.name not in self._world.disks]
        for branch in branches:
            branch.fail_next["publish"] = self._kernel.random.randrange(2)
        if branches and self._kernel.chance(P_BRANCH_AWAY):
            away = self._kernel.random.choice(branches)
            self._kernel.after(self._kernel.between(0.0, 0.5), self._branch_away, away)

    def _draw_destinations(self) -> None:
        """Where several destinations read from one channel, one is slow or reaches nobody for most of the trouble."""
        for host in self._world.hosts.values():
            hosts = host.node.hosts if isinstance(host, ChannelHost) else []
            if len(hosts) > 1 and self._kernel.chance(P_DESTINATION_AWAY):
                away = self._kernel.random.choice(hosts)
                away.p_slow = self._kernel.random.choice((0.0, 1.0))
                if not away.p_slow:
                    self._kernel.after(self._kernel.between(0.0, 0.5), self._destination_away, away)

    def _destination_away(self, host: Host) -> None:
        self._kernel.fault("destination_away", host.name)
        seconds = self._kernel.between(0.5, 2.5)
        for name in self._world.disks:
            self._world.cut(host.name, name, up=True, down=True, seconds=seconds)

    def _some_branch_away(self) -> None:
        branches = [branch for disk in self._world.disks.values() for branch in disk.branches]
        self._branch_away(self._kernel.random.choice(branches))

    def _branch_away(self, disk: Disk) -> None:
        self._kernel.fault("branch_away", disk.name)
        disk.is_away = True
        self._kernel.after(self._kernel.between(0.2, 2.0), disk.heal)

    def _has_fan_out(self) -> bool:
        return any(disk.is_fan_out for disk in self._world.disks.values())

    def _draw_fan_out_adoptions(self) -> None:
        """The same as adoptions, with branches that lag, and perhaps an owner that never returns."""
        self._kinds = [
            self._pause_collector,
            self._adopt,
            self._adopt,
            self._crash_collector,
            self._disk_full,
        ]
        self._interval_s = 0.15
        self._world.p_slow_branch = self._kernel.random.choice((0.0, 0.2, 0.6))
        name = self._kernel.random.choice(list(self._world.disks))
        if self._world.disks[name].is_shared and self._kernel.chance(P_DEAD):
            self._kernel.after(self._kernel.between(0.3, 1.5), self._die, name)

    def _die(self, name: str) -> None:
        self._kernel.fault("collector_dead_for_good", name)
        self._world.die(name)

    def _has_log(self) -> bool:
        return any(isinstance(host, ChannelHost) and host.directory for host in self._world.hosts.values())

    def _draw_handovers(self) -> None:
        """Claims that change hands while the store is slow: rare among all faults, and full of races."""
        self._kinds = [
            self._first_is_healthy,
            self._first_is_healthy,
            self._second_agent,
            self._break_connection,
            self._crash_agent,
        ]
        self._interval_s = 0.1
        self._world.store.p_slow = 0.3

    def _draw_rotations(self) -> None:
        """Connections that end and batches that are sent again while a file takes the place of another, and reads that take
        their time."""
        self._kinds = [self._break_connection, self._break_connection, self._crash_collector]
        self._interval_s = 0.1
        self._world.p_new_file = 0.9
        self._world.p_slow_read = 0.5
        self._world.network.p_corrupt = self._kernel.random.choice((0.0, 0.1))

    def _draw_damage(self) -> None:
        """Batches that are damaged on a long way, while those of the file that takes the place of theirs are on it, too: what was
        sent before a rewind arrives behind it, and may be committed before the rewind is followed."""
        self._kinds = [self._chain_changes, self._second_agent]
        self._interval_s = 0.5
        self._world.p_new_file = 0.9
        self._world.network.delay_s_max = 0.25
        self._world.network.p_corrupt = 0.15

    def _draw_late_commits(self) -> None:
        """Collectors that die while what they asked the store for is still to happen."""
        self._kinds = [self._crash_collector, self._crash_collector, self._disk_full]
        self._interval_s = 0.2
        self._world.store.p_ghost = 0.4

    def _draw_adoptions(self) -> None:
        """Collectors that sleep or die while others live the rest of their lives, and sleep over it themselves."""
        self._kinds = [self._pause_collector, self._adopt, self._adopt, self._crash_collector]
        self._interval_s = 0.15
        self._world.store.p_slow = 0.2

    def _draw_rates(self) -> None:
        """Faults of single messages and requests."""
        world, chance = self._world, self._kernel.random

        def rate(*choices: float) -> float:
            return chance.choice((0.0, 0.0, *choices))

        world.store.p_slow = rate(0.05, 0.3)
        world.store.p_stale = rate(0.3)
        world.store.p_refused = rate(0.05)
        world.store.p_reply_lost = rate(0.05, 0.3)
        world.store.p_ghost = rate(0.05, 0.3)
        world.store.p_request_lost = rate(0.05)
        world.network.p_slow = rate(0.02, 0.1)
        world.network.p_corrupt = rate(0.03)
        world.network.p_hello_again = rate(0.3)
        world.p_slow_disk = rate(0.1)
        world.p_slow_branch = rate(0.2)
        world.p_slow_read = rate(0.2, 0.5)

    def strike(self) -> None:
        """One fault now, the next one soon, until the world heals."""
        if self._world.healing:
            return
        self._kernel.random.choice(self._kinds)()
        self._kernel.after(self._kernel.random.expovariate(1.0 / self._interval_s), self.strike)

    def _collector(self) -> Collector | None:
        living = [collector for collector in self._world.collectors.values() if not collector.stopped]
        return self._kernel.random.choice(living) if living else None

    def _agent(self) -> Agent | None:
        return self._kernel.random.choice(self._world.agents) if self._world.agents else None

    def _crash_collector(self) -> None:
        collector = self._collector()
        if collector is not None:
            power = self._kernel.chance(0.7)
            self._kernel.fault("collector_power_cut" if power else "collector_crash", collector.name)
            self._world.crash_collector(collector, power=power)

    def _pause_collector(self) -> None:
        collector = self._collector()
        if collector is not None and not collector.paused:
            self._kernel.fault("collector_pause", collector.name)
            self._world.pause(collector, self._kernel.between(0.2, 4.0))

    def _stop_collector(self) -> None:
        collector = self._collector()
        if collector is not None and collector.listens:
            self._kernel.fault("collector_stop", collector.name)
            self._world.stop_collector(collector)

    def _adopt(self) -> None:
        """Whatever became of its process: it may be dead, or asleep, or only out of reach."""
        adoptable = self._adoptable()
        if not adoptable:
            return
        name = self._kernel.random.choice(adoptable)
        self._kernel.fault("adoption", name)
        adopter = self._world.adopt(name)
        if self._kernel.chance(0.3):
            self._kernel.after(self._kernel.between(0.0, 0.2), self._pause_adopter, adopter)
        if self._kernel.chance(self._p_adopter_crash):
            self._kernel.after(self._kernel.between(0.0, 0.5), self._crash_adopter, adopter)

    def _adoptable(self) -> list[str]:
        """A fan-out that has committed nothing has left nothing."""
        return [name for name in self._world.disks if self._world.has_left_something(name)]

    def _pause_adopter(self, adopter: Adopter) -> None:
        if adopter.alive and not self._world.healing:
            self._kernel.fault("adopter_pause", adopter.name)
            adopter.pause()
            self._kernel.after(self._kernel.between(0.1, 2.0), adopter.wake)

    def _crash_adopter(self, adopter: Adopter) -> None:
        if adopter.alive:
            self._kernel.fault("adopter_crash", adopter.name)
            self._world.adopter_ended(adopter)

    def _crash_agent(self) -> None:
        agent = self._agent()
        if agent is None:
            return
        if self._kernel.chance(0.3):
            agent.p_crash_between_commands = 0.05
            return
        if isinstance(agent.host, ChannelHost) and agent.host.directory and self._kernel.chance(0.6):
            agent.p_power_cut_before_sync = 0.3
            return
        power = self._kernel.chance(0.5)
        self._kernel.fault("agent_power_cut" if power else "agent_crash", agent.name)
        self._world.crash_agent(agent, power=power)
        self._spoil_state(agent.host)

    def _spoil_state(self, host: Host) -> None:
        """A source's own state may be lost, or older than it was."""
        if isinstance(host, ChannelHost):
            host = host.node.application
        if self._kernel.chance(0.2):
            self._kernel.fault("source_state_lost", host.name)
            host.saved = {}
        elif host.older and self._kernel.chance(0.2):
            self._kernel.fault("source_state_older", host.name)
            host.saved = self._kernel.random.choice(host.older)

    def _pause_agent(self) -> None:
        agent = self._agent()
        if agent is not None and not agent.paused:
            self._kernel.fault("agent_pause", agent.name)
            agent.pause()
            self._kernel.after(self._kernel.between(0.2, 3.0), agent.wake)

    def _second_agent(self) -> None:
        agent = self._agent()
        if agent is not None and self._may_be_two(agent):
            self._kernel.fault("second_agent", agent.host.name)
            self._world.start_agent(agent.host.name)

    def _may_be_two(self, agent: Agent) -> bool:
        """A channel belongs to one process: its directory is locked."""
        return len(self._world.agents_of(agent.host.name)) == 1 and not isinstance(agent.host, ChannelHost)

    def _cut(self) -> None:
        collector, agent = self._collector(), self._agent()
        if collector is None or agent is None:
            return
        direction = self._kernel.random.choice(("up", "down", "both"))
        self._kernel.fault(f"cut_{direction}", agent.name, f"and {collector.name}")
        self._world.cut(
            agent.host.name,
            collector.name,
            up=direction != "down",
            down=direction != "up",
            seconds=self._kernel.between(0.1, 4.0),
        )

    def _break_connection(self) -> None:
        agent = self._agent()
        if agent is None or agent.connection is None:
            return
        connection = agent.connection
        if self._kernel.chance(0.5):
            self._kernel.fault("connection_lost_by_agent", agent.name)
            connection.agent_end_fails("reset")
        else:
            self._kernel.fault("connection_lost_by_collector", connection.collector.name)
            connection.collector_end_fails()

    def _store_away(self) -> None:
        name = self._kernel.random.choice(list(self._world.disks))
        self._kernel.fault("store_away", name)
        until_s = self._kernel.now_s + self._kernel.between(0.1, 2.0)
        self._world.store.down_until_s[name] = until_s

    def _session_expires(self) -> None:
        """The store, and with it everybody else, takes a collector for dead that may be alive."""
        name = self._kernel.random.choice(list(self._world.disks))
        self._kernel.fault("session_expired", name)
        self._world.store.expire(name, self._kernel.between(0.1, 2.0))
        if self._kernel.chance(0.3) and name in self._adoptable():
            self._kernel.after(self._kernel.between(0.0, 1.0), self._is_taken_for_dead, name)

    def _is_taken_for_dead(self, name: str) -> None:
        if not self._world.healing:
            self._kernel.fault("adoption", name)
            self._world.adopt(name)

    def _disk_full(self) -> None:
        disk = self._kernel.random.choice(self._world.all_disks())
        self._kernel.fault("disk_full", disk.name)
        disk.is_full = True

        def freed() -> None:
            disk.is_full = False

        self._kernel.after(self._kernel.between(0.01, 1.5), freed)

    def _log_fails(self) -> None:
        """The disk of a write-ahead log fills up, or fails to sync."""
        agent = self._agent()
        directory = (
            agent.host.directory if agent is not None and isinstance(agent.host, ChannelHost) else None
        )
        if directory is None:
            return
        if self._kernel.chance(0.5):
            operation = self._kernel.random.choice(("sync", "sync", "create", "append"))
            directory.fail_next[operation] = directory.fail_next.get(operation, 0) + 1
            return
        self._kernel.fault("channel_disk_full", directory.name)
        directory.is_full = True
        self._kernel.after(self._kernel.between(0.05, 1.5), directory.heal)

    def _disk_fails(self) -> None:
        disk = self._kernel.random.choice(self._world.all_disks())
        operation = self._kernel.random.choice(("prepare", "sync", "publish", "discard", "open"))
        disk.fail_next[operation] = disk.fail_next.get(operation, 0) + 1

    def _first_is_healthy(self) -> None:
        agent = self._agent()
        if agent is None:
            return
        if agent.core.destination == 0:
            self._drive_away(agent)
            return
        self._kernel.fault("handover", agent.name)
        agent.hear(agent.handle, s.FirstIsHealthy())
        if self._kernel.chance(0.6):
            self._kernel.after(self._kernel.between(0.0, 0.2), self._disturb, agent)

    def _chain_changes(self) -> None:
        """Masters say another chain, now and to whoever starts later: in another order, without one, with one that nobody
        has heard of. An agent that uses a collector which is no longer in it is stopped and started by them."""
        agent = self._agent()
        if agent is None:
            return
        chain = list(self._world.disks)
        self._kernel.random.shuffle(chain)
        if self._kernel.chance(0.5):
            chain[self._kernel.random.randrange(len(chain))] = NOBODY
        self._kernel.fault("chain_changes", agent.name, str(chain))
        self._world.chains[agent.host.name] = tuple(chain)
        agent.hear(agent.redirect, tuple(chain))

    def _drive_away(self, agent: Agent) -> None:
        """Only who is not at its first collector can return there."""
        if agent.connection is None:
            return
        collector = agent.connection.collector.name
        self._kernel.fault("connection_lost_by_agent", agent.name, f"{collector} is gone for a while")
        seconds = self._kernel.between(0.1, 0.6)
        self._world.cut(agent.host.name, collector, up=True, down=True, seconds=seconds)
        agent.connection.agent_end_fails("reset")

    def _disturb(self, agent: Agent) -> None:
        """Somebody comes for the claim that is being released."""
        if self._kernel.chance(0.5) and self._may_be_two(agent):
            self._kernel.fault("second_agent", agent.host.name, "during a handover")
            self._world.start_agent(agent.host.name)
        elif agent.connection is not None and agent.alive:
            self._kernel.fault("connection_lost_by_agent", agent.name, "during a handover")
            agent.connection.agent_end_fails("reset")
