"""Values larger than what a store takes in one request: written in parts first, then referred to.

An ensemble of ZooKeeper servers takes 1 MiB a request, all operations of a multi together; the token of a sink with 10,000
open files has 3 MB. `LargeValues` writes such a value as immutable *parts* under fresh names, one request each, and the
multi then carries a small reference to them, and moves the *fence* of the path: the version of the node that the
parts are children of. Forms and names are in `parts.py`.

Every attempt has parts of its own (64 random bits), and the one multi that refers to them is sent once, so a store applies it
at most once: a part is referred to by at most one value that ever was. A part is *live* while the node has that value.

*A reader never sees a torn value.* Parts are written before the multi is sent and never changed, so a node that refers to
them was stored after all of them. The reader puts together the parts of one attempt, or finds one missing. Live parts are
never deleted (below), so then the node has been changed since it was read, and the reader reads it again; a node that is
the same still means that somebody else deleted it, which is an error, as is a wrong length or CRC32C.

*A live part is never deleted.* Call W the multi that refers to part p, and C a multi that deletes p. Both move the fence by
compare-and-set, from w and from c, and the fence only grows since its node is never deleted. W's writer knew w before it wrote
p. C's collector knew c before it read the node and listed the parts, and it does not delete what that node refers to.
Reads of one client never go back in time, but they need not be the latest.
* W before C: C succeeds only at c, so W is part of what the collector saw when it learned c. It read the node after that: either
  as W left it, and p is spared, or as it was later, and no value will refer to p again.
* C before W: p was listed, hence written, hence w known, before C was sent. C moved the fence beyond w: W is refused.

Nothing in that depends on which requests get replies, or when they arrive: a W or C that is applied seconds after its client gave
up or crashed is one of the two cases. A crash leaves parts that nobody refers to.

*Progress.* So that collectors don't refuse attempts that could succeed, a collector takes only parts which were meant to replace
a version older than the node's: their W can't succeed any more, unless the node was deleted and created again. An attempt
that is refused by the fence alone starts over with new parts. Parts of attempts that were refused, or never ended, are
collected after a later change of the node by a writer that knows it to be large.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace
from itertools import islice

from crc32c import crc32c

from qanat.coordination import parts
from qanat.coordination.parts import Reference
from qanat.coordination.request import OP_BYTES, check_request
from qanat.coordination.store import VALUE_BYTES_MAX, Conflict, Create, Delete, Node, Op, Session, Set, Store
from qanat.errors import CorruptError, NotConnectedError, OutcomeUnknownError, QanatError

# Every attempt is refused only because another writer of the same path succeeded or collected: a few in a row are bad luck.
ATTEMPTS_MAX = 20

# A read starts over only when the node changed between the reading of it and of its parts.
READS_MAX = 100

# Paths that are known to have parts, with their fences: forgetting one costs a read. A collector has one sink and its senders.
KNOWN_PATHS_MAX = 10_000


class LargeValues:
    """A `Store` of values of up to `VALUE_BYTES_MAX` over one whose requests are limited to `request_bytes_max`, by default
    what that store says.

    Small values take no extra request, but for a `Delete`, which looks for parts to delete."""

    def __init__(self, store: Store, *, request_bytes_max: int | None = None) -> None:
        self._store = store
        self._limit = store.request_bytes_max if request_bytes_max is None else request_bytes_max
        self._fences: dict[str, int | None] = {}  # of paths that have parts; None: not read yet

    @property
    def request_bytes_max(self) -> int:
        """What a `multi` may carry, values that are stored apart included."""
        return VALUE_BYTES_MAX

    @property
    def session(self) -> Session:
        """As it was last heard of."""
        return self._store.session

    def session_changes(self) -> AsyncGenerator[Session, None]:
        """The session now, and whenever it changed."""
        return self._store.session_changes()

    def watch(self, path: str) -> AsyncGenerator[None, None]:
        """Yields once when it stands, and whenever since then the node or its children may have changed."""
        return self._store.watch(path)

    async def get(self, path: str) -> Node | None:
        """The node as it is now."""
        return await self._resolved(path, await self._store.get(path))

    async def get_many(self, paths: Sequence[str]) -> list[Node | None]:
        """As many `get`s in one go; not one snapshot."""
        nodes = await self._store.get_many(paths)
        return [await self._resolved(path, node) for path, node in zip(paths, nodes, strict=True)]

    async def children(self, path: str) -> list[str]:
        """Names (not paths) of the children, sorted; empty when the node does not exist."""
        return await self._store.children(path)

    async def multi(self, ops: Sequence[Op]) -> None:
        """All of them or none, atomically and durably. Raises Conflict, NotConnectedError, OutcomeUnknownError, and
        PermanentError when it is too large in spite of all."""
        check_request(ops, VALUE_BYTES_MAX)
        small = [_escaped(op) for op in ops]
        apart = parts.to_store_apart(small, self._limit)
        if not apart:
            await self._store.multi(small)
        else:
            await self._multi_apart(ops, small, apart)
        for path in self._outdated(ops):
            await self._collect(path)

    async def sync(self, path: str) -> None:
        """Reads that follow see everything that was committed before this call."""
        await self._store.sync(path)

    async def close(self) -> None:
        """Release everything; idempotent."""
        await self._store.close()

    # Reading.

    async def _resolved(self, path: str, node: Node | None) -> Node | None:
        for _ in range(READS_MAX):
            if node is None:
                return None
            value = parts.parse(node.value, path)
            if isinstance(value, bytes):
                return node if value is node.value else replace(node, value=value)
            self._know(path)
            found = [part.value for part in await self._store.get_many(value.paths(path)) if part is not None]
            if len(found) == value.count:
                return replace(node, value=value.join(found, path))
            node = await self._changed(path, node)
        raise NotConnectedError(f"{path} changed {READS_MAX} times while it was read; try again")

    async def _changed(self, path: str, before: Node) -> Node | None:
        """The node, which can't be as it was, since a part of it is gone."""
        await self._store.sync(path)
        node = await self._store.get(path)
        if node == before:
            raise CorruptError(
                f"parts of the value at {path}, version {before.version}, are missing below {parts.fence_path(path)};"
                " nothing of ours deletes them: restore the store from a backup"
            )
        return node

    # Writing.

    async def _multi_apart(self, ops: Sequence[Op], small: Sequence[Op], apart: Sequence[int]) -> None:
        paths = list(dict.fromkeys(ops[index].path for index in apart))
        for _ in range(ATTEMPTS_MAX):
            fences = {path: await self._fence_before_parts(path) for path in paths}
            request = list(small)
            for index in apart:
                request[index] = await self._stored_apart(ops[index])
            request += [Set(parts.fence_path(path), b"", fence) for path, fence in fences.items()]
            self._know(*paths)  # not where the fences are, until it is certain that this moved them
            try:
                await self._store.multi(request)
            except Conflict as conflict:
                if conflict.index >= len(ops):
                    await self._store.sync(conflict.path)
                    continue
                for path in paths:
                    await self._collect(path)
                raise
            self._fences.update({path: fence + 1 for path, fence in fences.items()})
            return
        raise NotConnectedError(
            f"the parts of {', '.join(paths)} were collected {ATTEMPTS_MAX} times before they could be referred to;"
            " nothing was changed, try again"
        )

    async def _stored_apart(self, op: Op) -> Op:
        """Writes the parts of its value; gives the operation with a reference instead of it."""
        assert isinstance(op, Create | Set)
        attempt, replaces = secrets.token_hex(8), parts.replaced_version(op)
        creates = list(parts.cut(op.value, op.path, replaces, attempt, self._limit))
        ended = await asyncio.gather(*(self._write(create) for create in creates), return_exceptions=True)
        for error in filter(None, ended):
            if isinstance(error, Conflict):
                raise NotConnectedError(
                    f"a part of {op.path} can't be written: {error}; try again"
                ) from error
            raise error
        reference = Reference(attempt, replaces, len(creates), len(op.value), crc32c(op.value))
        return replace(op, value=reference.encode())

    async def _write(self, op: Op) -> None:
        """In doubt, nothing was done of what the caller of `multi` asked for."""
        try:
            await self._store.multi([op])
        except OutcomeUnknownError as error:
            raise NotConnectedError(f"a part of a large value may not be stored: {error}") from error

    async def _fence_before_parts(self, path: str) -> int:
        known = self._fences.get(path)
        fence = known if known is not None else await self._read_fence(path)
        if fence is None:
            try:
                await self._write(Create(parts.fence_path(path), b""))
                return 0
            except Conflict:  # another writer's first large value, or a reply that was lost
                await self._store.sync(parts.fence_path(path))
                fence = await self._read_fence(path)
        if fence is None:
            raise NotConnectedError(f"{parts.fence_path(path)} exists and can't be read; try again")
        return fence

    async def _read_fence(self, path: str) -> int | None:
        node = await self._store.get(parts.fence_path(path))
        return None if node is None else node.version

    # Collecting garbage.

    def _outdated(self, ops: Iterable[Op]) -> list[str]:
        """Paths whose older parts may be garbage now."""
        return list(dict.fromkeys(op.path for op in ops if self._leaves_parts(op)))

    def _leaves_parts(self, op: Op) -> bool:
        return isinstance(op, Delete) or (isinstance(op, Create | Set) and op.path in self._fences)

    async def _collect(self, path: str) -> None:
        """Delete parts of `path` that nobody can refer to any more; what fails now is left for the next time."""
        try:
            await self._try_collect(path)
        except (QanatError, Conflict):
            self._know(path)

    async def _try_collect(self, path: str) -> None:
        fence = self._fences.get(path)
        if fence is None:
            fence = await self._read_fence(path)
        if fence is None:
            self._fences.pop(path, None)
            return
        node = await self._store.get(path)  # after the fence: see above
        names = await self._store.children(parts.fence_path(path))
        # Between one request and the next only the former moves the fence, so what was seen before still holds.
        left = iter(parts.garbage(names, node, path))
        move = parts.fence_path(path)
        for chunk in iter(lambda: list(islice(left, self._deletes_max(path))), []):
            await self._store.multi([Set(move, b"", fence), *(Delete(part, 0) for part in chunk)])
            fence += 1
        if node is None:
            self._fences.pop(path, None)
        else:
            self._fences[path] = fence

    def _deletes_max(self, path: str) -> int:
        """How many parts one request can delete: names have 16 characters of attempt and two numbers."""
        op_bytes = OP_BYTES + len(parts.part_path(path, 1 << 31, "0" * 16, 1 << 20).encode())
        return max(1, (self._limit - op_bytes) // op_bytes)

    def _know(self, *paths: str) -> None:
        """These have parts; where their fences are is to be read again."""
        if len(self._fences) + len(paths) > KNOWN_PATHS_MAX:
            self._fences.clear()
        self._fences.update(dict.fromkeys(paths))


def _escaped(op: Op) -> Op:
    if isinstance(op, Create | Set) and (value := parts.escape(op.value)) is not op.value:
        return replace(op, value=value)
    return op
