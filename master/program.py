"""The master's composition root: the parts are built here, run together, and end in an order that nodes don't notice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from master.admin import AdminService, Operator
from master.attaching import ControlService
from master.balance import shed
from master.cache import ConfigCache
from master.desk import Desk, Pushed
from master.following import follow
from master.http import HttpServer
from master.known import Arrival, KnownNodes
from master.leader import GRACE_S, Leader
from master.nodes import AttachedNode, Nodes
from master.peers import Peers, PeersService
from master.writing import Writer
from qanat.control import paths
from qanat.control.documents import Live, MasterNode, decode, encode
from qanat.control.language import installed_language
from qanat.control.translation import Cluster
from qanat.coordination.registration import Registration
from qanat.coordination.store import Delete, SessionState, Store
from qanat.errors import ConfigError, NotConnectedError, OutcomeUnknownError, QanatError
from qanat.metrics import MasterMetrics
from qanat.rpc.backoff import backoff_s
from qanat.rpc.options import master_options
from qanat.wire.v1 import control_pb2 as wire

log = structlog.get_logger(__name__)

# How often masters compare their loads. Nodes of a dead master are elsewhere within seconds by themselves; spreading them again
# is no emergency.
BALANCE_S = 10.0

# How often nodes that are silent are looked for.
SILENT_LOOK_S = 5.0

# Masters tell each other when a later process of a name has come; whom they could not reach finds out by itself, so often. It
# costs 256 reads.
NAMES_LOOK_S = 60.0

# A stopping master asks its nodes to leave, some at a time so that the others are not run over, and waits so long in all.
LEAVE_SLICE = 100
LEAVE_SLICE_S = 0.05
LEAVE_S_MAX = 5.0

# Calls that are under way when the server stops: a change takes a round trip or two of the store.
STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a master is reached. `http`: where it listens, None: nowhere."""

    master_id: str
    listen: str
    advertise: str
    http: tuple[str, int] | None = None
    http_advertise: str = ""
    grace_s: float = GRACE_S


