"""Masters within the test's process, on a store in memory: everything real but the store and the process."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec

from master.program import Master, Settings
from qanat.control import paths
from qanat.control.documents import CollectorNode, encode
from qanat.coordination.store import Create, Delete
from qanat.metrics import MasterMetrics
from qanat.testing.cluster import free_port
from qanat.testing.control import AdminClient, SimulatedNode
from qanat.testing.store import MemoryStore, Tree

# Long enough for a blip in a test, short enough to wait for.
GRACE_S = 0.5


@dataclass
class Running:
    """A master that runs, and its part of the store."""

    address: str
    http_port: int
    store: MemoryStore
    master: Master
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """As SIGTERM does."""
        self.stopping.set()
        assert self.task is not None
        await self.task

    async def kill(self) -> None:
        """As SIGKILL does, as far as others can tell: its session ends, its connections break."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@dataclass
class Cluster:
    """Some masters over one store."""

    tree: Tree
    masters: list[Running]
    _stack: contextlib.AsyncExitStack

    @property
    def addresses(self) -> list[str]:
        return [each.address for each in self.masters]

    async def add_master(self, clock_off_s: float = 0.0) -> Running:
        """One more, whose clock is off by so much."""
        port, http_port = free_port(), free_port()
        address = f"127.0.0.1:{port}"
        store = MemoryStore(self.tree)
        settings = Settings(
            f"m{len(self.masters)}", address, address, ("127.0.0.1", http_port), grace_s=GRACE_S
        )

        def wall_ns() -> int:
            return time.time_ns() + int(clock_off_s * 1e9)

        made = Master(settings, store, MasterMetrics(), wall_ns)
        running = Running(address, http_port, store, made)
        running.task = asyncio.create_task(running.master.run(running.stopping))
        running.task.add_done_callback(_say_why)
        self._stack.push_async_callback(running.kill)
        self.masters.append(running)
        return running

    async def admin(self, number: int = 0) -> AdminClient:
        """Asks master `number`."""
        return await self._stack.enter_async_context(AdminClient(self.masters[number].address))

    async def node(self, name: str, *masters: int, role: str = "agent", **labels: str) -> SimulatedNode:
        """A node that knows these masters; none: all of them."""
        addresses = [self.masters[number].address for number in masters] or self.addresses
        made = SimulatedNode(name, addresses, role=role, labels=labels)
        return await self._stack.enter_async_context(made)

    async def collector(self, name: str, listening: dict[str, str]) -> MemoryStore:
        """A collector's session, with its registration in the store."""
        store = MemoryStore(self.tree)
        self._stack.push_async_callback(store.close)
        await store.multi([Create(_path(name), encode(CollectorNode(listening=listening)), ephemeral=True)])
        return store

    async def leave(self, store: MemoryStore, name: str, listening: dict[str, str]) -> None:
        """A collector says that it is about to stop."""
        value = encode(CollectorNode(listening=listening, leaving=True))
        await store.multi([Delete(_path(name), 0), Create(_path(name), value, ephemeral=True)])

    def stored(self) -> dict[str, object]:
        """All documents, by path."""
        return {
            path: msgspec.json.decode(node.value)
            for path, node in self.tree.items()
            if node.value[:1] == b"{"
        }


def _say_why(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        print("a master ended:", *traceback.format_exception(error))


def _path(name: str) -> str:
    return paths.of(paths.NODES, name)


@contextlib.asynccontextmanager
async def cluster(masters: int = 1) -> AsyncIterator[Cluster]:
    """Masters that are killed at the end, with everybody who was attached."""
    async with contextlib.AsyncExitStack() as stack:
        made = Cluster(Tree(), [], stack)
        for _ in range(masters):
            await made.add_master()
        yield made


async def eventually(condition, what: str, seconds_max: float = 20.0) -> None:
    """Wait until `await condition()` is true."""
    try:
        async with asyncio.timeout(seconds_max):
            while not await condition():  # noqa: ASYNC110  # what it asks has no event
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited {seconds_max} s in vain for: {what}") from None
