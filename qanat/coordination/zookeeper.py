"""The coordination store on a ZooKeeper ensemble, through kazoo, whose threads only post to the event loop.

How it keeps its promises:

* A multi is one ZooKeeper transaction, missing parents included: it is tried without them, and where the server says
  that a parent is missing, it is put in and the whole is tried again.
* Whatever can happen between handing a request to kazoo and its reply is an unknown outcome: kazoo says neither whether a
  request left before the connection broke, nor gives one up for good. Only a request that waited for a connection
  in vain, or that a server refused, surely did nothing.
* Every wait has an end: kazoo may lose a request that is made in the moment in which a session expires.
* A watch is set before it is reported, and kazoo fires all of them when it loses its connection; they are set again,
  and reported again, once it has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Any

from kazoo import exceptions as zk
from kazoo.client import KazooClient, KazooState, TransactionRequest
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.interfaces import IAsyncResult
from kazoo.protocol.states import KeeperState
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

from qanat.coordination.request import ROOT, check_path, check_request, parent_of
from qanat.coordination.store import Check, Conflict, Create, Delete, Node, Op, Session, SessionState, Set
from qanat.coordination.watching import SessionBoard, Watchers
from qanat.coordination.zookeeper_url import ZookeeperOptions
from qanat.errors import ConfigError, NotConnectedError, OutcomeUnknownError, PermanentError
from qanat.rpc.backoff import backoff_s

# Servers take 1,048,575 bytes by default (jute.maxbuffer) and drop the connection of who sends more. `request.OP_BYTES` covers
# what an operation costs there; the rest is for the request's own header, and for parents that are put in.
REQUEST_BYTES_MAX = 1_000_000

# Requests on their way at a time. kazoo wakes its thread through a socket pair that holds about 270 wake-ups; one more
# would block the event loop while it has no connection.
_IN_FLIGHT_MAX = 128

# How often a multi is tried with one more missing parent. Our paths have five levels.
_PARENTS_MAX = 64

# Pauses between attempts to connect: the first is for a server that was replaced, the last for an ensemble that is away.
_CONNECT_S, _CONNECT_S_MAX = 0.1, 1.0

# In doubt whether it was done, at any rate for a request that changes something.
_NO_REPLY = (
    zk.ConnectionLoss,
    zk.SessionExpiredError,  # ConnectionClosedError is one
    zk.OperationTimeoutError,
    zk.RequestTimeoutError,
    zk.SessionMovedError,
    zk.CancelledError,
)

_Step = tuple[int | None, Op]  # the index in the caller's request; None for a parent that was put in


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]
    """kazoo's threads; connections with our TLS context, so that its files are read once and its faults found early."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._tls = tls

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


