"""A connection to a ZooKeeper ensemble through kazoo, which nothing else imports and whose threads only post to the event loop.

* Whatever can happen between handing a request to kazoo and its reply is an unknown outcome: kazoo says neither whether a
  request left before the connection broke, nor gives one up for good. Only a request that waited for a connection
  in vain, or that a server refused, surely did nothing.
* Every wait has an end: kazoo may lose a request that is made in the moment in which a session expires.
* kazoo fires every watch when it loses its connection.
* kazoo forgets with a session what it had seen. Nothing older is read in the next one all the same: a session begins with a
  transaction, which the server that answers has applied (unless it has `localSessionsEnabled`: docs/zookeeper.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from kazoo.client import KazooClient, KazooState, TransactionRequest
from kazoo.exceptions import (
    CancelledError,
    ConnectionLoss,
    OperationTimeoutError,
    RequestTimeoutError,
    SessionExpiredError,
    SessionMovedError,
    ZookeeperError,
)
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.interfaces import IAsyncResult
from kazoo.protocol.states import KeeperState
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

from qanat.coordination.store import Check, Create, Delete, Node, Op, SessionState, Set
from qanat.coordination.watching import SessionBoard
from qanat.coordination.zookeeper_url import ZookeeperOptions
from qanat.errors import NotConnectedError, OutcomeUnknownError

log = structlog.get_logger(__name__)

# Requests on their way at a time. kazoo wakes its thread through a socket pair that holds about 270 wake-ups; one more
# would block the event loop while it has no connection.
IN_FLIGHT_MAX = 128

# Pauses between attempts to connect: the first is for a server that was replaced, the last for an ensemble that is away.
CONNECT_S, CONNECT_S_MAX = 0.1, 1.0

# In doubt whether it was done, at any rate for a request that changes something. ConnectionClosedError is one of them.
_NO_REPLY = (
    *(ConnectionLoss, SessionExpiredError, SessionMovedError),
    *(OperationTimeoutError, RequestTimeoutError, CancelledError),
)

Fire = Callable[[object], None]


class RefusedError(Exception):
    """A server answered no, with ZooKeeper's error code; nothing was done."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]
    """kazoo's threads; connections with our TLS context, so that its files are read once and its faults found early."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._tls = tls

    def spawn(self, func: Callable[..., None], *args: Any, **kwargs: Any) -> threading.Thread:
        """With a word in the log instead of a traceback about an error that kazoo didn't foresee: it has said CLOSED by
        then, and `Connection` begins anew. One that was seen: an answer to a request that it gave up as a session expired."""

        def run() -> None:
            try:
                func(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the thread's root, of another's code
                log.warning("zookeeper_thread_failed", thread=func.__name__, reason=repr(error))

        return super().spawn(run)  # type: ignore[no-any-return]

    def select(self, reads: Sequence[Any], writes: Any, errors: Any, timeout: float | None = None) -> Any:
        """With TLS, a reply may have been received behind another that was read: the socket itself is quiet then."""
        received = [each for each in reads if isinstance(each, ssl.SSLSocket) and each.pending()]
        ready = super().select(reads, writes, errors, 0 if received else timeout)
        return ([*received, *(each for each in ready[0] if each not in received)], *ready[1:])

    def create_connection(
        self, address: tuple[str, int], hostname: str | None = None, timeout: float | None = None, **_: object
    ) -> socket.socket:
        connection = socket.create_connection(address, timeout)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_hostname=hostname)
        except BaseException:
            connection.close()
            raise
        return connection


class _LastWords(logging.Handler):
    """Keeps kazoo's last complaint, for our own message; it would repeat it several times a second in the log."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class Connection:
    """Connects at the first request, and again by itself whenever it has to. Paths are ZooKeeper's own.

    Every request raises NotConnectedError (never sent), OutcomeUnknownError (no reply), RefusedError.
    *Thread*: one event loop's. Nothing on it blocks."""

    def __init__(self, options: ZookeeperOptions, board: SessionBoard) -> None:
        self._options = options
        self._board = board
        self._acl = OPEN_ACL_UNSAFE if options.credential is None else CREATOR_ALL_ACL
        self._last_words = _LastWords()
        self._client: KazooClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_flight = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._revival: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def session_secret(self) -> tuple[int, bytes] | None:
        """Id and password of the session; None while not connected."""
        return None if self._client is None else self._client.client_id

    # Requests. `doing` says in an error what was tried.

    async def get(self, doing: str, path: str) -> Node:
        """The node as the server knows it."""
        value, stat = await self._request(doing, lambda client: client.get_async(path))
        return Node(value or b"", stat.version, stat.ephemeralOwner)

    async def children(self, doing: str, path: str, fire: Fire | None = None) -> list[str]:
        """Names; `fire` is called, on a thread of kazoo's, once they change."""
        names: list[str] = await self._request(
            doing, lambda client: client.get_children_async(path, watch=fire)
        )
        return names

    async def exists(self, doing: str, path: str, fire: Fire) -> bool:
        """`fire` is called, on a thread of kazoo's, once the node is created, changed or deleted."""
        stat = await self._request(doing, lambda client: client.exists_async(path, watch=fire))
        return stat is not None

    async def sync(self, doing: str, path: str) -> None:
        """The server catches up with the leader."""
        await self._request(doing, lambda client: client.sync_async(path))

    async def transact(self, doing: str, ops: Sequence[Op]) -> list[int]:
        """Error codes of all operations: empty when they were applied, else 0 for those that would have been."""

        def submit(client: KazooClient) -> IAsyncResult:
            transaction = client.transaction()
            for op in ops:
                _add(transaction, op, self._acl)
            return transaction.commit_async()

        results = await self._request(doing, submit)
        if len(results) != len(ops):
            raise OutcomeUnknownError(f"{self._cannot(doing)}: a reply that makes no sense, {results!r}")
        if not any(isinstance(result, Exception) for result in results):
            return []
        return [getattr(result, "code", 0) for result in results]

    async def _request(self, doing: str, submit: Callable[[KazooClient], IAsyncResult]) -> Any:
        in_flight = await self._free_slot(doing)
        try:
            client = await self.connected(doing)
        except BaseException:
            in_flight.release()
            raise
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(result: IAsyncResult) -> None:
            in_flight.release()
            if reply.done():
                return
            if result.exception is not None:
                reply.set_exception(result.exception)
            else:
                reply.set_result(result.value)

        submit(client).rawlink(lambda result: self.post(settle, result))
        try:
            async with asyncio.timeout(self._options.session_timeout_s):
                return await reply
        except (TimeoutError, *_NO_REPLY) as error:
            raise OutcomeUnknownError(f"{self._cannot(doing)}: no reply ({type(error).__name__})") from error
        except ZookeeperError as error:
            raise RefusedError(error.code, f"{self._cannot(doing)}: {error!r}") from error

    async def connected(self, doing: str) -> KazooClient:
        """The client, connected. Raises NotConnectedError after waiting for as long as a session lives."""
        self.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.session_timeout_s):
                await self._board.connected()
        if self._closed or self._client is None:
            raise NotConnectedError(f"{self._cannot(doing)}: it is closed")
        if self._board.current.state is not SessionState.CONNECTED:
            why = f"; {self._last_words.text}" if self._last_words.text else ""
            raise NotConnectedError(
                f"{self._cannot(doing)}: no connection for {self._options.session_timeout_s:g} s{why}"
            )
        return self._client

    async def _free_slot(self, doing: str) -> asyncio.Semaphore:
        """Of which one was acquired."""
        in_flight = self._in_flight
        try:
            async with asyncio.timeout(self._options.session_timeout_s):
                await in_flight.acquire()
        except TimeoutError:
            raise NotConnectedError(f"{self._cannot(doing)}: {IN_FLIGHT_MAX} requests get no reply") from None
        return in_flight

    def _cannot(self, doing: str) -> str:
        return f"cannot {doing}, coordination store zookeeper://{self._options.hosts}{self._options.prefix}"

    # Life.

    async def close(self) -> None:
        """End the session; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._revival is not None:
            self._revival.cancel()
        if self._client is not None:
            await self._stop(self._client)

    def start(self) -> None:
        """Begin to connect, unless that was done. Needs a running event loop."""
        if self._client is not None or self._closed:
            return
        self._loop = asyncio.get_running_loop()
        logger = logging.Logger("kazoo", logging.WARNING)
        logger.addHandler(self._last_words)
        options = self._options
        client = KazooClient(
            hosts=options.hosts,
            timeout=options.session_timeout_s,
            handler=_Handler(options.tls),
            auth_data=None if options.credential is None else [("digest", options.credential)],
            connection_retry={
                "max_tries": -1,
                "delay": CONNECT_S,
                "backoff": 2,
                "max_delay": CONNECT_S_MAX,
            },
            logger=logger,
        )
        client.add_listener(lambda state: self._heard(client, state))
        self._client = client
        client.start_async()

    def _heard(self, client: KazooClient, state: str) -> None:
        """*Thread*: kazoo's connection thread, which knows the session's id at this moment."""
        secret = client.client_id
        dead = client.client_state in (KeeperState.CLOSED, KeeperState.AUTH_FAILED)
        self.post(self._changed, client, state, secret[0] if secret else None, dead)

    def _changed(self, client: KazooClient, state: str, session_id: int | None, dead: bool) -> None:
        if client is not self._client or self._closed:
            return
        if state == KazooState.CONNECTED:
            self._board.change(SessionState.CONNECTED, session_id)
        elif state == KazooState.SUSPENDED:
            self._board.change(SessionState.SUSPENDED)
        else:
            self._board.change(SessionState.LOST)
            self._in_flight = asyncio.Semaphore(IN_FLIGHT_MAX)  # requests that kazoo lost hold none for ever
            if dead:
                self._revival = asyncio.create_task(self._revive(client))

    async def _revive(self, client: KazooClient) -> None:
        """kazoo's thread ends for good after an error that it didn't foresee; we don't."""
        await self._stop(client)
        await asyncio.sleep(CONNECT_S_MAX)
        self._client = None
        self.start()

    async def _stop(self, client: KazooClient) -> None:
        """kazoo waits for its threads, which wait for a server: not on the event loop, and not for ever."""
        stopped = asyncio.Event()

        def stop() -> None:
            with contextlib.suppress(Exception):
                client.stop()
                client.close()
            self.post(stopped.set)

        threading.Thread(target=stop, name="zookeeper-stop", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), self._options.session_timeout_s)

    def post(self, function: Callable[..., None], *args: object) -> None:
        """Have the event loop call it. *Thread*: any."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is interested any more
            self._loop.call_soon_threadsafe(function, *args)


def _add(transaction: TransactionRequest, op: Op, acl: Sequence[Any]) -> None:
    match op:
        case Create(path, value, ephemeral):
            transaction.create(path, bytes(value), acl=acl, ephemeral=ephemeral)
        case Set(path, value, version):
            transaction.set_data(path, bytes(value), version)
        case Check(path, version):
            transaction.check(path, version)
        case Delete(path, version):
            transaction.delete(path, version)
