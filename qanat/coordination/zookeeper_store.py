"""The coordination store on a ZooKeeper ensemble.

A multi is one ZooKeeper transaction, missing parents included: it is tried without them, and where the server says that
a parent is missing, it is put in with all others that seem to be, and the whole is tried again. A watch is set before it is
reported; all of them end with the connection, are set again once there is another, and are reported again.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import AsyncGenerator, Awaitable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from qanat.coordination.request import ROOT, check_path, check_request, parent_of
from qanat.coordination.store import Conflict, Create, Delete, Node, Op, Session
from qanat.coordination.watching import SessionBoard, Watchers
from qanat.coordination.zookeeper import CONNECT_S_MAX, IN_FLIGHT_MAX, Connection, Fire, RefusedError
from qanat.coordination.zookeeper_url import ZookeeperOptions
from qanat.errors import ConfigError, NotConnectedError, OutcomeUnknownError, PermanentError
from qanat.rpc.backoff import backoff_s

T = TypeVar("T")

# Servers take 1,048,575 bytes by default (jute.maxbuffer) and drop the connection of who sends more. `request.OP_BYTES` covers
# what an operation costs there; the rest is for the request's own header, and for parents that are put in.
REQUEST_BYTES_MAX = 1_000_000

# What is left for parents: the server's limit but for the request's own header.
PACKET_BYTES_MAX = 1_048_575 - 1_000

# What an operation costs in a request besides path, value and access list: 9 bytes of header, 4 each for three lengths, and 4 of
# flags or version.
_HEADER_BYTES = 25

# An access list: a length, permissions, two lengths, and `digest` with a user and a hash, or `world` with `anyone`.
_ACCESS_BYTES = 96

# How often a multi is tried with other parents: those that are missing are put in all at once, unless others create and
# delete them meanwhile.
_PARENTS_MAX = 64


class Code(enum.IntEnum):
    """ZooKeeper's error codes, as far as we make a difference (KeeperException.Code)."""

    BAD_ARGUMENTS = -8
    NO_NODE = -101
    NO_AUTH = -102
    BAD_VERSION = -103
    NO_CHILDREN_FOR_EPHEMERALS = -108
    NODE_EXISTS = -110
    NOT_EMPTY = -111


_Step = tuple[int | None, Op]  # the index in the caller's request; None for a parent that was put in


