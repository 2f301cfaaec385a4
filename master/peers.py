"""Masters among themselves: who is attached to whom, and a way to nodes that are attached elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import grpc

from master.nodes import AttachedNode, Nodes
from master.tapping import TapQueue
from qanat.control import paths
from qanat.control.documents import MasterNode, decode
from qanat.coordination.store import Store
from qanat.rpc.options import peer_options
from qanat.wire.v1 import control_pb2 as wire

_STATUS = "/qanat.v1.Peers/Status"
_SEND = "/qanat.v1.Peers/Send"
_TAP = "/qanat.v1.Peers/Tap"
_LOOK = "/qanat.v1.Peers/Look"

# A master that is stopped answers nothing, and `status` should not wait for it longer than a person does.
ANSWER_S_MAX = 3.0

# How long a master waits for a revision that it was asked for and has not read yet: some round trips of its store, and a push.
CATCH_UP_S_MAX = 2.0


class Progress(Protocol):
    """How far this master is with what the store says."""

    async def pushed(self, revision: int) -> int:
        """Wait until `revision` was told to every node here; the one that was."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What masters said, by id; `silent`: those who did not answer, with why."""

    replies: Mapping[str, wire.StatusReply]
    silent: Mapping[str, str]


class PeersService:
    """`Peers`, of this master."""

    def __init__(
        self, master_id: str, nodes: Nodes, progress: Progress, look_up: Callable[[Iterable[str]], None]
    ) -> None:
        self._master_id = master_id
        self._nodes = nodes
        self._progress = progress
        self._look_up = look_up

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server is given."""
        return grpc.method_handlers_generic_handler(
            "qanat.v1.Peers",
            {
                "Status": grpc.unary_unary_rpc_method_handler(
                    self.status,
                    request_deserializer=wire.StatusRequest.FromString,
                    response_serializer=wire.StatusReply.SerializeToString,
                ),
                "Send": grpc.unary_unary_rpc_method_handler(
                    self.send,
                    request_deserializer=wire.SendRequest.FromString,
                    response_serializer=wire.SendReply.SerializeToString,
                ),
                "Tap": grpc.unary_stream_rpc_method_handler(
                    self.tap,
                    request_deserializer=wire.TapRequest.FromString,
                    response_serializer=wire.TapEvents.SerializeToString,
                ),
                "Look": grpc.unary_unary_rpc_method_handler(
                    self.look,
                    request_deserializer=wire.LookRequest.FromString,
                    response_serializer=wire.LookReply.SerializeToString,
                ),
            },
        )

    async def status(self, request: wire.StatusRequest, _: object = None) -> wire.StatusReply:
        """The nodes that are attached here."""
        revision = await self._progress.pushed(request.revision)
        reply = wire.StatusReply(master_id=self._master_id, revision=revision, attached=len(self._nodes))
        names = frozenset(request.names)
        if request.with_names:
            reply.attached_names.extend(node.physical.name for node in self._nodes)
        reply.unsettled = sum(not node.is_settled for node in self._nodes)
        asked = () if request.counts_only else self._nodes
        found = (node for node in asked if _is_asked_for(node, request, names))
        nodes_max = request.nodes_max or len(self._nodes)
        reply.nodes.extend(node.status() for node in itertools.islice(found, nodes_max))
        return reply

    async def look(self, request: wire.LookRequest, _: object = None) -> wire.LookReply:
        """Another master knows of a later process of these names."""
        self._look_up(request.names)
        return wire.LookReply()

    async def send(self, request: wire.SendRequest, _: object = None) -> wire.SendReply:
        """Hand a message to a node that is attached here."""
        node = self._nodes.get(request.name)
        return wire.SendReply(found=node is not None and node.outbox.put(request.message))

    async def tap(self, request: wire.TapRequest, _: object = None) -> AsyncGenerator[wire.TapEvents, None]:
        """What a node that is attached here samples; ends with the node's stream, too."""
        node = self._nodes.get(request.name)
        if node is None:
            yield wire.TapEvents(
                tap_id=request.tap.tap_id, ended=True, why=f"{request.name} is not attached", lost=True
            )
            return
        tap_id = request.tap.tap_id
        queue = node.taps[tap_id] = TapQueue()
        until_s = time.monotonic() + request.tap.seconds + ANSWER_S_MAX
        ended = False
        try:
            node.outbox.put(wire.ToNode(tap=request.tap))
            while not ended:
                events = await _within(queue, until_s - time.monotonic(), tap_id)
                ended = events.ended
                yield events
        finally:
            del node.taps[tap_id]
            if not ended:
                node.outbox.put(wire.ToNode(stop_tap=wire.StopTap(tap_id=tap_id)))


async def _within(queue: TapQueue, seconds: float, tap_id: str) -> wire.TapEvents:
    """The next sample; an end that the node did not say itself, when it takes too long."""
    try:
        return await asyncio.wait_for(queue.get(), max(0.0, seconds))
    except TimeoutError:
        return wire.TapEvents(tap_id=tap_id, ended=True, why="the time is over")


