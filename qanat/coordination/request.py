"""What every store checks before it does anything: the form of paths, and the size of a request.  [pure]"""

from __future__ import annotations

from collections.abc import Sequence

from qanat.coordination.store import Create, Op
from qanat.errors import PermanentError

ROOT = "/"

# What an operation costs besides its path and value. In a request to ZooKeeper: 9 bytes of header, 12 of lengths and
# version, up to 50 of ACL and flags, and up to 96 of the prefix that a store puts before its paths.
OP_BYTES = 192


def check_path(path: str) -> str:
    """The path itself. Raises ValueError for one that no store takes: that is a bug in the caller."""
    if path == ROOT:
        return path
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f"path {path!r}: a store path starts with '/' and has no NUL")
    if any(name in ("", ".", "..") for name in path[1:].split("/")):
        raise ValueError(f"path {path!r}: a store path has no empty name, '.' or '..', and no trailing '/'")
    return path


def parent_of(path: str) -> str:
    """The path one level up; the root is its own parent."""
    return path.rpartition("/")[0] or ROOT


def name_of(path: str) -> str:
    """The last name of a path."""
    return path.rpartition("/")[2]


def request_bytes(ops: Sequence[Op]) -> int:
    """What a request counts for: its values, its paths, and `OP_BYTES` an operation."""
    return sum(OP_BYTES + len(op.path.encode()) + len(getattr(op, "value", b"")) for op in ops)


def check_request(ops: Sequence[Op], bytes_max: int) -> None:
    """Raises PermanentError when the request is larger than the store takes, ValueError when it makes no sense."""
    for op in ops:
        check_path(op.path)
        if not isinstance(op, Create) and op.version < 0:
            raise ValueError(
                f"{type(op).__name__} of {op.path}: version {op.version} is negative; versions start at 0"
            )
    if (size := request_bytes(ops)) > bytes_max:
        largest = max(ops, key=lambda op: len(getattr(op, "value", b"")))
        raise PermanentError(
            f"a request to the coordination store has {size} bytes, limit {bytes_max}; its largest part"
            f" is {type(largest).__name__} of {largest.path}. Split the value, or the request."
        )
