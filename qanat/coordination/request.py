"""What every store checks before it does anything: the form of paths, and the size of a request.  [pure]"""

from __future__ import annotations

from collections.abc import Sequence

from qanat.coordination.store import VALUE_BYTES_MAX, Create, Op, Set
from qanat.errors import PermanentError

ROOT = "/"


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


def check_request(ops: Sequence[Op]) -> None:
    """Raises PermanentError when the request is larger than a store takes, ValueError when it makes no sense.

    The limit is on the whole request, paths included, because that is what ZooKeeper's limit is on.
    """
    size = 0
    for op in ops:
        size += len(check_path(op.path).encode())
        if isinstance(op, Create | Set):
            size += len(op.value)
        if not isinstance(op, Create) and op.version < 0:
            raise ValueError(
                f"{type(op).__name__} of {op.path}: version {op.version} is negative; versions start at 0"
            )
    if size > VALUE_BYTES_MAX:
        largest = max(ops, key=lambda op: len(getattr(op, "value", b"")))
        raise PermanentError(
            f"a request to the coordination store has {size} bytes, limit {VALUE_BYTES_MAX}; its largest part"
            f" is {type(largest).__name__} of {largest.path}. Split the value, or the request."
        )