class ZookeeperStore:
    """A `Store` on an ensemble. Connects at the first call, and again by itself whenever it has to.

    *Thread*: one event loop's. Nothing on it blocks."""

    request_bytes_max = REQUEST_BYTES_MAX

    def __init__(self, options: ZookeeperOptions) -> None:
        self._prefix = options.prefix
        self._board = SessionBoard(f"zookeeper://{options.hosts}{options.prefix}")
        self._connection = Connection(options, self._board)
        self._watchers = Watchers()
        self._closed = False

    @property
    def session(self) -> Session:
        """As it was last heard of."""
        return self._board.current

    @property
    def session_secret(self) -> tuple[int, bytes] | None:
        """Id and password of the session: who has both may continue it, or end it. None while not connected."""
        return self._connection.session_secret

    async def session_changes(self) -> AsyncGenerator[Session, None]:
        """The session now, and after each change."""
        self._connection.start()
        async with contextlib.aclosing(self._board.changes()) as changes:
            async for session in changes:
                yield session

    async def watch(self, path: str) -> AsyncGenerator[None, None]:
        """Yields once it is set, after each change, and after each interruption."""
        changed = self._watchers.add(check_path(path))
        self._connection.start()
        failures = 0
        try:
            while await self._board.connected() and not self._closed:
                changed.clear()
                try:
                    await self._set_watch(path, lambda _: self._connection.post(changed.set))
                except NotConnectedError:
                    failures += 1
                    await asyncio.sleep(backoff_s(failures, CONNECT_S_MAX))
                    continue
                failures = 0
                yield
                await changed.wait()
        finally:
            self._watchers.discard(path, changed)

    async def get(self, path: str) -> Node | None:
        """The node as this client's server knows it."""
        doing = f"read {path}"
        return await _read(doing, self._connection.get(doing, self._where(path)), absent=None)

    async def get_many(self, paths: Sequence[str]) -> list[Node | None]:
        """As many `get`s, pipelined; not one snapshot."""
        nodes: list[Node | None] = []
        for start in range(0, len(paths), IN_FLIGHT_MAX):
            nodes += await asyncio.gather(*map(self.get, paths[start : start + IN_FLIGHT_MAX]))
        return nodes

    async def children(self, path: str) -> list[str]:
        """Names (not paths) of the children, sorted; empty when the node does not exist."""
        doing = f"list the children of {path}"
        return sorted(await _read(doing, self._connection.children(doing, self._where(path)), absent=[]))

    async def multi(self, ops: Sequence[Op]) -> None:
        """All of them or none, atomically and durably. See `Store.multi`."""
        check_request(ops, self.request_bytes_max)
        steps: list[_Step] = [(index, replace(op, path=self._where(op.path))) for index, op in enumerate(ops)]
        for _ in range(_PARENTS_MAX):
            refused = await self._transact([op for _, op in steps])
            if refused is None:
                return
            position, code = refused
            index, op = steps[position]
            if isinstance(op, Create) and code == Code.NO_NODE:
                steps = await self._with_parents(steps, position)
                _check_packet(steps)
            elif index is None and code == Code.NODE_EXISTS:
                steps = await self._without_present(steps, position)  # somebody created the parent meanwhile
            elif index is None:  # only a parent's own parent can be in its way: for the caller it is the same
                index = next(index for index, _ in steps[position:] if index is not None)
                raise _refusal(code, ops[index], index)
            else:
                raise _refusal(code, ops[index], index)
        raise NotConnectedError(f"parents of {ops[0].path} come and go; nothing was done, try again")

    async def sync(self, path: str) -> None:
        """Reads that follow see everything that was committed before this call."""
        doing = f"sync {path}"
        await _read(doing, self._connection.sync(doing, self._where(path)), absent=None)

    async def close(self) -> None:
        """End the session, and with it its ephemeral nodes; release everything; idempotent."""
        self._closed = True
        self._board.close()
        self._watchers.notify(None)
        await self._connection.close()

    def _where(self, path: str) -> str:
        return self._prefix or ROOT if check_path(path) == ROOT else self._prefix + path

    async def _set_watch(self, path: str, fire: Fire) -> None:
        where, doing = self._where(path), f"watch {path}"
        if await _read(doing, self._connection.exists(doing, where, fire), absent=False):
            # Deleted between the two: the first watch fires.
            await _read(doing, self._connection.children(doing, where, fire), absent=[])

    async def _with_parents(self, steps: Sequence[_Step], position: int) -> list[_Step]:
        """With the parent that the operation at `position` lacks, and those that later ones seem to: a change of a thousand
        logical nodes lacks a thousand. What is wrong about them the server says."""
        made = {op.path for _, op in steps if isinstance(op, Create)} | {parent_of(steps[position][1].path)}
        wanted: dict[str, None] = {}
        for _, op in steps[position:]:
            if isinstance(op, Create):
                wanted |= dict.fromkeys(above for above in _above(op.path) if above not in made)
        missing = await self._absent(list(wanted)) | {parent_of(steps[position][1].path)}
        found = list(steps[:position])
        for step in steps[position:]:
            if isinstance(step[1], Create):
                parents = [above for above in _above(step[1].path) if above in missing]
                found += [(None, Create(above, b"")) for above in reversed(parents)]
                missing.difference_update(parents)
            found.append(step)
        return found

    async def _without_present(self, steps: Sequence[_Step], position: int) -> list[_Step]:
        """Without the parents that there are by now, the one at `position` among them."""
        await self.sync(ROOT)
        absent = await self._absent([op.path for index, op in steps if index is None])
        absent.discard(steps[position][1].path)
        return [step for step in steps if step[0] is not None or step[1].path in absent]

    async def _absent(self, wheres: Sequence[str]) -> set[str]:
        """Those that there are not, as far as this client's server knows."""
        absent: set[str] = set()
        for start in range(0, len(wheres), IN_FLIGHT_MAX):
            chunk = wheres[start : start + IN_FLIGHT_MAX]
            doing = "look for parents"
            reads = (_read(doing, self._connection.get(doing, where), absent=None) for where in chunk)
            found = await asyncio.gather(*reads)
            absent.update(where for where, node in zip(chunk, found, strict=True) if node is None)
        return absent

    async def _transact(self, ops: Sequence[Op]) -> tuple[int, int] | None:
        """Send them as one transaction. None: it was applied; else the first that was refused, and its code."""
        doing = f"apply {len(ops)} operations"
        if not ops:
            await self._connection.connected(doing)
            return None
        try:
            codes = await self._connection.transact(doing, ops)
        except RefusedError as error:  # not one of them, but the request
            raise OutcomeUnknownError(f"{error}; sync, read, then repeat") from error
        if not codes:
            return None
        # Before the one that was refused they are 0, "rolled back"; behind it nothing was looked at.
        return next((at, code) for at, code in enumerate(codes) if code != 0)


