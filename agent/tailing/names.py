"""Names of files: which ones rotation makes of a name, and paths that are not valid UTF-8."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

# What rotation puts behind a name: numbers and dates.
_ROTATED = re.compile(r"[-._]?\d[-._:T\d]*")
# And before its extension: only dates, because `app-2.log` is rather the log of a second process.
_DATED = re.compile(r"[-._]?\d{4}[-._:T\d]{2,}")
_BYTES = "\0bytes:"  # no path holds a NUL


def is_rotated(home: str, path: str, *, separated: bool = False) -> bool:
    """Whether rotation may have given `path` to what was at `home`: `app.log.1`, `app.log-20240131`, `app-20240131.log`.

    `separated`: `app.log1` is not enough, because both are watched, and may be logs of their own."""
    if path.startswith(home):
        added = path[len(home) :]
        return _ROTATED.fullmatch(added) is not None and not (separated and added[0].isdigit())
    stem, extension = os.path.splitext(home)
    if not extension or not path.startswith(stem) or not path.endswith(extension):
        return False
    return _DATED.fullmatch(path[len(stem) : -len(extension)]) is not None


def is_related(home: str, path: str) -> bool:
    """Whether `path` may be a copy of what was at `home`: rotated, or the name and anything behind it."""
    return path != home and (path.startswith(home) or is_rotated(home, path))


def homes_of(path: str) -> Iterator[str]:
    """Every name that `path` may be related to."""
    base = path.rfind("/") + 1
    _, extension = os.path.splitext(path)
    for cut in range(len(path) - 1, base, -1):
        yield path[:cut]
        if extension and len(extension) + cut < len(path):
            yield path[:cut] + extension


def display(path: str) -> str:
    """For people and for attributes, which are UTF-8: bytes that are not are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def encode(path: str) -> str:
    """For a JSON document; `decode` gives the same path back."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _BYTES + os.fsencode(path).hex()
    return path


def decode(text: str) -> str:
    """What `encode` was given."""
    return os.fsdecode(bytes.fromhex(text.removeprefix(_BYTES))) if text.startswith(_BYTES) else text