class ZookeeperStore:
    """A `Store` on an ensemble. Connects at the first call, and again by itself whenever it has to.

    *Thread*: one event loop's. Nothing on it blocks."""

    request_bytes_max = REQUEST_BYTES_MAX

    def __init__(self, options: ZookeeperOptions) -> None:
        self._options = options
        self._prefix = options.prefix
        self._acl = OPEN_ACL_UNSAFE if options.credential is None else CREATOR_ALL_ACL
        self._board = SessionBoard(f"zookeeper://{options.hosts}{options.prefix}")
        self._watchers = Watchers()
        self._last_words = _LastWords()
        self._client: KazooClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT_MAX)
        self._revival: asyncio.Task[None] | None = None
        self._closed = False

    # The protocol.

    @property
    def session(self) -> Session:
        """As it was last heard of."""
        return self._board.current

    @property
    def session_secret(self) -> tuple[int, bytes] | None:
        """Id and password of the session: who has both may continue it, or end it. None while not connected."""
        return None if self._client is None else self._client.client_id

    async def session_changes(self) -> AsyncGenerator[Session, None]:
        """The session now, and after each change."""
        self._start()
        async with contextlib.aclosing(self._board.changes()) as changes:
            async for session in changes:
                yield session

    async def watch(self, path: str) -> AsyncGenerator[None, None]:
        """Yields once it is set, after each change, and after each interruption."""
        changed = self._watchers.add(check_path(path))
        failures = 0
        try:
            while not self._closed:
                self._start()
                changed.clear()
                try:
                    if not await self._board.connected():
                        return
                    await self._set_watch(path, lambda _: self._post(changed.set))
                except NotConnectedError:
                    failures += 1
                    await asyncio.sleep(backoff_s(failures, _CONNECT_S_MAX))
                    continue
                failures = 0
                yield
                await changed.wait()
        finally:
            self._watchers.discard(path, changed)

    async def get(self, path: str) -> Node | None:
        """The node as this client's server knows it."""
        where = self._where(path)
        try:
            value, stat = await self._read(f"read {path}", lambda client: client.get_async(where))
        except zk.NoNodeError:
            return None
        return Node(value or b"", stat.version, stat.ephemeralOwner)

    async def get_many(self, paths: Sequence[str]) -> list[Node | None]:
        """As many `get`s, pipelined; not one snapshot."""
        nodes: list[Node | None] = []
        for start in range(0, len(paths), _IN_FLIGHT_MAX):
            nodes += await asyncio.gather(*map(self.get, paths[start : start + _IN_FLIGHT_MAX]))
        return nodes

    async def children(self, path: str) -> list[str]:
        """Names (not paths) of the children, sorted; empty when the node does not exist."""
        where = self._where(path)
        try:
            names = await self._read(
                f"list the children of {path}", lambda client: client.get_children_async(where)
            )
        except zk.NoNodeError:
            return []
        return sorted(names)

    async def multi(self, ops: Sequence[Op]) -> None:
        """All of them or none, atomically and durably. See `Store.multi`."""
        check_request(ops, self.request_bytes_max)
        steps: list[_Step] = [(index, replace(op, path=self._where(op.path))) for index, op in enumerate(ops)]
        for _ in range(_PARENTS_MAX):
            failed = await self._transact(steps)
            if failed is None:
                return
            position, error = failed
            index, op = steps[position]
            if isinstance(op, Create) and isinstance(error, zk.NoNodeError):
                steps.insert(position, (None, Create(parent_of(op.path), b"")))
            elif index is None and isinstance(error, zk.NodeExistsError):
                del steps[position]  # somebody created the parent meanwhile
            else:
                raise _refusal(error, op) if index is None else _refusal(error, ops[index], index)
        raise NotConnectedError(f"parents of {ops[0].path} come and go; nothing was done, try again")

    async def sync(self, path: str) -> None:
        """Reads that follow see everything that was committed before this call."""
        where = self._where(path)
        await self._read(f"sync {path}", lambda client: client.sync_async(where))

    async def close(self) -> None:
        """End the session, and with it its ephemeral nodes; release everything; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._board.close()
        self._watchers.notify(None)
        if self._revival is not None:
            self._revival.cancel()
        if self._client is not None:
            await self._stop(self._client)

    # Requests.

    def _where(self, path: str) -> str:
        return self._prefix or ROOT if check_path(path) == ROOT else self._prefix + path

    async def _read(self, doing: str, submit: Callable[[KazooClient], IAsyncResult]) -> Any:
        try:
            return await self._request(doing, submit)
        except OutcomeUnknownError as error:
            raise NotConnectedError(str(error)) from error  # reading does nothing
        except zk.NoAuthError as error:
            raise _forbidden(doing) from error

    async def _set_watch(self, path: str, fire: Callable[[object], None]) -> None:
        where = self._where(path)
        doing = f"watch {path}"
        with contextlib.suppress(zk.NoNodeError):  # deleted between the two: the first watch fires
            if await self._read(doing, lambda client: client.exists_async(where, watch=fire)) is not None:
                await self._read(doing, lambda client: client.get_children_async(where, watch=fire))

    async def _transact(self, steps: Sequence[_Step]) -> tuple[int, Exception] | None:
        """Send them as one transaction. None: it was applied; else the first that was refused, and why."""

        def submit(client: KazooClient) -> IAsyncResult:
            transaction = client.transaction()
            for _, op in steps:
                _add(transaction, op, self._acl)
            return transaction.commit_async()

        doing = f"apply {len(steps)} operations"
        if not steps:
            await self._connected(doing)
            return None
        try:
            results = await self._request(doing, submit)
        except zk.ZookeeperError as error:
            raise OutcomeUnknownError(f"{doing}: {error!r}; sync, read, then repeat") from error
        errors = [(at, result) for at, result in enumerate(results) if isinstance(result, Exception)]
        if not errors and len(results) == len(steps):
            return None
        # Before the one that was refused all are "rolled back"; those behind it were not looked at.
        for at, refused in errors:
            if not isinstance(refused, zk.RolledBackError):
                return at, refused
        raise OutcomeUnknownError(
            f"{doing}: a reply that makes no sense, {results!r}; sync, read, then repeat"
        )

    async def _request(self, doing: str, submit: Callable[[KazooClient], IAsyncResult]) -> Any:
        """The reply. Raises NotConnectedError when it was never sent, OutcomeUnknownError when no reply came, and
        kazoo's errors for what the server refused."""
        client = await self._connected(doing)
        in_flight, loop = self._in_flight, asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()

        def settle(result: IAsyncResult) -> None:
            in_flight.release()
            if reply.done():
                return
            if result.exception is not None:
                reply.set_exception(result.exception)
            else:
                reply.set_result(result.value)

        submit(client).rawlink(lambda result: self._post(settle, result))
        try:
            async with asyncio.timeout(self._options.session_timeout_s):
                return await reply
        except (TimeoutError, *_NO_REPLY) as error:
            raise OutcomeUnknownError(f"{self._cannot(doing)}: no reply ({type(error).__name__})") from error

    async def _connected(self, doing: str) -> KazooClient:
        """The client, connected, with room for one more request. Raises NotConnectedError."""
        if self._closed:
            raise NotConnectedError(f"{self._cannot(doing)}: it is closed")
        self._start()
        try:
            async with asyncio.timeout(self._options.session_timeout_s):
                if self._board.current.state is not SessionState.CONNECTED:
                    await self._board.connected()
                await self._in_flight.acquire()
        except TimeoutError:
            why = f"; {self._last_words.text}" if self._last_words.text else ""
            raise NotConnectedError(
                f"{self._cannot(doing)}: no connection for {self._options.session_timeout_s:g} s{why}"
            ) from None
        if self._closed or self._client is None:
            raise NotConnectedError(f"{self._cannot(doing)}: it is closed")
        return self._client

    def _cannot(self, doing: str) -> str:
        return f"cannot {doing}, coordination store zookeeper://{self._options.hosts}{self._prefix}"

    # The connection.

    def _start(self) -> None:
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
                "delay": _CONNECT_S,
                "backoff": 2,
                "max_delay": _CONNECT_S_MAX,
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
        self._post(self._changed, client, state, secret[0] if secret else None, dead)

    def _changed(self, client: KazooClient, state: str, session_id: int | None, dead: bool) -> None:
        if client is not self._client or self._closed:
            return
        if state == KazooState.CONNECTED:
            self._board.change(SessionState.CONNECTED, session_id)
        elif state == KazooState.SUSPENDED:
            self._board.change(SessionState.SUSPENDED)
        else:
            self._board.change(SessionState.LOST)
            self._in_flight = asyncio.Semaphore(_IN_FLIGHT_MAX)  # requests that kazoo lost hold none for ever
            if dead:
                self._revival = asyncio.create_task(self._revive(client))

    async def _revive(self, client: KazooClient) -> None:
        """kazoo's thread ends for good after an error that it didn't foresee; we don't."""
        await self._stop(client)
        await asyncio.sleep(_CONNECT_S_MAX)
        self._client = None
        self._start()

    async def _stop(self, client: KazooClient) -> None:
        """kazoo waits for its threads, which wait for a server: not on the event loop, and not for ever."""
        stopped = asyncio.Event()

        def stop() -> None:
            with contextlib.suppress(Exception):
                client.stop()
                client.close()
            self._post(stopped.set)

        threading.Thread(target=stop, name="zookeeper-stop", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), self._options.session_timeout_s)

    def _post(self, function: Callable[..., None], *args: object) -> None:
        """*Thread*: any."""
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


