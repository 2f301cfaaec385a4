"""The form of values that are stored apart from their node: references, parts, garbage [pure].

A value of a user is stored as it is, unless it is too big for its request (then the node holds a reference) or begins with
`MAGIC` (then it is escaped). The parts of `/a/b` are the children of a node of their own, the *fence* of `/a/b`:

    /qanat/parts/%2Fa%2Fb                              its version is the fence; see `large.py`
    /qanat/parts/%2Fa%2Fb/<version>-<attempt>-<n>      part n; `version` is the one that the attempt replaces, -1 for none
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

import msgspec
from crc32c import crc32c

from qanat.coordination.request import OP_BYTES, request_bytes
from qanat.coordination.store import Create, Node, Op, Set
from qanat.errors import CorruptError, PermanentError

# 0xC1 is never used in MessagePack and never occurs in UTF-8, so neither our documents nor a text begins with it.
MAGIC = b"\xc1qanat\x00"
_ESCAPED = MAGIC + b"\x00"
_REFERENCE = MAGIC + b"\x01"

# The largest part, even where a request may have more. A ZooKeeper server keeps its last 500 requests in memory three times
# over, whatever their size (a heap of 128 MB was full after 45 MB of them): in parts of 1 MB that is more than the heap of 1 GB
# that it has by default, in these it is 100 MB.
PART_BYTES_MAX = 64 << 10

# A reference: magic, 16 characters of attempt and four numbers take some 50 bytes. Smaller values are never stored apart.
REFERENCE_BYTES_MAX = 96


class Reference(msgspec.Struct, frozen=True, array_like=True):
    """Where the value of a node is: `count` parts of one attempt, `length` bytes in all."""

    attempt: str
    replaces: int
    count: int
    length: int
    crc: int

    def encode(self) -> bytes:
        """The value of the node."""
        return _REFERENCE + msgspec.msgpack.encode(self)

    def paths(self, path: str) -> list[str]:
        """Its parts, when it is the value of the node at `path`."""
        return [part_path(path, self.replaces, self.attempt, number) for number in range(self.count)]

    def join(self, parts: Iterable[bytes], path: str) -> bytes:
        """The value. Raises CorruptError when the parts are not those that were written."""
        value = b"".join(parts)
        if len(value) != self.length or crc32c(value) != self.crc:
            raise CorruptError(
                f"the {self.count} parts of {path} have {len(value)} bytes and CRC32C {crc32c(value):08x}, written were"
                f" {self.length} and {self.crc:08x}; somebody changed them below {fence_path(path)}"
            )
        return value


def fence_path(path: str) -> str:
    """The node above the parts of `path`."""
    return f"/qanat/parts/{quote(path, safe='')}"


def part_path(path: str, replaces: int, attempt: str, number: int) -> str:
    return f"{fence_path(path)}/{replaces}-{attempt}-{number}"


def escape(value: bytes) -> bytes:
    """As a small value is stored: as it is, but for one that could be mistaken for ours."""
    return _ESCAPED + value if value.startswith(MAGIC) else value


def parse(stored: bytes, path: str) -> bytes | Reference:
    """The value, or where it is. Raises CorruptError for what this version can't have written."""
    if not stored.startswith(MAGIC):
        return stored
    if stored.startswith(_ESCAPED):
        return stored[len(_ESCAPED) :]
    if not stored.startswith(_REFERENCE):
        raise CorruptError(f"the value at {path} has a form of its own that this version does not know")
    try:
        return msgspec.msgpack.decode(stored[len(_REFERENCE) :], type=Reference)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(f"the reference at {path} can't be read: {error}") from error


def cut(value: bytes, path: str, replaces: int, attempt: str, limit: int) -> Iterator[Create]:
    """Requests of one part each, none larger than `limit`. Raises PermanentError when no part can be that small."""
    size = min(
        PART_BYTES_MAX, limit - OP_BYTES - len(part_path(path, replaces, attempt, len(value)).encode())
    )
    if size < 1:
        raise PermanentError(
            f"a request to the coordination store may have {limit} bytes: too few for a part of {path}; shorten the name"
        )
    for number, start in enumerate(range(0, len(value), size)):
        yield Create(part_path(path, replaces, attempt, number), value[start : start + size])


def replaced_version(op: Create | Set) -> int:
    """The version of the node that `op` replaces; -1 when it creates it."""
    return op.version if isinstance(op, Set) else -1


def to_store_apart(ops: Sequence[Op], limit: int) -> list[int]:
    """Indices of the operations (values escaped) whose values must be stored apart so that the request fits, largest first.

    Raises PermanentError when it can't be made to fit."""
    total = request_bytes(ops)
    if total <= limit:
        return []
    apart: list[int] = []
    sizes = {index: _value_bytes(op) for index, op in enumerate(ops)}
    fenced: set[str] = set()
    for index in sorted(sizes, key=lambda index: -sizes[index]):
        path = ops[index].path
        fence_bytes = 0 if path in fenced else OP_BYTES + len(fence_path(path).encode())
        if total <= limit or sizes[index] <= REFERENCE_BYTES_MAX + fence_bytes:
            break
        total += REFERENCE_BYTES_MAX + fence_bytes - sizes[index]
        fenced.add(path)
        apart.append(index)
    if total > limit:
        raise PermanentError(
            f"a request to the coordination store has {len(ops)} operations and {total} bytes although its large values"
            f" are stored apart, limit {limit}; the first is {type(ops[0]).__name__} of {ops[0].path}. Split the request."
        )
    return apart


def garbage(names: Iterable[str], node: Node | None, path: str) -> list[str]:
    """Which of the parts of `path` no value can refer to any more, when the node is `node`: all of a node that does not
    exist; otherwise those of attempts to replace an older version, but for the ones that it refers to."""
    if node is None:
        return [f"{fence_path(path)}/{name}" for name in names]
    value = parse(node.value, path)
    live = set(value.paths(path)) if isinstance(value, Reference) else set()
    old = (name for name in names if int(name.rsplit("-", 2)[0]) < node.version)
    return [part for name in old if (part := f"{fence_path(path)}/{name}") not in live]


def _value_bytes(op: Op) -> int:
    return len(op.value) if isinstance(op, Create | Set) else 0
