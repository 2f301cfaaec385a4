"""A change of the configuration that is too large for one request to the store: written whole first, spread afterwards. [pure]

The multi that makes the revision sets `/qanat/staged`, one large value with all operations of the change, instead of doing
them. From then on the configuration is what the znodes say with the operations done on top, and whoever reads it does them.
They are spread into their places in as many requests as it takes, by whoever is first; then the value is emptied.

*Nobody sees half of it.* The multi decides, as for any other change. A reader reads the revision, what is staged, the znodes, and
the revision again. When the two are equal, what it found staged is the change of that revision, and covers every znode that is
spread meanwhile; or it found nothing, and then all of them had been spread before it read the first.

*No other change comes between.* Whoever makes a revision does so by compare-and-set, after finding nothing staged at the one
before; and what is staged later makes another revision.

*Spreading is repeated at will.* A request of it checks the version of what is staged, which moves when it is emptied; each
operation creates, or compares-and-sets, so that it is done once. What is found done is left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from qanat.coordination.request import request_bytes
from qanat.coordination.store import Check, Create, Delete, Node, Op, Set
from qanat.errors import CorruptError

# A change that is larger is staged: a quarter of what ZooKeeper takes in one request, since parents that are missing come on top.
DIRECT_BYTES_MAX = 256 << 10

# Of a request that spreads. Servers remember the last 500 requests at three times their size: 100 MB at most, and 400 if
# these were as large as a direct one may be. Nobody waits for them.
SPREAD_BYTES_MAX = 64 << 10

# Statements that differ in a name compress to a tenth at the lowest level, as fast as they are encoded.
_COMPRESSION = 1


class Staged(msgspec.Struct, frozen=True):
    """What `revision` changes: path, value, and the version that is replaced. Without a value the znode is deleted, without a
    version created."""

    revision: int
    changes: list[tuple[str, bytes | None, int | None]]

    @property
    def ops(self) -> list[Op]:
        """As they were asked for."""
        return [_op(path, value, version) for path, value, version in self.changes]

    @property
    def nodes(self) -> dict[str, Node | None]:
        """Every znode that the change touches, as it is when the change is done."""
        return {path: _after(value, version) for path, value, version in self.changes}


def pack(revision: int, ops: Iterable[Op]) -> bytes:
    """What is stored for the changes that make a revision, no two of the same path."""
    staged = Staged(revision, [_change(op) for op in ops])
    return zlib.compress(msgspec.msgpack.encode(staged), _COMPRESSION)


def unpack(value: bytes, path: str) -> Staged | None:
    """None: nothing is staged. Raises CorruptError when `value`, read from `path`, is none of ours."""
    if not value:
        return None
    try:
        return msgspec.msgpack.decode(zlib.decompress(value), type=Staged)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(
            f"{path} in the coordination store is no change of ours: {error}; it was written by hand, or by a later version"
        ) from error


def chunks(ops: Iterable[Op], bytes_max: int) -> Iterator[list[Op]]:
    """In requests no larger than `bytes_max`, but for an operation that is larger by itself."""
    chunk: list[Op] = []
    size = 0
    for op in ops:
        own = request_bytes([op])
        if chunk and size + own > bytes_max:
            yield chunk
            chunk, size = [], 0
        chunk.append(op)
        size += own
    if chunk:
        yield chunk


def left(ops: Sequence[Op], found: Mapping[str, Node | None]) -> list[Op]:
    """Those that are not done yet, of operations whose znodes are as `found` while nobody else writes them."""
    return [op for op in ops if not _is_done(op, found[op.path])]


def _is_done(op: Op, node: Node | None) -> bool:
    if isinstance(op, Delete):
        return node is None
    return node is not None and (isinstance(op, Create) or node.version > op.version)


def _change(op: Op) -> tuple[str, bytes | None, int | None]:
    match op:
        case Create(path, value):
            return path, value, None
        case Set(path, value, version):
            return path, value, version
        case Delete(path, version):
            return path, None, version
        case Check(path):
            raise ValueError(f"{path}: a check can't be put off")


def _op(path: str, value: bytes | None, version: int | None) -> Op:
    if value is None:
        return Delete(path, version or 0)
    return Create(path, value) if version is None else Set(path, value, version)


def _after(value: bytes | None, version: int | None) -> Node | None:
    if value is None:
        return None
    return Node(value, 0 if version is None else version + 1)