def _above(where: str) -> Iterator[str]:
    """Every path above it but the root, the nearest first."""
    while (where := parent_of(where)) != ROOT:
        yield where


def _check_packet(steps: Sequence[_Step]) -> None:
    """A server drops the connection of who sends more than it takes, which looks like a server that is away."""
    size = sum(
        _HEADER_BYTES + _ACCESS_BYTES + len(op.path.encode()) + len(getattr(op, "value", b""))
        for _, op in steps
    )
    if size > PACKET_BYTES_MAX:
        added = sum(index is None for index, _ in steps)
        raise PermanentError(
            f"a request to ZooKeeper has {size} bytes, limit {PACKET_BYTES_MAX}, with the {added} parents that are missing; the "
            f"first is {steps[0][1].path}. Split the request."
        )


async def _read(doing: str, request: Awaitable[T], *, absent: T) -> T:
    """The reply, or `absent` when there is no such node."""
    try:
        return await request
    except OutcomeUnknownError as error:
        raise NotConnectedError(str(error)) from error  # reading does nothing
    except RefusedError as error:
        if error.code == Code.NO_NODE:
            return absent
        if error.code == Code.NO_AUTH:
            raise _forbidden(doing) from error
        raise NotConnectedError(str(error)) from error


def _refusal(code: int, op: Op, index: int) -> Exception:
    """Why the server did not do `op`, as our error."""
    match code:
        case Code.NO_NODE:
            reason = "does not exist"
        case Code.BAD_VERSION:
            reason = f"has another version than {getattr(op, 'version', None)}"
        case Code.NODE_EXISTS:
            reason = "exists"
        case Code.NOT_EMPTY:
            reason = "has children"
        case Code.NO_CHILDREN_FOR_EPHEMERALS:
            reason = "its parent is ephemeral and has no children"
        case Code.BAD_ARGUMENTS if isinstance(op, Delete) and op.path == ROOT:
            reason = "is the root"
        case Code.BAD_ARGUMENTS:
            return PermanentError(f"ZooKeeper does not take the path {op.path!r}; nothing was done")
        case Code.NO_AUTH:
            return _forbidden(f"{type(op).__name__.lower()} {op.path}")
        case _:
            return NotConnectedError(
                f"ZooKeeper refused {type(op).__name__} of {op.path}, error {code}; nothing was done"
            )
    return Conflict(index, op.path, reason)


def _forbidden(doing: str) -> ConfigError:
    return ConfigError(
        f"ZooKeeper does not allow this user to {doing}: the node belongs to another; check the user in the store's"
        " URL and the password, which must be the same for every program of the cluster"
    )
