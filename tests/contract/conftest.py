"""The coordination stores that the contract tests run over: each is one line in `BACKENDS`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from qanat.coordination.embedded import EmbeddedStore
from qanat.coordination.large import LargeValues
from qanat.coordination.sqlite_tree import SqliteTree
from qanat.coordination.store import Store
from qanat.coordination.zookeeper_store import ZookeeperStore
from qanat.coordination.zookeeper_url import parse_url
from qanat.testing.store import MemoryStore, Tree

# Short, so that a test of a client that dies does not wait for long; long enough for two loaded cores.
SESSION_S = 4.0

# Small, so that values are stored in parts; the largest request there is makes a thousand of it.
REQUEST_BYTES = 16 << 10

Opened = Callable[[], AbstractAsyncContextManager[Any]]


class Backend(Protocol):
    """One kind of store, with an empty one of it."""

    def connect(self) -> Store:
        """One more client."""

    async def expire(self, client: Any) -> None:
        """End the client's session as if its process had died."""


class Memory:
    """In this process."""

    def __init__(self, directory: Path, ensemble: object) -> None:
        self._tree = Tree()

    def connect(self) -> Store:
        return MemoryStore(self._tree)

    async def expire(self, client: MemoryStore) -> None:
        client.expire()


class InParts:
    """Large values in parts, over a store of small requests."""

    def __init__(self, directory: Path, ensemble: object) -> None:
        self._tree = Tree()
        self._below: dict[Store, MemoryStore] = {}

    def connect(self) -> Store:
        memory = MemoryStore(self._tree)
        store = LargeValues(memory, request_bytes_max=REQUEST_BYTES)
        self._below[store] = memory
        return store

    async def expire(self, client: Store) -> None:
        self._below[client].expire()


class Embedded:
    """In a file."""

    def __init__(self, directory: Path, ensemble: object) -> None:
        self._path = directory / "store.db"

    def connect(self) -> Store:
        return EmbeddedStore(self._path, session_timeout_s=SESSION_S)

    async def expire(self, client: EmbeddedStore) -> None:
        def end() -> None:
            tree = SqliteTree(self._path)
            tree.end_session(client.session.id)
            tree.close()

        await asyncio.to_thread(end)


class Zookeeper:
    """On a real ensemble, below a prefix of its own."""

    def __init__(self, directory: Path, ensemble: Any) -> None:
        self._ensemble = ensemble
        self._url = ensemble.url(f"/contract/{uuid.uuid4().hex}", options=f"session_timeout={SESSION_S:g}s")

    def connect(self) -> Store:
        return ZookeeperStore(parse_url(self._url))

    async def expire(self, client: ZookeeperStore) -> None:
        await asyncio.to_thread(self._ensemble.expire, client)


BACKENDS = {"embedded": Embedded, "in parts": InParts, "memory": Memory, "zookeeper": Zookeeper}


# Of module scope, so that servers are started before a test counts its children.
@pytest.fixture(scope="module", params=sorted(BACKENDS))
def backend_of(request: pytest.FixtureRequest) -> Callable[[Path], Backend]:
    """Makes an empty store of one kind after the other."""
    kind = BACKENDS[request.param]
    ensemble = request.getfixturevalue("zookeeper") if kind is Zookeeper else None
    return lambda directory: kind(directory, ensemble)


@pytest.fixture
def backend(backend_of: Callable[[Path], Backend], tmp_path: Path) -> Backend:
    """An empty store."""
    return backend_of(tmp_path)


@pytest.fixture
def client(backend: Backend) -> Opened:
    """`async with client() as store:` for one more client of the same store."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store = backend.connect()
        try:
            yield store
        finally:
            await store.close()

    return opened