def _refusal(error: Exception, op: Op, index: int | None = None) -> Exception:
    """Why the server did not do `op`, as our error."""
    match error:
        case zk.NoAuthError():
            return _forbidden(f"{type(op).__name__.lower()} {op.path}")
        case zk.NoNodeError():
            reason = "does not exist"
        case zk.BadVersionError():
            reason = f"has another version than {getattr(op, 'version', None)}"
        case zk.NodeExistsError():
            reason = "exists"
        case zk.NotEmptyError():
            reason = "has children"
        case zk.NoChildrenForEphemeralsError():
            reason = "its parent is ephemeral and has no children"
        case zk.BadArgumentsError() if isinstance(op, Delete) and op.path == ROOT:
            reason = "is the root"
        case zk.BadArgumentsError() | zk.InvalidACLError():
            return PermanentError(f"ZooKeeper does not take {op.path!r}: {error!r}; nothing was done")
        case _:
            return NotConnectedError(f"ZooKeeper refused to change {op.path}: {error!r}; nothing was done")
    if index is None:  # of a parent that was put in: only its own parent can be in the way
        return NotConnectedError(f"cannot create {op.path}: {reason}; nothing was done, try again")
    return Conflict(index, op.path, reason)


def _forbidden(doing: str) -> ConfigError:
    return ConfigError(
        f"ZooKeeper does not allow this user to {doing}: the node belongs to another; check the user in the store's"
        " URL and the password, which must be the same for every program of the cluster"
    )