def _is_asked_for(node: AttachedNode, request: wire.StatusRequest, names: frozenset[str]) -> bool:
    if (request.unsettled_only and node.is_settled) or (request.newcomers_only and not node.is_newcomer):
        return False
    return node.concerns(names)


class Peers:
    """All masters, this one included, as this one sees them."""

    def __init__(self, master_id: str, own: PeersService, store: Store) -> None:
        self._own_id = master_id
        self._own = own
        self._store = store
        self._channels: dict[str, grpc.aio.Channel] = {}
        self.masters: dict[str, MasterNode] = {}

    @property
    def addresses(self) -> list[str]:
        """Of every living master, for nodes."""
        return sorted(master.rpc for master in self.masters.values())

    @property
    def others(self) -> dict[str, MasterNode]:
        """All but this one."""
        return {name: master for name, master in self.masters.items() if name != self._own_id}

    async def look(self) -> None:
        """Read who is there."""
        names = [f"{paths.MASTERS}/{child}" for child in await self._store.children(paths.MASTERS)]
        found = zip(names, await self._store.get_many(names), strict=True)
        self.masters = {
            paths.name(path): decode(MasterNode, node.value, path) for path, node in found if node is not None
        }
        await self._forget_channels()

    async def status(self, request: wire.StatusRequest) -> Answers:
        """Of every master, as far as they answer."""
        others = self.others
        asking = [asyncio.create_task(self._ask(master.rpc, request)) for master in others.values()]
        replies = {self._own_id: await self._own.status(request)}
        found = await asyncio.gather(*asking)
        silent: dict[str, str] = {}
        for name, answer in zip(others, found, strict=True):
            if isinstance(answer, str):
                silent[name] = answer
            else:
                replies[name] = answer
        return Answers(replies, silent)

    async def send(self, master_id: str, name: str, message: wire.ToNode) -> bool:
        """Hand a message to a node that is attached to a master; whether it could be."""
        request = wire.SendRequest(name=name, message=message)
        if master_id == self._own_id:
            return (await self._own.send(request)).found
        master = self.masters.get(master_id)
        if master is None:
            return False
        call = self._channel(master.rpc).unary_unary(
            _SEND,
            request_serializer=wire.SendRequest.SerializeToString,
            response_deserializer=wire.SendReply.FromString,
        )
        with contextlib.suppress(grpc.aio.AioRpcError), _forgotten_meanwhile():
            return bool((await call(request, timeout=ANSWER_S_MAX)).found)
        return False

    async def tap(self, master_id: str, request: wire.TapRequest) -> AsyncGenerator[wire.TapEvents, None]:
        """What a node samples that is attached to a master."""
        master = self.masters.get(master_id)
        if master_id == self._own_id or master is None:
            async with contextlib.aclosing(self._own.tap(request)) as own:
                async for events in own:
                    yield events
            return
        call = self._channel(master.rpc).unary_stream(
            _TAP,
            request_serializer=wire.TapRequest.SerializeToString,
            response_deserializer=wire.TapEvents.FromString,
        )(request)
        try:
            with _forgotten_meanwhile():
                async for events in call:
                    yield events
        except grpc.aio.AioRpcError as error:
            why = f"master {master_id} went away: {error.details()}"
            yield wire.TapEvents(tap_id=request.tap.tap_id, ended=True, why=why, lost=True)
        finally:
            call.cancel()

    async def look_up(self, names: list[str]) -> None:
        """Tell the others that a later process of each of these names is known. Who does not answer finds out by itself."""

        async def tell(address: str) -> None:
            call = self._channel(address).unary_unary(
                _LOOK,
                request_serializer=wire.LookRequest.SerializeToString,
                response_deserializer=wire.LookReply.FromString,
            )
            with contextlib.suppress(grpc.aio.AioRpcError), _forgotten_meanwhile():
                await call(wire.LookRequest(names=names), timeout=ANSWER_S_MAX)

        await asyncio.gather(*(tell(master.rpc) for master in self.others.values()))

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels.values():
            await channel.close()

    async def _ask(self, address: str, request: wire.StatusRequest) -> wire.StatusReply | str:
        call = self._channel(address).unary_unary(
            _STATUS,
            request_serializer=wire.StatusRequest.SerializeToString,
            response_deserializer=wire.StatusReply.FromString,
        )
        reply: wire.StatusReply | str = "gone: it has left the others while it was asked"
        with _forgotten_meanwhile():
            try:
                reply = await call(request, timeout=ANSWER_S_MAX)
            except grpc.aio.AioRpcError as error:
                reply = f"{error.code().name.lower()}: {error.details()}"
        return reply

    def _channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = grpc.aio.insecure_channel(address, options=peer_options())
        return channel

    async def _forget_channels(self) -> None:
        known = {master.rpc for master in self.masters.values()}
        for address in self._channels.keys() - known:
            await self._channels.pop(address).close()


@contextlib.contextmanager
def _forgotten_meanwhile() -> Iterator[None]:
    """Calls to a master that is forgotten are cancelled with its channel, and whoever awaits one gets a CancelledError that
    nobody meant for them: an administrator's request would end without an answer. Leaves the block then."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
