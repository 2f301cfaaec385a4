"""The service that nodes attach to: one stream each, in which a master says what to run and hears what runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import structlog

from master.nodes import AttachedNode, Nodes
from qanat.control.names import fault_of, fault_of_labels
from qanat.control.statements import AGENT, COLLECTOR
from qanat.wire.v1 import control_pb2 as wire

log = structlog.get_logger(__name__)

PROTOCOL = 1

# A connection that does not say who it is holds a descriptor for nothing.
REGISTER_S_MAX = 20.0


# Whoever was told something within it knows that this master lives: while ten thousand nodes report a change, which takes
# seconds, that is a third of the messages. Shorter than any interval between reports, which start at 4 s.
QUIET_S = 3.5


class ControlService:
    """`Control.Attach`. `registered` is told of every node that comes."""

    def __init__(
        self,
        master_id: str,
        nodes: Nodes,
        masters: Callable[[], list[str]],
        registered: Callable[[AttachedNode], None],
    ) -> None:
        self._master_id = master_id
        self._nodes = nodes
        self._masters = masters
        self._registered = registered

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server is given."""
        attach = grpc.stream_stream_rpc_method_handler(
            self._attach,
            request_deserializer=wire.FromNode.FromString,
            response_serializer=wire.ToNode.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("qanat.v1.Control", {"Attach": attach})

    async def _attach(self, _: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        async with asyncio.timeout(REGISTER_S_MAX):
            first = await context.read()
        if first is grpc.aio.EOF:
            return
        refusal = _refusal(first)
        if refusal:
            await context.write(wire.ToNode(refused=wire.Refused(why=refusal)))
            return
        refused = self._nodes.refusal(first.register)
        if refused is not None:
            await context.write(wire.ToNode(refused=refused))
            return
        node = self._nodes.attach(first.register)
        registered = wire.Registered(
            master_id=self._master_id, masters=self._masters(), report_s=self._nodes.report_s
        )
        node.outbox.put(wire.ToNode(registered=registered))
        self._nodes.welcome(node)
        self._registered(node)
        reading = asyncio.create_task(self._read(node, context.read))
        try:
            while messages := await node.outbox.take():
                node.said_at_s = time.monotonic()
                for message in messages:
                    await context.write(message)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            self._nodes.detach(node)

    async def _read(self, node: AttachedNode, read: Callable[[], Awaitable[Any]]) -> None:
        try:
            while (message := await read()) is not grpc.aio.EOF:
                match message.WhichOneof("message"):
                    case "report":
                        node.heard(message.report)
                        if node.heard_at_s - node.said_at_s > QUIET_S:
                            heard = wire.Heard(report_s=self._nodes.report_s, start=node.start)
                            node.outbox.put(wire.ToNode(heard=heard))
                    case "tap":
                        node.tapped(message.tap)
        finally:
            node.outbox.close()  # whatever ended it: the stream ends


def _refusal(first: wire.FromNode) -> str:
    register = first.register
    if first.WhichOneof("message") != "register":
        return "the first message of a node is register"
    if register.protocol != PROTOCOL:
        return f"the node speaks protocol {register.protocol}, this master {PROTOCOL}; upgrade the older of the two"
    if not register.name or register.role not in (AGENT, COLLECTOR):
        return f"a node has a name, and a role that is {AGENT} or {COLLECTOR}; this one is {register.name!r}, {register.role!r}"
    return fault_of(register.name) or fault_of_labels({**register.labels, "host": register.host})
