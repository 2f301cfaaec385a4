"""A coordination store in memory, with faults as verbs; passes the contract tests of the real ones."""

from __future__ import annotations

from collections.abc import Sequence

from qanat.coordination.request import ROOT, check_path, check_request, name_of, parent_of
from qanat.coordination.store import Check, Conflict, Create, Delete, Node, Op, Set
from qanat.errors import NotConnectedError, OutcomeUnknownError

Tree = dict[str, Node]


class MemoryStore:
    """A `Store`. Several of them over one `tree` are several clients of one store.

    *Thread*: one event loop. No call ever waits.
    """

    def __init__(self, tree: Tree | None = None) -> None:
        self.tree: Tree = tree if tree is not None else {}
        self.tree.setdefault(ROOT, Node(b"", 0))
        self._connected = True
        self._lost_requests = 0
        self._lost_replies = 0

    def cut(self) -> None:
        """From now on every call raises NotConnectedError."""
        self._connected = False

    def restore(self) -> None:
        """End what `cut` began."""
        self._connected = True

    def lose_replies(self, count: int = 1) -> None:
        """The next `count` multis are applied, and raise OutcomeUnknownError."""
        self._lost_replies = count

    def lose_requests(self, count: int = 1) -> None:
        """The next `count` multis are not applied, and raise OutcomeUnknownError."""
        self._lost_requests = count

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
        check_request(ops)
        if self._lost_requests > 0:
            self._lost_requests -= 1
            raise OutcomeUnknownError("the request was lost on purpose")
        after = dict(self.tree)
        for index, op in enumerate(ops):
            _apply_one(after, index, op)
        self.tree.clear()
        self.tree.update(after)
        if self._lost_replies > 0:
            self._lost_replies -= 1
            raise OutcomeUnknownError("the reply was lost on purpose")

    async def sync(self, path: str) -> None:
        """Nothing to wait for."""
        self._check_connected()

    async def close(self) -> None:
        """Every later call raises NotConnectedError."""
        self.cut()

    def _check_connected(self) -> None:
        if not self._connected:
            raise NotConnectedError("the store in memory was cut off or closed")


def _children(tree: Tree, path: str) -> list[str]:
    return [child for child in tree if child != ROOT and parent_of(child) == path]


def _apply_one(tree: Tree, index: int, op: Op) -> None:
    if isinstance(op, Create):
        _create(tree, index, op)
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
            tree[path] = Node(bytes(value), version + 1)
        case Delete(path):
            if path == ROOT or _children(tree, path):
                raise Conflict(index, path, "is the root" if path == ROOT else "has children")
            del tree[path]


def _create(tree: Tree, index: int, op: Create) -> None:
    if op.path in tree:
        raise Conflict(index, op.path, "exists")
    tree[op.path] = Node(bytes(op.value), 0)
    above = parent_of(op.path)
    while above not in tree:
        tree[above] = Node(b"", 0)
        above = parent_of(above)
