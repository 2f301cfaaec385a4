"""A coordination store in memory, with faults as verbs; passes the contract tests of the real ones."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Sequence

from qanat.coordination.request import ROOT, check_path, check_request, name_of, parent_of
from qanat.coordination.store import (
    VALUE_BYTES_MAX,
    Check,
    Conflict,
    Create,
    Delete,
    Node,
    Op,
    Session,
    SessionState,
    Set,
)
from qanat.coordination.watching import SessionBoard, Watchers
from qanat.errors import NotConnectedError, OutcomeUnknownError


class Tree(dict[str, Node]):
    """What the clients of one store share: the nodes by path, and who watches them."""

    def __init__(self) -> None:
        super().__init__({ROOT: Node(b"", 0)})
        self.watchers = Watchers()
        self.session_ids = itertools.count(1)

    def become(self, after: dict[str, Node]) -> None:
        """Take the content of `after`, and tell who watches what differs."""
        changed = {path for path in self.keys() | after.keys() if self.get(path) != after.get(path)}
        parents = {parent_of(path) for path in self.keys() ^ after.keys()}
        self.clear()
        self.update(after)
        self.watchers.notify(changed | parents)

    def end_session(self, session_id: int) -> None:
        """Delete its ephemeral nodes."""
        self.become({path: node for path, node in self.items() if node.owner != session_id})


class MemoryStore:
    """A `Store`. Several of them over one `tree` are several clients of one store.

    *Thread*: one event loop. No call ever waits.
    """

    def __init__(self, tree: Tree | None = None, *, request_bytes_max: int = VALUE_BYTES_MAX) -> None:
        self.tree = tree if tree is not None else Tree()
        self.request_bytes_max = request_bytes_max
        self._session = SessionBoard("memory")
        self._session.change(SessionState.CONNECTED, next(self.tree.session_ids))
        self._cut = self._closed = self._expired = False
        self._lost_requests = 0
        self._lost_replies = 0

    def cut(self) -> None:
        """From now on every call raises NotConnectedError, and the session is suspended."""
        self._cut = True
        self._session.change(SessionState.SUSPENDED)

    def restore(self) -> None:
        """End what `cut` began; only now is a session that expired meanwhile known to be lost."""
        self._cut = False
        if self._expired:
            self._renew()
        else:
            self._session.change(SessionState.CONNECTED)
        self.tree.watchers.notify(None)

    def expire(self) -> None:
        """End the session: its ephemeral nodes go, and unless it is cut off, the client gets another."""
        self._expired = True
        self.tree.end_session(self._session.current.id)
        if not self._cut:
            self._renew()

    def lose_replies(self, count: int = 1) -> None:
        """The next `count` multis are applied, and raise OutcomeUnknownError."""
        self._lost_replies = count

    def lose_requests(self, count: int = 1) -> None:
        """The next `count` multis are not applied, and raise OutcomeUnknownError."""
        self._lost_requests = count

    @property
    def session(self) -> Session:
        """As this client knows it."""
        return self._session.current

    def session_changes(self) -> AsyncGenerator[Session, None]:
        """The session now, and after each change."""
        return self._session.changes()

    async def watch(self, path: str) -> AsyncGenerator[None, None]:
        """Yields now, after each change, and after each `restore`."""
        event = self.tree.watchers.add(check_path(path))
        try:
            while not self._closed:
                await event.wait()
                event.clear()
                if await self._session.connected():
                    yield
        finally:
            self.tree.watchers.discard(path, event)

    async def get(self, path: str) -> Node | None:
        """The node as it is now."""
        self._check_connected()
        return self.tree.get(check_path(path))

    async def get_many(self, paths: Sequence[str]) -> list[Node | None]:
        """As many `get`s."""
        return [await self.get(path) for path in paths]

    async def children(self, path: str) -> list[str]:
        """Names of the children, sorted."""
        self._check_connected()
        return sorted(map(name_of, _children(self.tree, check_path(path))))

    async def multi(self, ops: Sequence[Op]) -> None:
        """All of them or none."""
        self._check_connected()
        check_request(ops, self.request_bytes_max)
        if self._lost_requests > 0:
            self._lost_requests -= 1
            raise OutcomeUnknownError("the request was lost on purpose")
        after = dict(self.tree)
        for index, op in enumerate(ops):
            _apply_one(after, index, op, self._session.current.id)
        self.tree.become(after)
        if self._lost_replies > 0:
            self._lost_replies -= 1
            raise OutcomeUnknownError("the reply was lost on purpose")

    async def sync(self, path: str) -> None:
        """Nothing to wait for."""
        self._check_connected()

    async def close(self) -> None:
        """Ends the session; every later call raises NotConnectedError."""
        if self._closed:
            return
        self._closed = True
        self.tree.end_session(self._session.current.id)
        self._session.close()
        self.tree.watchers.notify(None)

    def _renew(self) -> None:
        self._expired = False
        self._session.change(SessionState.LOST)
        self._session.change(SessionState.CONNECTED, next(self.tree.session_ids))
        self.tree.watchers.notify(None)

    def _check_connected(self) -> None:
        if self._cut or self._closed:
            raise NotConnectedError("the store in memory was cut off or closed")


def _children(tree: dict[str, Node], path: str) -> list[str]:
    return [child for child in tree if child != ROOT and parent_of(child) == path]


def _apply_one(tree: dict[str, Node], index: int, op: Op, session_id: int) -> None:
    if isinstance(op, Create):
        _create(tree, index, op, session_id)
        return
    node = tree.get(op.path)
    if node is None:
        raise Conflict(index, op.path, "does not exist")
    if node.version != op.version:
        raise Conflict(index, op.path, f"has version {node.version}, not {op.version}")
    match op:
        case Check():
            pass
        case Set(path, value, version):
            tree[path] = Node(bytes(value), version + 1, node.owner)
        case Delete(path):
            if path == ROOT or _children(tree, path):
                raise Conflict(index, path, "is the root" if path == ROOT else "has children")
            del tree[path]


def _create(tree: dict[str, Node], index: int, op: Create, session_id: int) -> None:
    if op.path in tree:
        raise Conflict(index, op.path, "exists")
    above = parent_of(op.path)
    while above not in tree:
        tree[above] = Node(b"", 0)
        above = parent_of(above)
    if tree[above].owner:
        raise Conflict(index, op.path, f"{above} is ephemeral and has no children")
    tree[op.path] = Node(bytes(op.value), 0, session_id if op.ephemeral else 0)
