"""A physical node that only says that it runs what it is told: for tests of masters, and by the thousand for their bench.

async with SimulatedNode("web-1", masters=["127.0.0.1:35872"], labels={"role": "web"}) as node:
    await node.runs('web : tail("/l") | agentE2ESink("c1", 35853) ;')
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import msgspec

from qanat.control.assignment import statement_hash
from qanat.rpc.backoff import backoff_s
from qanat.rpc.options import channel_options
from qanat.wire.v1 import control_pb2 as wire

_ATTACH = "/qanat.v1.Control/Attach"
_CALL = "/qanat.v1.Admin/Call"
_STREAM = "/qanat.v1.Admin/Stream"

# Long enough for a master that has to be started first, short enough for a test that looks at what happens after.
_RETRY_S_MAX = 1.0

Connect = Callable[[str], grpc.aio.Channel]


class SimulatedNode:
    """Speaks `Control.Attach` as a real node does. What it is told runs at once, unless `breaks` says why not."""

    def __init__(
        self,
        name: str,
        masters: Sequence[str],
        *,
        role: str = "agent",
        labels: Mapping[str, str] | None = None,
        connect: Connect | None = None,
    ) -> None:
        self.name, self.role, self.labels = name, role, dict(labels or {})
        self.instance = secrets.token_hex(8)
        self.masters = list(masters)
        self.master = ""  # that it is attached to
        self.running: dict[str, str] = {}  # logical node -> text
        self.breaks: Callable[[wire.Statement], str] = lambda statement: ""
        self.assigned = 0
        self.applied_at_s = 0.0
        self.refreshed: list[list[str]] = []
        self.limits: dict[str, tuple[float, float]] = {}
        self.refused = ""
        self.tapping: list[str] = []  # with `samples_s`: the logical nodes of taps that were not stopped
        self.samples_s = 0.0  # how often taps get an event; 0: all at once
        self._taps: dict[str, asyncio.Task[None]] = {}
        self.attachments = 0
        self.moves = 0  # how often a master told it to go to others
        self._connect = connect
        self._wanted = wire.Assign()
        self._applied = ""
        self._errors: dict[str, str] = {}
        self._preferred: list[str] = []
        self._report_s = 5.0
        self.start_number = 0  # of the processes that had this name
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()  # a stream takes one message at a time
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SimulatedNode:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """Attach, and stay so."""
        self._task = asyncio.create_task(self._run(), name=f"node {self.name}")

    async def stop(self) -> None:
        """Go away without a word."""
        tasks = [each for each in (self._task, *self._taps.values()) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None
        self._taps.clear()

    async def until(self, condition: Callable[[], bool], seconds_max: float = 20.0) -> None:
        """Wait until `condition()` holds. Raises TimeoutError with what the node has."""
        try:
            async with asyncio.timeout(seconds_max):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            if self._task is not None and self._task.done():
                self._task.result()  # it has ended by a defect
            raise TimeoutError(
                f"{self.name} at {self.master or 'no master'} runs {self.running}, refused: {self.refused!r}"
            ) from None

    async def runs(self, *texts: str) -> None:
        """Wait until it runs exactly these statements."""
        await self.until(lambda: sorted(self.running.values()) == sorted(texts))

    # The protocol.

    async def _run(self) -> None:
        attempt = 0
        while not self.refused:
            address = self._next()
            attached_before = self.attachments
            with contextlib.suppress(grpc.aio.AioRpcError, TimeoutError):
                await self._attach(address)
            self.master = ""
            self._changed.set()
            attempt = 0 if self.attachments > attached_before else attempt + 1
            if attempt and not self._preferred:
                await asyncio.sleep(backoff_s(attempt, _RETRY_S_MAX))

    def _next(self) -> str:
        return self._preferred.pop(0) if self._preferred else random.choice(self.masters)

    async def _attach(self, address: str) -> None:
        own = (
            None
            if self._connect is not None
            else grpc.aio.insecure_channel(address, options=channel_options())
        )
        channel = own or self._connect(address)  # type: ignore[misc]
        call = channel.stream_stream(
            _ATTACH,
            request_serializer=wire.FromNode.SerializeToString,
            response_deserializer=wire.ToNode.FromString,
        )()
        try:
            await call.write(wire.FromNode(register=self._register()))
            await self._converse(call)
        finally:
            call.cancel()
            if own is not None:
                await own.close()

    async def _converse(self, call: Any) -> None:
        loop = asyncio.get_running_loop()
        reporting: asyncio.TimerHandle | None = None

        def due() -> None:
            nonlocal reporting
            task = loop.create_task(self._report_to(call))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            reporting = loop.call_later(self._report_s * random.uniform(0.8, 1.0), due)

        reporting = loop.call_later(self._report_s * random.random(), due)
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                if await self._take(message, call):
                    return
        finally:
            reporting.cancel()

    async def _take(self, message: wire.ToNode, call: Any) -> bool:
        """Do what a master says; whether this connection is over."""
        kind = message.WhichOneof("message")
        match kind:
            case "registered":
                self.master = message.registered.master_id
                self.masters = list(message.registered.masters) or self.masters
                self._report_s = message.registered.report_s
                self.attachments += 1
            case "assign":
                self._assign(message.assign)
                await self._report_to(call)
            case "limits":
                self.limits = {
                    name: (each.events_s, each.bytes_s) for name, each in message.limits.limits.items()
                }
            case "refresh":
                self.refreshed.append(list(message.refresh.logical))
            case "heard":
                self._report_s = message.heard.report_s
                if message.heard.start:
                    self.start_number = message.heard.start
                    self._changed.set()
            case "tap":
                await self._tap(message.tap, call)
            case "stop_tap" if task := self._taps.pop(message.stop_tap.tap_id, None):
                task.cancel()
            case "move":
                self.moves += 1
                self._preferred = list(message.move.masters)
            case "refused":
                self.refused = message.refused.why if message.refused.fenced else ""
        if kind != "heard":
            self._changed.set()
        return kind in ("move", "refused")

    def _assign(self, assign: wire.Assign) -> None:
        self.assigned += 1
        self._wanted = assign
        self._errors = {}
        running = {}
        for each in assign.statements:
            if each.waiting:
                kept = self.running.get(each.logical)
            elif why := self.breaks(each):
                self._errors[each.logical] = why
                kept = self.running.get(each.logical)
            else:
                kept = each.text
            if kept is not None:
                running[each.logical] = kept
        self.running = running
        if not self._errors:
            self._applied = assign.revision
        self.applied_at_s = time.monotonic()

    def _register(self) -> wire.Register:
        return wire.Register(
            protocol=1,
            name=self.name,
            role=self.role,
            host=self.name,
            labels=self.labels,
            instance=self.instance,
            version="simulated",
            start=self.start_number,
            report=self._report(),
        )

    def _report(self) -> wire.Report:
        return wire.Report(
            wanted_revision=self._wanted.revision,
            applied_revision=self._applied,
            logical=[self._state(each) for each in self._wanted.statements],
            at_ns=time.time_ns(),
        )

    def _state(self, statement: wire.Statement) -> wire.LogicalState:
        running = self.running.get(statement.logical, "")
        error = self._errors.get(statement.logical, "")
        state = wire.ERROR if error else wire.ACTIVE if running else wire.IDLE
        return wire.LogicalState(
            logical=statement.logical,
            wanted_hash=statement.hash,
            running_hash=statement_hash(running),
            state=state,
            why=error or statement.waiting,
            attempts=int(bool(error)),
        )

    async def _tap(self, tap: wire.Tap, call: Any) -> None:
        if self.samples_s:
            self._taps[tap.tap_id] = asyncio.create_task(self._sample_on(tap, call))
            return
        async with self._writing:
            await call.write(wire.FromNode(tap=self._sample(tap)))

    async def _sample_on(self, tap: wire.Tap, call: Any) -> None:
        self.tapping.append(tap.logical)
        self._changed.set()
        try:
            while True:
                event = wire.TapEvent(body=tap.logical.encode(), body_bytes=len(tap.logical))
                async with self._writing:
                    await call.write(
                        wire.FromNode(tap=wire.TapEvents(tap_id=tap.tap_id, events=[event], dropped=1))
                    )
                await asyncio.sleep(self.samples_s)
        finally:
            self.tapping.remove(tap.logical)
            self._changed.set()

    def _sample(self, tap: wire.Tap) -> wire.TapEvents:
        events = [wire.TapEvent(body=b"event %d" % number, body_bytes=7) for number in range(tap.events_max)]
        return wire.TapEvents(tap_id=tap.tap_id, events=events, dropped=5, ended=True, why="enough")

    async def _report_to(self, call: Any) -> None:
        async with self._writing:
            await call.write(wire.FromNode(report=self._report()))


class AdminClient:
    """Asks one master for operations, as a test reads best."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=channel_options())

    async def __aenter__(self) -> AdminClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def reply(
        self, method: str, *, author: str = "test", timeout_s: float = 40.0, **arguments: Any
    ) -> wire.CallReply:
        """The reply as it came, an error included."""
        call = self._channel.unary_unary(
            _CALL,
            request_serializer=wire.CallRequest.SerializeToString,
            response_deserializer=wire.CallReply.FromString,
        )
        reply: wire.CallReply = await call(
            _request(method, author, arguments), timeout=timeout_s, wait_for_ready=True
        )
        return reply

    async def __call__(self, method: str, *, author: str = "test", **arguments: Any) -> Any:
        """The result. Raises AdminError."""
        return _result(await self.reply(method, author=author, **arguments))

    async def stream(self, method: str, *, author: str = "test", **arguments: Any) -> list[Any]:
        """All results of a stream. Raises AdminError."""
        call = self._channel.unary_stream(
            _STREAM,
            request_serializer=wire.CallRequest.SerializeToString,
            response_deserializer=wire.CallReply.FromString,
        )
        return [
            _result(reply) async for reply in call(_request(method, author, arguments), wait_for_ready=True)
        ]


class AdminError(Exception):
    """What a master said against it."""

    def __init__(self, error: wire.CallError) -> None:
        super().__init__(f"{wire.ErrorKind.Name(error.kind)}: {error.message}")
        self.kind = wire.ErrorKind.Name(error.kind)
        self.faults = list(error.faults)


def _request(method: str, author: str, arguments: Mapping[str, Any]) -> wire.CallRequest:
    return wire.CallRequest(method=method, arguments_json=msgspec.json.encode(arguments), author=author)


def _result(reply: wire.CallReply) -> Any:
    if reply.HasField("error"):
        raise AdminError(reply.error)
    return msgspec.json.decode(reply.result_json)
