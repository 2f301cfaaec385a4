"""Cursors: how far each destination has what is in the log. One small file each, replaced atomically."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import msgspec
from crc32c import crc32c

from qanat.channels.wal.directory import Directory, replace_file
from qanat.component import Cursor

SUFFIX = ".cursor"
_MAGIC = b"qanat-cursor-1 "
_HEADER_BYTES = len(_MAGIC) + 9

# File systems allow 255 bytes for a name; the suffixes need some.
_NAME_BYTES_MAX = 200


class Saved(msgspec.Struct, frozen=True):
    """The content of a cursor's file, behind a magic and its CRC32C."""

    name: str
    incarnation: str
    position: int


@dataclass(slots=True)
class Place:
    """A cursor in memory. `saved`: what its file says, -1 when there is none."""

    cursor: Cursor
    position: int
    saved: int = -1


def file_name(cursor: str) -> str:
    """Of a cursor's file: its name as far as a file system allows."""
    quoted = quote(cursor, safe=" @:")
    if len(quoted) > _NAME_BYTES_MAX:
        quoted = quoted[: _NAME_BYTES_MAX // 2] + "-" + hashlib.sha256(cursor.encode()).hexdigest()
    return quoted + SUFFIX


def load(directory: Directory, name: str) -> Saved | None:
    """What a cursor's file says; None when it is damaged. Raises OSError."""
    file = directory.open(name)
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    body = data[_HEADER_BYTES:]
    if data[:_HEADER_BYTES] != _header(body):
        return None
    try:
        return msgspec.json.decode(body, type=Saved)
    except msgspec.DecodeError:
        return None


def load_all(directory: Directory) -> dict[str, Saved | None]:
    """Every cursor's file by its name; None where it is damaged. Raises OSError."""
    return {name: load(directory, name) for name in directory.list() if name.endswith(SUFFIX)}


def save(directory: Directory, saved: Saved) -> None:
    """*Blocking* until it is durable. Raises OSError."""
    body = msgspec.json.encode(saved)
    replace_file(directory, file_name(saved.name), _header(body) + body)


def floor(places: Sequence[Place]) -> int:
    """What may be lost when there is no room: nothing that a required cursor has not passed; without such cursors nothing
    that the one furthest ahead has not passed."""
    required = [place.position for place in places if place.cursor.required]
    return min(required) if required else max((place.position for place in places), default=0)


def slowest(places: Sequence[Place]) -> int:
    """Everything before it was passed by all."""
    return min((place.position for place in places), default=0)


def _header(body: bytes) -> bytes:
    return _MAGIC + b"%08x\n" % crc32c(body)