class Master:
    """One master process."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: MasterMetrics,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        own = settings.master_id
        self._pushed = Pushed()
        self._nodes = Nodes()
        self._cache = ConfigCache(store)
        self._peers_service = PeersService(own, self._nodes, self._pushed, self._look_up)
        self._desk = Desk(
            master_id=own,
            store=store,
            language=installed_language(),
            cache=self._cache,
            writer=Writer(store, self._cache),
            nodes=self._nodes,
            known=KnownNodes(store, wall_ns),
            peers=Peers(own, self._peers_service, store),
            leader=Leader(store, self._cache, own, settings.grace_s),
            pushed=self._pushed,
            live=Live(),
            wall_ns=wall_ns,
        )
        self._desk.known.settled, self._desk.known.is_here = self._nodes.settled, self._nodes.has
        self._desk.known.replaced = self._desk.peers.look_up
        self._changed = asyncio.Event()
        self._is_live_read = False
        self._operator = Operator(self._desk, metrics.performed)

    async def run(self, stop: asyncio.Event) -> None:
        """*Blocking* until `stop` is set and the nodes were sent elsewhere. Raises ConfigError, FencedError."""
        self._cache.on_change = self._changed.set
        server = self._server()
        http = self._http()
        presence = self._settings.master_id
        try:
            await self._listen(server, http)
            log.info("master_started", id=presence, listen=self._settings.listen)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(each) for each in self._duties()]
                await stop.wait()
                for task in tasks:
                    task.cancel()
            await self._leave()
        finally:
            await http.stop() if http is not None else None
            await server.stop(STOP_S)
            await self._desk.peers.close()
            await self._store.close()
        log.info("master_stopped", id=presence)

    def _duties(self) -> list[Coroutine[Any, Any, None]]:
        desk = self._desk
        node = MasterNode(self._settings.advertise, self._settings.http_advertise)
        path = paths.of(paths.MASTERS, self._settings.master_id)
        return [
            Registration(self._store, path, encode(node)).run(),
            follow(self._store, paths.REVISION, self._cache.look),
            follow(self._store, paths.LIVE, self._look_at_live),
            follow(self._store, paths.MASTERS, desk.peers.look),
            self._push(),
            desk.known.run(),
            desk.leader.run(),
            self._every(BALANCE_S, self._balance),
            self._every(SILENT_LOOK_S, self._drop_silent),
            self._every(NAMES_LOOK_S, self._look_up_all),
            self._measure(),
        ]

    # Serving.

    def _server(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=master_options())
        control = ControlService(
            self._settings.master_id, self._nodes, lambda: self._desk.peers.addresses, self._registered
        )
        handlers = (control.handler(), AdminService(self._operator).handler(), self._peers_service.handler())
        server.add_generic_rpc_handlers(handlers)
        return server

    def _http(self) -> HttpServer | None:
        if self._settings.http is None:
            return None
        return HttpServer(self._operator, self.why_not_ready, self._metrics.render, *self._settings.http)

    async def _listen(self, server: grpc.aio.Server, http: HttpServer | None) -> None:
        try:
            if server.add_insecure_port(self._settings.listen) == 0:
                raise ConfigError(f"can't listen at {self._settings.listen}; choose another --listen")
        except RuntimeError as error:
            raise ConfigError(
                f"can't listen at {self._settings.listen}: {error}; choose another --listen"
            ) from error
        await server.start()
        if http is not None:
            try:
                await http.start()
            except OSError as error:
                raise ConfigError(f"can't serve HTTP: {error}; choose another --http") from error

    def why_not_ready(self) -> str:
        """Why this master should not be asked now; "" when it may be."""
        if not (self._cache.is_loaded and self._is_live_read):
            return (
                "the configuration was not read yet: the coordination store has not answered since the start"
            )
        state = self._store.session.state
        return "" if state is SessionState.CONNECTED else f"the coordination store is {state.value}"

    def _registered(self, node: AttachedNode) -> None:
        self._desk.known.look_up(Arrival(node.physical, node.instance, node.start))

    def _look_up(self, names: Iterable[str]) -> None:
        """Whether these nodes, as far as they are attached here, are the latest of their names."""
        for node in filter(None, map(self._nodes.get, names)):
            self._registered(node)

    async def _look_up_all(self) -> None:
        self._look_up([node.physical.name for node in self._nodes])

    # What nodes should run.

    async def _look_at_live(self) -> None:
        node = await self._store.get(paths.LIVE)
        live = Live() if node is None else decode(Live, node.value, paths.LIVE)
        if not self._is_live_read or live != self._desk.live:
            self._desk.live = live
            self._is_live_read = True
            self._changed.set()

    async def _push(self) -> None:
        """One pass over all nodes for each change; changes that come during one are one more."""
        cluster = Cluster(self._desk.language)
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not (self._cache.is_loaded and self._is_live_read):
                continue
            began_s = time.monotonic()
            snapshot = self._cache.snapshot
            if not snapshot.revision:
                continue  # nothing was ever configured here: a wrong --store must not stop what nodes run
            # A thousand new statements take a second to read: on a thread, so that nodes and administrators are answered.
            cluster = await asyncio.to_thread(
                cluster.changed, snapshot.configs, snapshot.mapping, self._desk.live
            )
            limits = {name: wire.Limit(events_s=each.events_s, bytes_s=each.bytes_s)
                      for name, each in snapshot.limits.items()}  # fmt: skip
            self._nodes.limit(wire.Limits(limits=limits))
            told = await self._nodes.push(cluster)
            self._pushed.reached(snapshot.revision)
            self._metrics.pushed(told, time.monotonic() - began_s)

    # Who is attached.

    async def _balance(self) -> None:
        if not self._desk.peers.others:
            return
        answers = await self._desk.peers.status(wire.StatusRequest(counts_only=True))
        attached = {name: reply.attached for name, reply in answers.replies.items()}
        due = shed(self._settings.master_id, attached)
        if due is None:
            return
        masters = self._desk.peers.masters
        targets = [masters[name].rpc for name in due.masters if name in masters]
        if targets:
            log.info("nodes_moved", nodes=due.nodes, to=list(due.masters), attached=attached)
            for node in list(self._nodes)[: due.nodes]:
                node.outbox.put(wire.ToNode(move=wire.Move(masters=targets)))

    async def _drop_silent(self) -> None:
        self._nodes.drop_silent()

    async def _leave(self) -> None:
        """Tell everybody that this master is no more, and send the nodes elsewhere."""
        targets = [master.rpc for master in self._desk.peers.others.values()]
        path = paths.of(paths.MASTERS, self._settings.master_id)
        with contextlib.suppress(QanatError, TimeoutError):  # the end of the session does the same, later
            async with asyncio.timeout(STOP_S):
                node = await self._store.get(path)
                if node is not None and node.owner == self._store.session.id:
                    await self._store.multi([Delete(path, node.version)])
                await self._desk.leader.election.resign()
        if not targets or not len(self._nodes):
            return
        log.info("master_draining", nodes=len(self._nodes), to=targets)
        for number, attached in enumerate(self._nodes, 1):
            attached.outbox.put(
                wire.ToNode(move=wire.Move(masters=targets[number % len(targets) :] + targets))
            )
            if number % LEAVE_SLICE == 0:
                await asyncio.sleep(LEAVE_SLICE_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S_MAX):
                await self._nodes.empty()

    # Beside.

    async def _every(self, period_s: float, do: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await asyncio.sleep(
                backoff_s(64, period_s)
            )  # jittered: masters that started together don't act together
            with contextlib.suppress(NotConnectedError, OutcomeUnknownError):
                await do()

    async def _measure(self) -> None:
        while True:
            self._metrics.states(self._nodes.states())
            self._metrics.measure(
                attached=len(self._nodes),
                settled=sum(node.is_settled for node in self._nodes),
                revision=self._cache.snapshot.revision,
                pushed=self._pushed.revision,
                configured=sum(bool(each.text) for each in self._cache.snapshot.configs.values()),
                masters=len(self._desk.peers.masters),
                leads=self._desk.leader.leads is not None,
                store_connected=self._store.session.state is SessionState.CONNECTED,
            )
            await asyncio.sleep(SILENT_LOOK_S)
